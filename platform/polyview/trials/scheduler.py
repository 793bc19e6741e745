"""Trials on Ray Tune: single-worker trials inside Tune's own reused actors, others with Ray Train nested."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import yaml
from ray import tune
from ray.tune.experiment import Trial as TuneTrial

from polyview.errors import DiskFullError, UserError
from polyview.parallel import machines, start_ray
from polyview.recipe import Study
from polyview.storage.mirror import expanded
from polyview.training.history import Epoch
from polyview.trials.capacity import GIB, Demand, Node, concurrent_trials, demand, fitting_workers, launchable
from polyview.trials.design import Trial
from polyview.trials.ledger import InterimScores, Record, TrialFailure
from polyview.trials.search import Points, objectives
from polyview.trials.searcher import LedgerSearch, Pruner, QueueOrder
from polyview.trials.spec import Workplace
from polyview.trials.trainable import CPUS, FINAL, TRIAL, WAITS, InterimScoring, TrialActor
from polyview.trials.waiting import living_nodes, saying_of_machines

# A trial with workers of its own occupies their CPUs: were a share of one taken by what waits for them, the last
# worker would never find its place. Tune wants some resource, so it is a little memory.
WAITING = {"CPU": 0, "memory": 2**20}
LAUNCHED = Path("~/ray_bootstrap_config.yaml")  # where Ray's launcher leaves its file on a cluster's head
LAST_LINES = 12
HELD = {
    CPUS: "waiting for CPUs: other studies of yours on this machine have them; they are shared trial by trial",
    TRIAL: "waiting for {trial}: another study runs it, or a lost machine holds it still; what it leaves is taken up",
}


class Listener(Protocol):
    """Receives, in the driver's process, what happens to trials."""

    def on_start(self, trial: Trial, started: float) -> None:
        """A trial has begun, or goes on (Unix seconds)."""

    def on_epoch(self, trial: Trial, epoch: Epoch) -> None:
        """A trial has trained an epoch."""

    def on_end(self, trial: Trial) -> None:
        """A trial has left its record."""

    def on_failure(self, trial: Trial, failure: TrialFailure) -> None:
        """A trial has failed in every attempt."""

    def on_wait(self, message: str) -> None:
        """A trial waits, for want of machines or of CPUs, or for another study that runs it."""


def run_trials(trials: Sequence[Trial], workplace: Workplace, listener: Listener) -> None:
    """Run trials, as many at once as fit.

    A trial that raises, or whose actor dies, is tried again from its last checkpoint, then given up; the others go
    on. Raises `UserError` before anything starts if a trial cannot fit the cluster.
    """
    concurrent = concurrent_trials(nodes(), [demand(trial.experiment, workplace.resources) for trial in trials])
    for nested in (False, True):
        chosen = [trial for trial in trials if (trial.experiment.training.workers > 1) == nested]
        if chosen:
            specs = [workplace.spec(trial) for trial in chosen]
            callbacks = _Callbacks({trial.id: trial for trial in chosen}, listener)
            config = tune.TuneConfig(scheduler=QueueOrder(), max_concurrent_trials=concurrent, reuse_actors=True)
            asked = demand(chosen[0].experiment, workplace.resources)
            _fit(workplace, asked, config, callbacks, {"spec": tune.grid_search(specs)})


def run_search(
    study: Study,
    points: Points,
    records: Mapping[str, Record],
    interim_scores: Mapping[str, InterimScores],
    workplace: Workplace,
    listener: Listener,
) -> None:
    """Run what is missing of a study's search, as many points at once as fit.

    `points` keeps the suggested points; `records` and `interim_scores` are those of their trials, by trial id.
    """
    assert study.search is not None
    asked = demand(study.experiment, workplace.resources)
    concurrent = concurrent_trials(nodes(), [asked])
    known: dict[str, Trial] = {}
    searcher = LedgerSearch(study, points, records, interim_scores, workplace, known)
    if not searcher.missing:
        return
    config = tune.TuneConfig(
        search_alg=searcher,
        scheduler=Pruner(searcher) if study.search.prune else QueueOrder(),
        num_samples=searcher.missing,
        max_concurrent_trials=concurrent,
        reuse_actors=True,
    )
    scoring = InterimScoring(objectives(study)[0], study.search.prune) if study.search.prune else None
    _fit(workplace, asked, config, _Callbacks(known, listener), {}, scoring)


def nodes() -> list[Node]:
    """What the machines of the cluster offer, with those that it starts on demand; starts Ray."""
    start_ray()
    if os.environ.get("RAY_ADDRESS") and (launched := expanded(LAUNCHED)).is_file():
        cluster = yaml.safe_load(launched.read_text())
        # Hosts that are there already are listed by address alone: what each has is known once it has joined.
        if all(kind["resources"] for kind in cluster["available_node_types"].values()):
            return launchable(cluster)
    return living_nodes()


