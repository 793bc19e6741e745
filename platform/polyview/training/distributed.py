"""Ray Train around the loop, for pretraining on several workers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass

import ray.train
import torch
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer, get_device

from polyview.rendering.pipeline import start_ray
from polyview.training.checkpoint import latest_checkpoint
from polyview.training.history import Epoch
from polyview.training.loop import Job, Trainer

POLL_SECONDS = 0.25
RESTARTS = 2

# Reports are handed on at the controller's poll, by default every 2 s: longer than a short epoch.
os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.1")
os.environ.setdefault("RAY_TRAIN_COLLECTIVE_TIMEOUT_S", "300")


@dataclass(frozen=True)
class Worker:
    """What each worker of a job occupies; memory in bytes."""

    cpus: int = 1
    gpus: float = 0
    memory: float = 0

    @property
    def resources(self) -> dict[str, float]:
        """As Ray has them: what is zero is not named."""
        named = {"CPU": self.cpus, "GPU": self.gpus, "memory": self.memory}
        return {name: amount for name, amount in named.items() if amount}


def train_distributed(job: Job, worker: Worker) -> Iterator[Epoch]:
    """Pretrain on `training.workers` workers under Ray Train; yields each epoch once it is checkpointed.

    Workers continue from the job's last checkpoint, also after one of them has died. Raises what Ray Train
    raises when the restarts are used up.
    """
    start_ray()
    trainer = TorchTrainer(
        _work,
        train_loop_config={"job": job, "cpus": worker.cpus},
        torch_config=TorchConfig(backend="nccl" if worker.gpus else "gloo"),
        scaling_config=ScalingConfig(
            num_workers=job.experiment.training.workers,
            use_gpu=worker.gpus > 0,
            resources_per_worker=worker.resources,
        ),
        run_config=RunConfig(
            name="workers",
            storage_path=str(job.folder),
            failure_config=FailureConfig(max_failures=RESTARTS, controller_failure_limit=RESTARTS),
        ),
    )
    seen = len(_history(job))
    with ThreadPoolExecutor(max_workers=1) as pool:
        fit = pool.submit(trainer.fit)
        while not fit.done():
            wait([fit], timeout=POLL_SECONDS)
            fresh = _history(job)[seen:]
            seen += len(fresh)
            yield from fresh
        fit.result()
    yield from _history(job)[seen:]


def _work(config: dict[str, object]) -> None:
    job, cpus = config["job"], config["cpus"]
    assert isinstance(job, Job)
    assert isinstance(cpus, int)
    torch.set_num_threads(cpus)
    for epoch in Trainer(job, get_device()).epochs():
        ray.train.report(epoch.metrics)


def _history(job: Job) -> tuple[Epoch, ...]:
    while checkpoint := latest_checkpoint(job.folder):
        try:
            return checkpoint.history
        except FileNotFoundError:
            # A newer one took its place between the two looks.
            continue
    return ()
