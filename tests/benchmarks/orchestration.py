"""How long empty trials take: polyview's scheduler against the documented nesting of Ray Tune, Ray Train and Ray Data.

    python tests/benchmarks/orchestration.py --json orchestration.json

Both run in one process on one Ray, after an empty trial that starts it. An empty trial of ours still reads its views,
asks a probe and writes its record, and one of two workers trains an epoch of one batch; an empty trial of theirs reads
a dataset of one row and reports. Machines differ and are shared: of the numbers, only the ratios are worth quoting.
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

from polyview.paths import Home
from polyview.recipe import Experiment, Resources, with_overrides
from polyview.rendering.pipeline import start_ray
from polyview.studies.design import RAW_PIXELS, REFERENCES, Trial
from polyview.studies.ledger import Fault, Ledger
from polyview.studies.scheduler import Workplace, run_trials
from polyview.studies.views import prepare_views
from polyview.training.history import Epoch

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

    def advance(self, done: int) -> None: ...

    def say(self, message: str) -> None: ...

    def epoch(self, trial: Trial, epoch: Epoch) -> None: ...

    def on_epoch(self, trial: Trial, epoch: Epoch) -> None: ...

    def on_end(self, trial: Trial) -> None:  # noqa: ARG002
        self.ended.append(time.perf_counter())

    def on_fault(self, trial: Trial, fault: Fault) -> None:  # noqa: ARG002
        raise RuntimeError(fault.reason)


def ours(workers: int, count: int, seed: int, home: Home) -> tuple[float, float]:
    """The wall time of so many trials, and of each after the first."""
    overrides = REFERENCES[RAW_PIXELS] if workers == 1 else {"training.workers": workers}
    base = with_overrides(Experiment.model_validate_json(RECIPE), overrides)
    recipes = [base.model_copy(update={"seed": seed + number}) for number in range(count)]
    trials = [Trial("empty", recipe.seed, recipe) for recipe in recipes]
    clock = Clock()
    views = prepare_views([base], home, clock)
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


def measure(sizes: dict[int, tuple[int, int]], cpus: int) -> list[dict[str, float]]:
    """One row per number of workers, from `sizes`: workers -> trials of ours, trials of theirs."""
    rows = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        home = Home(folder / "home")
        ours(1, 1, 10_000, home)
        for workers, (count, their_count) in sizes.items():
            took, after_the_first = ours(workers, count, 100 * workers, home)
            print(f"{count} empty trials of {workers} worker(s): {took:.1f} s; now {their_count} nested", flush=True)
            # The documented nesting needs a CPU more for its dataset, or it waits for ever.
            concurrent = max((cpus - 1) // workers, 1)
            theirs_took = theirs(workers, their_count, folder / f"nested-{workers}", concurrent)
            each, their_each = took / count, theirs_took / their_count
            row = {"workers": workers, "trials": count, "seconds": took, "each after the first": after_the_first}
            row |= {"nested trials": their_count, "nested seconds": theirs_took, "times faster": their_each / each}
            rows.append(row | {"target": TARGETS[workers]})
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure once, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cpus", type=int, default=4, help="logical CPUs of the Ray that both run on")
    parser.add_argument("--single", type=int, nargs=2, default=(12, 12), help="single-worker trials: ours, nested")
    parser.add_argument("--double", type=int, nargs=2, default=(4, 4), help="two-worker trials: ours, nested")
    parser.add_argument("--json", type=Path, help="where the numbers go")
    asked = parser.parse_args(arguments)
    ray.init(address="local", num_cpus=asked.cpus, include_dashboard=False, log_to_driver=False)
    start_ray()
    rows = measure({1: tuple(asked.single), 2: tuple(asked.double)}, asked.cpus)
    table = Table(*rows[0])
    for row in rows:
        table.add_row(*(f"{value:.3g}" for value in row.values()))
    Console().print(table)
    if asked.json:
        asked.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
