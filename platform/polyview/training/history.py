"""What training measures: step by step, and what is kept of it, epoch by epoch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

READ_STEPS = 50  # on a GPU, which all wait for while it is read


class Epoch(BaseModel):
    """One epoch: the mean loss, each unweighted term, the learning rate, samples per second, `system/…` of `Usage`.

    `share/…` and `cosine/…` are each term's part of the last batch's gradient and its cosine with the other terms'.
    `epoch` counts from 1 and is one `of` so many; `ended` is in Unix seconds; `precision` is the format that the towers
    computed in. `of` is 0 and `precision` empty in records of versions that did not keep them.
    """

    model_config = ConfigDict(frozen=True)

    epoch: int
    ended: float
    metrics: dict[str, float]
    precision: str = ""
    of: int = 0

    @property
    def share(self) -> float:
        """How much of the training has been done once this epoch has."""
        return self.epoch / self.of


class Progress(BaseModel):
    """How far an epoch has come that is not over: its steps, their metrics summed, and the seconds they took."""

    model_config = ConfigDict(frozen=True)

    steps: int = 0
    totals: dict[str, float] = {}
    seconds: float = 0


class Measured:
    """The sums of what an epoch's steps measure, which stays on the device until it is read."""

    def __init__(self, epoch: int, device: torch.device, totals: dict[str, float]) -> None:
        self.epoch, self.totals = epoch, totals
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
                    f"the batch had {', '.join(sample_ids[:8])}, …"
                )
            for name, value in found.items():
                self.totals[name] = self.totals.get(name, 0.0) + value
        self.unread.clear()
        return self.totals
