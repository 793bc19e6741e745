"""Which pairs of a batch's views should be alike, and which should not: what contrast, margin and triplet share."""

from __future__ import annotations

import torch
from torch import Tensor


def pairs(
    label: Tensor,  # (N,) int64
    confident: Tensor,  # (N,) bool
    subject: Tensor,  # (N,) int64
    views: int,
) -> tuple[Tensor, Tensor]:
    """Which of the NV x NV pairs are positives, and which are negatives; the views of one sample are consecutive.

    Positives are views of one sample, and any views of two confident samples that share a label. Negatives are views
    of two samples that differ in label and in subject. All other pairs are left alone: an unsure pseudo-label draws
    no faces together, and a person is never pushed away from themselves. A view makes no pair with itself.

    `label` (N,) int64 is the sample's class, its pseudo-label, or its own number where neither is known; `confident`
    is (N,) bool and `subject` (N,) int64. Both results are (NV, NV) bool and symmetric.
    """
    same_sample = torch.eye(len(subject), dtype=torch.bool, device=subject.device)
    same_label = label[:, None] == label
    positive = same_sample | (same_label & confident[:, None] & confident)
    negative = ~same_label & (subject[:, None] != subject)
    block = torch.ones(views, views, dtype=torch.bool, device=subject.device)
    return torch.kron(positive, block).fill_diagonal_(False), torch.kron(negative, block)


def mean_where(
    chosen: Tensor,  # (...) bool
    values: Tensor,  # (...)
) -> Tensor:
    """The mean of the chosen values; zero, with a gradient of zero, if there are none."""
    return torch.where(chosen, values, 0).sum() / chosen.sum().clamp(min=1)
