"""Pairs of embeddings that should be alike, and pairs that should not, by pseudo-label."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import softplus

from polyview.objectives.precision import in_float32


@in_float32
def contrast(
    projections: Tensor, pseudo_label: Tensor, confident: Tensor, subject: Tensor, margin: float, temperature: float
) -> Tensor:
    """The gradient-friendly pair loss: -log s((c - margin)/t) for positives, -log s(-(c - margin)/t) for negatives.

    s is the sigmoid, t the temperature and c the cosine of two embeddings of the batch. Positives are views of one
    sample, and any views of two confident samples that share a pseudo-label. Negatives are views of two samples that
    differ in pseudo-label and in subject. All other pairs are left alone: an unsure pseudo-label draws no faces
    together, and a person is never pushed away from themselves. Each kind is averaged over its own pairs, so the many
    negatives do not outvote the positives; a kind without pairs adds nothing.

    A pair's gradient is bounded, |d/dc| <= 1/t, and vanishes as the pair comes right.

    `projections` is (N, V, P), L2-normalised; `pseudo_label` and `subject` are (N,) int64 and `confident` (N,) bool;
    all are the global batch. The result is a scalar in float32 or wider.
    Source: MultiviewVLM, arXiv 2505.09336.
    """
    views = projections.shape[1]
    embeddings = projections.flatten(0, 1)
    positive, negative = _pairs(pseudo_label, confident, subject, views)
    pull = (embeddings @ embeddings.T - margin) / temperature
    return _mean_where(positive, softplus(-pull)) + _mean_where(negative, softplus(pull))


def _pairs(pseudo_label: Tensor, confident: Tensor, subject: Tensor, views: int) -> tuple[Tensor, Tensor]:
    """Which of the NV x NV pairs are positives, and which are negatives; the views of one sample are consecutive."""
    same_sample = torch.eye(len(subject), dtype=torch.bool, device=subject.device)
    same_label = pseudo_label[:, None] == pseudo_label
    positive = same_sample | (same_label & confident[:, None] & confident)
    negative = ~same_label & (subject[:, None] != subject)
    block = torch.ones(views, views, dtype=torch.bool, device=subject.device)
    return torch.kron(positive, block).fill_diagonal_(False), torch.kron(negative, block)


def _mean_where(chosen: Tensor, values: Tensor) -> Tensor:
    return torch.where(chosen, values, 0).sum() / chosen.sum().clamp(min=1)
