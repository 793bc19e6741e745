from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import normalize

from polyview.objectives.contrast import contrast


def sample(samples: int, views: int, width: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return normalize(torch.randn(samples, views, width, generator=generator, dtype=torch.float64), dim=-1)


def reference(
    projections: Tensor, labels: list[int], confident: list[bool], subjects: list[int], margin: float, t: float
) -> float:
    """The definition, pair by pair."""
    z = projections.numpy()
    positives, negatives = [], []
    places = list(itertools.product(range(z.shape[0]), range(z.shape[1])))
    for (i, v), (j, w) in itertools.combinations(places, 2):
        pull = (float(z[i, v] @ z[j, w]) - margin) / t
        if i == j or (labels[i] == labels[j] and confident[i] and confident[j]):
            positives.append(-math.log(1 / (1 + math.exp(-pull))))
        elif labels[i] != labels[j] and subjects[i] != subjects[j]:
            negatives.append(-math.log(1 / (1 + math.exp(pull))))
    return sum(sum(pairs) / len(pairs) for pairs in (positives, negatives) if pairs)


@settings(max_examples=40, deadline=None)
@given(
    faces=st.lists(st.tuples(st.integers(0, 2), st.booleans(), st.integers(0, 3)), min_size=1, max_size=7),
    views=st.integers(1, 3),
    margin=st.floats(-0.5, 0.9),
    temperature=st.floats(0.1, 2),
)
def test_equals_the_definition_pair_by_pair(
    faces: list[tuple[int, bool, int]], views: int, margin: float, temperature: float
) -> None:
    labels, confident, subjects = ([face[k] for face in faces] for k in range(3))
    projections = sample(len(faces), views, 5)
    loss = contrast(
        projections, torch.tensor(labels), torch.tensor(confident), torch.tensor(subjects), margin, temperature
    )
    expected = reference(
        projections, [*map(int, labels)], [*map(bool, confident)], [*map(int, subjects)], margin, temperature
    )
    assert loss.item() == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_gradient_is_the_derivative() -> None:
    labels, confident, subjects = torch.tensor([0, 0, 1, 1]), torch.tensor([True, True, False, True]), torch.arange(4)
    assert torch.autograd.gradcheck(
        lambda z: contrast(z, labels, confident, subjects, 0.3, 0.2), (sample(4, 2, 3).requires_grad_(),)
    )


def test_order_of_samples_and_views_does_not_matter() -> None:
    projections = sample(6, 3, 4)
    labels, subjects = torch.tensor([0, 1, 2, 0, 1, 2]), torch.tensor([0, 0, 1, 1, 2, 2])
    confident = torch.tensor([True, True, False, True, False, True])
    loss = contrast(projections, labels, confident, subjects, 0.2, 0.1)
    other_views = projections.flip(0)[:, [2, 0, 1]]
    moved = contrast(other_views, labels.flip(0), confident.flip(0), subjects.flip(0), 0.2, 0.1)
    assert torch.allclose(moved, loss, rtol=1e-12)


def test_tight_classes_far_apart_reach_zero() -> None:
    labels = torch.tensor([0, 0, 1, 1])
    projections = torch.tensor([[1.0, 0], [-1, 0]])[labels].unsqueeze(1).expand(-1, 2, -1)
    loss = contrast(projections, labels, torch.ones(4, dtype=torch.bool), torch.arange(4), 0.0, 0.05)
    assert loss.item() == pytest.approx(0, abs=1e-6)


@settings(deadline=None)
@given(cosine=st.floats(-0.99, 0.99), margin=st.floats(-1, 1), temperature=st.floats(0.05, 2), alike=st.booleans())
def test_a_pairs_gradient_is_bounded_by_the_inverse_temperature(
    cosine: float, margin: float, temperature: float, alike: bool
) -> None:
    c = torch.tensor(cosine, dtype=torch.float64, requires_grad=True)
    pair = torch.stack([torch.stack([torch.ones_like(c), torch.zeros_like(c)]), torch.stack([c, (1 - c**2).sqrt()])])
    labels = torch.tensor([0, 0 if alike else 1])
    loss = contrast(pair.unsqueeze(1), labels, torch.tensor([True, True]), torch.arange(2), margin, temperature)
    (gradient,) = torch.autograd.grad(loss, c)
    assert abs(gradient.item()) <= 1 / temperature
    assert (gradient.item() <= 0) == alike or gradient.item() == 0


def test_one_persons_two_expressions_are_not_pushed_apart() -> None:
    projections = sample(2, 1, 4).requires_grad_()
    loss = contrast(projections, torch.tensor([0, 1]), torch.tensor([True, True]), torch.tensor([5, 5]), 0.0, 0.1)
    assert loss.item() == 0


def test_autocast_does_not_change_the_loss() -> None:
    projections = sample(8, 3, 16).float()
    facts = (torch.arange(8) % 3, torch.ones(8, dtype=torch.bool), torch.arange(8))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = contrast(projections, *facts, 0.2, 0.1)
    assert torch.equal(mixed, contrast(projections, *facts, 0.2, 0.1))
