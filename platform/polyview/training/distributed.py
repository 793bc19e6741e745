"""Ray Train around the loop, for pretraining on several workers."""

from __future__ import annotations

import itertools
import os
import shutil
import time
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import ray.train
import torch
import torch.distributed as dist
from pydantic import TypeAdapter
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer, get_device

from polyview.errors import UserError
from polyview.parallel import start_ray
from polyview.storage.home import replacing
from polyview.storage.mirror import CachedPath, refresh, remove
from polyview.training.checkpoint import fetch_checkpoint, latest_checkpoint
from polyview.training.collectives import agree
from polyview.training.history import Epoch
from polyview.training.loop import Trainer, TrainingJob, fetch_pictures

POLL_SECONDS = 0.1
IDLE_SECONDS = 0.05
PREEMPTION_SECONDS = 2.0  # between two checks for nodes that are to be preempted; clouds give one or two minutes
BUCKET_SECONDS = 1.0  # between two reads of a bucket, each of which is a request
RESTARTS = 2
DISMISSED = "dismissed"
_JOB, _EPOCHS = TypeAdapter(TrainingJob), TypeAdapter(list[Epoch])

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


class PreemptionNotice:
    """Whether Ray has been notified, since the last call, that one of some nodes (by id) is to be preempted.

    Called more often than every `PREEMPTION_SECONDS`, it does not check again and returns False.
    """

    def __init__(self, nodes: set[str]) -> None:
        self.nodes, self.notified, self.checked = nodes, set[str](), 0.0

    def __call__(self) -> bool:
        if time.monotonic() - self.checked < PREEMPTION_SECONDS:
            return False
        self.checked = time.monotonic()
        # Ray's own libraries ask it so; there is no public way outside of Ray Train's workers.
        try:
            draining = ray._private.state.state.get_draining_nodes()
        except ray.exceptions.RaySystemError:  # its head is away: no reason to end a training that goes on
            return False
        fresh = self.nodes & set(draining) - self.notified
        self.notified |= fresh
        return bool(fresh)


class WorkerGroup:
    """Workers under Ray Train that take one job after another: their start takes longer than a short job.

    The jobs lie in `folder`, a file each, which all machines must see (a bucket's mirror will do), as they must the
    checkpoints; the workers write there which epochs they have trained, and that they are done. Workers continue
    from a job's last checkpoint, also after one of them has died and Ray Train has started all of them anew.
    """

    def __init__(self, size: int, worker: Worker, folder: Path) -> None:
        start_ray()
        self.size, self.folder, self.taken = size, folder, 0
        folder.mkdir(parents=True)
        trainer = TorchTrainer(
            _work,
            train_loop_config={"folder": folder, "cpus": worker.cpus, "node": ray.get_runtime_context().get_node_id()},
            torch_config=TorchConfig(backend="nccl" if worker.gpus else "gloo"),
            scaling_config=ScalingConfig(
                num_workers=size, use_gpu=worker.gpus > 0, resources_per_worker=worker.resources
            ),
            run_config=RunConfig(
                name="workers",
                storage_path=str(folder),
                failure_config=FailureConfig(max_failures=RESTARTS, controller_failure_limit=RESTARTS),
            ),
        )
        self.pool = ThreadPoolExecutor(max_workers=1)
        self.fit = self.pool.submit(trainer.fit)

    def train(self, job: TrainingJob) -> Generator[Epoch]:
        """Pretrain on all workers; yields each epoch once it is over.

        Whoever closes this before its end makes the workers leave the job after the epoch that they are at.
        Raises what Ray Train raises when the restarts are used up; the group cannot be used again.
        """
        checkpoint = latest_checkpoint(job.folder)
        number, seen = self.taken, len(checkpoint.history) if checkpoint else 0
        self.taken += 1
        _note(self.folder / f"{number}.job", _JOB.dump_json(job))
        try:
            while not (self._done(number) or self.fit.done()):
                wait([self.fit], timeout=_pause(self.folder, POLL_SECONDS))
                fresh = self._epochs(number)[seen:]
                seen += len(fresh)
                yield from fresh
            if not self._done(number):
                self.fit.result()
            yield from self._epochs(number)[seen:]
        except GeneratorExit:
            _note(self.folder / f"{number}.left")
            raise

    def dismiss(self) -> None:
        """Let the workers go, and free what they occupy."""
        _note(self.folder / DISMISSED)
        wait([self.fit])
        self.pool.shutdown()
        with suppress(OSError, UserError):  # Ray may still write there, and a bucket be away for a while
            remove(self.folder)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _done(self, number: int) -> bool:
        return _is_there(self.folder / f"{number}.done")

    def _epochs(self, number: int) -> list[Epoch]:
        path = self.folder / f"{number}.epochs"
        return _EPOCHS.validate_json(path.read_bytes()) if _is_there(path) else []


def _work(config: dict[str, object]) -> None:
    folder, cpus, ours = config["folder"], config["cpus"], config["node"]
    assert isinstance(folder, Path)
    assert isinstance(cpus, int)
    assert isinstance(ours, str)
    torch.set_num_threads(cpus)
    nodes: list[str] = [""] * dist.get_world_size()
    dist.all_gather_object(nodes, ray.get_runtime_context().get_node_id())
    for number, job in enumerate(_jobs(folder)):
        done = folder / f"{number}.done"
        if _is_there(done):
            continue
        fetch_pictures(job.experiment, job.store)
        fetch_checkpoint(job.folder)
        trainer = Trainer(job, get_device())
        # Where the process that waits for the workers is lost, they are too.
        for epoch in trainer.epochs(PreemptionNotice({*nodes, ours})):
            ray.train.report(epoch.metrics)
            _tell(folder / f"{number}.epochs", trainer.history)
            left = torch.tensor(int(_is_there(folder / f"{number}.left")), device=get_device())
            if agree(left).item():  # the workers may have looked at different moments
                break
        _tell(folder / f"{number}.epochs", trainer.history)  # the last may be from before a restart
        dist.barrier()
        _note(done)


def _jobs(folder: Path) -> Iterator[TrainingJob]:
    """The jobs in their order, each as soon as it is there, until the group is dismissed."""
    for number in itertools.count():
        path = folder / f"{number}.job"
        while not _is_there(path):
            if _is_there(folder / DISMISSED):
                return
            time.sleep(_pause(folder, IDLE_SECONDS))
        yield _JOB.validate_json(path.read_bytes())


def _note(path: Path, text: bytes = b"") -> None:
    with replacing(path) as temporary:
        temporary.write_bytes(text)


def _tell(path: Path, history: list[Epoch]) -> None:
    """Let the first of the workers write which epochs are trained."""
    if dist.get_rank() == 0:
        _note(path, _EPOCHS.dump_json(history))


def _is_there(path: Path) -> bool:
    refresh([path])
    return path.exists()


def _pause(folder: Path, seconds: float) -> float:
    return BUCKET_SECONDS if isinstance(folder, CachedPath) else seconds
