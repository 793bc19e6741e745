"""A view should be told from all others of the batch by being like the other views of its own face."""

from __future__ import annotations

import torch
from torch import Tensor

from polyview.objectives.float32 import in_float32
from polyview.objectives.pairs import mean_where


@in_float32
def simclr(
    projections: Tensor,  # (N, V, P)
    temperature: float,
) -> Tensor:
    """NT-Xent over views: the mean over pairs (a, p) of views of one sample of -log exp(ap/t) / sum_k exp(ak/t).

    k runs over all views of the batch but a itself, t is the temperature, and the products are cosines. With two
    views this is SimCLR's loss; with more, each of a view's V - 1 positives counts alike.

    `projections` is (N, V, P), L2-normalised, the global batch; the result is a scalar in float32 or wider. Raises
    ValueError if there is one view only: it has no positive.
    Source: Chen et al. 2020, "SimCLR", equation 1; several positives: Khosla et al. 2020, equation 2.
    """
    samples, views, _ = projections.shape
    if views < 2:
        raise ValueError(f"simclr needs pairs of views, and projections of shape {[*projections.shape]} have 1")
    embeddings = projections.flatten(0, 1)
    itself = torch.eye(samples * views, dtype=torch.bool, device=projections.device)
    logits = (embeddings @ embeddings.T / temperature).masked_fill(itself, -torch.inf)
    within = torch.arange(samples, device=projections.device).repeat_interleave(views)
    positive = (within[:, None] == within) & ~itself
    return mean_where(positive, torch.logsumexp(logits, dim=1, keepdim=True) - logits)
