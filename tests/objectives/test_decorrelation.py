from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from polyview.objectives.decorrelation import decorrelation

EPSILON = 1e-8


def reference(projections: NDArray[np.float64], off_diagonal: float) -> float:
    """The formula with explicit loops."""
    samples, views, width = projections.shape
    z = np.empty_like(projections)
    for v, p in itertools.product(range(views), range(width)):
        column = projections[:, v, p]
        mean = sum(column) / samples
        variance = sum((x - mean) ** 2 for x in column) / samples
        z[:, v, p] = (column - mean) / np.sqrt(variance + EPSILON)
    losses = []
    for a in range(views):
        for b in range(a + 1, views):
            loss = 0.0
            for i, j in itertools.product(range(width), range(width)):
                c = sum(z[n, a, i] * z[n, b, j] for n in range(samples)) / samples
                loss += (1 - c) ** 2 if i == j else off_diagonal * c**2
            losses.append(loss)
    return float(np.mean(losses))


def sample(samples: int, views: int, width: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(
        torch.randn(samples, views, width, generator=generator, dtype=torch.float64), dim=-1
    )


@pytest.mark.parametrize(("samples", "views", "width"), [(6, 2, 4), (9, 3, 5), (4, 4, 7)])
def test_equals_the_formula_with_loops(samples: int, views: int, width: int) -> None:
    projections = sample(samples, views, width)
    assert decorrelation(projections, 0.3).item() == pytest.approx(reference(projections.numpy(), 0.3), rel=1e-10)


def test_gradient_is_the_derivative() -> None:
    projections = sample(6, 3, 4).requires_grad_()
    assert torch.autograd.gradcheck(lambda z: decorrelation(z, 0.1), (projections,))


def test_order_of_samples_and_views_does_not_matter() -> None:
    projections = sample(12, 4, 6)
    shuffled = projections[torch.randperm(12)][:, [2, 0, 3, 1]]
    assert torch.allclose(decorrelation(shuffled, 0.2), decorrelation(projections, 0.2), rtol=1e-10)


def test_equal_views_of_uncorrelated_dimensions_reach_zero() -> None:
    # Hadamard columns: each has mean 0, and any two are orthogonal.
    columns = torch.tensor([[1.0, 1, 1], [-1, 1, -1], [1, -1, -1], [-1, -1, 1]])
    assert decorrelation(columns.unsqueeze(1).expand(-1, 3, -1), 1.0).item() < 1e-8


def test_equal_dimensions_cost_the_off_diagonal_weight() -> None:
    column = torch.tensor([1.0, -1, 1, -1]).reshape(4, 1, 1).expand(4, 2, 3)
    assert decorrelation(column, 0.5).item() == pytest.approx(0.5 * 6, rel=1e-4)


def test_a_constant_batch_has_a_finite_gradient() -> None:
    projections = torch.ones(5, 2, 4, requires_grad=True)
    (gradient,) = torch.autograd.grad(decorrelation(projections, 0.1), projections)
    assert gradient.isfinite().all()


def test_one_view_is_refused() -> None:
    with pytest.raises(ValueError, match="pairs of views"):
        decorrelation(torch.randn(4, 1, 3), 0.1)


def test_autocast_does_not_change_the_loss() -> None:
    projections = sample(32, 3, 16).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = decorrelation(projections, 0.1)
    assert mixed.dtype == torch.float32
    assert torch.equal(mixed, decorrelation(projections, 0.1))
