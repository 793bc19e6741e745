"""Studies whose truth is known; `simulation.py` tells how, and repeats all of it with as many studies as one likes."""

from __future__ import annotations

import math

import pytest
from tests.analysis.simulation import Rates, comparisons, factorials, near_nothing, power, until_decided

STUDIES = 250


def check(rates: Rates, intervals: int = 1) -> None:
    """At most 5 % false claims, and 93 to 97 % of intervals cover, but for three binomial errors of so many studies."""
    check_at_most(rates, intervals)
    assert rates.covered <= 97 + 3 * error_of(rates, 0.97) / math.sqrt(intervals), rates


def check_at_most(rates: Rates, intervals: int = 1) -> None:
    """The same of scores that are counts of few predictions, whose intervals may be too wide."""
    error = error_of(rates, 0.95)
    assert rates.false_claims <= 5 + 3 * error, rates
    assert rates.covered >= 93 - 3 * error / math.sqrt(intervals), rates


def error_of(rates: Rates, share: float) -> float:
    """The standard error, in percent, of a share of so many studies."""
    return 100 * math.sqrt(share * (1 - share) / rates.studies)


@pytest.mark.parametrize("people", [20, 50, 100])
@pytest.mark.parametrize("seeds", [3, 5, 10, 20])
@pytest.mark.parametrize("design", ["holdout", "fixed", "folds"])
def test_studies_in_which_nothing_differs_rarely_claim_anything_of_other_people(
    design: str, seeds: int, people: int
) -> None:
    studies = STUDIES if seeds < 10 else STUDIES // 2
    check(comparisons(design, seeds, people, "as measured", studies), intervals=4)
    check(comparisons(design, seeds, people, "all", studies // 2), intervals=4)


def test_the_paired_t_test_takes_people_who_are_tested_again_for_others() -> None:
    rates = comparisons("holdout", 10, 50, "people alone", STUDIES)
    assert rates.paired_t is not None
    assert rates.paired_t > 20
    check(rates)


@pytest.mark.parametrize("noise", ["people alone", "people and rest"])
def test_few_of_few_people_under_three_seeds_have_intervals_that_are_not_too_wide(noise: str) -> None:
    check(comparisons("holdout", 3, 20, noise, 2 * STUDIES), intervals=4)


@pytest.mark.parametrize("seeds", [3, 5, 10, 20])
def test_factorials_whose_factors_do_nothing_in_the_mean_rarely_claim_an_effect(seeds: int) -> None:
    check(factorials(seeds, 50, STUDIES), intervals=6)


@pytest.mark.parametrize("margin", [None, 0.05])
@pytest.mark.parametrize("truth", [0.0, 0.05])
def test_studies_that_go_on_until_decided_claim_no_more(truth: float, margin: float | None) -> None:
    check(until_decided(12, 50, truth, 150, margin), intervals=4)


@pytest.mark.parametrize("gained", [0.0, 0.5])
@pytest.mark.parametrize("discordant", [0.3, 1, 3])
@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_studies_in_which_few_predictions_differ_claim_no_more(seeds: int, discordant: float, gained: float) -> None:
    check_at_most(near_nothing("holdout", seeds, 60, discordant, STUDIES // 2, gained), intervals=4)


@pytest.mark.parametrize("seeds", [3, 5, 10, 20])
def test_where_people_do_not_matter_no_power_is_lost(seeds: int) -> None:
    found, paired = power(seeds, 50, 600)
    assert 0.3 < paired < 0.9
    assert found >= paired - 0.03
