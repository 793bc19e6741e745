"""What the scores say: every variant against the baseline, paired by seed, with the uncertainty said."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from scipy import stats

CONFIDENCE = 0.95
EXACT_UP_TO = 16  # pairs; above, 2^16 random sign flips stand in for all of them
SAME = 1e-12  # differences of scores closer than this differ by rounding alone


@dataclass(frozen=True)
class Comparison:
    """One variant, and its difference to the baseline over the seeds that both have.

    Scores keep their unit, so a difference of 0.061 is 6.1 points. What the seeds cannot give is None: the
    baseline has no difference to itself, and one pair, or pairs that differ by exactly the same, have no spread
    from which an interval could be made. `low` and `high` are the 95 % Student t interval of the paired
    differences, not widened for the number of variants; `p` is the exact two-sided sign-flip permutation
    test, `p_holm` is `p` after Holm (1979) over the variants compared; `t_holm` is the paired t-test after Holm,
    which few seeds can pass and a permutation cannot; `effect` is the mean of the paired differences over their
    standard deviation (Cohen's d_z). `family` counts the variants that Holm allows for.
    """

    variant: str
    seeds: int
    mean: float
    deviation: float
    pairs: int = 0
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    p_holm: float | None = None
    t_holm: float | None = None
    effect: float | None = None
    family: int = 1

    @property
    def significant(self) -> bool:
        """Whether the difference may be claimed: where nothing differs, one study in twenty claims anything."""
        return self.t_holm is not None and self.t_holm <= 1 - CONFIDENCE

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval, taken by itself, leaves out zero."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


def compare(
    scores: Mapping[str, Mapping[int, float]], baseline: str, baselines: Mapping[str, str] = MappingProxyType({})
) -> list[Comparison]:
    """Each variant of `scores` (variant -> seed -> score) against `baseline`, in the order given.

    One that `baselines` names another baseline for is compared with that; Holm's adjustment is over all of them. A
    variant without scores has a nan mean; without a baseline's scores no variant has a difference.
    """
    return _with_holm([_compared(name, own, scores, baselines.get(name, baseline)) for name, own in scores.items()])


def interval(values: Sequence[float] | NDArray[np.float64]) -> tuple[float, float] | None:
    """The 95 % Student t interval of the mean; None where fewer than two values, or no spread, allow none."""
    if len(values) < 2 or np.ptp(values) < SAME:
        return None
    error = float(stats.sem(values))
    low, high = stats.t.interval(CONFIDENCE, len(values) - 1, loc=float(np.mean(values)), scale=error)
    return float(low), float(high)


def sign_flip(differences: NDArray[np.float64]) -> float:
    """Two-sided p-value of a zero mean under random signs: the share of sign patterns at least as far from zero.

    All 2^n patterns for up to 16 differences, so with n of them it is never below 2^(1-n).
    """
    exact = len(differences) <= EXACT_UP_TO
    test = stats.permutation_test(
        (differences,),
        lambda sample, axis: np.mean(sample, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=np.inf if exact else 2**EXACT_UP_TO,
        batch=2**12,
        rng=None if exact else np.random.default_rng(0),
    )
    return float(test.pvalue)


def smallest_p(pairs: int) -> float:
    """The smallest p-value that an exact two-sided sign-flip test of `pairs` differences can have."""
    return 2.0 ** (1 - pairs)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment (Holm 1979), in the order given; controls the family-wise error."""
    adjusted = np.empty(len(p_values))
    running = 0.0
    for rank, index in enumerate(np.argsort(p_values, kind="stable")):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = running
    return [float(value) for value in adjusted]


def seeds_needed(effect: float, power: float = 0.8, most: int = 1000) -> int | None:
    """How many seeds a two-sided paired t-test at 5 % needs to find `effect` (d_z) with `power`; None above `most`."""
    if effect == 0:
        return None
    seeds = np.arange(2, most + 1)
    threshold = stats.t.isf((1 - CONFIDENCE) / 2, seeds - 1)
    found = stats.nct.sf(threshold, seeds - 1, abs(effect) * np.sqrt(seeds)) >= power
    return int(seeds[np.argmax(found)]) if found.any() else None


def sentence(comparison: Comparison, metric: str, baseline: str) -> str:
    """The finding in plain words, in points (hundredths) of `metric`; only a significant one is claimed."""
    name, difference = f"“{comparison.variant}”", comparison.difference
    if difference is None:
        return f"{name} has no seed in common with “{baseline}” yet, so nothing can be said."
    against = f"of {metric} against “{baseline}”"
    if comparison.low is None or comparison.high is None:
        return _without_interval(comparison, against)
    if comparison.excludes_zero and comparison.t_holm is not None:
        sign, verb = (1, "gain") if difference > 0 else (-1, "cost")
        low, high = sorted((sign * comparison.low, sign * comparison.high))
        span = f"95 % interval {100 * low:.1f} to {100 * high:.1f}, t-test p {relation(comparison.t_holm)} after Holm"
        size = f"{abs(100 * difference):.1f} points {against} ({span}, {comparison.pairs} seeds)"
        if comparison.significant:
            return f"{name} {verb}s {size}."
        return f"{name} may {verb} {size}: among {comparison.family} variants compared, one such interval can be luck."
    span = f"95 % interval {signed(comparison.low)} to {signed(comparison.high)}"
    return (
        f"{name} shows no difference that {comparison.pairs} seeds could show: {signed(difference)} points {against} "
        f"({span}).{_seeds_hint(comparison)}"
    )


def signed(score: float) -> str:
    """A difference of scores in points with its sign, as in −6.1; zero has none."""
    text = f"{100 * score:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text.replace("-", "\N{MINUS SIGN}")


def relation(p: float) -> str:
    """What follows `p` in a sentence: `= 0.031`, or `< 0.001` for whatever is smaller."""
    return "< 0.001" if p < 0.001 else f"= {p:.2g}"


def _compared(
    name: str, own: Mapping[int, float], scores: Mapping[str, Mapping[int, float]], baseline: str
) -> Comparison:
    values = np.array(list(own.values()), dtype=np.float64)
    mean = float(values.mean()) if len(values) else math.nan
    deviation = float(values.std(ddof=1)) if len(values) > 1 else math.nan
    alone = Comparison(name, len(values), mean, deviation)
    reference = scores.get(baseline, {})
    shared = sorted(own.keys() & reference.keys())
    if name == baseline or not shared:
        return alone
    differences = np.array([own[seed] - reference[seed] for seed in shared], dtype=np.float64)
    paired = replace(alone, pairs=len(shared), difference=float(differences.mean()))
    span = interval(differences)
    if span is None:
        return paired
    effect = float(differences.mean() / differences.std(ddof=1))
    return replace(paired, low=span[0], high=span[1], p=sign_flip(differences), effect=effect)


def _with_holm(comparisons: Sequence[Comparison]) -> list[Comparison]:
    tested = [one for one in comparisons if one.p is not None and one.effect is not None]
    flips = holm([one.p for one in tested if one.p is not None])
    tests = holm([_paired_t(one.effect, one.pairs) for one in tested if one.effect is not None])
    adjusted = {
        one.variant: replace(one, p_holm=flip, t_holm=test, family=len(tested))
        for one, flip, test in zip(tested, flips, tests, strict=True)
    }
    return [adjusted.get(one.variant, one) for one in comparisons]


def _paired_t(effect: float, pairs: int) -> float:
    """The two-sided p-value of the paired t-test, whose statistic is the effect (d_z) times the root of the pairs."""
    return float(2 * stats.t.sf(abs(effect) * math.sqrt(pairs), pairs - 1))


def _without_interval(comparison: Comparison, against: str) -> str:
    assert comparison.difference is not None
    name, points = f"“{comparison.variant}”", signed(comparison.difference)
    if comparison.pairs > 1:
        return f"{name} differs by exactly {points} points {against} in each of {comparison.pairs} seeds; no interval."
    return f"{name}: {points} points {against} in a single seed, which cannot tell a difference from luck."


def _seeds_hint(comparison: Comparison) -> str:
    needed = seeds_needed(comparison.effect) if comparison.effect is not None else None
    if needed is None or needed <= comparison.pairs:
        return ""
    return f" If the true difference is this large, about {needed} seeds would show it."
