"""The model that is pretrained: an image tower over every view (or film), their fusion, a projector, a text tower."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from polyview.errors import UserError
from polyview.modeling.fusion import build_fusion
from polyview.modeling.layers import batch_norms, image_depths, text_depths, train_last
from polyview.modeling.temporal import TemporalAttention
from polyview.modeling.towers import build_towers, describe_towers, rebuild_towers
from polyview.recipe import Experiment

MAX_LOGIT_SCALE = math.log(100.0)


@dataclass(frozen=True)
class Embeddings:
    """One forward pass: views (B, V, D), their projections (B, V, P), fused (B, D), text (K, D) or None.

    All are L2-normalised, in float32 or wider. `logit_scale` is the factor before the softmax, at most 100.
    `class_logits` (B, classes) are the supervised head's, None without one.
    """

    views: Tensor
    projections: Tensor
    fused: Tensor
    text: Tensor | None
    logit_scale: Tensor
    class_logits: Tensor | None


class MultiviewModel(nn.Module):
    """open_clip's towers, a fusion of views, and a projector: the head on which view and pair losses are computed.

    With `model.temporal: attention` a view is a film, and `temporal` makes one embedding of its frames before the
    views are compared or fused: view losses hold that all cameras saw the same movement, and not what a face looked
    like at one moment. A recipe with a supervised term has a linear `classifier` besides. Weights come from torch's
    global seed, or from `model.pretrained`.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, experiment: Experiment, description: str | None = None) -> None:
        """description: what `describe_towers` said of towers whose weights are put in later; None: to start anew."""
        super().__init__()
        modeling, size = experiment.model, experiment.rendering.size
        self.towers = rebuild_towers(description, modeling, size) if description else build_towers(modeling, size)
        self.description = description or describe_towers(self.towers, modeling, size)
        if modeling.image_layers is not None:
            train_last(self.towers, image_depths(self.towers), modeling.image_layers, "model.image_layers")
        if modeling.text_layers is not None:
            train_last(self.towers, text_depths(self.towers), modeling.text_layers, "model.text_layers")
        self.parts = experiment.training.accumulate
        if self.parts > 1 and batch_norms(self.towers.visual, trained=True):
            raise UserError(
                f"training.accumulate: {modeling.tower} has batch norms, which would see a part of the batch; set "
                "training.accumulate: 1, or freeze them by model.image_layers: 0"
            )
        visual = self.towers.visual
        self.register_buffer("mean", torch.tensor(visual.image_mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(visual.image_std).view(3, 1, 1), persistent=False)
        self.width = self._measure_width(size)
        self.temporal = TemporalAttention(self.width) if modeling.temporal == "attention" else None
        self.fusion = build_fusion(modeling, experiment.revision, self.width, experiment.rendering.views.count)
        self.projector = build_projector(self.width, modeling.projector)
        self.classifier: nn.Linear | None = None
        if experiment.objective.supervised:
            self.classifier = nn.Linear(self.width, len(experiment.corpus.expressions))
        self.train()

    def train(self, mode: bool = True) -> Self:
        """Set the mode; batch norms that are frozen stay as they are evaluated, their statistics included."""
        super().train(mode)
        for norm in batch_norms(self.towers.visual, trained=False):
            norm.eval()
        return self

    def forward(
        self,
        images: Tensor,  # (B, V, 3, S, S) or (B, V, T, 3, S, S) float in [0, 1]
        angles: Tensor,  # (V, 2) yaw and pitch in degrees
        tokens: Tensor | None,  # (K, context) int64
    ) -> Embeddings:
        """Embed images, as `encode_views` takes them, seen from angles (V, 2) in degrees, and tokens (K, context)."""
        views = self.encode_views(images)
        fused = self.fuse(views, angles)
        return Embeddings(
            views=views,
            projections=self.project(views),
            fused=fused,
            text=None if tokens is None else self.encode_text(tokens),
            logit_scale=self.towers.logit_scale.exp(),
            class_logits=None if self.classifier is None else self.classify(fused),
        )

    @torch.no_grad()
    def clamp_logit_scale(self) -> None:
        """Bring the logit scale back to at most 100; to be called after each step, as CLIP does."""
        self.towers.logit_scale.clamp_(max=MAX_LOGIT_SCALE)

    def encode_views(
        self,
        images: Tensor,  # (B, V, 3, S, S) or (B, V, T, 3, S, S) float in [0, 1]
    ) -> Tensor:
        """Each view by itself: images (B, V, 3, S, S) float in [0, 1] to (B, V, D), L2-normalised float32.

        Of films, (B, V, T, 3, S, S), the tower sees each frame by itself, and `temporal` makes one of them.

        With gradients, the tower takes the batch in `training.accumulate` parts: it keeps no part's activations but
        computes them again when the part's gradient is due (Gao et al. 2021, "GradCache"), and every loss sees the
        whole batch. Embeddings and gradients are those of the batch in one piece.
        """
        flat = ((images - self.mean) / self.std).flatten(0, -4).contiguous(memory_format=torch.channels_last)
        if self.parts == 1 or not torch.is_grad_enabled():
            encoded = self.towers.encode_image(flat)
        else:
            parts = (checkpoint(self.towers.encode_image, part, use_reentrant=False) for part in flat.chunk(self.parts))
            encoded = torch.cat([*parts])
        embedded = normalised(encoded).unflatten(0, images.shape[:-3])
        return embedded if self.temporal is None else normalised(self.temporal(embedded))

    def mean_views(
        self,
        images: Tensor,  # (B, V, 3, S, S) or (B, V, T, 3, S, S) float in [0, 1]
    ) -> Tensor:
        """What the views of each sample have in common: images, as for `encode_views`, to (B, D), L2-normalised."""
        return normalised(self.encode_views(images).mean(dim=1))

    def project(
        self,
        views: Tensor,  # (B, V, D)
    ) -> Tensor:
        """Views (B, V, D) to projections (B, V, P), L2-normalised float32."""
        return normalised(self.projector(views))

    def fuse(
        self,
        views: Tensor,  # (B, V, D)
        angles: Tensor,  # (V, 2)
    ) -> Tensor:
        """Views (B, V, D) from angles (V, 2) to one embedding each, (B, D), L2-normalised float32."""
        return normalised(self.fusion(views, angles))

    def encode_text(
        self,
        tokens: Tensor,  # (K, context)
    ) -> Tensor:
        """Tokens (K, context) to (K, D), L2-normalised float32."""
        return normalised(self.towers.encode_text(tokens))

    def encode_anchors(
        self,
        tokens: Tensor,  # (E, K, context)
    ) -> Tensor:
        """Tokens (E, K, context), E prompts for each of K classes, to their normalised means, (K, D) float32."""
        texts = self.encode_text(tokens.flatten(0, 1)).unflatten(0, tokens.shape[:2])
        return normalised(texts.mean(dim=0))

    def classify(
        self,
        fused: Tensor,  # (B, D)
    ) -> Tensor:
        """Fused embeddings (B, D) to class logits (B, classes), from coordinates of about unit size."""
        assert self.classifier is not None
        logits: Tensor = self.classifier(fused * math.sqrt(self.width))
        return logits

    def _measure_width(self, size: int) -> int:
        self.towers.eval()
        with torch.no_grad():
            width = int(self.towers.encode_image(torch.zeros(1, 3, size, size)).shape[-1])
        self.towers.train()
        return width


def normalised(
    embeddings: Tensor,  # (..., D)
) -> Tensor:
    """Embeddings (..., D) on the unit sphere, in float32 or wider whatever the towers ran in."""
    wide = embeddings.to(torch.promote_types(embeddings.dtype, torch.float32))
    return functional.normalize(wide, dim=-1)


def build_projector(width: int, hidden: tuple[int, ...]) -> nn.Module:
    """Linear layers of the given widths with batch norm and ReLU between them; the identity for none.

    As in Barlow Twins (Zbontar 2021): the head is used by the loss alone, and left out of every evaluation.
    """
    layers: list[nn.Module] = []
    for fan_in, fan_out in itertools.pairwise((width, *hidden)):
        layers += [nn.Linear(fan_in, fan_out, bias=False), _OverViews(nn.BatchNorm1d(fan_out)), nn.ReLU()]
    return nn.Sequential(*layers[:-2]) if layers else nn.Identity()


class _OverViews(nn.Module):
    """A module over (N, C), applied to (B, V, C) with all views in one batch."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(
        self,
        views: Tensor,  # (B, V, C)
    ) -> Tensor:
        normalised: Tensor = self.inner(views.flatten(0, 1))
        return normalised.unflatten(0, views.shape[:2])
