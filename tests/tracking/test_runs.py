"""What MLflow is told of variants and trials."""

from __future__ import annotations

import polars as pl

from polyview.recipe import Experiment, Study
from polyview.tracking.entities import dataset
from polyview.tracking.runs import finished_run, variant_runs
from polyview.trials.design import Trial, plan
from polyview.trials.ledger import Record


def test_a_variants_params_are_what_is_varied_and_nothing_else(tiny: Experiment) -> None:
    study = Study(
        name="study",
        experiment=tiny,
        seeds=(0, 1),
        remove={"no alignment": "objective.alignment"},
        variants={"two views": {"rendering.views.count": 2}, "slower": {"training.lr": 1e-5}},
        references=False,
    )
    told = {one.name: one for one in variant_runs(study, plan(study))}
    assert {name: dict(one.differences) for name, one in told.items()} == {
        "full": {},
        "no alignment": {"removed": "objective.alignment"},
        "two views": {"rendering.views.count": "2"},
        "slower": {"training.lr": "1e-05"},
    }
    full = {"removed": "nothing", "rendering.views.count": "3", "training.lr": str(tiny.training.lr)}
    assert {name: dict(one.params) for name, one in told.items()} == {
        name: full | dict(one.differences) for name, one in told.items()
    }
    assert told["full"].tags["varied"] == "baseline"
    assert told["two views"].tags["varied"] == "rendering.views.count: 2 (not 3)"
    assert [one.tags["order"] for one in told.values()] == sorted(one.tags["order"] for one in told.values())


def test_a_trials_sides_tell_what_their_own_people_show(tiny: Experiment) -> None:
    shown = pl.DataFrame(
        [(person, expression) for person in ("a", "b", "c") for expression in ("neutral", "surprise")],
        schema=["subject", "expression"],
        orient="row",
    )
    record = Record(
        id=tiny.digest,
        experiment=tiny,
        started=0,
        ended=1,
        train_subjects=("a", "b"),
        test_subjects=("c",),
        manifest="0123456789abcdef",
    )
    trial = Trial("full", 0, tiny)
    training, test = finished_run(trial, record, {"0123456789abcdef": shown}).faces
    assert training.counts == {"faces": 4, "expressions": {"neutral": 2, "surprise": 2}}
    assert test.counts == {"faces": 2, "expressions": {"neutral": 1, "surprise": 1}}
    others = record.model_copy(update={"train_subjects": ("a",)})
    (fewer, _) = finished_run(trial, others, {"0123456789abcdef": shown}).faces
    assert dataset(fewer).dataset.digest != dataset(training).dataset.digest
