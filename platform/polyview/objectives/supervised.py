"""The head says which expression a face shows."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import cross_entropy

from polyview.objectives.float32 import in_float32


@in_float32
def supervised(
    class_logits: Tensor,  # (N, K)
    label: Tensor,  # (N,) int64
) -> Tensor:
    """Cross-entropy of the logits (N, K) with the classes (N,) int64: a scalar in float32 or wider."""
    return cross_entropy(class_logits, label)
