"""What a GPU's host spends on a training, and whether the GPU would wait: reading, targets, chances, no tower.

    python tests/benchmarks/host.py [--json host.json] [--samples 1024] [--batch 256] [--size 224] [--views 3]

A store of random pictures is read as a training reads it, by `Trainer.prepared`, with a recipe that augments, crops and
erases: what is done to pictures on the device is not done here, and no tower is run. One epoch follows another, as in a
training. Two rows for each way:

- CPU milliseconds a sample, of all threads, of an epoch without a step between; the target is 0.05.
- The share of the time that a step would be under way which sleeps as long as ViT-B/32 in bfloat16 takes on an H100
  for a batch (31 ms for 256 samples of three views); the target is 95 %.

The first way is what a training did before: pictures become floats and are augmented by the host, inside the step. The
third has its views in memory that is used again, as torch does with the page-locked memory that a GPU reads from. The
last is the floor on this machine: one copy of the bytes. The first epoch does not count, after which the store lies in
memory. The median of the five that follow is shown, of the first way that of one.
"""

from __future__ import annotations

import argparse
import json
import math
import mmap
import os
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import fields
from functools import cached_property
from itertools import cycle, islice, pairwise
from pathlib import Path
from statistics import median
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from torch import Tensor

from polyview.corpus.scan import scan
from polyview.recipe import Experiment, load_experiment
from polyview.rendering.cameras import cameras
from polyview.rendering.shards import rows_per_shard, shard_path, write_shard
from polyview.rendering.store import ViewStore, finish_part
from polyview.storage.home import bundled
from polyview.training.batches import Batches
from polyview.training.loop import Trainer, TrainingJob
from polyview.training.prefetch import AHEAD
from polyview.training.targets import Step

EXPRESSIONS = 7
STEP_SECONDS_PER_VIEW = 0.031 / (256 * 3)
TARGETS = {"CPU ms/sample": 0.05, "device busy": 0.95}
EPOCHS = 5


def fill(store: Path, recipe: Experiment) -> None:
    """Write a store of the recipe's faces whose pictures are noise."""
    manifest, rig = scan(recipe.corpus).manifest, cameras(recipe.rendering.views)
    store.mkdir()
    manifest.save(store / "manifest.parquet")
    size, chances = recipe.rendering.size, np.random.default_rng(0)
    parts = list(manifest.frame.iter_slices(rows_per_shard(len(rig), size)))
    for number, part in enumerate(parts):
        views = chances.integers(0, 256, (len(rig), len(part), size, size, 3), np.uint8)
        ids = part["sample_id"].to_list()
        write_shard(shard_path(store, number), ids, [camera.name for camera in rig], views, [])
    finish_part(store, manifest, recipe.rendering, rig, len(parts))


def read_ahead(trainer: Trainer) -> Generator[Step]:
    """The steps as a training takes them."""
    return trainer.prepared(0)


