"""The cross-correlation of two sets of embeddings over the batch, which decorrelation and redundancy both shape."""

from __future__ import annotations

import torch
from torch import Tensor

EPSILON = 1e-8


def cross_correlation(
    left: Tensor,  # (..., N, D)
    right: Tensor,  # (..., N, E)
) -> Tensor:
    """C = L'R / N of the standardised embeddings, entries in [-1, 1].

    `left` is (..., N, D) and `right` (..., N, E); the result is (..., D, E). Leading dimensions are batched.
    """
    return standardise(left).mT @ standardise(right) / left.shape[-2]


def standardise(
    embeddings: Tensor,  # (..., N, D)
) -> Tensor:
    """Each dimension of (..., N, D) to zero mean and unit variance over N.

    The variance is the biased one. `EPSILON` added to it keeps a constant dimension's gradient finite, and is far
    below the 1/D of unit vectors: were it not, shrinking all embeddings to a point would lower the loss.
    """
    variance, mean = torch.var_mean(embeddings, dim=-2, correction=0, keepdim=True)
    return (embeddings - mean) * torch.rsqrt(variance + EPSILON)


def diagonal_error(
    correlation: Tensor,  # (..., D, D)
) -> Tensor:
    """sum_i (1 - C_ii)^2 over the last two dimensions."""
    return (1 - correlation.diagonal(dim1=-2, dim2=-1)).square().sum(-1)


def off_diagonal_energy(
    correlation: Tensor,  # (..., D, D)
) -> Tensor:
    """sum_{i≠j} C_ij^2 over the last two dimensions."""
    diagonal = torch.diag_embed(correlation.diagonal(dim1=-2, dim2=-1))
    return (correlation - diagonal).square().sum((-2, -1))


def per_dimension_and_pair(
    correlation: Tensor,  # (..., D, D)
    samples: int,
    dimensions: Tensor | None = None,  # scalar
) -> Tensor:
    """mean_i (1 - C_ii)^2 + mean_{i≠j} C_ij^2 - 1/(N - 1), over the last two dimensions; N samples made C.

    Means, and not sums, so that a weight is worth the same whatever D is; 1/(N - 1) is what the second mean is by
    chance alone where nothing correlates, so that a value is worth the same whatever N is. Where C is the identity in
    some dimensions, which say nothing, `dimensions` is how many the means are over, a tensor that stays on its device.
    """
    count = torch.tensor(correlation.shape[-1]) if dimensions is None else dimensions
    pairs = count * (count - 1)
    by_chance = (pairs > 0) / max(samples - 1, 1)
    error, energy = diagonal_error(correlation), off_diagonal_energy(correlation)
    return error / count.clamp(min=1) + energy / pairs.clamp(min=1) - by_chance
