"""Whether a study that was run again came to the same: variant by variant, paired by seed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Literal

from polyview.analysis.comparisons import Scores, scores
from polyview.analysis.inference import CONFIDENCE, SAME, SeedScore, contrast, for_these_people
from polyview.analysis.outcome import Outcome
from polyview.analysis.statistics import holm

Agreement = Literal["identical", "same", "open", "differs", "not run"]
_COLUMNS = ("probe", "sample", "prediction")


@dataclass(frozen=True)
class Cell:
    """A variant's score in one metric before, and when it was run again, over the seeds that both have.

    `before` and `after` are means in the scores' unit, `low` and `high` the 95 % interval of the first for these people
    under other seeds. `p` is that of no difference, paired by seed, after Holm over all cells. What the scores cannot
    give is None: an interval of one seed, or of seeds that are all alike. Without a seed in common means are nan.
    """

    variant: str
    metric: str
    seeds: int
    before: float
    after: float
    low: float | None = None
    high: float | None = None
    identical: bool = False
    p: float | None = None

    @property
    def verdict(self) -> Agreement:
        """What may be said: where nothing differs but by chance, one rerun in twenty says `differs` of any cell."""
        if not self.seeds:
            return "not run"
        if self.identical:
            return "identical"
        if self.p is not None and self.p <= 1 - CONFIDENCE:
            return "differs"
        inside = self.low is not None and self.high is not None and self.low <= self.after <= self.high
        return "same" if inside else "open"

    @property
    def agrees(self) -> bool:
        """Whether the rerun has shown the same: `open` is no agreement, as it is no contradiction."""
        return self.verdict in ("identical", "same")


def agreement(before: Outcome, after: Outcome) -> list[Cell]:
    """Each variant that was run again, in each metric that the study compares in, against what it scored before.

    `identical`: every seed has the same score. `differs`: Student's paired test over the seeds, after Holm over all
    cells, excludes a mean difference of zero. `same`: it does not, and the new mean lies in the interval that the old
    one has for these people under other seeds. `open`: it lies outside, or there is no interval. A variant that had no
    score before is left out.
    """
    metrics = after.study.all_metrics
    return compare_runs({metric: (scores(before, metric), scores(after, metric)) for metric in metrics})


def compare_runs(by_metric: Mapping[str, tuple[Scores, Scores]]) -> list[Cell]:
    """The cells of each metric, from the scores of both runs; those count in the adjustment that cannot be tested."""
    cells = [
        _cell(variant, metric, old[variant], new[variant])
        for metric, (old, new) in by_metric.items()
        for variant in new
        if old.get(variant)
    ]
    adjusted = holm([1.0 if cell.p is None else cell.p for cell in cells])
    return [cell if cell.p is None else replace(cell, p=p) for cell, p in zip(cells, adjusted, strict=True)]


def _cell(variant: str, metric: str, old: Mapping[int, SeedScore], new: Mapping[int, SeedScore]) -> Cell:
    shared = sorted(old.keys() & new.keys())
    if not shared:
        return Cell(variant, metric, 0, math.nan, math.nan)
    before, after = ([side[seed] for seed in shared] for side in (old, new))
    differences = list(contrast([new, old], [1, -1]).values())
    own, paired = for_these_people(before), for_these_people(differences)
    low, high = own.interval() if own else (None, None)
    return Cell(
        variant,
        metric,
        len(shared),
        fmean(one.score for one in before),
        fmean(one.score for one in after),
        low,
        high,
        identical=all(abs(one.score) < SAME for one in differences),
        p=paired.p_zero() if paired else None,
    )


def same_predictions(before: Outcome, after: Outcome) -> tuple[int, int]:
    """Of how many trials every probe predicted the same of every sample, and of how many both have predictions."""
    known = {trial.place: before.predictions[trial.id] for trial in before.trials if trial.id in before.predictions}
    pairs = [
        (known[trial.place], after.predictions[trial.id])
        for trial in after.trials
        if trial.id in after.predictions and trial.place in known
    ]
    told = [[table.select(_COLUMNS).sort(_COLUMNS) for table in pair] for pair in pairs if not pair[0].is_empty()]
    return sum(one.equals(other) for one, other in told), len(told)