class ReusedMemory(Batches):
    """Batches whose views come to lie where those of some batches before lay, as page-locked memory does with a GPU."""

    @cached_property
    def places(self) -> Iterator[NDArray[np.uint8]]:
        """As many as are under way at once."""
        shape = self.store.shape(self.batch_size, len(self.cameras))
        return cycle([_whole_pages(shape) for _ in range(AHEAD + 3)])

    def _views(self, rows: NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(self.store.gather(rows, self.cameras, out=next(self.places)))


def _whole_pages(shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Memory that begins with a page, as page-locked memory does; numpy's own begins 16 bytes later, and copies to it
    from a mapped file, which begins with a page too, take a third longer.
    """
    bytes_needed = math.prod(shape)
    room = np.zeros(bytes_needed + mmap.PAGESIZE, np.uint8)
    first = -room.ctypes.data % mmap.PAGESIZE
    return room[first : first + bytes_needed].reshape(shape)


def reuse_memory(trainer: Trainer) -> None:
    """Let a trainer read its batches as it does where a GPU is."""
    usual = trainer.batches
    trainer.batches = ReusedMemory(**{field.name: getattr(usual, field.name) for field in fields(usual)})


def bare_copies(trainer: Trainer) -> Generator[None]:
    """Nothing but copies from one place to another, of as many bytes as the training's steps read."""
    batches = trainer.batches
    shape = batches.store.shape(batches.batch_size, len(batches.cameras))
    views, other = _whole_pages(shape), _whole_pages(shape)
    views[:] = 1
    for _ in range(trainer.steps):
        np.copyto(other, views)
        yield


def inside(trainer: Trainer) -> Generator[Step]:
    """The steps, each read and augmented when it is its turn."""
    for epoch in range(trainer.steps // trainer.batches.steps):
        for batch in trainer.batches.epoch(epoch, trainer.share):
            assert batch.images.dtype == torch.float32
            yield Step(batch, trainer.targets(batch))


def measure(
    trainer: Trainer, way: Callable[[Trainer], Generator[object]], step_seconds: float, epochs: int
) -> dict[str, float]:
    """The medians of some epochs, after one that is not counted."""
    steps = trainer.batches.steps
    with closing(way(trainer)) as ahead:
        cost = of_each_epoch(ahead, steps, epochs, time.process_time, lambda: None)
    with closing(way(trainer)) as ahead:
        took = of_each_epoch(ahead, steps, epochs, time.perf_counter, lambda: time.sleep(step_seconds))
    return {
        "CPU ms/sample": 1000 * median(cost) / (steps * trainer.batches.batch_size),
        "device busy": steps * step_seconds / median(took),
    }


def of_each_epoch(
    ahead: Iterator[object], steps: int, epochs: int, clock: Callable[[], float], step: Callable[[], None]
) -> list[float]:
    """What a clock says of each of some epochs of so many steps, after one that is not counted and before another."""
    read = []
    for _ in range(1 + epochs):
        for _ in islice(ahead, steps):
            step()
        read.append(clock())
    return [later - earlier for earlier, later in pairwise(read)]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure once, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="where the numbers go")
    parser.add_argument("--samples", type=int, default=2048)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--size", type=int, default=224, help="of a picture, in pixels")
    parser.add_argument("--views", type=int, default=3)
    asked = parser.parse_args(arguments)
    sets = [
        f"corpus.generator.subjects={-(-asked.samples // EXPRESSIONS)}",
        f"rendering.size={asked.size}",
        f"rendering.views.count={asked.views}",
        f"training.batch_size={asked.batch}",
        f"training.epochs={2 + EPOCHS}",
        "training.crop=0.7",
        "training.erase=0.25",
        "model.pretrained=null",
    ]
    recipe = load_experiment(bundled("experiments") / "quickstart.yaml", sets)
    step_seconds = STEP_SECONDS_PER_VIEW * asked.batch * asked.views
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        fill(Path(folder, "store"), recipe)
        people = tuple(sorted(set(ViewStore.open(Path(folder, "store")).labels("subject"))))
        job = TrainingJob(recipe, Path(folder, "store"), people, Path(folder, "trial"))
        trainer = Trainer(job, torch.device("cpu"))
        ways = {
            "read and augmented inside the step, as before": inside,
            "read ahead, augmented by the device": read_ahead,
            "the same, memory used again as with a GPU": read_ahead,
            "nothing but a copy of the same bytes": bare_copies,
        }
        rows = []
        for name, way in ways.items():
            if "used again" in name:
                reuse_memory(trainer)
            rows.append({"way": name, **measure(trainer, way, step_seconds, 1 if way is inside else EPOCHS)})
    _show(rows, step_seconds)
    if asked.json:
        told = {"batch": asked.batch, "size": asked.size, "views": asked.views, "step seconds": step_seconds}
        asked.json.write_text(json.dumps({**told, "targets": TARGETS, "rows": rows}, indent=1) + "\n")


def _show(rows: Sequence[dict[str, Any]], step_seconds: float) -> None:
    table = Table("way", "CPU ms/sample", f"device busy, steps of {1000 * step_seconds:.0f} ms")
    for row in rows:
        table.add_row(row["way"], f"{row['CPU ms/sample']:.3f}", f"{100 * row['device busy']:.1f} %")
    Console().print(table)


if __name__ == "__main__":
    main()
