from __future__ import annotations

from polyview.analysis.compare import differences
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
