"""What the scores say: every variant against the baseline, paired by seed and person, with the uncertainty said."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final, Literal

import numpy as np
from scipy import stats

from polyview.analysis.inference import (
    CONFIDENCE,
    SAME,
    Estimate,
    SeedScore,
    contrast,
    for_other_people,
    for_these_people,
    unpaired,
)
from polyview.analysis.sequential import looks, nominal_levels, sequential_p
from polyview.recipe.evaluation import Side
from polyview.wording import agreeing, counted

Verdict = Literal["better", "worse", "same", "open", "untested"]
POWER = 0.8
MOST_SEEDS = 100

UNTESTED: Final = "untested"
"""In place of a verdict: for want of seeds, of any spread of them, or of the same people, classes and faces."""


@dataclass(frozen=True)
class Comparison:
    """One variant, and its difference to the baseline over the seeds and test subjects that both have.

    Scores keep their unit, so a difference of 0.061 is 6.1 points. `low` and `high` are the 95 % interval of the
    difference for other people under other seeds, `seeds_low` and `seeds_high` for these people under other seeds;
    neither is widened for the number of variants. `p` is the two-sided p-value for other people, `p_adjusted` is that
    after Holm (1979) over the `family` of comparisons, whether they could be tested or not, or after Bonferroni where
    there is a margin, and decides the verdict; `p_same` is the adjusted p-value of a difference of a margin or more.
    Where a study was looked at several times, after `looks`, all of these allow for it. `against` names the baseline;
    a baseline itself has none. `unpaired` says why there is no difference, where the two are scored on other people or
    faces or between other classes, and `side` of which subjects the score is. What the scores cannot give is None.
    """

    variant: str
    seeds: int
    mean: float
    deviation: float
    pairs: int = 0
    people: int = 0
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    seeds_low: float | None = None
    seeds_high: float | None = None
    p: float | None = None
    p_adjusted: float | None = None
    p_same: float | None = None
    looks: int = 1
    family: int = 1
    estimate: Estimate | None = None
    against: str | None = None
    unpaired: str = ""
    side: Side = "test"

    @property
    def verdict(self) -> Verdict:
        """What may be claimed: where nothing differs, one study in twenty claims anything."""
        if self.unpaired or self.p is None:
            return UNTESTED
        if self.p_adjusted is not None and self.difference is not None and self.p_adjusted <= 1 - CONFIDENCE:
            return "better" if self.difference > 0 else "worse"
        return "same" if self.p_same is not None and self.p_same <= 1 - CONFIDENCE else "open"

    @property
    def decisive_p(self) -> float | None:
        """The adjusted p-value that decides the verdict."""
        return self.p_same if self.verdict == "same" else self.p_adjusted

    @property
    def decided(self) -> bool:
        """Whether the study says how the two compare: neither open nor untested."""
        return self.verdict in ("better", "worse", "same")

    @property
    def significant(self) -> bool:
        """Whether a difference may be claimed."""
        return self.verdict in ("better", "worse")


def compare(
    scores: Mapping[str, Mapping[int, SeedScore]],
    baseline: str,
    baselines: Mapping[str, str] = MappingProxyType({}),
    margin: float | None = None,
    looked_at: Sequence[int] = (),
) -> list[Comparison]:
    """Each variant of `scores` (variant -> seed -> score) against `baseline`, in the order given.

    One that `baselines` names another baseline for is compared with that; the adjustment is over all of them. A
    variant without scores has a nan mean; without a baseline's scores no variant has a difference. `margin`, in the
    scores' unit, is the largest difference that is none. `looked_at` are the numbers of seeds at which the study is
    looked at, if it goes on until it is decided.
    """
    return adjust_comparisons(
        [_compared(name, scores, baselines.get(name, baseline), margin, looked_at) for name in scores], margin
    )


def adjust_comparisons(comparisons: Sequence[Comparison], margin: float | None = None) -> list[Comparison]:
    """The comparisons as one family: with their p-values adjusted for its size.

    One that has no p-value, as its seeds differ by the same or have not run, is one of the family all the same: which
    of the others are claimed must not depend on that.
    """
    family = [one for one in comparisons if one.against is not None]
    p_values = [1.0 if one.p is None else one.p for one in family]
    adjusted = holm(p_values) if margin is None else bonferroni(p_values)
    same = bonferroni([1.0 if one.p_same is None else one.p_same for one in family])
    by_place = iter(
        replace(
            one,
            p_adjusted=None if one.p is None else p,
            p_same=None if one.p_same is None else p_same,
            family=len(family),
        )
        for one, p, p_same in zip(family, adjusted, same, strict=True)
    )
    return [one if one.against is None else next(by_place) for one in comparisons]


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment (Holm 1979), in the order given; controls the family-wise error."""
    adjusted = np.empty(len(p_values))
    running = 0.0
    for rank, index in enumerate(np.argsort(p_values, kind="stable")):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = running
    return [float(value) for value in adjusted]


