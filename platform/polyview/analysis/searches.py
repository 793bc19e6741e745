"""What the records say of a search: its best point, which keys mattered, and which points no other beats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from polyview.recipe import Study, with_overrides
from polyview.trials.design import Trial, repeated
from polyview.trials.ledger import Record
from polyview.trials.search import make_study, make_trials
from polyview.trials.space import Point

BEST = "best found"
SMALLEST_FOR_IMPORTANCE = 8


def best(study: Study, points: Sequence[Point], records: Mapping[str, Record]) -> tuple[Point, Record] | None:
    """The point with the highest value of the study's metric, the first of equals."""
    found = [
        (point, records[trial.id])
        for point, trial in zip(points, make_trials(study, points), strict=True)
        if trial.id in records and study.metric in records[trial.id].scores
    ]
    return max(found, key=lambda one: one[1].scores[study.metric], default=None)


def best_trials(study: Study, points: Sequence[Point], records: Mapping[str, Record]) -> list[Trial]:
    """The re-run of the best point on the study's own seeds, by which it was not chosen."""
    if study.search is None or (found := best(study, points, records)) is None:
        return []
    varied = with_overrides(study.experiment, found[0], f"{study.name}: {BEST}")
    return repeated(BEST, varied, study.all_seeds)


def importance(study: Study, points: Sequence[Point], records: Mapping[str, Record]) -> dict[str, float]:
    """The share of the first objective's variance that each key explains (fANOVA, Hutter 2014), largest first.

    Empty where fewer than eight points have a record, or all have the same value.
    """
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances
    from optuna.trial import TrialState

    made = make_study(study, points, records)
    complete = made.get_trials(states=[TrialState.COMPLETE])
    if len(complete) < SMALLEST_FOR_IMPORTANCE or len({trial.values[0] for trial in complete}) < 2:
        return {}
    evaluator = FanovaImportanceEvaluator(seed=0)
    found = get_param_importances(made, evaluator=evaluator, target=lambda trial: trial.values[0])
    return {key: float(value) for key, value in found.items()}


def pareto(study: Study, points: Sequence[Point], records: Mapping[str, Record]) -> list[tuple[Point, list[float]]]:
    """The points that no other beats in every objective, with their values, ordered by the first objective."""
    front = make_study(study, points, records).best_trials
    return sorted(((trial.params, list(trial.values)) for trial in front), key=lambda one: one[1][0])
