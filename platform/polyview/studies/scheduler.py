"""Trials on Ray Tune: single-worker trials inside Tune's own reused actors, others with Ray Train nested."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import ray
import torch
from ray import tune
from ray.tune.experiment import Trial as TuneTrial

from polyview.recipe import Resources
from polyview.rendering.pipeline import start_ray
from polyview.studies.capacity import Node, concurrent_trials, demand
from polyview.studies.design import Trial
from polyview.studies.trial import Assignment, run_trial, train_alone
from polyview.training.distributed import Worker, train_distributed
from polyview.training.history import Epoch

# A trial with workers of its own occupies their CPUs: were a share of one taken by what waits for them, the last
# worker would never find its place. Tune wants some resource, so it is a little memory.
WAITING = {"CPU": 0, "memory": 2**20}

# Relative paths stay those of the user, the records are the ledger's and the terminal is polyview's: Tune writes
# no results, prints no tables (its older output is the one that can be silenced) and leaves Ctrl-C to polyview.
os.environ.setdefault("RAY_CHDIR_TO_TRIAL_DIR", "0")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS", "0")


@dataclass(frozen=True)
class Failure:
    """A trial that did not finish, the last line of its error, and where all of it is written."""

    trial: Trial
    reason: str
    log: str


def run_trials(
    trials: Sequence[Trial],
    stores: Mapping[str, Path],
    folder: Path,
    resources: Resources,
    on_epoch: Callable[[Trial, Epoch], None],
    on_end: Callable[[Trial], None],
) -> list[Failure]:
    """Run trials, as many at once as fit; the callbacks are called in this process.

    `stores` are the views by trial id, `folder` keeps the records. A trial that fails is tried once more,
    from its last checkpoint. Raises `UserError` before anything starts if a trial cannot fit the cluster.
    """
    start_ray()
    nodes = [
        Node(node["Resources"].get("CPU", 0), node["Resources"].get("GPU", 0)) for node in ray.nodes() if node["Alive"]
    ]
    concurrent = concurrent_trials(nodes, [demand(trial.experiment, resources) for trial in trials])
    # What fails is told by `Failure`, in a line and not in Tune's traceback.
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    by_id = {trial.id: trial for trial in trials}
    failures: list[Failure] = []
    for nested in (False, True):
        chosen = [trial for trial in trials if (trial.experiment.training.workers > 1) == nested]
        if not chosen:
            continue
        assignments = [Assignment(trial.experiment, stores[trial.id], folder) for trial in chosen]
        tuner = tune.Tuner(
            tune.with_resources(
                tune.with_parameters(TrialActor, resources=resources),
                WAITING if nested else {"CPU": resources.cpus, "GPU": resources.gpus},
            ),
            param_space={"assignment": tune.grid_search(assignments)},
            tune_config=tune.TuneConfig(max_concurrent_trials=concurrent, reuse_actors=True),
            run_config=tune.RunConfig(
                name="tune",
                storage_path=str(folder.parent / "ray"),
                failure_config=tune.FailureConfig(max_failures=1),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                callbacks=[_Callbacks(by_id, on_epoch, on_end, failures)],
                verbose=0,
            ),
        )
        tuner.fit()
    return failures


class TrialActor(tune.Trainable):
    """Runs one trial after another; a step of Tune is one epoch."""

    def setup(self, config: dict[str, Any], resources: Resources) -> None:
        self.resources = resources
        torch.set_num_threads(resources.cpus)
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        assignment: Assignment = new_config["assignment"]
        worker = Worker(self.resources.cpus, self.resources.gpus)
        nested = assignment.experiment.training.workers > 1
        self.epochs: Iterator[Epoch] = run_trial(
            assignment, partial(train_distributed, worker=worker) if nested else train_alone
        )
        return True

    def step(self) -> dict[str, Any]:
        epoch = next(self.epochs, None)
        return {"done": True} if epoch is None else {"epoch": epoch.model_dump(), "done": False}


class _Callbacks(tune.Callback):
    def __init__(
        self,
        trials: Mapping[str, Trial],
        on_epoch: Callable[[Trial, Epoch], None],
        on_end: Callable[[Trial], None],
        failures: list[Failure],
    ) -> None:
        self.trials, self.on_epoch, self.on_end, self.failures = trials, on_epoch, on_end, failures

    def __getstate__(self) -> dict[str, Any]:
        # Tune pickles its callbacks to resume by itself; here the ledger does that, and a terminal has no pickle.
        return {}

    def on_trial_result(self, *, trial: TuneTrial, result: dict[str, Any], **_: Any) -> None:
        if "epoch" in result:
            self.on_epoch(self._ours(trial), Epoch.model_validate(result["epoch"]))

    def on_trial_complete(self, *, trial: TuneTrial, **_: Any) -> None:
        self.on_end(self._ours(trial))

    def on_trial_error(self, *, trial: TuneTrial, **_: Any) -> None:
        # Not `trial.get_error()`: it looks where the file is copied to later, which is where a user finds it then.
        file = Path(trial.error_file)
        reason = file.read_text().strip().splitlines()[-1]
        self.failures.append(Failure(self._ours(trial), reason, str(Path(trial.path, file.name))))

    def _ours(self, trial: TuneTrial) -> Trial:
        return self.trials[trial.config["assignment"].experiment.digest]
