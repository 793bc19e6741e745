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
from polyview.objectives.float32 import in_float32

_RANK = 1e-3
"""A direction along which the text varies less than this share of what it varies along the first says nothing."""


@in_float32
def redundancy(
    fused: Tensor,  # (N, D)
    text: Tensor,  # (N, D)
    form: Literal["text_directions", "off_diagonal", "full"],
) -> Tensor:
    """Cross-modal redundancy: each direction of the text is said by the images once, and only by itself.

    `text_directions`: with T the centred text of the batch, T = U S V' its singular value decomposition without what
    is zero, and C the cross-correlation of F V, the images along the text's directions, with U: the mean over i of
    (1 - C_ii)^2 plus the mean over i≠j of C_ij^2, less what chance alone makes of the latter, 1/(N - 1). Images that
    equal their texts have C = I, the least there is; the loss is near 1 where they have nothing to do with them. The
    directions are a given: no gradient flows into the text.

    `off_diagonal` is sum_{i≠j} C_ij^2 of C = F'T / N, in all D dimensions, and `full` adds sum_i (1 - C_ii)^2, which is
    Barlow Twins' loss between the modalities. The paper's abstract leaves open which is meant. **Their price**: K
    prompts give C a rank of K - 1 at most, so that images that equal their texts pay D^2/(K - 1) - D: 52,000 for 6
    prompts in 512 dimensions, where alignment can earn 1.8. Their weights must be tiny, and a lower loss may mean that
    images say less about the text.

    `fused` is (N, D) and `text` (N, D), the embedding of each sample's own prompt; both are the global batch. The
    result is a scalar in float32 or wider; of a batch with one prompt, `text_directions` is 0.
    Source: SMILE-VLM, arXiv 2506.01203; the squares are those of Zbontar et al. 2021, "Barlow Twins".
    """
    if form == "text_directions":
        return _along_text(fused, text.detach())
    correlation = cross_correlation(fused, text)
    loss = off_diagonal_energy(correlation)
    return loss + diagonal_error(correlation) if form == "full" else loss


def _along_text(
    fused: Tensor,  # (N, D)
    text: Tensor,  # (N, D)
) -> Tensor:
    left, sizes, right = torch.linalg.svd(text - text.mean(0), full_matrices=False)
    kept = sizes > max(_RANK * float(sizes[0]), torch.finfo(text.dtype).eps * len(text))
    if not kept.any():
        return 0 * fused.sum()
    return per_dimension_and_pair(cross_correlation(fused @ right[kept].T, left[:, kept]), len(fused))
