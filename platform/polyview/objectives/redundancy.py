"""Image and text embeddings should not repeat each other across dimensions."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from polyview.objectives.correlation import cross_correlation, diagonal_error, off_diagonal_energy
from polyview.objectives.float32 import in_float32


@in_float32
def redundancy(
    fused: Tensor,  # (N, D)
    text: Tensor,  # (N, D)
    form: Literal["off_diagonal", "full"],
) -> Tensor:
    """Cross-modal redundancy, with C = F'T / N of the embeddings standardised over the batch.

    `off_diagonal`: sum_{i≠j} C_ij^2. `full`: sum_i (1 - C_ii)^2 in addition, which is Barlow Twins' loss between the
    modalities. The paper's abstract leaves open which is meant.

    With few distinct prompts read it with care: K prompts give C a rank of at most K - 1, so `full` cannot fall
    below D - (K - 1), and `off_diagonal` is lowest where the images say nothing about the text at all, so its weight
    must stay small beside the alignment's.

    `fused` is (N, D) and `text` (N, D), the embedding of each sample's own prompt; both are the global batch. The
    result is a scalar in float32 or wider.
    Source: SMILE-VLM, arXiv 2506.01203; the form is that of Zbontar et al. 2021, "Barlow Twins".
    """
    correlation = cross_correlation(fused, text)
    loss = off_diagonal_energy(correlation)
    return loss + diagonal_error(correlation) if form == "full" else loss
