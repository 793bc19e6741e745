"""Which trials a study needs: all of them, or, where it goes on until it is decided, those up to its next look."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import replace

from polyview.analysis.comparisons import comparisons, looked_at
from polyview.analysis.outcome import Outcome
from polyview.trials.design import Trial, baselines


def needed_trials(outcome: Outcome) -> list[Trial]:
    """Of the trials of all seeds those that are needed, by what the records of the looks so far say.

    At each look the variants whose comparison is open go on, and so do the baselines that they are compared with. The
    trials of a look are all needed before the next.
    """
    counts = looked_at(outcome.study)
    if not counts:
        return outcome.trials
    reached = {trial.variant: counts[0] for trial in outcome.trials}
    for further in (*counts[1:], None):
        so_far = [trial for trial in outcome.trials if trial.seed < reached[trial.variant]]
        if further is None or any(trial.id not in outcome.records for trial in so_far):
            break
        undecided = open_variants(replace(outcome, trials=so_far))
        reached |= dict.fromkeys(undecided, further)
    return so_far


def open_variants(outcome: Outcome) -> Set[str]:
    """The variants that are not decided in some metric that the study compares in, and their baselines."""
    study, against = outcome.study, baselines(outcome.study)
    compared = [one for metric in study.all_metrics for family in comparisons(outcome, metric) for one in family]
    undecided = {one.variant for one in compared if one.difference is not None and not one.decided}
    return undecided | {against.get(name, study.baseline) for name in undecided}
