"""What a person sees while something runs: bars in a terminal, and lines in a log or a pipe."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from polyview.studies.interruption import signal_name
from polyview.training.history import Epoch
from polyview.trials.design import Trial
from polyview.trials.watcher import Watcher, duration

REST_SECONDS = 20.0  # after which a log gets a line though nothing has happened
MOST_NAMED = 4

console = Console()
errors = Console(stderr=True)


@dataclass
class StageProgress:
    """How far a stage has come: `ended` of its `total` steps, and the epochs of trials that are running.

    total: 0 where the steps cannot be counted. resumed: the shares of trials that were trained before this stage, by
    trial id.
    """

    name: str
    total: int
    ended: int = 0
    running: dict[str, tuple[Trial, Epoch]] = field(default_factory=dict)
    resumed: dict[str, float] = field(default_factory=dict)
    started: float = field(default_factory=time.monotonic)

    def advance(self, ended: int, trial: Trial | None = None) -> None:
        """So many steps have ended, the last of them that of `trial` if it was one."""
        if trial:
            self.running.pop(trial.id, None)
        self.ended = ended

    def train(self, trial: Trial, epoch: Epoch) -> None:
        """A trial has trained an epoch."""
        self.resumed.setdefault(trial.id, epoch.share - 1 / epoch.of)
        self.running[trial.id] = trial, epoch

    @property
    def done(self) -> float:
        """Steps that have ended, and the trained share of those that run."""
        begun = sum(epoch.share for _, epoch in list(self.running.values()))
        return min(self.ended + begun, float(self.total))

    @property
    def seconds_left(self) -> float | None:
        """The time that the rest takes if it goes on as it did; None where nothing is done yet."""
        passed, here = time.monotonic() - self.started, self.done - sum(list(self.resumed.values()))
        return passed * (self.total - self.done) / here if here > 0 else None

    def __str__(self) -> str:
        parts = [f"{self.ended} of {self.total} done"] if self.total else []
        named = [f"{t.name}: epoch {epoch.epoch} of {epoch.of}" for t, epoch in list(self.running.values())]
        parts += named[:MOST_NAMED] + ([f"{len(named) - MOST_NAMED} more"] if len(named) > MOST_NAMED else [])
        left = self.seconds_left if self.total else None
        parts.append(
            f"{duration(time.monotonic() - self.started)} so far" if left is None else f"about {duration(left)} left"
        )
        return f"{self.name}: {'; '.join(parts)}"


class TerminalWatcher:
    """A bar for the stage, a bar for each trial that runs, and a line for each thing worth knowing."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.bar: TaskID | None = None
        self.trials: dict[str, TaskID] = {}
        self.current = StageProgress("start", 0)

    def stage(self, name: str, total: int) -> None:
        """Begin a bar for a stage of `total` steps; the bars of the stage before are taken away."""
        for task in list(self.progress.task_ids):
            self.progress.remove_task(task)
        self.trials.clear()
        self.current = StageProgress(name, total)
        self.bar = self.progress.add_task(name, total=total or None, note="")

    def advance(self, done: int, trial: Trial | None = None) -> None:
        """Move the stage's bar to `done`; a render says how fast it goes."""
        self.current.advance(done, trial)
        self._move()
        task = next((task for task in self.progress.tasks if task.id == self.bar), None)
        if task and task.description == "render" and task.speed:
            self.progress.update(task.id, note=f"{task.speed:.1f} meshes/s")

    def epoch(self, trial: Trial, epoch: Epoch) -> None:
        """Move the trial's own bar, and the stage's by its share."""
        if trial.id not in self.trials:
            self.trials[trial.id] = self.progress.add_task(f"  {trial.name}", total=epoch.of, note="")
        note = f"loss {epoch.metrics['loss']:.3f}"
        self.progress.update(self.trials[trial.id], completed=epoch.epoch, note=note, visible=epoch.epoch < epoch.of)
        self.current.train(trial, epoch)
        self._move()

    def say(self, message: str) -> None:
        """Print a line above the bars."""
        self.progress.console.print(message, highlight=False, markup=False)

    def _move(self) -> None:
        if self.bar is not None:
            self.progress.update(self.bar, completed=self.current.done)


class LogWatcher:
    """Lines alone: for each thing worth knowing, and for how far the stage has come where nothing else was said.

    rest: seconds after the last line until the next, at most; half of it before the first, as what is imported for a
    command took its time in silence.
    """

    def __init__(self, output: Console, rest: float = REST_SECONDS) -> None:
        self.output, self.rest = output, rest
        self.current = StageProgress("start", 0)
        self.said = time.monotonic() - rest / 2
        self.closed = threading.Event()
        self.thread = threading.Thread(target=self._break_silence, name="log", daemon=True)
        self.thread.start()

    def close(self) -> None:
        """Say nothing any more."""
        self.closed.set()
        self.thread.join()

    def stage(self, name: str, total: int) -> None:
        """A stage of `total` steps begins."""
        self.current = StageProgress(name, total)

    def advance(self, done: int, trial: Trial | None = None) -> None:
        """`done` steps of the stage have ended."""
        self.current.advance(done, trial)

    def epoch(self, trial: Trial, epoch: Epoch) -> None:
        """A trial has trained an epoch."""
        self.current.train(trial, epoch)

    def say(self, message: str) -> None:
        """Print a line."""
        self.said = time.monotonic()
        self.output.print(message, highlight=False, markup=False, soft_wrap=True)

    def _break_silence(self) -> None:
        while not self.closed.wait(max(0.0, self.said + self.rest - time.monotonic())):
            if time.monotonic() - self.said >= self.rest:
                self.say(str(self.current))


@contextmanager
def watching() -> Iterator[Watcher]:
    """Draw bars while the block runs; where the output is no terminal, print lines. Say so if a signal ends it."""
    try:
        with _bars() if console.is_terminal else _log() as watcher:
            yield watcher
    except KeyboardInterrupt:
        said = f"polyview: ended by {signal_name()}; what is finished is kept, and the same command goes on"
        errors.print(said, highlight=False, soft_wrap=True)
        raise


@contextmanager
def _log() -> Iterator[Watcher]:
    watcher = LogWatcher(console)
    try:
        yield watcher
    finally:
        watcher.close()


@contextmanager
def _bars() -> Iterator[Watcher]:
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}", markup=False),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        yield TerminalWatcher(progress)
