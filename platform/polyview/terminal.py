"""What a person sees in the terminal while something runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

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

from polyview.training.history import Epoch
from polyview.trials.design import Trial

console = Console()
errors = Console(stderr=True)


class TerminalWatcher:
    """A bar per stage, a line per trial that runs, and a line for each thing worth knowing."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.stages: TaskID | None = None
        self.trials: dict[str, TaskID] = {}

    def stage(self, name: str, total: int) -> None:
        """Begin a bar for a stage of `total` steps; the bars of the stage before are taken away."""
        for task in list(self.progress.task_ids):
            self.progress.remove_task(task)
        self.trials.clear()
        self.stages = self.progress.add_task(name, total=total, note="")

    def advance(self, done: int) -> None:
        """Move the stage's bar to `done`; a render says how fast it goes."""
        if self.stages is None:
            return
        self.progress.update(self.stages, completed=done)
        task = next(task for task in self.progress.tasks if task.id == self.stages)
        if task.description == "render" and task.speed:
            self.progress.update(self.stages, note=f"{task.speed:.1f} meshes/s")

    def epoch(self, trial: Trial, epoch: Epoch) -> None:
        """Move the trial's own bar."""
        total = trial.experiment.training.epochs
        if trial.id not in self.trials:
            self.trials[trial.id] = self.progress.add_task(f"  {trial.name}", total=total, note="")
        note = f"loss {epoch.metrics['loss']:.3f}"
        self.progress.update(self.trials[trial.id], completed=epoch.epoch, note=note, visible=epoch.epoch < total)

    def say(self, message: str) -> None:
        """Print a line above the bars."""
        self.progress.console.print(message, highlight=False, markup=False)


@contextmanager
def watching() -> Iterator[TerminalWatcher]:
    """Draw bars while the block runs; without a terminal only the lines are printed."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        yield TerminalWatcher(progress)
