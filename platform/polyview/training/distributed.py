"""Ray Train around the loop, for pretraining on several workers."""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar, cast

import ray.train
import torch
import torch.distributed as dist
from ray.actor import ActorHandle
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer, get_device
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from polyview.errors import UserError
from polyview.parallel import start_ray
from polyview.storage.mirror import remove
from polyview.training.checkpoint import fetch_checkpoint, latest_checkpoint
from polyview.training.collectives import agree
from polyview.training.history import Epoch
from polyview.training.loop import Trainer, TrainingJob, fetch_pictures

ANSWER_SECONDS = 2.0  # after which who asked looks whether the workers are still there
PREEMPTION_SECONDS = 2.0  # between two checks for nodes that are to be preempted; clouds give one or two minutes
RESTARTS = 2

Result = TypeVar("Result")

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
        # Ray's own libraries ask it so. ray.train.get_preemption_info is public, but a trial of one worker runs outside
        # of Ray Train, the info is of the workers' machines and not of that of who waits for them, and at each call all
        # workers wait for each other.
        try:
            draining = ray._private.state.state.get_draining_nodes()
        except ray.exceptions.RaySystemError:  # its head is away: no reason to end a training that goes on
            return False
        fresh = self.nodes & set(draining) - self.notified
        self.notified |= fresh
        return bool(fresh)


@dataclass(frozen=True)
class Call(Generic[Result]):
    """Something that the first of the workers does for who waits, on its device."""

    work: Callable[[], Result]


class Jobs:
    """The jobs of a worker group, and what its workers tell of them: an actor whom they and who waits for them ask.

    Whoever asks for what is not there yet waits, for `ANSWER_SECONDS` at the most.
    """

    def __init__(self) -> None:
        self.jobs: list[TrainingJob | Call[Any]] = []
        self.epochs: dict[int, list[Epoch]] = {}
        self.results: dict[int, tuple[Any, Exception | None]] = {}
        self.done, self.left = set[int](), set[int]()
        self.dismissed = False
        self.changed = asyncio.Condition()

    async def add(self, job: TrainingJob | Call[Any]) -> None:
        """Let the workers have another job."""
        self.jobs.append(job)
        await self._tell()

    async def next(self, number: int) -> TrainingJob | Call[Any] | Literal["done", "dismissed", "wait"]:
        """A job by its number, if it is not done; or that the workers are dismissed, or have to ask again."""
        await self._until(lambda: number < len(self.jobs) or self.dismissed)
        if number < len(self.jobs):
            return "done" if number in self.done else self.jobs[number]
        return "dismissed" if self.dismissed else "wait"

    async def trained(self, number: int, history: list[Epoch], done: bool) -> bool:
        """Take in which epochs of a job are trained; returns whether its caller has left it."""
        self.epochs[number] = history
        if done:
            self.done.add(number)
        await self._tell()
        return number in self.left

    async def news(self, number: int, known: int) -> tuple[list[Epoch], bool]:
        """The epochs of a job beyond those that are known, and whether it is done."""
        await self._until(lambda: number in self.done or len(self.epochs.get(number, ())) > known)
        return self.epochs.get(number, [])[known:], number in self.done

    async def answer(self, number: int, result: object, error: Exception | None) -> None:
        """Take in what a call has given, or why it has given nothing."""
        self.results[number] = result, error
        self.done.add(number)
        await self._tell()

    async def result(self, number: int) -> tuple[Any, Exception | None, bool]:
        """What a call has given, or its error, which is told once; and whether it has ended."""
        await self._until(lambda: number in self.done)
        return *self.results.pop(number, (None, None)), number in self.done

    async def leave(self, number: int) -> None:
        """Let the workers end a job after the epoch that they are at."""
        self.left.add(number)

    async def dismiss(self) -> None:
        """Let the workers go."""
        self.dismissed = True
        await self._tell()

    async def _tell(self) -> None:
        async with self.changed:
            self.changed.notify_all()

    async def _until(self, holds: Callable[[], bool]) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(ANSWER_SECONDS), self.changed:
                await self.changed.wait_for(holds)


