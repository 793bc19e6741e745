"""The actor of Ray Tune that runs trials: a trial of one worker inside it, others with Ray Train nested."""

from __future__ import annotations

import os
import secrets
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import ray
import torch
from ray import tune

from polyview.modeling.towers import load_open_clip
from polyview.recipe import Pruning, Resources
from polyview.training.distributed import Crew, Notices, Worker
from polyview.training.history import Epoch
from polyview.training.loop import Job
from polyview.trials.capacity import GIB
from polyview.trials.trial import Assignment, look, run_trial, train_alone

# The driver and the actors import this file, and both read these settings. Relative paths stay those of the user, the
# records are the ledger's and the terminal is polyview's: Tune writes no results, prints no tables (its older output
# is the one that can be silenced) and leaves Ctrl-C to polyview.
os.environ.setdefault("RAY_CHDIR_TO_TRIAL_DIR", "0")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS", "0")


@dataclass(frozen=True)
class Looking:
    """When a half-trained model is asked for its score, and for which."""

    metric: str
    prune: Pruning

    def score(self, epoch: Epoch, assignment: Assignment) -> dict[str, float]:
        """The score, if this is an epoch to look after and the recipe makes such a score."""
        last = assignment.experiment.training.epochs
        if epoch.epoch % self.prune.every or epoch.epoch == last:
            return {}
        found = look(assignment, self.metric)
        return {} if found is None else {"score": found}


class TrialActor(tune.Trainable):
    """Runs one trial after another, with a crew of workers if it needs several; a step of Tune is one epoch."""

    def setup(self, config: dict[str, Any], resources: Resources, looking: Looking | None) -> None:
        self.resources, self.looking = resources, looking
        self.crew: Crew | None = None
        torch.set_num_threads(resources.cpus)
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.assignment: Assignment = new_config["assignment"]
        nested = self.assignment.experiment.training.workers > 1
        train = (
            partial(self._train_with_crew, folder=self.assignment.trials.parent / "ray")
            if nested
            else partial(train_alone, warned=Notices({ray.get_runtime_context().get_node_id()}))
        )
        self.epochs: Generator[Epoch] = run_trial(self.assignment, train)
        return True

    def cleanup(self) -> None:
        """Let the crew go, from a job that was stopped early as well."""
        self.epochs.close()
        self._dismiss()

    def _dismiss(self) -> None:
        if self.crew is not None:
            self.crew.dismiss()
            self.crew = None

    def _train_with_crew(self, job: Job, folder: Path) -> Iterator[Epoch]:
        size = job.experiment.training.workers
        if self.crew is None or self.crew.size != size:
            self._dismiss()
            worker = Worker(self.resources.cpus, self.resources.gpus, (self.resources.memory or 0) * GIB)
            self.crew = Crew(size, worker, folder / f"crew-{secrets.token_hex(4)}")
            load_open_clip()  # which takes a second, while the workers start
        yield from self.crew.train(job)

    def step(self) -> dict[str, Any]:
        epoch = next(self.epochs, None)
        if epoch is None:
            return {"done": True}
        seen = self.looking.score(epoch, self.assignment) if self.looking else {}
        return {"epoch": epoch.model_dump(), "done": False, **seen}
