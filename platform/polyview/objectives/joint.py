"""All views of one face should gather around their mean."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import cosine_similarity

from polyview.objectives.float32 import in_float32


@in_float32
def joint(
    projections: Tensor,  # (N, V, P)
) -> Tensor:
    """Joint embedding: the mean over samples i and views v of 1 - cos(z[i,v], mean_v z[i,v]).

    It lies between 0, where a sample's views are equal, and 1, where they cancel out. The gradient flows through the
    mean as well. A constant embedding reaches 0 too, so the loss needs another beside it that pushes faces apart.

    `projections` z is (N, V, P), L2-normalised, so that every view has the same say in the mean; the result is a
    scalar in float32 or wider. Raises ValueError if there is one view only: it is its own mean.
    Source: MultiviewVLM, arXiv 2505.09336.
    """
    if projections.shape[1] < 2:
        raise ValueError(f"joint needs several views, and projections of shape {[*projections.shape]} have 1")
    return (1 - cosine_similarity(projections, projections.mean(1, keepdim=True), dim=-1)).mean()
