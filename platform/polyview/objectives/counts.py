"""How many samples of a batch have each prompt."""

from __future__ import annotations

import torch
from torch import Tensor


def occurrences(
    prompt_index: Tensor,  # (N,) int64
    prompts: int,
) -> Tensor:
    """How often each of so many prompts occurs, (K,) int64; unlike torch's bincount, no GPU is waited for."""
    return (prompt_index == torch.arange(prompts, device=prompt_index.device).unsqueeze(1)).sum(1)
