"""How scheduling scales: sleeping work on logical workers, and empty trials by the thousand.

    python tests/benchmarks/scale.py [--quick] [--json scale.json]

Work that sleeps takes no core, so one machine can stand for several: what is measured is what Ray, Tune and polyview's
driver add to it. Every row is measured in a process of its own, with a Ray of its own.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import ray
from rich.console import Console
from rich.table import Table

from polyview.recipe import Experiment, Rendering, Resources
from polyview.rendering import pipeline
from polyview.storage.home import Home
from polyview.tracking.runs import StudyRun, TrialRun, finished_run
from polyview.tracking.tracker import Tracker
from polyview.training.history import Epoch
from polyview.trials import scheduler
from polyview.trials.design import Trial
from polyview.trials.ledger import Ledger, Record, TrialFailure
from polyview.trials.scheduler import run_trials
from polyview.trials.spec import Workplace
from polyview.trials.trainable import TrialActor
from polyview.trials.views import PreparedViews

Row = dict[str, float]
WORKERS, MANY = (1, 2, 4, 8), (100, 1000, 5000)
EACH, SECONDS = 8, 2.0  # pieces of work for every worker, and how long each sleeps
MEGABYTE = 1e6


@dataclass
class SleepingWriter:
    """Stands for a shard's writer."""

    seconds: float
    rendering: Rendering

    def __call__(self, job: dict[str, Any]) -> dict[str, Any]:
        time.sleep(self.seconds)
        return {"shard": job["shard"], "made": json.dumps((1, (), ())), "error": ""}


class SleepingActor(TrialActor):
    """Sleeps where a trial would train, and leaves a record."""

    seconds = 0.0

    def step(self) -> dict[str, Any]:
        started = time.time()
        time.sleep(self.seconds)
        Ledger(self.spec.trials).write(_record(self.spec.experiment, started))
        return {"done": True}


class Clock:
    """Notes when each trial ended."""

    def __init__(self) -> None:
        self.ended: list[float] = []

    def on_start(self, trial: Trial, started: float) -> None: ...

    def on_epoch(self, trial: Trial, epoch: Epoch) -> None: ...

    def on_end(self, trial: Trial) -> None:  # noqa: ARG002
        self.ended.append(time.perf_counter())

    def on_wait(self, message: str) -> None:
        """No trial runs, for want of machines."""

    def on_failure(self, trial: Trial, failure: TrialFailure) -> None:  # noqa: ARG002
        raise RuntimeError(failure.reason)


def rendering(workers: int, folder: Path) -> Row:  # noqa: ARG001
    """Shards that take `SECONDS` each, on so many workers."""
    _start(workers)
    return _efficiency(*_draw(EACH * workers, SECONDS), workers)


def sharding(shards: int, folder: Path) -> Row:  # noqa: ARG001
    """Empty shards on four workers: what Ray Data takes."""
    _start(4)
    started, ended = _draw(shards, 0.0)
    megabytes = psutil.Process().memory_info().rss / MEGABYTE
    return {"shards/s": shards / (ended[-1] - started), "start, s": ended[0] - started, "driver MB": megabytes}


def ablating(workers: int, folder: Path) -> Row:
    """Trials that take `SECONDS` each, on so many workers."""
    SleepingActor.seconds = SECONDS
    return _efficiency(*_run(EACH * workers, workers, folder), workers)


def driving(trials: int, folder: Path) -> Row:
    """Empty trials on four workers: what the driver takes."""
    process = psutil.Process()
    before = sum(process.cpu_times()[:2])
    started, ended = _run(trials, 4, folder)
    return {
        "wall ms each": 1000 * (ended[-1] - ended[0]) / (trials - 1),
        "start, s": ended[0] - started,
        "driver CPU ms each": 1000 * (sum(process.cpu_times()[:2]) - before) / trials,
        "driver MB": process.memory_info().rss / MEGABYTE,
    }


