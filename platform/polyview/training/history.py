"""What training measured, epoch by epoch."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Epoch(BaseModel):
    """One epoch: the mean loss, each unweighted term, the learning rate, samples per second, `system/…` of `Usage`.

    `epoch` counts from 1; `ended` is in Unix seconds.
    """

    model_config = ConfigDict(frozen=True)

    epoch: int
    ended: float
    metrics: dict[str, float]
