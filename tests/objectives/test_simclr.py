from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from polyview.objectives.simclr import simclr


def sample(samples: int, views: int, width: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return normalize(torch.randn(samples, views, width, generator=generator, dtype=torch.float64), dim=-1)


def reference(projections: Tensor, t: float) -> float:
    """The definition, view by view."""
    z = projections.numpy()
    places = [(i, v) for i in range(z.shape[0]) for v in range(z.shape[1])]
    losses = []
    for i, v in places:
        others = [place for place in places if place != (i, v)]
        everything = math.log(sum(math.exp(float(z[i, v] @ z[other]) / t) for other in others))
        losses += [everything - float(z[i, v] @ z[j, w]) / t for j, w in others if j == i]
    return float(np.mean(losses))


@settings(max_examples=30, deadline=None)
@given(samples=st.integers(1, 6), views=st.integers(2, 4), t=st.floats(0.1, 2), seed=st.integers(0, 99))
def test_equals_the_definition_view_by_view(samples: int, views: int, t: float, seed: int) -> None:
    projections = sample(samples, views, 5, seed)
    assert simclr(projections, t).item() == pytest.approx(reference(projections, t), rel=1e-9, abs=1e-12)


def test_with_two_views_it_is_the_cross_entropy_of_the_paper() -> None:
    first, second = sample(7, 2, 5).unbind(1)
    joined = torch.cat([first, second])
    logits = (joined @ joined.T / 0.1).fill_diagonal_(-torch.inf)
    partner = torch.cat([torch.arange(7, 14), torch.arange(7)])
    loss = simclr(torch.stack([first, second], dim=1), 0.1)
    assert loss.item() == pytest.approx(cross_entropy(logits, partner).item(), rel=1e-12)


def test_gradient_is_the_derivative() -> None:
    assert torch.autograd.gradcheck(lambda z: simclr(z, 0.3), (sample(3, 3, 4).requires_grad_(),))


def test_order_of_samples_and_views_does_not_matter() -> None:
    projections = sample(6, 3, 4)
    assert torch.allclose(simclr(projections.flip(0)[:, [2, 0, 1]], 0.1), simclr(projections, 0.1), rtol=1e-12)


def test_opposite_faces_of_equal_views_reach_zero() -> None:
    faces = torch.tensor([[1.0, 0], [-1, 0]]).unsqueeze(1).expand(-1, 2, -1)
    assert simclr(faces, 0.05).item() == pytest.approx(0, abs=1e-6)


def test_one_view_is_refused() -> None:
    with pytest.raises(ValueError, match="pairs of views"):
        simclr(sample(4, 1, 3), 0.1)


def test_autocast_does_not_change_the_loss() -> None:
    projections = sample(8, 3, 16).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = simclr(projections, 0.1)
    assert torch.equal(mixed, simclr(projections, 0.1))
