from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from polyview.recipe import Experiment, Study
from polyview.studies.design import Trial
from polyview.studies.ledger import Fault
from polyview.training.history import Epoch


class Listener:
    """A watcher that remembers what it is told."""

    def __init__(self) -> None:
        self.stages: list[tuple[str, int]] = []
        self.done: dict[str, int] = {}
        self.epochs: list[tuple[str, int]] = []
        self.said: list[str] = []

    def stage(self, name: str, total: int) -> None:
        """Note the stage."""
        self.stages.append((name, total))

    def advance(self, done: int) -> None:
        """Note how far the stage has come."""
        self.done[self.stages[-1][0]] = done

    def epoch(self, trial: Trial, epoch: Epoch) -> None:
        """Note the trial's epoch."""
        self.epochs.append((trial.name, epoch.epoch))

    def say(self, message: str) -> None:
        """Note the message."""
        self.said.append(message)


@dataclass
class Told:
    """Remembers how trials went."""

    epochs: list[tuple[str, int]] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def on_epoch(self, trial: Trial, epoch: Epoch) -> None:
        """Note the trial's epoch."""
        self.epochs.append((trial.name, epoch.epoch))

    def on_end(self, trial: Trial) -> None:
        """Note the trial."""
        self.ended.append(trial.name)

    def on_fault(self, trial: Trial, fault: Fault) -> None:
        """Note the fault."""
        self.faults.append(f"{trial.name}: {fault.reason}")


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def listener() -> Listener:
    return Listener()


@pytest.fixture(scope="session")
def tiny_study(tiny: Experiment) -> Study:
    """Two variants under two seeds, one epoch each, with the references: eight trials."""
    once = tiny.model_copy(update={"training": tiny.training.model_copy(update={"epochs": 1})})
    return Study(name="study", experiment=once, seeds=(0, 1), remove={"no alignment": "objective.alignment"})
