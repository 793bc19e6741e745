"""What a study tells to whoever follows it."""

from __future__ import annotations

from typing import Protocol

from polyview.training.history import Epoch
from polyview.trials.design import Trial


class Watcher(Protocol):
    """Somebody who follows a study while it runs."""

    def stage(self, name: str, total: int) -> None:
        """A stage of `total` steps begins."""

    def advance(self, done: int) -> None:
        """`done` steps of the stage are behind us."""

    def epoch(self, trial: Trial, epoch: Epoch) -> None:
        """A trial has trained an epoch."""

    def say(self, message: str) -> None:
        """Something worth knowing."""


def duration(seconds: float) -> str:
    """Seconds as people say them: `42 s`, `3 min 5 s`, `2 h 10 min`."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
