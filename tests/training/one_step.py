"""Several workers, each on its part of a fixed global batch: `python one_step.py FOLDER`.

FOLDER has steps.json: the recipes and their stores by name, the subjects, and the numbers of workers to try; and
towers, with configs of open_clip's. Each worker leaves there its loss, gradients and running statistics as
NAME-DTYPE-WORKERS-RANK.safetensors.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from safetensors.torch import save_file
from torch.nn.parallel import DistributedDataParallel

from polyview.modeling.towers import load_open_clip
from polyview.recipe import Experiment
from polyview.training.loop import Trainer, TrainingJob
from polyview.training.sharding import whole


def step(job: TrainingJob, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """The loss of the first batch, each trained parameter's gradient, and the batch norms' statistics afterwards."""
    trainer = Trainer(job, torch.device("cpu"))
    if dtype != torch.float32:
        trainer.angles = trainer.angles.to(dtype)
        trainer.model.to(dtype)
        if trainer.parallel is not trainer.model:
            # It has set up the exchange of float32 gradients already.
            trainer.parallel = DistributedDataParallel(trainer.model)
    trainer.assign(0)
    trainer.parallel.train()
    step = next(trainer.prepared(0))
    loss, *_ = trainer.loss(step.batch.images.to(dtype), step.targets)
    trainer.backward(loss)
    found = {"loss": loss.detach()}
    for name, weight in trainer.model.named_parameters():
        if weight.requires_grad:
            assert weight.grad is not None, name
            found[f"gradient {name}"] = whole(weight.grad).contiguous()
    return found | {name: value for name, value in trainer.model.state_dict().items() if "running_" in name}


def work(folder: Path, asked: dict[str, Any], rank: int) -> None:
    """Be worker `rank` among each number of workers that has one of this rank."""
    for workers in asked["workers"]:
        if rank >= workers:
            continue
        if workers > 1:
            rendezvous = (folder / f"rendezvous-{workers}").as_uri()
            dist.init_process_group("gloo", init_method=rendezvous, rank=rank, world_size=workers)
        for name, recipe in asked["recipes"].items():
            experiment = Experiment.model_validate_json(json.dumps(recipe))
            job = TrainingJob(experiment, Path(asked["stores"][name]), tuple(asked["subjects"]), folder / "checkpoints")
            for dtype in (torch.float32, torch.float64):
                bits = torch.finfo(dtype).bits
                save_file(step(job, dtype), folder / f"{name}-{bits}-{workers}-{rank}.safetensors")
        if workers > 1:
            dist.destroy_process_group()


def main(folder: Path) -> int:
    """Be all workers; returns how many failed."""
    torch.set_num_threads(1)
    asked = json.loads((folder / "steps.json").read_text())
    load_open_clip().add_model_config(folder / "towers")
    # Forked: they need what is imported here, which takes longer than what they do with it.
    fork = multiprocessing.get_context("fork")
    workers = [
        fork.Process(target=work, args=(folder, asked, rank), daemon=True) for rank in range(max(asked["workers"]))
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return sum(worker.exitcode != 0 for worker in workers)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
