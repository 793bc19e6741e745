from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from polyview.paths import Home
from polyview.recipe import Experiment, Study
from polyview.studies.design import Trial
from polyview.training.history import Epoch

RunsOf = Callable[[Home], tuple[Any, list[Any]]]
TimesOf = Callable[[Home], dict[str, int]]


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


@pytest.fixture(scope="session")
def runs_of() -> RunsOf:
    """A home's parent run in MLflow, which is the only one, and the runs inside it."""

    def runs(home: Home) -> tuple[Any, list[Any]]:
        from mlflow.tracking import MlflowClient

        client = MlflowClient(home.tracking_uri)
        found = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
        parents = [run for run in found if "mlflow.parentRunId" not in run.data.tags]
        assert len(parents) == 1
        inside = [run for run in found if run not in parents]
        assert {run.data.tags["mlflow.parentRunId"] for run in inside} <= {parents[0].info.run_id}
        return parents[0], inside

    return runs


@pytest.fixture(scope="session")
def times_of() -> TimesOf:
    """When each of a home's records was written, by trial id."""

    def times(home: Home) -> dict[str, int]:
        return {path.parent.name: path.stat().st_mtime_ns for path in Path(home.trials).glob("*/record.json")}

    return times
