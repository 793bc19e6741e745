from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyview.corpus.splits import few, holdout, kfold, labelled, leave_one_out
from polyview.errors import UserError

names = st.lists(st.text(min_size=1, max_size=4), min_size=2, unique=True)
shares = st.floats(0.01, 0.99)


@given(names, shares, st.integers(0, 2**32))
def test_nobody_is_on_both_sides_and_nobody_is_lost(subjects: list[str], share: float, seed: int) -> None:
    split = holdout(subjects, share, seed)
    assert set(split.train).isdisjoint(split.test)
    assert sorted([*split.train, *split.test]) == sorted(subjects)
    assert split.train
    assert split.test
    assert abs(len(split.test) - share * len(subjects)) <= 1


@given(names, shares, st.integers(0, 2**32))
def test_only_who_is_there_counts(subjects: list[str], share: float, seed: int) -> None:
    assert holdout(subjects, share, seed) == holdout([*reversed(subjects), *subjects], share, seed)


def test_another_seed_is_another_split() -> None:
    subjects = [f"s{i:03d}" for i in range(50)]
    assert holdout(subjects, 0.3, seed=0) != holdout(subjects, 0.3, seed=1)


def test_one_subject_cannot_be_split() -> None:
    with pytest.raises(UserError, match="at least 2"):
        holdout(["s000", "s000"], 0.3, seed=0)


@given(names, st.data())
def test_folds_set_everybody_aside_once(subjects: list[str], data: st.DataObject) -> None:
    folds, seed = data.draw(st.integers(2, len(subjects))), data.draw(st.integers(0, 2**32))
    splits = [kfold(subjects, folds, fold, seed) for fold in range(folds)]
    assert sorted(name for split in splits for name in split.test) == sorted(subjects)
    assert all(sorted([*split.train, *split.test]) == sorted(subjects) for split in splits)
    assert max(len(split.test) for split in splits) - min(len(split.test) for split in splits) <= 1


@given(names)
def test_leaving_one_out_leaves_each_out(subjects: list[str]) -> None:
    left = [leave_one_out(subjects, len(subjects), fold).test for fold in range(len(subjects))]
    assert left == [(name,) for name in sorted(subjects)]


def test_too_few_people_for_the_folds_are_refused() -> None:
    with pytest.raises(UserError, match=r"evaluation\.folds is 4 and there are 3 subjects; lower it"):
        kfold(["a", "b", "c"], 4, 0, seed=0)
    with pytest.raises(UserError, match=r"for loso set evaluation\.folds=3"):
        leave_one_out(["a", "b", "c"], 10, 0)


@given(names, st.floats(0.001, 1), st.floats(0.001, 1), st.integers(0, 2**32))
def test_a_larger_share_of_labelled_people_has_all_of_a_smaller_one(
    subjects: list[str], one: float, other: float, seed: int
) -> None:
    less, more = (labelled(subjects, share, seed) for share in sorted((one, other)))
    assert set(less) <= set(more) <= set(subjects)
    assert len(less) >= 1
    assert labelled(subjects, 1, seed) == tuple(sorted(subjects))


@given(names, st.integers(1, 9), st.integers(0, 2**32), st.data())
def test_the_few_of_some_people_are_those_of_all_as_long_as_they_are_among_them(
    subjects: list[str], count: int, seed: int, data: st.DataObject
) -> None:
    chosen = few(subjects, count, seed)
    assert len(chosen) == min(count, len(subjects))
    others = data.draw(st.lists(st.sampled_from(subjects)))
    assert few([*others, *chosen], count, seed) == chosen


def test_who_is_labelled_is_drawn_anew_by_each_seed_and_evenly() -> None:
    subjects = [f"s{i:02d}" for i in range(20)]
    drawn = [name for seed in range(400) for name in labelled(subjects, 0.25, seed)]
    assert len(drawn) == 400 * 5
    assert all(60 <= drawn.count(name) <= 140 for name in subjects)
