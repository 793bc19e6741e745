from __future__ import annotations

import itertools

import numpy as np
import pytest

from polyview.trials.factorial import fractional_factorial


def words(design: np.ndarray, length: int) -> list[tuple[int, ...]]:
    """The sets of so many columns whose product is constant: the words of the defining relation."""
    return [
        chosen
        for chosen in itertools.combinations(range(design.shape[1]), length)
        if abs(design[:, chosen].prod(axis=1).sum()) == len(design)
    ]


@pytest.mark.parametrize("factors", range(1, 17))
def test_no_main_effect_is_aliased_with_another_or_with_a_pair(factors: int) -> None:
    design = fractional_factorial(factors)
    assert not design.sum(axis=0).any()
    assert not any(words(design, length) for length in (2, 3))


@pytest.mark.parametrize(
    ("factors", "runs"), [(1, 2), (2, 4), (3, 8), (4, 8), (5, 16), (6, 16), (8, 16), (9, 32), (16, 32), (17, 64)]
)
def test_the_runs_are_those_of_the_standard_tables(factors: int, runs: int) -> None:
    design = fractional_factorial(factors)
    assert design.shape == (runs, factors)
    assert len(np.unique(design, axis=0)) == runs


def test_six_factors_alias_pairs_with_pairs_as_box_hunter_and_hunter_have_it() -> None:
    assert words(fractional_factorial(6), 4) == [(0, 1, 2, 4), (0, 1, 3, 5), (2, 3, 4, 5)]


def test_five_factors_are_of_resolution_five() -> None:
    assert not words(fractional_factorial(5), 4)
