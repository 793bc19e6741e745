"""Fusion: many views of one face to one embedding."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from polyview.recipe import Modeling


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
    """A weighted mean of the views: each part of the embedding has its own weights, by what it sees and from where.

    A view's key is a linear map of its embedding plus its camera's code, both of length one; a learned query for each
    part is compared with the keys. Keys start at zero, so an untrained fusion is the plain mean; the queries do not, so
    it can learn at once. The queries are kept in one dimension, which the optimiser does not decay.
    """

    def __init__(self, width: int, parts: int = 4) -> None:
        super().__init__()
        self.parts = parts
        self.encode_angles = nn.Linear(4, width)
        self.keys = nn.Linear(width, width, bias=False)
        self.queries = nn.Parameter(torch.randn(width))
        nn.init.zeros_(self.keys.weight)

    def forward(
        self,
        views: Tensor,  # (B, V, D)
        angles: Tensor,  # (V, 2)
    ) -> Tensor:
        """Views (B, V, D), L2-normalised, seen from `angles` (V, 2) in degrees, to (B, D), L2-normalised."""
        weights = self.weights(views, angles).unsqueeze(-1)
        return functional.normalize((weights * views.unflatten(-1, (self.parts, -1))).sum(1).flatten(1), dim=-1)

    def weights(
        self,
        views: Tensor,  # (B, V, D)
        angles: Tensor,  # (V, 2)
    ) -> Tensor:
        """How much each view counts in each part of the embedding: (B, V, parts), which sum to one over the views."""
        keys = self.keys(views + functional.normalize(self.encode_angles(_directions(angles)), dim=-1))
        logits = (keys * self.queries).unflatten(-1, (self.parts, -1)).sum(-1)
        return logits.softmax(dim=1)


class ResidualAttentionFusion(nn.Module):
    """What `attention` was in recipes of revision 1: the mean of the views plus attention over them.

    Its query starts at zero and is decayed, and its codes of angles are ten times as large as the views, so that it
    hardly learns: it is here for the checkpoints that have it.
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
        tokens = views + self.encode_angles(_directions(angles))
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


def build_fusion(modeling: Modeling, revision: int, width: int, views: int) -> nn.Module:
    """The fusion that a recipe asks for, of so many views, for embeddings of `width`."""
    match modeling.fusion:
        case "attention":
            return AttentionFusion(width) if revision > 1 else ResidualAttentionFusion(width)
        case "mean":
            return MeanFusion()
        case "concat":
            return ConcatFusion(width, views)


def _directions(
    angles: Tensor,  # (V, 2)
) -> Tensor:
    """The sines and cosines (V, 4) of yaws and pitches in degrees."""
    radians = torch.deg2rad(angles)
    return torch.cat([radians.sin(), radians.cos()], dim=-1)
