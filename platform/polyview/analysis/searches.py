"""What the records say of a search: its best point, which keys mattered, and which points no other beats."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from polyview.recipe import Study
from polyview.trials.design import BEST, Trial, repeated, vary
from polyview.trials.ledger import Record
from polyview.trials.search import make_study, make_trials
from polyview.trials.space import Point

if TYPE_CHECKING:
    import optuna

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
    varied = vary(study, found[0], f"{study.name}: {BEST}")
    return repeated(BEST, varied, study.all_seeds)


def importance(study: Study, points: Sequence[Point], records: Mapping[str, Record]) -> dict[str, float]:
    """The share of the first objective's variance that each key explains (fANOVA, Hutter 2014), largest first.

    Variance is over the space as it is searched, where a key is log-uniform over its logarithm. Empty where fewer than
    eight points have a record, or all have the same value.
    """
    import optuna
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances
    from optuna.trial import TrialState

    complete = make_study(study, points, records).get_trials(states=[TrialState.COMPLETE])
    if len(complete) < SMALLEST_FOR_IMPORTANCE or len({trial.values[0] for trial in complete}) < 2:
        return {}
    weighed = optuna.create_study()
    weighed.add_trials([_on_linear_scale(trial) for trial in complete])
    found = get_param_importances(weighed, evaluator=FanovaImportanceEvaluator(seed=0))
    return {key: float(value) for key, value in found.items()}


def _on_linear_scale(trial: optuna.trial.FrozenTrial) -> optuna.trial.FrozenTrial:
    """The trial with the first of its values, and with logarithms in place of what is searched on a logarithmic scale.

    fANOVA takes every number as it is, by which most of a log-uniform range is its last tenth.
    """
    import optuna

    params, distributions = dict(trial.params), dict(trial.distributions)
    for key, kind in trial.distributions.items():
        if isinstance(kind, optuna.distributions.FloatDistribution) and kind.log:
            params[key] = math.log(params[key])
            distributions[key] = optuna.distributions.FloatDistribution(math.log(kind.low), math.log(kind.high))
    return optuna.trial.create_trial(params=params, distributions=distributions, value=trial.values[0])


def pareto(study: Study, points: Sequence[Point], records: Mapping[str, Record]) -> list[tuple[Point, list[float]]]:
    """The points that no other beats in every objective, with their values, ordered by the first objective."""
    front = make_study(study, points, records).best_trials
    return sorted(((trial.params, list(trial.values)) for trial in front), key=lambda one: one[1][0])
