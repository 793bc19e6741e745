from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyview.corpus.splits import holdout
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
