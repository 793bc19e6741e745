"""How long empty trials take: polyview's scheduler against the documented nesting of Ray Tune, Ray Train and Ray Data.

    python tests/benchmarks/orchestration.py --json orchestration.json

Both run in one process, on one Ray a row, after an empty trial that starts it. An empty trial of ours still reads its
views, asks a probe and writes its record, and one of two workers trains an epoch of one batch; an empty trial of theirs
reads a dataset of one row and reports. Ray has as many logical CPUs as the documented nesting needs to run at all: one
for each worker and one for its dataset. Machines differ and are shared: only the ratios are worth quoting.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ray
import ray.data
import ray.train
from ray import tune
from ray.train import ScalingConfig
from ray.train.torch import TorchTrainer
from ray.tune.integration.ray_train import TuneReportCallback
from rich.console import Console
from rich.table import Table

from polyview.recipe import Experiment, Resources, with_overrides
from polyview.storage.home import Home
from polyview.training.history import Epoch
from polyview.trials.design import RAW_PIXELS, REFERENCES, Trial
from polyview.trials.ledger import Ledger, TrialFailure
from polyview.trials.scheduler import run_trials
from polyview.trials.spec import Workplace
from polyview.trials.views import find_faces, prepare_views

TARGETS = {1: 20.0, 2: 3.0}  # workers -> how many times faster
RECIPE = """{
    "name": "empty",
    "corpus": {"expressions": ["neutral", "happiness"], "generator": {"subjects": 8, "sequences": 1}},
    "rendering": {"size": 16, "views": {"count": 2}},
    "model": {"projector": [8, 8]},
    "language": {"ensemble": 1},
    "objective": {"alignment": {}},
    "training": {"epochs": 1, "batch_size": 8},
    "evaluation": {"share": 0.5, "probes": ["knn"]}
}"""


class Clock:
    """Notes when each trial ended, and does nothing else with what it is told."""

    def __init__(self) -> None:
        self.ended: list[float] = []

    def stage(self, name: str, total: int) -> None: ...

    def advance(self, done: int, trial: Trial | None = None) -> None: ...

    def say(self, message: str) -> None: ...

    def epoch(self, trial: Trial, epoch: Epoch) -> None: ...

    def on_start(self, trial: Trial, started: float) -> None: ...

    def on_epoch(self, trial: Trial, epoch: Epoch) -> None: ...

    def on_end(self, trial: Trial) -> None:  # noqa: ARG002
        self.ended.append(time.perf_counter())

    def on_wait(self, message: str) -> None:
        """No trial runs, for want of machines."""

    def on_failure(self, trial: Trial, failure: TrialFailure) -> None:  # noqa: ARG002
        raise RuntimeError(failure.reason)


def ours(workers: int, count: int, seed: int, home: Home) -> tuple[float, float]:
    """The wall time of so many trials, and of each after the first."""
    overrides = REFERENCES[RAW_PIXELS] if workers == 1 else {"training.workers": workers}
    base = with_overrides(Experiment.model_validate_json(RECIPE), overrides)
    recipes = [base.model_copy(update={"seed": seed + number}) for number in range(count)]
    trials = [Trial("empty", recipe.seed, recipe) for recipe in recipes]
    clock = Clock()
    views = prepare_views(find_faces([base]), home, clock)
    started = time.perf_counter()
    run_trials(trials, Workplace(views, home.trials, Resources(), retries=0), clock)
    took = time.perf_counter() - started
    assert len(Ledger(home.trials).read_all(trial.id for trial in trials)) == count
    return took, (clock.ended[-1] - clock.ended[0]) / max(count - 1, 1)


def theirs(workers: int, count: int, folder: Path, concurrent: int) -> float:
    """The wall time of so many trials, each of which makes a trainer with its own dataset inside Tune's process."""

    def work(config: dict[str, Any]) -> None:
        for _ in ray.train.get_dataset_shard("train").iter_batches():
            pass
        ray.train.report({"score": config["score"]})

    def trial(config: dict[str, Any]) -> None:
        TorchTrainer(
            work,
            train_loop_config=config,
            scaling_config=ScalingConfig(num_workers=workers),
            datasets={"train": ray.data.from_items([{"x": n} for n in range(workers)])},
            run_config=ray.train.RunConfig(
                name=f"empty-{tune.get_context().get_trial_id()}",
                storage_path=str(folder),
                callbacks=[TuneReportCallback()],
            ),
        ).fit()

    started = time.perf_counter()
    results = tune.Tuner(
        tune.with_resources(trial, {"CPU": 0.001}),
        param_space={"score": tune.grid_search(list(range(count)))},
        tune_config=tune.TuneConfig(max_concurrent_trials=concurrent),
        run_config=tune.RunConfig(name="nested", storage_path=str(folder), verbose=0),
    ).fit()
    assert not results.errors, results.errors
    return time.perf_counter() - started


def measure(workers: int, count: int, their_count: int, cpus: int) -> dict[str, float]:
    """One row: so many trials of ours, so many of theirs, on a Ray of so many logical CPUs."""
    ray.init(address="local", num_cpus=cpus, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        home = Home(folder / "home")
        ours(1, 1, 10_000, home)
        took, after_the_first = ours(workers, count, 100 * workers, home)
        print(f"{count} empty trials of {workers} worker(s): {took:.1f} s; now {their_count} nested", flush=True)
        their_took = theirs(workers, their_count, folder / "nested", max((cpus - 1) // workers, 1))
    ray.shutdown()
    return {
        "workers": workers,
        "CPUs": cpus,
        "trials": count,
        "seconds": took,
        "each after the first": after_the_first,
        "nested trials": their_count,
        "nested seconds": their_took,
        "times faster": their_took / their_count / (took / count),
        "target": TARGETS[workers],
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure once, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spare", type=int, default=0, help="further logical CPUs of the Ray that both run on")
    parser.add_argument("--single", type=int, nargs=2, default=(12, 12), help="single-worker trials: ours, nested")
    parser.add_argument("--double", type=int, nargs=2, default=(4, 4), help="two-worker trials: ours, nested")
    parser.add_argument("--json", type=Path, help="where the numbers go")
    asked = parser.parse_args(arguments)
    sizes = {1: asked.single, 2: asked.double}
    rows = [measure(workers, *counts, workers + 1 + asked.spare) for workers, counts in sizes.items()]
    table = Table(*rows[0])
    for row in rows:
        table.add_row(*(f"{value:.3g}" for value in row.values()))
    Console().print(table)
    if asked.json:
        asked.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
