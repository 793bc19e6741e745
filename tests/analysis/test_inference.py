from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score
from tests.analysis.simulation import seed_scores

from polyview.analysis.inference import SeedScore, contrast, for_other_people, for_these_people
from polyview.analysis.people import confusions_by_person, contributions
from polyview.evaluation.metrics import scores

CLASSES = ["0", "1", "2"]


def crossed(seeds: int, people: int, rng: np.random.Generator) -> np.ndarray:
    return rng.normal(0.1, 0.1, (1, people)) + rng.normal(0, 0.02, (seeds, 1)) + rng.normal(0, 0.1, (seeds, people))


def test_of_the_same_test_subjects_in_every_seed_the_error_is_that_of_crossed_random_effects() -> None:
    table = crossed(8, 40, np.random.default_rng(0))
    found = for_other_people(list(seed_scores(table).values()))
    assert found is not None
    # Mean squares of a two-way layout without replication (Clark 1973): people, seeds, and what is left.
    rows, columns, whole = table.mean(axis=1), table.mean(axis=0), table.mean()
    people = 8 * ((columns - whole) ** 2).sum() / 39
    seeds = 40 * ((rows - whole) ** 2).sum() / 7
    rest = ((table - rows[:, None] - columns[None, :] + whole) ** 2).sum() / (7 * 39)
    assert found.error**2 == pytest.approx((seeds + people - rest) / table.size)
    assert found.mean == pytest.approx(whole)


def test_the_degrees_of_freedom_grow_from_those_of_seeds_to_those_of_people() -> None:
    rng = np.random.default_rng(1)
    same_people, same_seeds = (
        np.repeat(rng.normal(0, 1, (5, 1)), 40, axis=1),
        np.repeat(rng.normal(0, 1, (1, 40)), 5, axis=0),
    )
    noise = 1e-3 * rng.normal(0, 1, (5, 40))
    of_seeds = for_other_people(list(seed_scores(same_people + noise).values()))
    of_people = for_other_people(list(seed_scores(same_seeds + noise).values()))
    assert of_seeds is not None
    assert of_people is not None
    assert of_seeds.degrees == pytest.approx(4, abs=0.01)
    assert 35 < of_people.degrees < 42


def test_people_who_are_never_tested_twice_leave_the_paired_t_test() -> None:
    rng = np.random.default_rng(2)
    table = np.full((4, 20), np.nan)
    for seed in range(4):
        table[seed, 5 * seed : 5 * seed + 5] = rng.normal(0, 1, 5)
    scores = list(seed_scores(table).values())
    found, within = for_other_people(scores), for_these_people(scores)
    assert found is not None
    assert within is not None
    assert found.interval() == pytest.approx(within.interval())


def test_seeds_that_are_all_alike_tell_nothing_of_other_people() -> None:
    # Both seeds find no difference, and the products of the shared people's deviations cancel out but for rounding.
    one = [{"a": 2, "b": 3, "c": 1, "d": 3, "e": 0}, {"c": 3, "d": 3, "e": 1, "f": 1, "g": 3}]
    other = [{"a": 0, "b": 1, "c": 3, "d": 3, "e": 2}, {"c": 1, "d": 3, "e": 3, "f": 3, "g": 1}]
    of_one, of_other = (
        {
            seed: SeedScore(sum(films.values()) / 15, {name: known / 3 for name, known in films.items()})
            for seed, films in enumerate(seeds)
        }
        for seeds in (one, other)
    )
    assert for_other_people(list(contrast([of_one, of_other], [1, -1]).values())) is None


@pytest.mark.parametrize(
    "right", [[0, 0, 0, 0, 0], [2, 2, 2, 2, 2], [0, 0, 0, 0, 1], [3, 3, 3, 4, 3], [-1, -1, -1, -1, -2]]
)
def test_no_error_is_believed_that_one_prediction_more_would_make(right: list[int]) -> None:
    scores = [of_right_predictions(one, 4 * seed) for seed, one in enumerate(right)]
    assert for_these_people(scores) is None
    assert for_other_people(scores) is None


