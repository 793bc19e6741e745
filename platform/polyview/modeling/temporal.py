"""Time: the frames of a film to one embedding, in whatever order they tell something."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

STILL = 1e-6  # the variance of a film in which nothing moves, where that of an embedding's coordinates is 1


class TemporalAttention(nn.Module):
    """The mean of the frames, weighted and shifted by a small transformer over what moves and when.

    The transformer is one pre-norm layer (Xiong et al. 2020, "On Layer Normalization in the Transformer
    Architecture"). Both its outputs, a weight and a shift for each frame, start at zero, so an untrained one gives the
    plain mean.

    It reads by how much each frame differs from the film's mean, brought to unit size. The frames of a film are alike
    but for a small movement, and between people they differ much: reading the frames themselves, it learned nothing in
    the hundred steps in which it learned from these differences (one seed of generated micro-expressions).
    """

    def __init__(self, width: int, heads: int = 4) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(
            width, heads, 2 * width, dropout=0.0, activation=functional.gelu, batch_first=True, norm_first=True
        )
        self.norm = nn.LayerNorm(width)
        self.score = nn.Linear(width, 1, bias=False)
        self.shift = nn.Linear(width, width, bias=False)
        nn.init.zeros_(self.score.weight)
        nn.init.zeros_(self.shift.weight)

    def forward(
        self,
        frames: Tensor,  # (..., T, D)
    ) -> Tensor:
        """Frames (..., T, D) in their order, L2-normalised and evenly spread over time, to (..., D)."""
        films = frames.flatten(0, -3)
        moved = math.sqrt(films.shape[-1]) * (films - films.mean(dim=1, keepdim=True))
        tokens = functional.layer_norm(moved, moved.shape[1:], eps=STILL) + time_code(films).to(films.dtype)
        seen = self.norm(self.layer(tokens))
        weights = self.score(seen).softmax(dim=1)
        pooled: Tensor = (weights * (films + self.shift(seen))).sum(dim=1)
        return pooled.unflatten(0, frames.shape[:-2])


def time_code(
    films: Tensor,  # (N, T, D)
) -> Tensor:
    """Sines and cosines of each frame's time, (T, D), from 0 at the first of the film to 1 at its last.

    The slowest wave makes half a turn over the film, so no two moments look alike, and the fastest eight turns. As in
    Vaswani et al. 2017, "Attention Is All You Need", but of relative time: long and short films are alike.
    """
    _, count, width = films.shape
    times = torch.linspace(0, 1, count, device=films.device)
    turns = torch.logspace(-1, 3, (width + 1) // 2, base=2, device=films.device)
    angles = 2 * math.pi * times[:, None] * turns
    return math.sqrt(2) * torch.cat([angles.sin(), angles.cos()], dim=-1)[:, :width]
