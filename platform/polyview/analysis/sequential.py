"""Looking at a study several times, as seeds are added, without claiming more for it."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

STEP = 0.05  # of the grid of normal scores that the bounds are integrated on
POINTS = 61  # of that grid at least
LEVELS = np.geomspace(1e-6, 0.9, 1400)  # one part in a hundred apart


def looks(first: int, most: int) -> tuple[int, ...]:
    """After how many seeds a study is looked at: the first, as many again each time, and the last."""
    return (*range(first, most, first), most)


def spent(level: float, fraction: float) -> float:
    """How much of `level` may be spent once that fraction of the seeds is there (Lan and DeMets 1983, as Pocock's)."""
    return level * math.log(1 + (math.e - 1) * min(fraction, 1.0))


@functools.cache
def nominal_levels(level: float, fractions: tuple[float, ...]) -> tuple[float, ...]:
    """The two-sided level of each look such that any of them errs with probability `level` at most.

    `fractions` are the shares of all seeds that each look has, growing to 1. Scores are taken to be normal with
    independent increments (Armitage, McPherson and Rowe 1969); what seeds have in common through shared people makes
    the looks more alike, and the bounds conservative.
    """
    found: list[float] = []
    density: NDArray[np.float64] | None = None  # of the running sum, where no look has claimed anything yet
    grid, before, spent_before = np.zeros(0), 0.0, 0.0
    for fraction in fractions:
        step = math.sqrt(fraction - before)
        wanted = spent(level, fraction) - spent_before
        exceeding = functools.partial(_exceeding, grid=grid, density=density, step=step)
        bound = optimize.brentq(lambda at, e=exceeding, w=wanted: e(at) - w, 0.0, 12.0, xtol=1e-7)
        found.append(float(2 * special.ndtr(-bound / math.sqrt(fraction))))
        grid, density = _continued(bound, grid, density, step)
        before, spent_before = fraction, spent(level, fraction)
    return tuple(found)


def _exceeding(bound: float, grid: NDArray[np.float64], density: NDArray[np.float64] | None, step: float) -> float:
    """The probability that the running sum is beyond `bound` on either side after this step, and was not before."""
    if density is None:
        return float(2 * special.ndtr(-bound / step))
    beyond = special.ndtr((grid - bound) / step) + special.ndtr((-grid - bound) / step)
    return float(np.trapezoid(density * beyond, grid))


def _normal(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.exp(-(scores**2) / 2) / math.sqrt(2 * math.pi)


def _continued(
    bound: float, grid: NDArray[np.float64], density: NDArray[np.float64] | None, step: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The density of the running sum within `bound` after this step."""
    ahead = np.linspace(-bound, bound, max(2 * math.ceil(bound / STEP) + 1, POINTS))
    if density is None:
        first: NDArray[np.float64] = _normal(ahead / step) / step
        return ahead, first
    moved = _normal((ahead[:, None] - grid[None, :]) / step) / step
    return ahead, np.asarray(np.trapezoid(moved * density, grid, axis=1))


def sequential_p(p_values: Sequence[float], fractions: Sequence[float]) -> float:
    """The smallest level at which some look so far would have claimed a difference (Liu and Anderson 2008).

    `p_values` are the two-sided ones of the looks so far, in order; `fractions` those of all planned looks. A single
    look at all seeds gives its own p-value.
    """
    planned = tuple(fractions)
    if planned == (1.0,):
        return p_values[0]

    def claims(level: float) -> bool:
        return any(p <= bound for p, bound in zip(p_values, nominal_levels(level, planned), strict=False))

    low, high = -1, len(LEVELS)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if claims(float(LEVELS[middle])) else (middle, high)
    return float(LEVELS[high]) if high < len(LEVELS) else 1.0
