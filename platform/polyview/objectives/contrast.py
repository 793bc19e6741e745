"""The gradient-friendly loss of pairs: a pull that is never stronger than 1 / temperature, and ends with its work."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import softplus

from polyview.objectives.float32 import in_float32
from polyview.objectives.pairs import mean_where, pairs


@in_float32
def contrast(
    projections: Tensor,  # (N, V, P)
    label: Tensor,  # (N,) int64
    confident: Tensor,  # (N,) bool
    subject: Tensor,  # (N,) int64
    margin: float,
    temperature: float,
) -> Tensor:
    """-log s((c - margin)/t), averaged over the positive pairs, plus -log s(-(c - margin)/t) over the negative ones.

    s is the sigmoid, t the temperature and c the cosine of two embeddings of the batch; see `pairs` for which they
    are. Each kind is averaged over its own pairs, so the many negatives do not outvote the positives; a kind without
    pairs adds nothing. A pair's gradient is bounded, |d/dc| <= 1/t, and vanishes as the pair comes right.

    `projections` is (N, V, P), L2-normalised; `label` and `subject` are (N,) int64 and `confident` (N,) bool; all are
    the global batch. The result is a scalar in float32 or wider.
    Source: MultiviewVLM, arXiv 2505.09336.
    """
    positive, negative = pairs(label, confident, subject, projections.shape[1])
    embeddings = projections.flatten(0, 1)
    pull = (embeddings @ embeddings.T - margin) / temperature
    return mean_where(positive, softplus(-pull)) + mean_where(negative, softplus(pull))
