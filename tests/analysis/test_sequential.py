from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from polyview.analysis.sequential import looks, nominal_levels, sequential_p


def test_a_study_is_looked_at_after_the_first_seeds_and_as_many_again() -> None:
    assert looks(3, 20) == (3, 6, 9, 12, 15, 18, 20)
    assert looks(3, 9) == (3, 6, 9)


def test_the_bounds_are_those_in_print() -> None:
    """Five equal looks at 5 %, two-sided, spent as Pocock's (Lan and DeMets 1983)."""
    found = [stats.norm.isf(level / 2) for level in nominal_levels(0.05, (0.2, 0.4, 0.6, 0.8, 1.0))]
    assert found == pytest.approx([2.438, 2.427, 2.410, 2.397, 2.386], abs=1e-3)


@pytest.mark.parametrize("level", [0.3, 0.05, 0.005])
def test_the_looks_together_err_at_the_level(level: float) -> None:
    fractions = (0.15, 0.3, 0.65, 1.0)
    rng, studies = np.random.default_rng(0), 200_000
    steps = rng.standard_normal((studies, 4)) * np.sqrt(np.diff([0.0, *fractions]))
    scores = np.cumsum(steps, axis=1) / np.sqrt(fractions)
    bounds = stats.norm.isf(np.array(nominal_levels(level, fractions)) / 2)
    claimed = (np.abs(scores) > bounds).any(axis=1).mean()
    assert claimed == pytest.approx(level, abs=4 * np.sqrt(level / studies))


def test_one_look_gives_its_own_p_value_and_several_a_larger_one() -> None:
    assert sequential_p([0.031], [1.0]) == 0.031
    fractions = [0.25, 0.5, 0.75, 1.0]
    assert sequential_p([0.6, 0.5, 0.2, 0.031], fractions) > 0.05
    assert sequential_p([0.6, 0.001], fractions) > 0.001


def test_what_was_claimed_at_a_look_is_claimed_for_good() -> None:
    fractions = [0.25, 0.5, 1.0]
    first = sequential_p([0.001], fractions)
    assert first < 0.05
    assert sequential_p([0.001, 0.9], fractions) == first
    assert sequential_p([0.9], fractions) == 1.0
