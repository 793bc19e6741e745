"""Pairs that are alike to a cosine of one, all others to a cosine of no more than a margin."""

from __future__ import annotations

from torch import Tensor

from polyview.objectives.float32 import in_float32
from polyview.objectives.pairs import mean_where, pairs


@in_float32
def margin(
    projections: Tensor,  # (N, V, P)
    label: Tensor,  # (N,) int64
    confident: Tensor,  # (N,) bool
    subject: Tensor,  # (N,) int64
    margin: float,
) -> Tensor:
    """The mean of 1 - c over the positive pairs, plus the mean of max(0, c - margin) over the negative ones.

    c is the cosine of two embeddings of the batch; see `pairs` for which they are, and `contrast` for the shapes. The
    paper sums over pairs; the mean over each kind makes the loss independent of the batch's size.
    Source: AffectVLM, arXiv 2504.19739, its multiview contrastive loss.
    """
    positive, negative = pairs(label, confident, subject, projections.shape[1])
    embeddings = projections.flatten(0, 1)
    cosine = embeddings @ embeddings.T
    return mean_where(positive, 1 - cosine) + mean_where(negative, (cosine - margin).relu())
