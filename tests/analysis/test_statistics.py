from __future__ import annotations

import gc
import itertools
import math
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower

from polyview.analysis.statistics import Comparison, compare, holm, seeds_needed, sentence, sign_flip, smallest_p

POINTS = st.lists(st.floats(0, 1), min_size=2, max_size=8)


@pytest.fixture(autouse=True, scope="module")
def _little_to_collect() -> Iterator[None]:
    """statsmodels has all objects looked through at every call, and the tests before these leave millions."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def by_seed(values: list[float] | np.ndarray) -> dict[int, float]:
    return {seed: float(value) for seed, value in enumerate(values)}


def test_the_interval_and_effect_are_the_paired_t_tests() -> None:
    rng = np.random.default_rng(1)
    full, other = rng.normal(0.7, 0.05, 6), rng.normal(0.6, 0.05, 6)
    found = compare({"full": by_seed(full), "other": by_seed(other)}, "full")[1]
    reference = stats.ttest_rel(other, full)
    low, high = reference.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((low, high))
    assert found.difference == pytest.approx(np.mean(other) - np.mean(full))
    assert found.effect == pytest.approx(reference.statistic / math.sqrt(6))
    assert found.deviation == pytest.approx(np.std(other, ddof=1))


def test_the_p_value_counts_sign_patterns() -> None:
    differences = np.array([0.03, 0.05, -0.01, 0.02, 0.04])
    patterns = [abs(np.mean(differences * signs)) for signs in itertools.product((-1, 1), repeat=5)]
    expected = np.mean([value >= abs(differences.mean()) - 1e-12 for value in patterns])
    assert sign_flip(differences) == pytest.approx(expected)


@given(st.lists(st.integers(-100, 100), min_size=2, max_size=8))
def test_the_p_value_knows_no_direction_and_has_a_floor(points: list[int]) -> None:
    differences = np.array(points, dtype=float) / 100
    assert sign_flip(differences) == pytest.approx(sign_flip(-differences))
    assert smallest_p(len(points)) - 1e-12 <= sign_flip(differences) <= 1


def test_three_seeds_never_go_below_a_quarter() -> None:
    assert sign_flip(np.array([0.5, 0.51, 0.52])) == pytest.approx(0.25) == smallest_p(3)


@given(POINTS, st.data())
def test_what_a_seed_does_to_both_cancels(full: list[float], data: st.DataObject) -> None:
    other = data.draw(st.lists(st.floats(0, 1), min_size=len(full), max_size=len(full)))
    offsets = np.array(data.draw(st.lists(st.floats(-5, 5), min_size=len(full), max_size=len(full))))
    plain = compare({"full": by_seed(full), "other": by_seed(other)}, "full")[1]
    shifted = compare({"full": by_seed(full + offsets), "other": by_seed(other + offsets)}, "full")[1]
    assert shifted.difference == pytest.approx(plain.difference, abs=1e-9)
    if plain.low is not None and shifted.low is not None:
        assert (shifted.low, shifted.high) == pytest.approx((plain.low, plain.high), abs=1e-6)


def test_only_shared_seeds_are_paired() -> None:
    found = compare({"full": {0: 0.5, 1: 0.6, 2: 0.7}, "other": {1: 0.5, 2: 0.5, 9: 0.0}}, "full")[1]
    assert (found.seeds, found.pairs) == (3, 2)
    assert found.difference == pytest.approx(-0.15)
    assert found.mean == pytest.approx(1 / 3)


def test_what_the_seeds_cannot_give_is_absent() -> None:
    baseline, single, same, absent = compare(
        {"full": {0: 0.5, 1: 0.6}, "single": {0: 0.4}, "same": {0: 0.4, 1: 0.5}, "absent": {}}, "full"
    )
    assert baseline == Comparison("full", 2, pytest.approx(0.55), pytest.approx(0.0707, abs=1e-4))
    assert single.difference == pytest.approx(-0.1)
    assert (single.low, single.p, single.significant) == (None, None, False)
    assert math.isnan(single.deviation)
    assert (same.difference, same.low) == (pytest.approx(-0.1), None)
    assert (absent.seeds, absent.difference) == (0, None)
    assert compare({"other": {0: 0.1}}, "full")[0].difference is None


@given(st.lists(st.floats(0.001, 1), min_size=1, max_size=10))
def test_holm_is_statsmodels_holm(p_values: list[float]) -> None:
    assert holm(p_values) == pytest.approx(list(multipletests(p_values, method="holm")[1]))


def test_holm_spans_the_variants_that_were_tested() -> None:
    rng = np.random.default_rng(5)
    scores = {name: by_seed(rng.normal(0.5, 0.1, 5)) for name in ("full", "a", "b")} | {"single": {0: 0.2}}
    _, a, b, single = compare(scores, "full")
    assert a.p is not None
    assert b.p is not None
    assert [a.p_holm, b.p_holm] == pytest.approx(holm([a.p, b.p]))
    assert single.p_holm is None


@pytest.mark.parametrize("effect", [0.4, 0.8, 1.5])
def test_seeds_needed_is_the_power_calculation(effect: float) -> None:
    expected = TTestPower().solve_power(effect_size=effect, alpha=0.05, power=0.8)
    assert seeds_needed(effect) == seeds_needed(-effect) == math.ceil(expected)


def test_seeds_needed_gives_up() -> None:
    assert seeds_needed(0.0) is None
    assert seeds_needed(0.001) is None


@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_intervals_cover_the_truth(seeds: int) -> None:
    rng = np.random.default_rng(seeds)
    studies, covered, clear_p = 1500, 0, 0
    for _ in range(studies):
        shared = rng.normal(0, 0.1, seeds)
        full, other = (shared + rng.normal(0.7, 0.02, seeds) for _ in range(2))
        found = compare({"full": by_seed(full), "other": by_seed(other)}, "full")[1]
        covered += not found.excludes_zero
        clear_p += found.p is not None and found.p <= 0.05
    assert 0.93 <= covered / studies <= 0.97
    assert clear_p / studies <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / studies)


@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_studies_in_which_nothing_differs_rarely_claim_anything(seeds: int) -> None:
    rng = np.random.default_rng(seeds)
    studies, claims, flips = 1000, 0, 0
    for _ in range(studies):
        shared = rng.normal(0, 0.1, seeds)
        scores = {variant: by_seed(shared + rng.normal(0.7, 0.02, seeds)) for variant in ("full", "a", "b", "c", "d")}
        found = compare(scores, "full")[1:]
        claims += any(one.significant for one in found)
        flips += any(one.p_holm is not None and one.p_holm <= 0.05 for one in found)
    error = math.sqrt(0.05 * 0.95 / studies)
    assert claims / studies <= 0.05 + 2 * error
    assert flips / studies <= 0.05 + 2 * error


def told(low: float, high: float, p: float = 0.01) -> str:
    found = Comparison("no text", 3, 0.6, 0.02, 3, (low + high) / 2, low, high, t_holm=p, effect=-0.5, family=4)
    return sentence(found, "linear/accuracy", "full")


def test_sentences_claim_what_is_clear_and_no_more() -> None:
    assert told(-0.102, -0.02) == (
        "“no text” costs 6.1 points of linear/accuracy against “full” "
        "(95 % interval 2.0 to 10.2, t-test p = 0.01 after Holm, 3 seeds)."
    )
    assert "may cost 6.1 points" in told(-0.102, -0.02, p=0.07)
    assert told(-0.102, -0.02, p=0.07).endswith("among 4 variants compared, one such interval can be luck.")
    assert "gains 6.1 points" in told(0.02, 0.102)
    unclear = told(-0.05, 0.01)
    assert "no difference that 3 seeds could show: \u22122.0 points" in unclear
    assert "95 % interval \u22125.0 to +1.0" in unclear
    assert "about 34 seeds" in unclear


def test_sentences_without_an_interval_say_why() -> None:
    single = sentence(Comparison("a", 1, 0.6, math.nan, 1, -0.1), "linear/accuracy", "full")
    assert "\u221210.0 points" in single
    assert "single seed, which cannot tell a difference from luck" in single
    assert "exactly 0.0 points" in sentence(Comparison("a", 2, 0.6, 0.1, 2, 0.0), "linear/accuracy", "full")
    assert "nothing can be said" in sentence(Comparison("a", 0, math.nan, math.nan), "linear/accuracy", "full")
