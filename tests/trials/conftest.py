from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from polyview.training.history import Epoch
from polyview.trials.design import Trial
from polyview.trials.ledger import TrialFailure


@dataclass
class Told:
    """Remembers how trials went."""

    started: list[str] = field(default_factory=list)
    waits: list[str] = field(default_factory=list)
    epochs: list[tuple[str, int]] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def on_start(self, trial: Trial, started: float) -> None:  # noqa: ARG002
        """Note the trial."""
        self.started.append(trial.name)

    def on_epoch(self, trial: Trial, epoch: Epoch) -> None:
        """Note the trial's epoch."""
        self.epochs.append((trial.name, epoch.epoch))

    def on_end(self, trial: Trial) -> None:
        """Note the trial."""
        self.ended.append(trial.name)

    def on_failure(self, trial: Trial, failure: TrialFailure) -> None:
        """Note the failure."""
        self.failures.append(f"{trial.name}: {failure.reason}")

    def on_wait(self, message: str) -> None:
        """Note what is waited for."""
        self.waits.append(message)


@pytest.fixture
def told() -> Told:
    return Told()