def bonferroni(p_values: Sequence[float]) -> list[float]:
    """Each p-value times their number.

    A comparison that is tested for a difference and for the lack of one has one true null hypothesis at most, so that
    their number is that of the comparisons. Holm's steps do not hold there.
    """
    return [min(1.0, len(p_values) * p) for p in p_values]


def interval(scores: Iterable[SeedScore]) -> tuple[float, float] | None:
    """The 95 % interval of the mean score for other people under other seeds; None where the scores allow none."""
    found = for_other_people(list(scores))
    return found.interval() if found else None


def seeds_needed(estimate: Estimate, family: int = 1) -> int | None:
    """How many seeds would show a true mean as large as the estimated one with a power of 80 %; None if none would.

    The study is then looked at from the seeds that are there on, until it is decided, and its claims are adjusted for
    a `family` of comparisons. The people stay these many, and the more seeds there are the less that can help.
    """
    more = range(estimate.seeds + 1, MOST_SEEDS + 1)
    low, high = -1, len(more)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _power(estimate, more[middle], family) >= POWER else (middle, high)
    return more[high] if high < len(more) else None


def _power(estimate: Estimate, seeds: int, family: int) -> float:
    """The power of the last look of a study of so many seeds."""
    planned = looks(estimate.seeds, seeds)
    level = nominal_levels((1 - CONFIDENCE) / family, tuple(count / seeds for count in planned))[-1]
    seed_variance = max(estimate.seed_variance, estimate.sampling_variance)
    error = math.sqrt(seed_variance / seeds + estimate.people_variance)
    threshold = stats.t.isf(level / 2, seeds - 1)
    return float(stats.nct.sf(threshold, seeds - 1, abs(estimate.mean) / error)) if error else 1.0


def sentence(comparison: Comparison, metric: str, baseline: str, margin: float | None = None) -> str:
    """The finding in plain words, in points (hundredths) of `metric`; only what the verdict says is claimed."""
    name, difference = f"“{comparison.variant}”", comparison.difference
    if comparison.unpaired:
        return f"{name} is scored on {comparison.unpaired} than “{baseline}”, so that the two are not compared."
    if difference is None:
        return f"{name} has no seed in common with “{baseline}” yet, so nothing can be said."
    against = f"of {metric} against “{baseline}”"
    if comparison.low is None or comparison.high is None or comparison.p_adjusted is None:
        return _without_interval(comparison, against)
    basis = f"{counted(comparison.pairs, 'seed')}{_of_people(comparison)}{_after_looks(comparison)}"
    excludes_zero = comparison.low > 0 or comparison.high < 0
    if comparison.verdict == "same" and margin is not None:
        span = f"95 % interval {signed(comparison.low)} to {signed(comparison.high)}"
        p = f"p {relation(comparison.p_same or 0.0)} {adjustment(margin)}"
        return (
            f"{name} is the same as “{baseline}” within {in_points(margin)} of {metric}: {signed(difference)} "
            f"({span}, {p}, {basis})."
        )
    if comparison.significant or excludes_zero:
        sign, verb = (1, "gain") if difference > 0 else (-1, "cost")
        low, high = sorted((sign * comparison.low, sign * comparison.high))
        span = f"95 % interval {_points(low)} to {_points(high)}, p {relation(comparison.p_adjusted)}"
        size = f"{abs(100 * difference):.1f} points {against} ({span} {adjustment(margin)}, {basis})"
        if comparison.significant:
            return f"{name} {verb}s {size}.{_narrow(comparison)}"
        luck = f"of {comparison.family} comparisons, some such intervals are luck"
        return f"{name} may {verb} {size}: {luck}.{_narrow(comparison)}"
    span = f"95 % interval {signed(comparison.low)} to {signed(comparison.high)}"
    return (
        f"Whether {name} differs is open: {signed(difference)} points {against} ({span}, {basis})."
        f"{_on_these_people(comparison)}{_narrow(comparison)}{_seeds_hint(comparison)}"
    )


def signed(score: float) -> str:
    """A difference of scores in points with its sign, as in −6.1; zero has none."""
    text = f"{100 * score:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text.replace("-", "\N{MINUS SIGN}")


def relation(p: float) -> str:
    """What follows `p` in a sentence: `= 0.031`, or `< 0.001` for whatever is smaller."""
    return "< 0.001" if p < 0.001 else f"= {p:.2g}"


def adjustment(margin: float | None) -> str:
    """By what the p-values of a family are adjusted, in words."""
    return "after Holm" if margin is None else "after Bonferroni"


