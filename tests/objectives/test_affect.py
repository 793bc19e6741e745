"""AffectVLM's two losses over pairs: margin and triplet."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import normalize

from polyview.objectives.margin import margin
from polyview.objectives.triplet import triplet

Loss = Callable[[Tensor, Tensor, Tensor, Tensor, float], Tensor]
Face = tuple[int, bool, int]
LOSSES = [margin, triplet]


def sample(samples: int, views: int, width: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return normalize(torch.randn(samples, views, width, generator=generator, dtype=torch.float64), dim=-1)


def kind(faces: list[Face], i: int, j: int) -> str:
    """Of two views of the faces i and j."""
    (a, sure, who), (b, also_sure, whom) = faces[i], faces[j]
    if i == j or (a == b and sure and also_sure):
        return "positive"
    return "negative" if a != b and who != whom else "neither"


def margin_reference(projections: Tensor, faces: list[Face], m: float) -> float:
    z = projections.numpy()
    costs: dict[str, list[float]] = {"positive": [], "negative": [], "neither": []}
    for (i, v), (j, w) in itertools.permutations(itertools.product(range(z.shape[0]), range(z.shape[1])), 2):
        cosine = float(z[i, v] @ z[j, w])
        costs[kind(faces, i, j)].append(1 - cosine if kind(faces, i, j) == "positive" else max(0.0, cosine - m))
    return sum(float(np.mean(costs[name])) for name in ("positive", "negative") if costs[name])


def triplet_reference(projections: Tensor, faces: list[Face], m: float) -> float:
    z = projections.numpy()
    places = list(itertools.product(range(z.shape[0]), range(z.shape[1])))
    costs = []
    for i, v in places:
        far = {"positive": [], "negative": [], "neither": []}  # type: dict[str, list[float]]
        for j, w in places:
            if (j, w) != (i, v):
                far[kind(faces, i, j)].append(float(((z[i, v] - z[j, w]) ** 2).sum()))
        if far["positive"] and far["negative"]:
            costs.append(max(0.0, max(far["positive"]) - min(far["negative"]) + m))
    return float(np.mean(costs)) if costs else 0.0


def facts(faces: list[Face]) -> tuple[Tensor, Tensor, Tensor]:
    labels, confident, subjects = zip(*faces, strict=True)
    return torch.tensor(labels), torch.tensor(confident), torch.tensor(subjects)


@pytest.mark.parametrize(("loss", "reference"), [(margin, margin_reference), (triplet, triplet_reference)])
@settings(max_examples=40, deadline=None)
@given(
    faces=st.lists(st.tuples(st.integers(0, 2), st.booleans(), st.integers(0, 3)), min_size=1, max_size=6),
    views=st.integers(1, 3),
    m=st.floats(0.05, 0.9),
)
def test_equals_the_definition_pair_by_pair(
    loss: Loss, reference: Callable[[Tensor, list[Face], float], float], faces: list[Face], views: int, m: float
) -> None:
    projections = sample(len(faces), views, 5)
    expected = reference(projections, faces, m)
    assert loss(projections, *facts(faces), m).item() == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("loss", LOSSES)
def test_gradient_is_the_derivative(loss: Loss) -> None:
    given = facts([(0, True, 0), (0, True, 1), (1, False, 2), (1, True, 3)])
    assert torch.autograd.gradcheck(lambda z: loss(z, *given, 0.3), (sample(4, 2, 3).requires_grad_(),))


@pytest.mark.parametrize("loss", LOSSES)
def test_order_of_samples_and_views_does_not_matter(loss: Loss) -> None:
    projections = sample(6, 3, 4)
    label, confident, subject = facts([(i % 3, i % 4 > 0, i // 2) for i in range(6)])
    moved = loss(projections.flip(0)[:, [2, 0, 1]], label.flip(0), confident.flip(0), subject.flip(0), 0.2)
    assert torch.allclose(moved, loss(projections, label, confident, subject, 0.2), rtol=1e-12)


@pytest.mark.parametrize("loss", LOSSES)
def test_tight_classes_far_apart_reach_zero(loss: Loss) -> None:
    label = torch.tensor([0, 0, 1, 1])
    projections = torch.tensor([[1.0, 0], [-1, 0]])[label].unsqueeze(1).expand(-1, 2, -1)
    assert loss(projections, label, torch.ones(4, dtype=torch.bool), torch.arange(4), 0.5).item() == 0


def test_an_anchor_without_negatives_has_a_finite_gradient() -> None:
    projections = sample(2, 2, 4).requires_grad_()
    loss = triplet(projections, *facts([(0, True, 0), (0, True, 1)]), 0.5)
    (gradient,) = torch.autograd.grad(loss, projections)
    assert loss.item() == 0
    assert not gradient.any()


@pytest.mark.parametrize("loss", LOSSES)
def test_autocast_does_not_change_the_loss(loss: Loss) -> None:
    projections, given = sample(8, 3, 16).float(), facts([(i % 3, True, i) for i in range(8)])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = loss(projections, *given, 0.2)
    assert torch.equal(mixed, loss(projections, *given, 0.2))