def keeping(trials: int, folder: Path) -> Row:
    """The ledger and MLflow's SQLite, by one process."""
    home = Home(folder)
    made = _trials(trials)
    records = [_record(trial.experiment, time.time()) for trial in made]
    ledger = Ledger(home.trials)
    row = {"ledger writes/s": trials / _timed(lambda: [ledger.write(record) for record in records])}
    row["ledger reads/s"] = trials / _timed(lambda: ledger.read_all(trial.id for trial in made))
    tracker = Tracker(home, "scale")
    tracker.open(StudyRun("base"))
    runs = [finished_run(trial, record) for trial, record in zip(made, records, strict=True)]
    row["MLflow runs/s"] = trials / _timed(lambda: _logged(tracker, runs))
    row["MLflow runs seen again/s"] = trials / _timed(lambda: _logged(tracker, runs))
    return row


MEASUREMENTS: dict[str, tuple[str, Sequence[int], Callable[[int, Path], Row]]] = {
    "rendering": ("workers", WORKERS, rendering),
    "sharding": ("shards", MANY, sharding),
    "ablating": ("workers", WORKERS, ablating),
    "driving": ("trials", MANY, driving),
    "keeping": ("trials", MANY, keeping),
}


def _start(workers: int) -> None:
    ray.init(address="local", num_cpus=workers, include_dashboard=False, log_to_driver=False, logging_level="ERROR")


def _draw(shards: int, seconds: float) -> tuple[float, list[float]]:
    writer, started = SleepingWriter(seconds, Rendering(backend="raster")), time.perf_counter()
    jobs = [{"shard": number} for number in range(shards)]
    return started, [time.perf_counter() for _ in pipeline._run(writer, jobs)]


def _run(count: int, workers: int, folder: Path) -> tuple[float, list[float]]:
    _start(workers)
    scheduler.TrialActor = SleepingActor  # type: ignore[misc]
    clock, views = Clock(), PreparedViews(defaultdict(lambda: folder))
    started = time.perf_counter()
    run_trials(_trials(count), Workplace(views, folder / "trials", Resources(), retries=0), clock)
    return started, clock.ended


def _trials(count: int) -> list[Trial]:
    experiment = Experiment.model_validate({"name": "empty", "objective": {"alignment": {}}})
    return [Trial("empty", seed, experiment.model_copy(update={"seed": seed})) for seed in range(count)]


def _record(experiment: Experiment, started: float) -> Record:
    epochs = [Epoch(epoch=number, ended=started, metrics={"loss": 1 / number}) for number in range(1, 21)]
    return Record(
        id=experiment.digest,
        experiment=experiment,
        started=started,
        ended=time.time(),
        history=tuple(epochs),
        scores={"linear/accuracy": 0.5, "linear/uf1": 0.5, "linear/uar": 0.5},
    )


def _efficiency(started: float, ended: Sequence[float], workers: int) -> Row:
    """Against work that begins at once and waits for nobody; `steady` leaves out the first round and its start."""
    ideal = SECONDS * len(ended) / workers
    rest = ideal - SECONDS
    return {
        "wall, s": ended[-1] - started,
        "efficiency": ideal / (ended[-1] - started),
        "start, s": ended[0] - started - SECONDS,
        "steady": rest / (ended[-1] - ended[0]),
    }


def _logged(tracker: Tracker, runs: list[TrialRun]) -> None:
    for run in runs:
        tracker.log(run)
    tracker.finish()


def _timed(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _measured(name: str, size: int) -> Row:
    """One row, in a process of its own."""
    command = [sys.executable, __file__, "--row", name, str(size)]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    row: Row = json.loads(said.splitlines()[-1])
    return row


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print a table for each measurement, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the two smallest sizes of each: to see that it runs")
    parser.add_argument("--json", type=Path, default=Path("scale.json"), help="where the numbers go")
    parser.add_argument("--row", nargs=2, metavar=("MEASUREMENT", "SIZE"), help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    if asked.row:
        name, size = asked.row
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(MEASUREMENTS[name][2](int(size), Path(folder))))
        return
    found: dict[str, dict[int, Row]] = {}
    for name, (unit, sizes, measure) in MEASUREMENTS.items():
        rows = {size: _measured(name, size) for size in itertools.islice(sizes, 2 if asked.quick else None)}
        found[name] = rows
        table = Table(title=measure.__doc__, title_justify="left")
        for head in (unit, *next(iter(rows.values()))):
            table.add_column(head, justify="right")
        for size, row in rows.items():
            table.add_row(str(size), *(f"{value:.3g}" if value < 1000 else f"{value:.0f}" for value in row.values()))
        Console().print(table)
        asked.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
