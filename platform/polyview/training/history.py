"""What training measured, epoch by epoch."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Epoch(BaseModel):
    """One epoch: the mean loss, each unweighted term, the learning rate, samples per second, `system/…` of `Usage`.

    `share/…` and `cosine/…` are each term's part of the last batch's gradient and its cosine with the other terms';
    a frozen image tower has neither.
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
