"""Each view nearer to the farthest view that is like it than to the nearest that is not."""

from __future__ import annotations

import torch
from torch import Tensor

from polyview.objectives.float32 import in_float32
from polyview.objectives.pairs import mean_where, pairs


@in_float32
def triplet(
    projections: Tensor,  # (N, V, P)
    label: Tensor,  # (N,) int64
    confident: Tensor,  # (N,) bool
    subject: Tensor,  # (N,) int64
    margin: float,
) -> Tensor:
    """The mean over anchors of max(0, |a - p|² - |a - n|² + margin), with the hardest p and n of the batch.

    p is the farthest positive of the anchor a and n the nearest negative, since a batch has too many triplets for all
    of them; an anchor that lacks either is left out. See `pairs` for which they are, and `contrast` for the shapes.
    Source: AffectVLM, arXiv 2504.19739, its multiview triplet loss; the choice: Hermans et al. 2017, "batch hard".
    """
    positive, negative = pairs(label, confident, subject, projections.shape[1])
    embeddings = projections.flatten(0, 1)
    # |a - b|² of unit vectors
    distance = 2 - 2 * embeddings @ embeddings.T
    farthest = torch.where(positive, distance, -torch.inf).amax(1)
    nearest = torch.where(negative, distance, torch.inf).amin(1)
    whole = positive.any(1) & negative.any(1)
    gap = torch.where(whole, farthest, 0) - torch.where(whole, nearest, 0)
    return mean_where(whole, (gap + margin).relu())
