from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from polyview.analysis.searches import best_trials, importance, pareto
from polyview.recipe import Experiment, Study
from polyview.trials.ledger import Record
from polyview.trials.search import make_trials
from polyview.trials.space import Point

WEIGHTS = {
    "objective.decorrelation.weight": {"log_uniform": [0.001, 1.0]},
    "objective.alignment.weight": {"uniform": [0.5, 2.0]},
}


def study_of(experiment: Experiment, **search: Any) -> Study:
    content = {
        "name": "hunt",
        "experiment": experiment.model_dump(mode="json"),
        "seeds": [0, 1],
        "references": False,
        "search": {"space": WEIGHTS, "trials": 20, "sampler": "random"} | search,
    }
    return Study.model_validate_json(json.dumps(content))


def some_points(count: int) -> list[Point]:
    drawn = np.random.default_rng(0).uniform([0.001, 0.5], [1.0, 2.0], (count, 2)).tolist()
    return [dict(zip(WEIGHTS, values, strict=True)) for values in drawn]


def near_two(point: Point) -> float:
    return 1 - abs(point["objective.alignment.weight"] - 1.9)


def records_of(study: Study, points: list[Point], score: Callable[[Point], float]) -> dict[str, Record]:
    return {
        trial.id: Record(
            id=trial.id,
            experiment=trial.experiment,
            started=1.0,
            ended=2.0,
            scores={"linear/accuracy": score(point)},
            parameters=100,
        )
        for trial, point in zip(make_trials(study, points), points, strict=True)
    }


def test_the_best_is_run_again_on_seeds_it_was_not_chosen_by(tiny: Experiment) -> None:
    study = study_of(tiny)
    points = some_points(10)
    trials = best_trials(study, points, records_of(study, points, near_two))
    assert [trial.seed for trial in trials] == [0, 1]
    highest = max(points, key=near_two)
    assert trials[0].experiment.objective.alignment is not None
    assert trials[0].experiment.objective.alignment.weight == highest["objective.alignment.weight"]
    assert best_trials(study, [], {}) == []


def test_importance_goes_to_the_key_that_matters(tiny: Experiment) -> None:
    study = study_of(tiny)
    points = some_points(20)
    shares = importance(study, points, records_of(study, points, near_two))
    assert shares["objective.alignment.weight"] > 0.8
    assert sum(shares.values()) == pytest.approx(1)
    assert importance(study, points[:3], records_of(study, points[:3], near_two)) == {}


def test_a_key_that_is_searched_over_its_logarithm_is_weighed_over_it(tiny: Experiment) -> None:
    study = study_of(tiny)
    rng = np.random.default_rng(1)
    points = [
        {key: float(value) for key, value in zip(WEIGHTS, (10 ** rng.uniform(-3, 0), rng.uniform(0.5, 2)), strict=True)}
        for _ in range(40)
    ]

    def by_exponent(point: Point) -> float:
        return 0.5 - 0.1 * float(np.log10(point["objective.decorrelation.weight"])) + 0.01 * float(rng.normal())

    shares = importance(study, points, records_of(study, points, by_exponent))
    assert shares["objective.decorrelation.weight"] > 0.9


def test_the_front_holds_what_nothing_beats_in_both_accuracy_and_views(tiny: Experiment) -> None:
    space = {"rendering.views.count": {"integer": [2, 6]}}
    study = study_of(tiny, space=space, sampler="nsga2", objectives=["linear/accuracy", "views"])
    scores = {2: 0.5, 3: 0.7, 4: 0.6, 5: 0.8, 6: 0.8}
    points = [{"rendering.views.count": count} for count in scores]
    records = records_of(study, points, lambda point: scores[point["rendering.views.count"]])
    front = pareto(study, points, records)
    assert [value for _, value in front] == [[0.5, 2.0], [0.7, 3.0], [0.8, 5.0]]