@pytest.mark.parametrize("right", [[0, 0, 0, 1, 1], [2, 0, 0, 0, 0], [1, 2, 3]])
def test_what_more_than_one_prediction_makes_is_an_error(right: list[int]) -> None:
    scores = [of_right_predictions(one, 4 * seed) for seed, one in enumerate(right)]
    found = for_these_people(scores)
    assert found is not None
    assert found.error == pytest.approx(np.std(right, ddof=1) / np.sqrt(len(right)) / 140)
    assert for_other_people(scores) is not None


def test_a_contrast_of_many_variants_has_the_step_of_their_weights() -> None:
    scores = [{0: SeedScore(0.5, step=0.01)}, {0: SeedScore(0.4, step=0.02)}]
    assert contrast(scores, [0.25, -0.25])[0].step == pytest.approx(0.005)


def of_right_predictions(count: int, first: int, people: int = 20, samples: int = 7) -> SeedScore:
    """A difference by so many right predictions, each of another person, from the `first` on."""
    values = np.zeros(people)
    values[first : first + abs(count)] = np.sign(count) / samples
    by_person = {str(person): float(value) for person, value in enumerate(values)}
    return SeedScore(float(values.mean()), by_person, step=1 / (people * samples))


@given(st.floats(-3, 3), st.floats(0.1, 10))
def test_other_units_and_a_shift_of_all_change_the_interval_alike(shift: float, unit: float) -> None:
    table = crossed(4, 12, np.random.default_rng(3))
    one, other = (for_other_people(list(seed_scores(t).values())) for t in (table, unit * table + shift))
    assert one is not None
    assert other is not None
    assert other.interval() == pytest.approx([unit * end + shift for end in one.interval()], abs=1e-9)


def test_a_contrast_is_of_the_seeds_and_people_that_all_have() -> None:
    one = {0: SeedScore(0.5, {"a": 0.4, "b": 0.6}), 1: SeedScore(0.6, {"a": 0.6})}
    other = {0: SeedScore(0.3, {"b": 0.3, "c": 0.3}), 2: SeedScore(0.1, {"a": 0.1})}
    assert contrast([one, other], [1, -1]) == {0: SeedScore(pytest.approx(0.2), {"b": pytest.approx(0.3)})}


def predictions(people: int, samples: int, rng: np.random.Generator) -> pl.DataFrame:
    truth = rng.integers(0, 3, people * samples)
    wrong = rng.random(len(truth)) < 0.4
    return pl.DataFrame(
        {
            "subject": [f"p{place // samples}" for place in range(len(truth))],
            "truth": [str(one) for one in truth],
            "prediction": [str(one) for one in np.where(wrong, (truth + 1) % 3, truth)],
        }
    )


def test_a_persons_contribution_to_accuracy_is_their_own_accuracy() -> None:
    table = predictions(12, 5, np.random.default_rng(4))
    found = contributions(confusions_by_person(table, CLASSES), "accuracy")
    for (name,), own in table.group_by("subject"):
        assert found[name] == pytest.approx(accuracy_score(own["truth"], own["prediction"]))


@pytest.mark.parametrize("measure", ["accuracy", "uf1", "uar"])
def test_contributions_are_about_the_score_in_the_mean(measure: str) -> None:
    table = predictions(60, 7, np.random.default_rng(5))
    counts = confusions_by_person(table, CLASSES)
    whole = scores(np.sum(list(counts.values()), axis=0))
    assert whole["uf1"] == pytest.approx(f1_score(table["truth"], table["prediction"], average="macro"))
    assert np.mean(list(contributions(counts, measure).values())) == pytest.approx(whole[measure], abs=0.005)


def test_one_person_alone_contributes_nothing_that_can_be_told() -> None:
    assert contributions(confusions_by_person(predictions(1, 5, np.random.default_rng(6)), CLASSES), "uf1") == {}
