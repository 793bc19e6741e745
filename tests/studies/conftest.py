from __future__ import annotations

import pytest

from polyview.recipe import Experiment, Study
from polyview.studies.design import Trial
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


@pytest.fixture
def listener() -> Listener:
    return Listener()


@pytest.fixture(scope="session")
def tiny_study(tiny: Experiment) -> Study:
    """Two variants under two seeds, one epoch each, with the references: eight trials."""
    once = tiny.model_copy(update={"training": tiny.training.model_copy(update={"epochs": 1})})
    return Study(name="study", experiment=once, seeds=(0, 1), remove={"no alignment": "objective.alignment"})
