"""Fusion: many views of one face to one embedding."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional


class MeanFusion(nn.Module):
    """The mean of the views, whatever their angles."""

    def forward(
        self,
        views: Tensor,  # (B, V, D)
        angles: Tensor,  # (V, 2)  # noqa: ARG002
    ) -> Tensor:
        """Views (B, V, D) to (B, D), L2-normalised."""
        return functional.normalize(views.mean(dim=1), dim=-1)


class AttentionFusion(nn.Module):
    """The mean of the views plus attention over them, each view told apart by its camera's yaw and pitch.

    The attention's output starts at zero, so an untrained fusion is the mean.
    """

    def __init__(self, width: int, heads: int = 4) -> None:
        super().__init__()
        self.encode_angles = nn.Linear(4, width)
        self.query = nn.Parameter(torch.zeros(1, 1, width))
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        nn.init.zeros_(self.attention.out_proj.weight)

    def forward(
        self,
        views: Tensor,  # (B, V, D)
        angles: Tensor,  # (V, 2)
    ) -> Tensor:
        """Views (B, V, D) seen from `angles` (V, 2), yaw and pitch in degrees, to (B, D), L2-normalised."""
        radians = torch.deg2rad(angles)
        tokens = views + self.encode_angles(torch.cat([radians.sin(), radians.cos()], dim=-1))
        attended, _ = self.attention(self.query.expand(len(views), -1, -1), tokens, tokens, need_weights=False)
        return functional.normalize(views.mean(dim=1) + attended.squeeze(1), dim=-1)


class ConcatFusion(nn.Module):
    """A linear map of the views side by side, which starts as their mean; it fits one number of views only."""

    def __init__(self, width: int, views: int) -> None:
        super().__init__()
        self.mix = nn.Linear(views * width, width, bias=False)
        with torch.no_grad():
            self.mix.weight.copy_(torch.eye(width).repeat(1, views) / views)

    def forward(
        self,
        views: Tensor,  # (B, V, D)
        angles: Tensor,  # (V, 2)  # noqa: ARG002
    ) -> Tensor:
        """Views (B, V, D), always in the rig's order, to (B, D), L2-normalised."""
        return functional.normalize(self.mix(views.flatten(1)), dim=-1)


def build_fusion(name: Literal["attention", "mean", "concat"], width: int, views: int) -> nn.Module:
    """The fusion called `name` of so many views, for embeddings of `width`."""
    match name:
        case "attention":
            return AttentionFusion(width)
        case "mean":
            return MeanFusion()
        case "concat":
            return ConcatFusion(width, views)