def _fit(
    workplace: Workplace,
    asked: Demand,
    config: tune.TuneConfig,
    callbacks: _Callbacks,
    space: dict[str, Any],
    scoring: InterimScoring | None = None,
) -> None:
    # A failure is reported by `TrialFailure`, in one line instead of Tune's traceback.
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    resources = workplace.resources
    shared = 0 if os.environ.get("RAY_ADDRESS") else int(sum(one.get("CPU", 0) for one in machines()))
    actor = tune.with_parameters(TrialActor, resources=resources, scoring=scoring, shared=shared)
    alone = {"CPU": resources.cpus, "GPU": resources.gpus, "memory": (resources.memory or 0) * GIB}
    tuner = tune.Tuner(
        tune.with_resources(actor, WAITING if asked.workers > 1 else alone),
        param_space=space,
        tune_config=config,
        run_config=tune.RunConfig(
            name="tune",
            storage_path=str(workplace.folder.parent / "ray"),
            failure_config=tune.FailureConfig(max_failures=workplace.retries),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            callbacks=[callbacks],
            stop=_FullDisk(callbacks),
            verbose=0,
        ),
    )

    def is_waiting() -> bool:
        if asked.workers > 1:  # Ray Train waits within a trial that runs: it is too small a cluster that tells
            return not callbacks.trained and fitting_workers(living_nodes(), asked) < asked.workers
        return not callbacks.running

    with saying_of_machines(asked, is_waiting, callbacks.listener.on_wait):
        tuner.fit()
    if callbacks.full:
        raise UserError(callbacks.full)


class _FullDisk(tune.Stopper):
    """Stops all trials once one has found the disk full, as the others would."""

    def __init__(self, callbacks: _Callbacks) -> None:
        self.callbacks = callbacks

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:  # noqa: ARG002
        return False

    def stop_all(self) -> bool:
        return bool(self.callbacks.full)

    def __deepcopy__(self, memo: dict[int, Any]) -> _FullDisk:
        return self  # as its callbacks

    def __getstate__(self) -> dict[str, Any]:
        return {}


class _Callbacks(tune.Callback):
    def __init__(self, trials: Mapping[str, Trial], listener: Listener) -> None:
        self.trials, self.listener = trials, listener
        self.started: dict[str, float] = {}
        self.running, self.said, self.trained, self.full = set[str](), set[str](), False, ""

    def __getstate__(self) -> dict[str, Any]:
        # Tune pickles its callbacks to resume by itself; here the ledger does that, and a terminal has no pickle.
        return {}

    def on_trial_start(self, *, trial: TuneTrial, **_: Any) -> None:
        self.running.add(trial.trial_id)
        if trial.trial_id not in self.started:
            self.started[trial.trial_id] = time.time()
            self.listener.on_start(self._ours(trial), self.started[trial.trial_id])

    def on_trial_result(self, *, trial: TuneTrial, result: dict[str, Any], **_: Any) -> None:
        if WAITS in result:
            self._say_once(HELD[result[WAITS]].format(trial=self._ours(trial).name))
        if FINAL in result:
            trial.max_failures = 0
        if "epoch" in result:
            self.trained = True
            self.listener.on_epoch(self._ours(trial), Epoch.model_validate(result["epoch"]))

    def on_trial_recover(self, *, trial: TuneTrial, **_: Any) -> None:
        self.running.discard(trial.trial_id)

    def on_trial_complete(self, *, trial: TuneTrial, **_: Any) -> None:
        self.running.discard(trial.trial_id)
        self.listener.on_end(self._ours(trial))

    def on_trial_error(self, *, trial: TuneTrial, **_: Any) -> None:
        self.running.discard(trial.trial_id)
        # Not `trial.get_error()`: it looks where the file is copied to later, which is where a user finds it then.
        file, ours, now = Path(trial.error_file), self._ours(trial), time.time()
        lines = [line for line in file.read_text().splitlines() if line.strip()]
        if DiskFullError.__name__ in lines[-1]:
            self.full = lines[-1].partition(f"{DiskFullError.__name__}: ")[2]
            return
        failure = TrialFailure(
            id=ours.id,
            started=self.started.get(trial.trial_id, now),
            ended=now,
            attempts=trial.num_failures,
            reason=lines[-1].removeprefix(f"{UserError.__module__}.{UserError.__name__}: "),
            log=str(Path(trial.path, file.name)),
            last_lines=tuple(lines[-LAST_LINES:]),
        )
        self.listener.on_failure(ours, failure)

    def _say_once(self, message: str) -> None:
        if message not in self.said:
            self.said.add(message)
            self.listener.on_wait(message)

    def _ours(self, trial: TuneTrial) -> Trial:
        return self.trials[trial.config["spec"].experiment.digest]
