"""Views of one face should agree in every dimension, and no two dimensions should say the same."""

from __future__ import annotations

import torch
from torch import Tensor

from polyview.objectives.correlation import (
    cross_correlation,
    diagonal_error,
    off_diagonal_energy,
    per_dimension_and_pair,
)
from polyview.objectives.float32 import in_float32


@in_float32
def decorrelation(
    projections: Tensor,  # (N, V, P)
    off_diagonal: float | None = None,
) -> Tensor:
    """Barlow Twins over view pairs: the mean over views a < b of what their cross-correlation C lacks to be I.

    C = Za'Zb / N, where each dimension of view a's and view b's projections is standardised over the batch (see
    `correlation.standardise`). What it lacks is mean_i (1 - C_ii)^2 + mean_{i≠j} C_ij^2 - 1/(N - 1), of which the last
    is what chance makes of the second: about 1 for projections of random views, whatever P and N are. With a number
    for `off_diagonal` it is the published sum_i (1 - C_ii)^2 + off_diagonal * sum_{i≠j} C_ij^2, which grows with P and,
    by chance, with P^2/N.

    The order of the samples and of the views does not matter. It is least (but for the standardisation's epsilon)
    where all views agree and the dimensions are uncorrelated.

    `projections` is (N, V, P), the global batch; the result is a scalar in float32 or wider.
    Raises ValueError if there is one view only: it has no pair.
    Source: Zbontar et al. 2021, "Barlow Twins", equations 1 and 2; over views: SMILE-VLM, arXiv 2506.01203.
    """
    views = projections.shape[1]
    if views < 2:
        raise ValueError(f"decorrelation needs pairs of views, and projections of shape {[*projections.shape]} have 1")
    first, second = torch.triu_indices(views, views, offset=1, device=projections.device)
    by_view = projections.transpose(0, 1)
    correlation = cross_correlation(by_view[first], by_view[second])
    if off_diagonal is None:
        return per_dimension_and_pair(correlation, len(projections)).mean()
    return (diagonal_error(correlation) + off_diagonal * off_diagonal_energy(correlation)).mean()
