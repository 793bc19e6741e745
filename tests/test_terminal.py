from __future__ import annotations

import io
import itertools
import time
from typing import Any

import pytest
from rich.console import Console
from rich.progress import Progress

from polyview.recipe import Experiment
from polyview.terminal import LogWatcher, StageProgress, TerminalWatcher
from polyview.training.history import Epoch
from polyview.trials.design import Trial


class Log(io.StringIO):
    """A pipe's other end, which notes when it was given each line."""

    def __init__(self) -> None:
        super().__init__()
        self.times: list[float] = []

    def write(self, text: str) -> int:
        self.times.append(time.monotonic())
        return super().write(text)


@pytest.fixture
def trial(tiny: Experiment) -> Trial:
    """One of two epochs."""
    return Trial("full", 0, tiny)


def epoch(number: int) -> Epoch:
    return Epoch(epoch=number, ended=0.0, metrics={"loss": 1.0}, of=2)


def test_a_log_is_never_silent_for_longer_than_its_rest(trial: Trial) -> None:
    log = Log()
    watcher = LogWatcher(Console(file=log, width=20), rest=0.2)
    begun = time.monotonic()
    watcher.stage("trials", 4)
    watcher.epoch(trial, epoch(1))
    while len(log.getvalue().splitlines()) < 5:
        time.sleep(0.01)
    watcher.close()
    lines = log.getvalue().splitlines()
    # A machine that stands still for a while delays a line; it leaves none out.
    assert len(lines) >= (log.times[-1] - begun) / 0.2 / 10
    assert all(line.startswith("trials: 0 of 4 done; full · seed 0: epoch 1 of 2; about ") for line in lines)
    assert sorted(log.times) == log.times


def test_a_log_that_says_enough_is_not_added_to() -> None:
    log = Log()
    watcher = LogWatcher(Console(file=log), rest=3600)
    for number in range(3):
        watcher.say(f"line {number}")
    watcher.close()
    assert log.getvalue().splitlines() == ["line 0", "line 1", "line 2"]


def test_a_stage_counts_the_epochs_of_what_runs_and_no_trial_twice(trial: Trial) -> None:
    stage = StageProgress("trials", 4)
    assert stage.seconds_left is None
    done = []
    for step in (
        lambda: stage.train(trial, epoch(1)),
        lambda: stage.train(trial, epoch(2)),
        lambda: stage.advance(1, trial),
    ):
        step()
        done.append(stage.done)
    assert done == [0.5, 1.0, 1.0]
    assert stage.seconds_left is not None
    assert "1 of 4 done" in str(stage)


def test_a_trial_that_ends_early_runs_no_longer(trial: Trial) -> None:
    stage = StageProgress("search", 2)
    stage.train(trial, epoch(1))
    stage.advance(1, trial)
    assert stage.done == 1
    assert trial.name not in str(stage)


def test_epochs_of_an_earlier_run_took_no_time_of_this_one(trial: Trial) -> None:
    stage = StageProgress("trials", 2)
    stage.started -= 10
    stage.train(trial, epoch(2))  # one of its two epochs was trained before
    assert stage.seconds_left == pytest.approx(20, rel=0.05)


def test_what_cannot_be_counted_says_how_long_it_has_taken() -> None:
    assert str(StageProgress("estimate", 0)) == "estimate: 0 s so far"


def test_the_bars_move_with_each_epoch(trial: Trial) -> None:
    progress = Progress(console=Console(file=io.StringIO()))
    watcher: Any = TerminalWatcher(progress)
    watcher.stage("trials", 2)
    stood = []
    for number in (1, 2):
        watcher.epoch(trial, epoch(number))
        stood.append(next(task.completed for task in progress.tasks if task.description == "trials"))
    assert stood == [0.5, 1.0]
    assert all(earlier < later for earlier, later in itertools.pairwise(stood))
