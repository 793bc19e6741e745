"""Trainings in processes of torch alone, one after another: `python some_epochs.py FOLDER`.

FOLDER has trainings.json: the store and the subjects of all, and by the name of each training its recipe, the number of
workers, after how many steps it is cut short, and from whose checkpoint it goes on; and towers, with configs of
open_clip's. Each training leaves its checkpoint in FOLDER/NAME, and in NAME.held how many elements of weights and
moments each worker held.
"""

from __future__ import annotations

import itertools
import json
import multiprocessing
import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.utils._pytree import tree_leaves

from polyview.modeling.towers import load_open_clip
from polyview.recipe import Experiment
from polyview.training.collectives import pool
from polyview.training.loop import Trainer, TrainingJob
from polyview.training.sharding import held


class CutShortError(Exception):
    """The end of a training's processes."""


def warning(rank: int, last: int | None) -> Callable[[], bool]:
    """Warns the first worker alone of the end after so many steps; it comes after one more, to all."""
    steps = itertools.count(1)

    def warned() -> bool:
        done = next(steps)
        if last and done > last:
            raise CutShortError
        return rank == 0 and done == last

    return warned


def train(job: TrainingJob, steps: int | None, rank: int) -> int:
    """Train; returns how many elements of weights and moments this worker holds."""
    trainer = Trainer(job, torch.device("cpu"))
    with suppress(CutShortError):
        for _ in trainer.epochs(warning(rank, steps)):
            pass
    kept = [*trainer.model.parameters(), *tree_leaves(trainer.state.optimizer.state_dict()["state"])]
    return sum(held(tensor).numel() for tensor in kept)


def work(job: TrainingJob, workers: int, steps: int | None, rank: int) -> None:
    """Be worker `rank` of so many. The trainer is gone before its process group: torch may hang where it is not."""
    if workers > 1:
        rendezvous = job.folder.with_suffix(".rendezvous").as_uri()
        dist.init_process_group("gloo", init_method=rendezvous, rank=rank, world_size=workers)
    sizes = torch.zeros(workers, dtype=torch.int64)
    sizes[rank] = train(job, steps, rank)
    pool(sizes)
    if rank == 0:
        job.folder.with_suffix(".held").write_text(json.dumps(sizes.tolist()))
    if workers > 1:
        dist.destroy_process_group()


def main(folder: Path) -> int:
    """Be all workers of all trainings; returns how many failed."""
    torch.set_num_threads(1)
    asked: dict[str, Any] = json.loads((folder / "trainings.json").read_text())
    load_open_clip().add_model_config(folder / "towers")
    fork = multiprocessing.get_context("fork")
    failed = 0
    for name, training in asked["trainings"].items():
        if training["start"]:
            shutil.copytree(folder / training["start"], folder / name)
        experiment = Experiment.model_validate_json(json.dumps(training["recipe"]))
        job = TrainingJob(experiment, Path(asked["store"]), tuple(asked["subjects"]), folder / name)
        told = (job, training["workers"], training["steps"])
        workers = [fork.Process(target=work, args=(*told, rank), daemon=True) for rank in range(training["workers"])]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        failed += sum(worker.exitcode != 0 for worker in workers)
    return failed


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