class WorkerGroup:
    """Workers under Ray Train that take one job after another: their start takes longer than a short job.

    Workers continue from a job's last checkpoint, also after one of them has died and Ray Train has started all of them
    anew. All machines must see the folders of the jobs and `folder`, where Ray Train keeps its state.
    """

    def __init__(self, size: int, worker: Worker, folder: Path) -> None:
        start_ray()
        self.size, self.folder, self.taken = size, folder, 0
        folder.mkdir(parents=True)
        here = ray.get_runtime_context().get_node_id()
        # Where the machine of who waits for the workers is lost, they have nothing left to do.
        at_hand = NodeAffinitySchedulingStrategy(here, soft=False)
        self.jobs = ray.remote(Jobs).options(num_cpus=0, scheduling_strategy=at_hand).remote()
        trainer = TorchTrainer(
            _work,
            train_loop_config={"jobs": self.jobs, "cpus": worker.cpus, "node": here},
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
        ray.get(self.jobs.add.remote(job))
        done = False
        try:
            while not done:
                fresh, done = ray.get(self.jobs.news.remote(number, seen))
                seen += len(fresh)
                yield from fresh
                self._check(done)
        except GeneratorExit:
            ray.get(self.jobs.leave.remote(number))
            raise

    def call(self, work: Callable[[], Result]) -> Result:
        """Have the first of the workers do something once it is free; returns or raises what that does."""
        number, done = self.taken, False
        self.taken += 1
        ray.get(self.jobs.add.remote(Call(work)))
        while not done:
            result, error, done = ray.get(self.jobs.result.remote(number))
            self._check(done)
        if error:
            raise error
        return cast(Result, result)

    def _check(self, done: bool) -> None:
        """Raises what has ended the workers, if they have ended before a job was done."""
        if self.fit.done() and not done:
            self.fit.result()
            raise RuntimeError("the workers have ended before their job")

    def dismiss(self) -> None:
        """Let the workers go, and free what they occupy."""
        ray.get(self.jobs.dismiss.remote())
        wait([self.fit])
        self.pool.shutdown()
        ray.kill(self.jobs)
        with suppress(OSError, UserError):  # Ray may still write there, and a bucket be away for a while
            remove(self.folder)
        shutil.rmtree(self.folder, ignore_errors=True)


def _work(config: dict[str, Any]) -> None:
    torch.set_num_threads(config["cpus"])
    nodes: list[str] = [""] * dist.get_world_size()
    dist.all_gather_object(nodes, ray.get_runtime_context().get_node_id())
    jobs = config["jobs"]
    for number, job in _given(jobs):
        if isinstance(job, Call):
            if dist.get_rank() == 0:
                ray.get(jobs.answer.remote(number, *_outcome(job)))
            continue  # nobody waits for it where all have to come by: it may take longer than they wait
        # Where the process that waits for the workers is lost, they are too.
        _train(job, number, jobs, PreemptionNotice({*nodes, config["node"]}))


def _train(job: TrainingJob, number: int, jobs: ActorHandle, warned: PreemptionNotice) -> None:
    fetch_pictures(job.experiment, job.store)
    fetch_checkpoint(job.folder)
    trainer = Trainer(job, get_device())
    for epoch in trainer.epochs(warned):
        ray.train.report(epoch.metrics)
        if _tell(jobs, number, trainer.history):
            break
    dist.barrier()
    _tell(jobs, number, trainer.history, done=True)


def _outcome(call: Call[Any]) -> tuple[Any, Exception | None]:
    try:
        return call.work(), None
    except Exception as error:
        return None, error


def _given(jobs: ActorHandle) -> Iterator[tuple[int, TrainingJob | Call[Any]]]:
    """The jobs that are not done, each with its number as soon as it is there, until the group is dismissed."""
    for number in itertools.count():
        while (job := ray.get(jobs.next.remote(number))) == "wait":
            pass
        if job == "dismissed":
            return
        if job != "done":
            yield number, job


def _tell(jobs: ActorHandle, number: int, history: list[Epoch], done: bool = False) -> bool:
    """Let the first worker say which epochs are trained; returns to all whether the job's caller has left it."""
    left = ray.get(jobs.trained.remote(number, history, done)) if dist.get_rank() == 0 else False
    return bool(agree(torch.tensor(int(left), device=get_device())).item())