def _compared(
    name: str,
    scores: Mapping[str, Mapping[int, SeedScore]],
    baseline: str,
    margin: float | None,
    looked_at: Sequence[int],
) -> Comparison:
    values = np.array([one.score for one in scores[name].values()], dtype=np.float64)
    mean = float(values.mean()) if len(values) else math.nan
    deviation = float(values.std(ddof=1)) if len(values) > 1 else math.nan
    pair, against = [scores[name], scores.get(baseline, {})], None if name == baseline else baseline
    alone = Comparison(
        name, len(values), mean, deviation, against=against, unpaired=unpaired(pair), side=_side(scores[name])
    )
    differences = contrast(pair, [1, -1])
    if name == baseline or not differences or alone.unpaired:
        return alone
    stages = _stages(differences, looked_at)
    shown = stages[-1]
    people = len({person for one in shown for person in one.people})
    paired = replace(
        alone,
        pairs=len(shown),
        people=people,
        difference=float(np.mean([one.score for one in shown])),
        looks=len(stages),
    )
    seeds, found = for_these_people(shown), [for_other_people(stage) for stage in stages]
    if seeds:
        paired = replace(paired, seeds_low=seeds.interval()[0], seeds_high=seeds.interval()[1])
    if (last := found[-1]) is None:
        return paired
    low, high = last.interval()
    fractions = [count / looked_at[-1] for count in looked_at] if looked_at else [1.0]
    p = sequential_p([one.p_zero() if one else 1.0 for one in found], fractions)
    paired = replace(paired, low=low, high=high, estimate=last, p=p)
    if margin is None:
        return paired
    outside = [one.p_outside(margin) if one else 1.0 for one in found]
    return replace(paired, p_same=sequential_p([2 * one for one in outside], fractions) / 2)


def _side(by_seed: Mapping[int, SeedScore]) -> Side:
    return next((one.scored.side for one in by_seed.values() if one.scored), "test")


def _stages(differences: Mapping[int, SeedScore], looked_at: Iterable[int]) -> list[list[SeedScore]]:
    """What each look that has all its seeds has seen; all that there is if none has, or the study is looked at once."""
    ordered = [differences[seed] for seed in sorted(differences)]
    return [ordered[:count] for count in looked_at if count <= len(ordered)] or [ordered]


def _without_interval(comparison: Comparison, against: str) -> str:
    assert comparison.difference is not None
    name, points = f"“{comparison.variant}”", signed(comparison.difference)
    if comparison.pairs == 1:
        return f"{name}: {points} points {against} in a single seed, which cannot tell a difference from luck."
    if comparison.seeds_low is None or comparison.seeds_high is None:
        return (
            f"{name}: {points} points {against}. The error that comes of its {comparison.pairs} seeds is no more than "
            "one prediction more in one of them would make, so that no interval and no verdict can be had from them."
        )
    return (
        f"Whether {name} differs is open: {points} points {against}, and no predictions were kept from which to tell "
        f"for other people.{_on_these_people(comparison)}"
    )


def _on_these_people(comparison: Comparison) -> str:
    low, high = comparison.seeds_low, comparison.seeds_high
    if low is None or high is None or low <= 0 <= high:
        return ""
    return f" For these people under other seeds the interval is {signed(low)} to {signed(high)}."


def in_points(margin: float) -> str:
    """A margin in hundredths of a score, as in `1 point` and `0.5 points`."""
    return f"{100 * margin:g} {agreeing(round(100 * margin, 9), 'point', 'points')}"


def _of_people(comparison: Comparison) -> str:
    return f", {counted(comparison.people, f'{comparison.side} subject')}" if comparison.people else ""


def _after_looks(comparison: Comparison) -> str:
    return f", looked at {comparison.looks} times" if comparison.looks > 1 else ""


def _points(score: float) -> str:
    return f"{100 * score:.1f}".replace("-", "\N{MINUS SIGN}")


def _narrow(comparison: Comparison) -> str:
    if comparison.estimate is None or not comparison.estimate.is_narrow:
        return ""
    whose = f"its {comparison.side} subjects"
    return f" Its seeds are more alike than {whose} let expect, so that the interval may be too narrow."


def _seeds_hint(comparison: Comparison) -> str:
    if comparison.estimate is None or abs(comparison.estimate.mean) < SAME or comparison.looks > 1:
        return ""
    if comparison.pairs < 3:  # the spread of two is anything between half of the true one and thirty times it
        return ""
    needed = seeds_needed(comparison.estimate, comparison.family)
    if needed is None and not comparison.estimate.people_variance:
        return f" If it is this large, even {MOST_SEEDS} seeds would hardly show it."
    if needed is None:
        return " More seeds alone would hardly show a difference this large; more people might."
    return (
        f" If it is this large, seeds: {{first: {comparison.pairs}, most: {needed}, until: decided}} would show it "
        f"with a power of {100 * POWER:.0f} %."
    )
