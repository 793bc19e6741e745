from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyview.analysis.effects import effects
from polyview.analysis.inference import SeedScore
from polyview.trials.factorial import fractional_factorial


def drawn(by_seed: dict[int, float]) -> dict[int, SeedScore]:
    """Each seed has test subjects of its own, who are all alike: there is nothing but the spread between seeds."""
    return {
        seed: SeedScore(score, {f"{seed}-{person}": score for person in range(3)}) for seed, score in by_seed.items()
    }


def scored(factors: dict[str, tuple[int, ...]], model: object, seeds: int, noise: float) -> dict:  # type: ignore[type-arg]
    rng = np.random.default_rng(0)
    shifts = rng.normal(0, 5, seeds)
    return {
        cell: drawn({seed: model(*cell) + shifts[seed] + rng.normal(0, noise) for seed in range(seeds)})  # type: ignore[operator]
        for cell in itertools.product(*factors.values())
    }


def test_a_full_factorial_gives_back_the_effects_that_made_it() -> None:
    factors = {"a": (-1, 1), "b": (-1, 1), "c": (10, 20, 30)}
    found = effects(factors, scored(factors, lambda a, b, c: 2 * a - b + 0.5 * a * b + 0.1 * c, 4, 0.01))
    sizes = {effect.name: effect.size for effect in found}
    expected = {"a": 4, "b": -2, "c=20": 1, "c=30": 2, "a × b": 1, "a × c=20": 0, "b × c=30": 0}
    assert {name: sizes[name] for name in expected} == pytest.approx(expected, abs=0.02)
    assert {effect.name for effect in found if effect.significant} >= {"a", "b", "c=20", "c=30", "a × b"}
    assert all(effect.p_holm >= effect.p for effect in found)  # type: ignore[operator]


def test_with_two_values_the_interval_of_one_factor_is_the_paired_t_interval() -> None:
    scores = {(0,): drawn({0: 0.5, 1: 0.6, 2: 0.4}), (1,): drawn({0: 0.55, 1: 0.7, 2: 0.43})}
    (effect,) = effects({"a": (0, 1)}, scores)
    differences = np.array([0.05, 0.1, 0.03])
    half = 4.302652729749464 * differences.std(ddof=1) / np.sqrt(3)
    assert effect.size == pytest.approx(0.06)
    assert (effect.low, effect.high) == pytest.approx((0.06 - half, 0.06 + half))


def test_a_fraction_gives_main_effects_alone_and_pairs_with_their_aliases() -> None:
    design = fractional_factorial(4).tolist()
    levels = dict.fromkeys("abcd", (-1, 1))
    scores = {
        tuple(row): drawn({s: 3 * row[0] + row[2] * row[3] + 0.01 * s * row[1] for s in range(3)}) for row in design
    }
    found = {effect.name: effect for effect in effects(levels, scores)}
    assert list(found) == ["a", "b", "c", "d", "a × b", "a × c", "a × d"]
    assert found["a × b"].aliases == ("c × d",)
    assert found["a"].size == pytest.approx(6)
    assert found["a × b"].size == pytest.approx(2)


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 5), st.floats(-1, 1))
def test_a_shift_of_a_whole_seed_changes_nothing(seeds: int, shift: float) -> None:
    factors = {"a": (0, 1), "b": (0, 1)}
    scores = scored(factors, lambda a, b: a + b, seeds, 0.1)
    moved = {cell: drawn({seed: one.score + shift * seed for seed, one in row.items()}) for cell, row in scores.items()}
    for one, other in zip(effects(factors, scores), effects(factors, moved), strict=True):
        assert (one.size, one.low, one.high) == pytest.approx((other.size, other.low, other.high))


def test_one_seed_gives_sizes_without_intervals_and_a_missing_cell_nothing() -> None:
    scores = {(0,): drawn({0: 0.5}), (1,): drawn({0: 0.75})}
    (effect,) = effects({"a": (0, 1)}, scores)
    assert (effect.size, effect.low, effect.p) == (0.25, None, None)
    assert effects({"a": (0, 1)}, scores | {(1,): {}}) == []


def test_an_effect_without_a_test_is_one_of_the_family_all_the_same() -> None:
    scores = {
        (a, b): drawn({seed: 0.5 + shift * a for seed, shift in enumerate((0.03, 0.05, 0.04))})
        for a, b in itertools.product((0, 1), repeat=2)
    }
    one, *others = effects({"a": (0, 1), "b": (0, 1)}, scores)
    assert [other.p for other in others] == [None, None]
    assert one.p is not None
    assert one.p_holm == pytest.approx(3 * one.p)
