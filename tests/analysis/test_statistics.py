from __future__ import annotations

import gc
import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests
from tests.analysis.simulation import run_until_decided

from polyview.analysis.inference import Estimate, SeedScore
from polyview.analysis.statistics import Comparison, bonferroni, compare, holm, seeds_needed, sentence

POINTS = st.lists(st.floats(0, 1), min_size=2, max_size=8)


@pytest.fixture(autouse=True, scope="module")
def _little_to_collect() -> Iterator[None]:
    """statsmodels has all objects looked through at every call, and the tests before these leave millions."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def by_seed(values: Sequence[float] | np.ndarray | Mapping[int, float]) -> dict[int, SeedScore]:
    """Scores of hold-outs of 30 people drawn from 100 by every seed, whose predictions were not kept."""
    pairs = values.items() if isinstance(values, Mapping) else enumerate(values)
    return {seed: SeedScore(float(value), ratio=3 / 7) for seed, value in pairs}


def test_the_interval_for_these_people_is_that_of_the_paired_t_test() -> None:
    rng = np.random.default_rng(1)
    full, other = rng.normal(0.7, 0.05, 6), rng.normal(0.6, 0.05, 6)
    found = compare({"full": by_seed(full), "other": by_seed(other)}, "full")[1]
    low, high = stats.ttest_rel(other, full).confidence_interval(0.95)
    assert (found.seeds_low, found.seeds_high) == pytest.approx((low, high))
    assert found.difference == pytest.approx(np.mean(other) - np.mean(full))
    assert found.deviation == pytest.approx(np.std(other, ddof=1))


def test_without_predictions_a_hold_out_is_corrected_as_nadeau_and_bengio_do() -> None:
    rng = np.random.default_rng(1)
    full, other = rng.normal(0.7, 0.05, 6), rng.normal(0.6, 0.05, 6)
    found = compare({"full": by_seed(full), "other": by_seed(other)}, "full")[1]
    differences = other - full
    t = differences.mean() / math.sqrt((1 / 6 + 30 / 70) * differences.var(ddof=1))
    assert found.p == pytest.approx(2 * stats.t.sf(abs(t), 5))


def test_without_predictions_nothing_is_claimed_of_folds_for_other_people() -> None:
    scores = {
        name: {seed: SeedScore(value + seed / 100) for seed in range(3)} for name, value in (("full", 0.5), ("a", 0.3))
    }
    scores["a"][0] = SeedScore(0.301)
    (_, found) = compare(scores, "full")
    assert (found.low, found.p, found.verdict) == (None, None, "untested")
    assert found.seeds_high is not None
    assert found.seeds_high < 0
    said = sentence(found, "linear/accuracy", "full")
    assert "no predictions were kept" in said
    assert "For these people under other seeds the interval is" in said


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
    found = compare({"full": by_seed([0.5, 0.6, 0.7]), "other": by_seed({1: 0.5, 2: 0.5, 9: 0.0})}, "full")[1]
    assert (found.seeds, found.pairs) == (3, 2)
    assert found.difference == pytest.approx(-0.15)
    assert found.mean == pytest.approx(1 / 3)


def test_what_the_seeds_cannot_give_is_absent() -> None:
    baseline, single, same, absent = compare(
        {"full": by_seed([0.5, 0.6]), "single": by_seed([0.4]), "same": by_seed([0.4, 0.5]), "absent": {}}, "full"
    )
    assert baseline == Comparison("full", 2, pytest.approx(0.55), pytest.approx(0.0707, abs=1e-4))
    assert single.difference == pytest.approx(-0.1)
    assert (single.low, single.p, single.significant) == (None, None, False)
    assert math.isnan(single.deviation)
    assert (same.difference, same.low) == (pytest.approx(-0.1), None)
    assert (absent.seeds, absent.difference) == (0, None)
    assert compare({"other": by_seed([0.1])}, "full")[0].difference is None


@given(st.lists(st.floats(0.001, 1), min_size=1, max_size=10))
def test_holm_is_statsmodels_holm(p_values: list[float]) -> None:
    assert holm(p_values) == pytest.approx(list(multipletests(p_values, method="holm")[1]))


def test_the_adjustment_spans_the_variants_that_were_tested_and_those_that_could_not_be() -> None:
    rng = np.random.default_rng(5)
    scores = {name: by_seed(rng.normal(0.5, 0.1, 5)) for name in ("full", "a", "b")} | {"single": by_seed([0.2])}
    scores["like full"] = scores["full"]
    _, a, b, single, like_full = compare(scores, "full")
    assert a.p is not None
    assert b.p is not None
    assert [a.p_adjusted, b.p_adjusted] == pytest.approx(holm([a.p, b.p, 1.0, 1.0])[:2])
    assert single.p_adjusted is like_full.p_adjusted is None
    assert {one.family for one in (a, b, single, like_full)} == {4}
    _, a, b, *_ = compare(scores, "full", margin=0.05)
    assert [a.p_adjusted, b.p_adjusted] == pytest.approx(bonferroni([a.p, b.p, 1, 1])[:2])  # type: ignore[list-item]


def test_a_variant_is_the_same_within_a_margin_that_its_interval_at_twice_the_level_lies_in() -> None:
    rng = np.random.default_rng(3)
    differences = rng.normal(0.001, 0.004, 20)
    scores = {"full": by_seed(np.full(20, 0.7)), "other": by_seed(0.7 + differences)}
    error = math.sqrt((1 / 20 + 3 / 7) * differences.var(ddof=1))
    reach = abs(differences.mean()) + stats.t.isf(0.05, 19) * error
    assert compare(scores, "full", margin=reach + 1e-4)[1].verdict == "same"
    assert compare(scores, "full", margin=reach - 1e-4)[1].verdict == "open"
    assert compare(scores, "full")[1].verdict == "open"


def estimate(mean: float, people_variance: float = 0.0) -> Estimate:
    return Estimate(mean, 3, 0.02**2, people_variance, 2)


def test_the_seeds_that_are_hinted_at_have_the_power_that_is_said() -> None:
    needed = seeds_needed(estimate(0.02), family=4)
    assert needed is not None
    rng, found = np.random.default_rng(0), 0
    planned = (*range(3, needed, 3), needed)
    for _ in range(120):
        scores = {"full": by_disjoint(np.zeros(needed))} | {
            name: by_disjoint(rng.normal(0.02, 0.02, needed)) for name in ("a", "b", "c", "d")
        }
        found += run_until_decided(scores, planned)[0].significant
    assert found / 120 >= 0.7


def by_disjoint(values: np.ndarray) -> dict[int, SeedScore]:
    """Each seed has test subjects of its own, who are all alike."""
    return {
        seed: SeedScore(float(value), {f"{seed}-{n}": float(value) for n in range(5)})
        for seed, value in enumerate(values)
    }


def test_more_seeds_are_needed_in_a_larger_family_and_none_help_against_few_people() -> None:
    alone, many = seeds_needed(estimate(0.02)), seeds_needed(estimate(0.02), family=10)
    assert alone is not None
    assert many is not None
    assert 3 < alone < many
    assert seeds_needed(estimate(0.0)) is None
    assert seeds_needed(estimate(0.02, people_variance=0.02**2)) is None


def told(low: float, high: float, p: float = 0.01, **more: float) -> str:
    size = (low + high) / 2
    found = Comparison(
        "no text",
        3,
        0.6,
        0.02,
        3,
        60,
        size,
        low,
        high,
        p=p / 2,
        p_adjusted=p,
        family=4,
        estimate=estimate(size),
        **more,  # type: ignore[arg-type]
    )
    return sentence(found, "linear/accuracy", "full", 0.01 if more else None)


def test_sentences_claim_what_is_significant_and_no_more() -> None:
    assert told(-0.102, -0.02) == (
        "“no text” costs 6.1 points of linear/accuracy against “full” "
        "(95 % interval 2.0 to 10.2, p = 0.01 after Holm, 3 seeds, 60 test subjects)."
    )
    assert "may cost 6.1 points" in told(-0.102, -0.02, p=0.07)
    assert told(-0.102, -0.02, p=0.07).endswith("of 4 comparisons, some such intervals are luck.")
    assert "gains 6.1 points" in told(0.02, 0.102)
    unclear = told(-0.05, 0.01, p=0.2)
    assert "Whether “no text” differs is open: \u22122.0 points" in unclear
    assert "95 % interval \u22125.0 to +1.0" in unclear
    assert "seeds: {first: 3, most: " in unclear
    alike = told(-0.004, 0.006, p=1.0, p_same=0.02)
    assert alike.startswith("“no text” is the same as “full” within 1 point of linear/accuracy: +0.1")
    assert "p = 0.02 after Bonferroni" in alike


def test_sentences_without_an_interval_say_why() -> None:
    single = sentence(Comparison("a", 1, 0.6, math.nan, 1, difference=-0.1), "linear/accuracy", "full")
    assert "\u221210.0 points" in single
    assert "single seed, which cannot tell a difference from luck" in single
    alike = sentence(Comparison("a", 2, 0.6, 0.1, 2, difference=0.0), "linear/accuracy", "full")
    assert alike.startswith(
        "“a”: 0.0 points of linear/accuracy against “full”. The error that comes of its 2 seeds is no more than one"
    )
    assert "nothing can be said" in sentence(Comparison("a", 0, math.nan, math.nan), "linear/accuracy", "full")


def test_seeds_that_are_more_alike_than_their_people_let_expect_are_told_and_hint_at_no_number() -> None:
    """Three seeds with almost the same difference, of test subjects who differ by much more."""
    rng = np.random.default_rng(0)
    wide = rng.normal(0, 0.3, (3, 12))
    wide -= wide.mean(axis=1, keepdims=True) - np.array([[0.020], [0.021], [0.019]])
    one = {seed: {f"{seed}-{person}": value for person, value in enumerate(row)} for seed, row in enumerate(wide)}
    people = {seed: SeedScore(float(np.mean([*row.values()])), row) for seed, row in one.items()}
    none = {seed: SeedScore(0.0, dict.fromkeys(row, 0.0)) for seed, row in one.items()}
    baseline, compared = compare({"full": none, "other": people}, "full")
    assert compared.estimate is not None
    assert compared.estimate.is_narrow
    assert compared.estimate.sampling_variance == pytest.approx(wide.var(axis=1, ddof=1).mean() / 12)
    assert "more alike than its test subjects let expect" in sentence(compared, "linear/accuracy", baseline.variant)
    assert seeds_needed(compared.estimate) is None
    alike = rng.normal([[0.01], [0.03], [0.02]], 0.001, (3, 12))
    true = {
        seed: SeedScore(float(row.mean()), dict(zip(one[seed], row, strict=True))) for seed, row in enumerate(alike)
    }
    compared = compare({"full": none, "other": true}, "full")[1]
    assert compared.estimate is not None
    assert not compared.estimate.is_narrow
