from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from polyview.objectives.joint import joint


def sample(samples: int, views: int, width: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return normalize(torch.randn(samples, views, width, generator=generator, dtype=torch.float64), dim=-1)


def test_equals_the_formula_with_loops() -> None:
    projections = sample(5, 3, 4)
    z = projections.numpy()
    losses = []
    for i in range(5):
        centre = sum(z[i, v] for v in range(3)) / 3
        for v in range(3):
            losses.append(1 - float(z[i, v] @ centre) / (np.linalg.norm(z[i, v]) * np.linalg.norm(centre)))
    assert joint(projections).item() == pytest.approx(float(np.mean(losses)), rel=1e-10)


def test_gradient_is_the_derivative() -> None:
    assert torch.autograd.gradcheck(joint, (sample(4, 3, 5).requires_grad_(),))


def test_order_of_samples_and_views_does_not_matter() -> None:
    projections = sample(8, 3, 5)
    assert torch.allclose(joint(projections.flip(0)[:, [1, 2, 0]]), joint(projections), rtol=1e-12)


def test_equal_views_reach_zero_and_opposite_views_reach_one() -> None:
    views = sample(6, 1, 5)
    assert joint(views.expand(-1, 4, -1)).item() == pytest.approx(0, abs=1e-12)
    assert joint(torch.cat([views, -views], dim=1)).item() == pytest.approx(1, abs=1e-6)


def test_one_view_is_refused() -> None:
    with pytest.raises(ValueError, match="several views"):
        joint(sample(4, 1, 3))


def test_autocast_does_not_change_the_loss() -> None:
    projections = sample(16, 3, 16).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = joint(projections)
    assert torch.equal(mixed, joint(projections))
