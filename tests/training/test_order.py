from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from polyview.errors import UserError
from polyview.training.order import any_samples, check_people, count_steps, whole_people


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@given(
    counts=st.lists(st.integers(2, 9), min_size=3, max_size=12),
    people=st.integers(1, 3),
    each=st.integers(1, 2),
    seed=st.integers(0, 1000),
)
def test_a_batch_has_so_many_people_with_as_many_samples_each(
    counts: list[int], people: int, each: int, seed: int
) -> None:
    owners = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    check_people(owners, people, each)
    batches = whole_people(owners, people, each, generator(seed))
    assert len(batches) == count_steps(owners, people, each) >= 1
    drawn = batches.flatten().tolist()
    assert len(drawn) == len(set(drawn)), "no sample comes twice in an epoch"
    for batch in batches:
        assert sorted(Counter(owners[batch.numpy()].tolist()).values()) == [each] * people


def test_who_has_equally_many_samples_is_left_out_by_less_than_a_batch_of_people() -> None:
    owners = np.repeat(np.arange(11), 6)
    batches = whole_people(owners, 4, 3, generator())
    turns = Counter(owners[batches.flatten().numpy()].tolist())
    assert len(batches) == 2 * (11 // 4)
    assert sum(turns.values()) == len(batches) * 12


def test_the_order_is_seeded_and_another_in_every_epoch() -> None:
    owners = np.repeat(np.arange(8), 6)
    first, same, other = (whole_people(owners, 4, 3, generator(seed)) for seed in (0, 0, 1))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_any_samples_are_the_permutation_that_they_always_were() -> None:
    expected = torch.randperm(11, generator=generator(5))[:8].view(2, 4)
    assert torch.equal(any_samples(11, 4, generator(5)), expected)


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ([4, 4], "training.persons is 3 and there are 2 people to train on; lower it"),
        ([4, 4, 2], "4 samples of each of 3 people make a batch, and somebody has 2; lower training.batch_size to 6"),
    ],
)
def test_too_few_people_and_too_few_samples_are_refused_in_one_line(counts: list[int], said: str) -> None:
    with pytest.raises(UserError) as caught:
        check_people(np.repeat(np.arange(len(counts)), counts), 3, 4)
    assert said in str(caught.value)
