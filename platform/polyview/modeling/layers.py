"""The layers of a tower, from its input on: what can be frozen up to one of them, and learn more slowly before it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import nn

from polyview.errors import UserError

_NUMBERED = re.compile(r"(?:^|\.)(?:resblocks\.|layer\.|layers\.|block\.|layer(?=\d))(\d+)\.")
"""A parameter of a layer: of open_clip's transformers, of Hugging Face's text towers, a stage of CLIP's ResNet."""
_BEFORE = re.compile(
    r"conv\d|bn\d|class_embedding|positional_embedding|ln_pre|token_embedding|cls_emb|transformer\.(\w+\.)?embed"
)
"""A parameter of what comes before the first layer."""


def image_depths(towers: Any) -> dict[str, int]:
    """How deep each parameter of the image tower lies, by its name in `towers`.

    0 is before the first layer, 1 to L are the layers, and L + 1 is behind them: the last norm and the projection. A
    layer is a transformer's block, a block of timm's convolutional towers, or a stage of CLIP's own ResNet.
    """
    visual = towers.visual
    depths = _timm_depths(visual) if hasattr(visual, "trunk") else _numbered_depths(dict(visual.named_parameters()))
    return {f"visual.{name}": depth for name, depth in depths.items()}


def text_depths(towers: Any) -> dict[str, int]:
    """How deep each parameter of the text tower lies, by its name in `towers`; as in `image_depths`."""
    if hasattr(towers, "text"):
        return {f"text.{name}": depth for name, depth in _numbered_depths(dict(towers.text.named_parameters())).items()}
    neither = ("visual.", "logit_scale", "logit_bias")
    return _numbered_depths({name: one for name, one in towers.named_parameters() if not name.startswith(neither)})


def train_last(towers: nn.Module, depths: Mapping[str, int], layers: int, key: str) -> None:
    """Freeze all of a tower but its last `layers` and what is behind them; for 0 layers, all of it.

    Batch norms that are frozen keep their statistics. Raises `UserError`, which names `key`, if it has fewer layers.
    """
    most = _count(depths)
    if layers > most:
        raise UserError(f"{key} is {layers} and the tower has {most} layers; null trains all, and what is before them")
    for name, depth in depths.items():
        if not layers or depth <= most - layers:
            towers.get_parameter(name).requires_grad_(False)


def blocks(tower: nn.Module) -> list[nn.Module]:
    """The modules of more than one part that stand in a list, and hold no such list: what a tower repeats.

    A transformer's blocks, or those of a convolutional tower's stages. Embeddings and projections are outside of them.
    """
    inner = [block for child in tower.children() for block in blocks(child)]
    if inner or not isinstance(tower, nn.ModuleList | nn.Sequential):
        return inner
    parts = tower.children()
    return [part for part in parts if any(part.children()) and any(weight.numel() for weight in part.parameters())]


def batch_norms(tower: nn.Module, trained: bool) -> list[nn.Module]:
    """The batch norms of a tower that are trained, and so normalise by the batch, or those that are frozen."""
    norms = [norm for norm in tower.modules() if isinstance(norm, nn.modules.batchnorm._BatchNorm)]
    return [norm for norm in norms if norm.weight.requires_grad == trained]


def _count(depths: Mapping[str, int]) -> int:
    """How many layers there are."""
    return max(depths.values()) - 1


def _numbered_depths(parameters: Mapping[str, nn.Parameter]) -> dict[str, int]:
    numbers = {name: match.group(1) for name in parameters if (match := _NUMBERED.search(name))}
    # A ResNet's stages count from 1, the blocks of transformers from 0.
    order = {number: depth for depth, number in enumerate(sorted(set(numbers.values()), key=int), 1)}
    behind = len(order) + 1
    return {
        name: order[numbers[name]] if name in numbers else 0 if _BEFORE.match(name) else behind for name in parameters
    }


def _timm_depths(visual: Any) -> dict[str, int]:
    from timm.models import group_parameters

    groups = group_parameters(visual.trunk, visual.trunk.group_matcher())
    last = max(depth for depth, names in groups.items() if any(map(re.compile(r"\.\d+\.").search, names)))
    depths = {f"trunk.{name}": min(depth, last + 1) for depth, names in groups.items() for name in names}
    return depths | {f"head.{name}": last + 1 for name, _ in visual.head.named_parameters()}
