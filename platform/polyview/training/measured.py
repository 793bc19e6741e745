"""What the steps of an epoch measure, which is left on the device until it is read."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

READ_STEPS = 50  # on a GPU, which all wait for while it is read


class Measured:
    """The sums of what an epoch's steps measure; on a GPU they are read every `READ_STEPS` steps, else each time.

    lr: the recipe's, which is told where a loss is not finite.
    """

    def __init__(self, epoch: int, device: torch.device, totals: dict[str, float], lr: float) -> None:
        self.epoch, self.totals, self.lr = epoch, totals, lr
        self.every = 1 if device.type == "cpu" else READ_STEPS
        self.unread: list[tuple[tuple[str, ...], Tensor, Sequence[str]]] = []

    def add(self, values: Mapping[str, Tensor], sample_ids: Sequence[str]) -> None:
        """Take in a step's scalars, the loss the first of them, and whose samples they are of; reads now and then."""
        self.unread.append((tuple(values), torch.stack([value.double() for value in values.values()]), sample_ids))
        if len(self.unread) >= self.every:
            self.read()

    def read(self) -> dict[str, float]:
        """The sums up to here; raises `FloatingPointError` at the first step whose loss is not finite."""
        for names, values, sample_ids in self.unread:
            found = dict(zip(names, values.tolist(), strict=True))
            if not math.isfinite(found["loss"]):
                raise FloatingPointError(
                    f"the loss is {found['loss']} in epoch {self.epoch + 1}; "
                    f"the batch had {', '.join(sample_ids[:8])}, …; training.lr is {self.lr:g}, and a lower one may do"
                )
            for name, value in found.items():
                self.totals[name] = self.totals.get(name, 0.0) + value
        self.unread.clear()
        return self.totals
