"""What a study tells to whoever follows it."""

from __future__ import annotations

from typing import Protocol

from polyview.training.history import Epoch
from polyview.trials.design import Trial


class Watcher(Protocol):
    """Somebody who follows a study while it is conducted."""

    def stage(self, name: str, total: int) -> None:
        """A stage of `total` steps begins."""

    def advance(self, done: int) -> None:
        """`done` steps of the stage are behind us."""

    def epoch(self, trial: Trial, epoch: Epoch) -> None:
        """A trial has trained an epoch."""

    def say(self, message: str) -> None:
        """Something worth knowing."""
