"""Which samples are in which batch of an epoch: any of them, whole people, or so many of a kind."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from polyview.errors import UserError


def any_samples(samples: int, batch_size: int, generator: torch.Generator) -> Tensor:
    """The batches of an epoch, (steps, batch_size) int64: each sample once; an incomplete last batch is dropped."""
    steps = samples // batch_size
    return torch.randperm(samples, generator=generator)[: steps * batch_size].view(steps, batch_size)


def whole_people(owners: NDArray[np.int64], people: int, each: int, generator: torch.Generator) -> Tensor:
    """The batches of an epoch, (steps, people · each) int64: so many people, `each` samples of everyone, side by side.

    owners: (N,), whose each sample is. Everyone has a turn before anyone has a second; no sample comes twice. As in
    Hermans et al. 2017, "In Defense of the Triplet Loss", whose batches of P people and K samples these are.
    """
    turns = [_turns(np.flatnonzero(owners == owner), each, generator) for owner in np.unique(owners)]
    batches = [torch.empty(0, people * each, dtype=torch.int64)]
    for number in range(max(map(len, turns))):
        present = torch.stack([own[number] for own in turns if len(own) > number])
        order = torch.randperm(len(present), generator=generator)[: len(present) // people * people]
        batches.append(present[order].view(-1, people * each))
    return torch.cat(batches)


def of_kinds(kinds: Sequence[NDArray[np.bool_]], steps: int, each: int, generator: torch.Generator) -> Tensor:
    """The batches of an epoch, (steps, kinds · each) int64: `each` samples of every kind, given as a mask of them.

    A kind is drawn over and over in permutations until the steps are full.
    """
    drawn = [_repeated(np.flatnonzero(kind), steps * each, generator).view(steps, each) for kind in kinds]
    # Mixed, so that each worker finds all kinds in its part.
    mixed = torch.rand(steps, len(kinds) * each, generator=generator).argsort(dim=1)
    return torch.cat(drawn, dim=1).gather(1, mixed)


def count_steps(owners: NDArray[np.int64], people: int, each: int) -> int:
    """How many batches `whole_people` makes."""
    turns = np.bincount(owners) // each
    return sum(int((turns > number).sum()) // people for number in range(int(turns.max())))


def check_size(samples: int, batch_size: int) -> None:
    """Raises `UserError` if there are too few samples for a batch."""
    if samples < batch_size:
        raise UserError(
            f"training.batch_size is {batch_size} and there are {samples} samples to train on; lower it, or bring more "
            "faces"
        )


def check_people(owners: NDArray[np.int64], people: int, each: int) -> None:
    """Raises `UserError` if there are too few people for a batch, or anybody has too few samples."""
    counts = np.bincount(owners)
    if len(counts) < people:
        raise UserError(f"training.persons is {people} and there are {len(counts)} people to train on; lower it")
    if (least := int(counts.min())) < each:
        raise UserError(
            f"training.persons: {each} samples of each of {people} people make a batch, and somebody has {least}; "
            f"lower training.batch_size to {people * least}"
        )


def _repeated(places: NDArray[np.int64], count: int, generator: torch.Generator) -> Tensor:
    """The first `count` of the permutations of some places, one after another."""
    rounds = math.ceil(count / len(places))
    orders = [torch.randperm(len(places), generator=generator) for _ in range(rounds)]
    return torch.from_numpy(places)[torch.cat(orders)[:count]]


def _turns(samples: NDArray[np.int64], each: int, generator: torch.Generator) -> Tensor:
    """A person's samples in a new order, (turns, each); the rest is dropped."""
    order = torch.randperm(len(samples), generator=generator)[: len(samples) // each * each]
    return torch.from_numpy(samples)[order].view(-1, each)
