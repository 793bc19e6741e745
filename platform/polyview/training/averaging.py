"""An average of the weights over the steps of a training, which is what is evaluated in place of the last weights."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from polyview.training.sharding import held, spread


class WeightAverage:
    """The exponential moving average of a model's weights and running statistics (Polyak and Juditsky 1992).

    At step n the average keeps (1 + n) / (10 + n) of what it was, and at most `decay`: so a short training's average is
    not that of its start.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model, self.decay = model, decay
        self.weights = {name: value.clone() for name, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the model's weights after `step`, which counts from 0 over the whole training."""
        kept = min(self.decay, (1 + step) / (10 + step))
        pairs = [(held(self.weights[name]), held(value)) for name, value in self.model.state_dict().items()]
        averages, values = zip(*(pair for pair in pairs if pair[0].is_floating_point()), strict=True)
        torch._foreach_lerp_(averages, values, 1 - kept)
        for count, now in pairs:
            if not count.is_floating_point():
                count.copy_(now)

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Go on from these, which are whole."""
        for name, value in weights.items():
            self.weights[name] = spread(value, self.weights[name])
