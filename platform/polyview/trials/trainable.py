"""The actor of Ray Tune that runs trials: a trial of one worker inside it, others with Ray Train nested."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import ray
import torch
from ray import tune

from polyview.errors import OutageError, UserError
from polyview.evaluation.protocols import Evaluation
from polyview.modeling.towers import load_open_clip
from polyview.recipe import Pruning, Resources
from polyview.storage.home import locked
from polyview.training.distributed import PreemptionNotice, Worker, WorkerGroup
from polyview.training.history import Epoch
from polyview.training.loop import TrainingJob
from polyview.trials.capacity import GIB
from polyview.trials.cpus import CpuShare
from polyview.trials.ledger import LOCK
from polyview.trials.scoring import evaluate_away, evaluate_trained, interim_score, is_raw_pixels
from polyview.trials.spec import TrialSpec
from polyview.trials.trial import run_trial, train_alone

# The driver and the actors import this file, and both read these settings. Relative paths stay those of the user, the
# records are the ledger's and the terminal is polyview's: Tune writes no results, prints no tables (its older output
# is the one that can be silenced) and leaves Ctrl-C to polyview.
os.environ.setdefault("RAY_CHDIR_TO_TRIAL_DIR", "0")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS", "0")


REPEATING = (UserError, FloatingPointError)
"""Errors that a trial meets again under the same seed, so that it is not tried again."""
FINAL = "final"
"""In a result of Tune: the next step raises what would be raised again."""
WAITS = "waits"
"""In a result of Tune: the trial has not begun, and `CPUS` or `TRIAL` says what another study has that it needs."""
CPUS, TRIAL = "cpus", "trial"
WAIT_SECONDS = 10.0  # for it, in each step
POLL_SECONDS = 0.5


@dataclass(frozen=True)
class InterimScoring:
    """After which epochs a half-trained model is scored, and in which metric."""

    metric: str
    prune: Pruning

    def score(self, epoch: Epoch, spec: TrialSpec) -> dict[str, float]:
        """The interim score, if one is due after this epoch and the recipe's probes give it."""
        if epoch.epoch % self.prune.every or epoch.epoch == epoch.of:
            return {}
        score = interim_score(spec, self.metric)
        return {} if score is None else {"score": score}


class TrialActor(tune.Trainable):
    """Runs one trial after another, with a worker group if it needs several; a step of Tune is one epoch.

    shared: how many CPUs the machine has, where studies on it share them; 0 where a cluster hands them out.
    """

    def setup(
        self, config: dict[str, Any], resources: Resources, scoring: InterimScoring | None, shared: int = 0
    ) -> None:
        self.resources, self.scoring, self.shared = resources, scoring, shared
        self.cpus: CpuShare | None = None
        self.group: WorkerGroup | None = None
        torch.set_num_threads(resources.cpus)
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.spec: TrialSpec = new_config["spec"]
        self.failure: Exception | None = None
        self.begun = False
        self._release()
        workers = self.spec.experiment.training.workers
        self.cpus = CpuShare(workers * self.resources.cpus, self.shared) if self.shared else None
        if self.scoring:
            times = replace(self.spec.checkpoints, epochs=self.scoring.prune.every)
            self.spec = replace(self.spec, checkpoints=times)
        here = ray.get_runtime_context().get_node_id()
        self.epochs: Generator[Epoch] = (
            run_trial(self.spec, self._train_with_group, self._evaluate_with_group)
            if workers > 1
            else run_trial(self.spec, partial(train_alone, warned=PreemptionNotice({here})))
        )
        return True

    def cleanup(self) -> None:
        """Release the worker group, also where the trial was pruned."""
        self.epochs.close()
        self._dismiss()
        self._release()

    def _waits(self) -> str | None:
        """What the trial waits for, after some seconds of it; None once it may begin."""
        lock = self.spec.trials / self.spec.experiment.digest / LOCK
        if not _becomes_free(lock, WAIT_SECONDS):
            return TRIAL
        if self.cpus is None:
            return None
        if not self.cpus.acquire(WAIT_SECONDS):
            return CPUS
        if not _becomes_free(lock, 0):  # another study took it up meanwhile, and has CPUs of its own
            self.cpus.release()
            return TRIAL
        return None

    def _release(self) -> None:
        if self.cpus is not None:
            self.cpus.release()
            self.cpus = None

    def _dismiss(self) -> None:
        if self.group is not None:
            self.group.dismiss()
            self.group = None

    def _train_with_group(self, job: TrainingJob) -> Iterator[Epoch]:
        yield from self._group_for(job.experiment.training.workers).train(job)

    def _evaluate_with_group(self, spec: TrialSpec) -> tuple[Evaluation, int]:
        if is_raw_pixels(spec.experiment):
            return evaluate_trained(spec)
        return self._group_for(spec.experiment.training.workers).call(partial(evaluate_away, spec))

    def _group_for(self, size: int) -> WorkerGroup:
        if self.group is None or self.group.size != size:
            self._dismiss()
            worker = Worker(self.resources.cpus, self.resources.gpus, (self.resources.memory or 0) * GIB)
            folder = self.spec.trials.parent / "ray" / f"workers-{secrets.token_hex(4)}"
            self.group = WorkerGroup(size, worker, folder)
            load_open_clip()  # which takes a second, while the workers start
        return self.group

    def step(self) -> dict[str, Any]:
        if self.failure:
            raise self.failure
        if not self.begun:
            if waits := self._waits():
                return {WAITS: waits, "done": False}
            self.begun = True
        try:
            epoch = next(self.epochs, None)
        except OutageError:
            raise
        except REPEATING as failure:
            self.failure = failure  # of the next step: Tune must hear of it before it tries the trial again
            return {FINAL: True, "done": False}
        if epoch is None:
            self._release()
            return {"done": True}
        interim = self.scoring.score(epoch, self.spec) if self.scoring else {}
        return {"epoch": epoch.model_dump(), "done": False, **interim}


def _becomes_free(lock: Path, patience: float) -> bool:
    """Whether nobody holds a trial's lock, now or within so many seconds."""
    end = time.monotonic() + patience
    while True:
        try:
            with locked(lock, wait=False):
                return True
        except BlockingIOError:
            if time.monotonic() >= end:
                return False
            time.sleep(POLL_SECONDS)
