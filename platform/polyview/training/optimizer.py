"""The optimiser: which part of the model learns how fast, and how the learning rate rises and falls."""

from __future__ import annotations

import math

import torch
from torch import nn

from polyview.modeling.layers import image_depths, text_depths
from polyview.recipe import Training


def make_optimizer(model: nn.Module, training: Training) -> torch.optim.Optimizer:
    """AdamW; biases, norms and the logit scale (all that is not a matrix) are not decayed.

    The parameters are in groups of one learning rate each, those that are decayed first.
    """
    rates = _learning_rates(model, training)
    trained = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    groups: list[dict[str, object]] = []
    for is_matrix, decay in ((True, training.weight_decay), (False, 0.0)):
        chosen = [(name, parameter) for name, parameter in trained if (parameter.dim() > 1) == is_matrix]
        for rate in dict.fromkeys(rates[name] for name, _ in chosen):
            of_rate = [parameter for name, parameter in chosen if rates[name] == rate]
            groups.append({"params": of_rate, "lr": rate, "weight_decay": decay})
    return torch.optim.AdamW(groups, betas=(0.9, 0.98), fused=True)


def _learning_rates(model: nn.Module, training: Training) -> dict[str, float]:
    """The peak learning rate of each parameter, by its name.

    Layer by layer, from the last to the first, a tower's is less by `layer_decay`, as in Bao et al. 2022, "BEiT"; heads
    have their own.
    """
    heads = training.lr if training.head_lr is None else training.head_lr
    rates = {name: training.lr if name.startswith("towers.") else heads for name, _ in model.named_parameters()}
    if training.layer_decay < 1 and (towers := getattr(model, "towers", None)):
        for depths in (image_depths(towers), text_depths(towers)):
            last = max(depths.values())
            for name, depth in depths.items():
                rates[f"towers.{name}"] = training.lr * training.layer_decay ** (last - depth)
    return rates


def schedule(step: int, steps: int, warmup: float) -> float:
    """The share of the peak learning rate at `step` of `steps`: linear warm-up over its share, then cosine to zero."""
    rising = warmup * steps
    if step < rising:
        return (step + 1) / (rising + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1.0, steps - rising)))
