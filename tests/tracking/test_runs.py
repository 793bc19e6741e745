"""What MLflow is told of variants, from studies and from scores with a known truth."""

from __future__ import annotations

from polyview.recipe import Experiment, Study
from polyview.tracking.runs import variant_runs
from polyview.trials.design import plan


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
