"""Image and text embeddings should not repeat each other across dimensions."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from polyview.objectives.correlation import (
    cross_correlation,
    diagonal_error,
    off_diagonal_energy,
    per_dimension_and_pair,
)
from polyview.objectives.counts import occurrences
from polyview.objectives.float32 import in_float32

_LEAST_ENERGY = 1e-6
"""A direction of which the text has less than this share of what it has of the first says nothing."""


@in_float32
def redundancy(
    fused: Tensor,  # (N, D)
    text: Tensor,  # (K, D)
    prompt_index: Tensor,  # (N,) int64
    form: Literal["text_directions", "off_diagonal", "full"],
) -> Tensor:
    """Cross-modal redundancy: each direction of the text is said by the images once, and only by itself.

    `text_directions`: T (N, D) are the centred texts of the batch's samples, T = U S V' is their singular value
    decomposition without what is zero, and C is the cross-correlation of F V, the images along the text's directions,
    with U, what the texts say along them. The loss is the mean over i of (1 - C_ii)^2 plus the mean over i≠j of C_ij^2,
    less what chance alone makes of the latter, 1/(N - 1). Images that equal their texts have C = I, the least there is;
    the loss is near 1 where they have nothing to do with them. The directions are a given: no gradient flows into the
    text.

    `off_diagonal` is sum_{i≠j} C_ij^2 of C = F'T / N, in all D dimensions, and `full` adds sum_i (1 - C_ii)^2, which is
    Barlow Twins' loss between the modalities. The paper's abstract leaves open which is meant. **Their price**: K
    prompts give C a rank of K - 1 at most, so that images that equal their texts pay D^2/(K - 1) - D: 52,000 for 6
    prompts in 512 dimensions, where alignment can earn 1.8. Their weights must be tiny, and a lower loss may mean that
    images say less about the text.

    `fused` is (N, D), `text` (K, D) each prompt once, `prompt_index` (N,) int64 which one a sample has; all are the
    global batch. The result is a scalar in float32 or wider; of a batch with one prompt, `text_directions` is 0.
    Source: SMILE-VLM, arXiv 2506.01203; the squares are those of Zbontar et al. 2021, "Barlow Twins".
    """
    if form == "text_directions":
        return _along_text(fused, text.detach(), prompt_index)
    correlation = cross_correlation(fused, text[prompt_index])
    loss = off_diagonal_energy(correlation)
    return loss + diagonal_error(correlation) if form == "full" else loss


def _along_text(
    fused: Tensor,  # (N, D)
    text: Tensor,  # (K, D)
    prompt_index: Tensor,  # (N,) int64
) -> Tensor:
    share = occurrences(prompt_index, len(text)).to(text.dtype) / len(prompt_index)
    centred = text - share @ text
    weighted = share.sqrt().unsqueeze(1) * centred
    # The eigenvectors of so small a matrix give the singular vectors of the batch's. Text that is not finite is seen
    # in the projections below, where it makes the loss so.
    energy, axes = torch.linalg.eigh(torch.nan_to_num(weighted @ weighted.T))
    kept = energy > _LEAST_ENERGY * energy[-1].clamp(min=torch.finfo(text.dtype).eps)
    directions = weighted.T @ axes
    correlation = cross_correlation(fused @ directions, (centred @ directions)[prompt_index])
    # Products, and not a choice: what is not finite stays so.
    both = (kept & kept.unsqueeze(1)).to(correlation.dtype)
    ideal = torch.eye(len(kept), dtype=correlation.dtype, device=correlation.device)
    return per_dimension_and_pair(both * correlation + (1 - both) * ideal, len(fused), kept.sum())
