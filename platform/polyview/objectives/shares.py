"""What each term of an objective has to say: its part of the gradient, and whether it pulls with the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from polyview.recipe.objective import Objective


def gradient_products(
    objective: Objective,
    values: Mapping[str, Tensor],
    embeddings: Tensor,  # any shape
) -> Tensor:
    """(T, T) inner products of the weighted gradients of an objective's T terms with respect to `embeddings`.

    `values` are the terms as `total_loss` gives them, computed from `embeddings`: the views' embeddings, through which
    whatever a term teaches the image tower has to pass. Of workers that each hold a part of a batch, the sum of their
    products is that of the whole batch.
    """
    gradients = [
        getattr(objective, name).weight * _gradient(value, embeddings).flatten().double()
        for name, value in values.items()
    ]
    stacked = torch.stack(gradients)
    return stacked @ stacked.T


def _gradient(value: Tensor, embeddings: Tensor) -> Tensor:
    if not value.requires_grad:
        return torch.zeros_like(embeddings)
    (gradient,) = torch.autograd.grad(value, embeddings, retain_graph=True, materialize_grads=True)
    return gradient


def gradient_shares(
    names: Sequence[str],
    products: Tensor,  # (T, T)
) -> dict[str, Tensor]:
    """Each term's `share/…` of the gradient and its `cosine/…` with the rest, from `gradient_products`.

    The share is the length of a term's gradient over the sum of all terms' lengths. The cosine is between a term's
    gradient and the sum of the others': below zero, it pulls against them. A single term has no cosine.
    """
    lengths = products.diagonal().clamp(min=0).sqrt()
    shares = lengths / lengths.sum().clamp(min=torch.finfo(products.dtype).tiny)
    found = {f"share/{name}": share for name, share in zip(names, shares, strict=True)}
    if len(names) == 1:
        return found
    with_all = products.sum(1)
    rest = (products.sum() - 2 * with_all + products.diagonal()).clamp(min=0).sqrt()
    cosines = (with_all - products.diagonal()) / (lengths * rest).clamp(min=torch.finfo(products.dtype).tiny)
    return found | {f"cosine/{name}": cosine for name, cosine in zip(names, cosines, strict=True)}
