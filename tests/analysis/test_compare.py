from __future__ import annotations

from polyview.analysis.compare import differences, incomparable
from polyview.recipe import Experiment, with_overrides
from polyview.trials.ledger import Record


def record(experiment: Experiment, accuracy: float, machine: str = "same") -> Record:
    return Record(
        id=experiment.digest,
        experiment=experiment,
        started=0,
        ended=1,
        scores={"linear/accuracy": accuracy, "knn/accuracy": 0.5},
        environment={"machine": machine},
    )


def test_only_what_differs_is_told(tiny: Experiment) -> None:
    one = record(tiny, 0.6)
    other = record(with_overrides(tiny, {"model.fusion": "mean", "objective.redundancy": None}), 0.652)
    found = {section.name: section.rows for section in differences(one, other)}
    assert found["result"] == (("linear/accuracy", "60.0", "65.2", "+5.2"),)
    assert ("model.fusion", "attention", "mean", "") in found["recipe"]
    assert {row[0] for row in found["recipe"]} == {
        "model.fusion",
        "objective.redundancy.weight",
        "objective.redundancy.form",
    }
    assert list(found) == ["recipe", "result"]


def test_a_trial_is_the_same_as_itself(tiny: Experiment) -> None:
    assert differences(record(tiny, 0.6), record(tiny, 0.6)) == []
    assert incomparable(record(tiny, 0.6), record(tiny, 0.6)) is None


def test_scores_of_other_people_faces_or_classes_are_said_to_be(tiny: Experiment) -> None:
    known = {"manifest": "a", "test_subjects": ("x", "y"), "classes": ("fear", "anger")}
    trial = record(tiny, 0.6).model_copy(update=known)
    # A point of a search: its test subjects are those of others, and its scores are not of them.
    point = trial.model_copy(update={"validation_subjects": ("z",)})
    (faces,) = differences(trial, point)
    assert faces.rows == (("test subjects", "x, y", "—", ""), ("validation subjects", "—", "z", ""))
    told = incomparable(trial, point)
    assert told == "The scores are not of the same people: their differences may come from that alone."
    elsewhere = trial.model_copy(update={"manifest": "b", "classes": ("fear",)})
    assert str(incomparable(trial, elsewhere)).startswith(
        "The scores are not on faces of one manifest, nor between the same classes:"
    )
    assert incomparable(trial, record(tiny, 0.6)) is None  # an earlier version did not note it
