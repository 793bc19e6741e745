"""How fast polyview trains: its loop against the bare step, against a plain DataLoader, against open_clip's own loop.

    python tests/benchmarks/training.py [--json training.json] [--turns 7] [--subjects 64] [--set KEY=VALUE]...

The recipe is the quickstart's, changed by --set; the device is the one that a trial would have. Every way has a
process of its own and trains an epoch in its turn. Before or after each of another's turns is one of ours, and a ratio
is the median, over these pairs, of our samples a second over the other's: so both see the same noise of a machine that
others use too.

Against the bare step: the same model, losses, optimiser and augmentation, written out, on tensors in memory. So what
our reading and our loop cost is in the ratio. The row below it has its batches augmented beforehand and on the device;
its ratio has in it what augmentation costs.
Against PNG files: the bare step on what a DataLoader reads; the files hold the same views, and are augmented by the
same code in the loader's processes. No reader can save more than reading costs beside a step, so the second table has
no step at all: it tells what a device would wait for that is faster than the reading.
Against open_clip: `open_clip_train`'s epoch on the same tower, text tower and batch, on tensors in memory; ours reads
its batches from the store, and trains alignment alone, on one view, without augmentation. The optimiser is as
open_clip makes it, and in the last row fused as ours is.

CPU seconds are those of all processes of a way; ours have an epoch's checkpoint in them, which its time has not. The
peak of memory is seen in a turn that is not timed; pages that several processes share, such as those of a mapped
store, are divided among them.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import psutil
import training_ways as ways
from rich.console import Console
from rich.table import Table

from polyview.corpus.scan import scan
from polyview.recipe import Experiment, load_experiment
from polyview.rendering.cameras import cameras
from polyview.rendering.pipeline import ShardWriter
from polyview.rendering.shards import rows_per_shard
from polyview.rendering.store import ViewStore, finish_part
from polyview.storage.home import bundled
from polyview.trials.scoring import default_device

Seen = tuple[float, float]
"""What a turn tells: samples a second, CPU seconds."""


@dataclass(frozen=True)
class Way:
    """A way to train, and how many times faster than it we want to be."""

    name: str
    make: Callable[[ways.Place], ways.Turn]
    target: float | None = None


RACES = {
    "three losses, all views": (
        Way("polyview", ways.ours),
        Way("bare step, tensors in memory", ways.in_memory, 0.97),
        Way("the same, augmented before", ways.on_device),
        Way("bare step, DataLoader of PNG files", partial(ways.pictures, 0), 1.5),
        Way("bare step, DataLoader of PNG files, 2 workers", partial(ways.pictures, 2), 1.5),
    ),
    "reading and augmentation alone": (
        Way("polyview", ways.our_feeding),
        Way("DataLoader of PNG files", partial(ways.pictures_alone, 0), 1.5),
        Way("DataLoader of PNG files, 2 workers", partial(ways.pictures_alone, 2), 1.5),
    ),
    "alignment alone, one view": (
        Way("polyview", ways.ours_with_one_view),
        Way("open_clip_train", partial(ways.open_clips, False), 1.0),
        Way("open_clip_train, fused AdamW", partial(ways.open_clips, True)),
    ),
}


class Racer:
    """A way in a process of its own, after a first turn in which it warmed up."""

    def __init__(self, way: Way, place: ways.Place, threads: int) -> None:
        self.way = way
        context = get_context("spawn")
        self._connection, other = context.Pipe()
        self._process = context.Process(target=ways.serve, args=(other, way.make, place, threads))
        self._process.start()
        other.close()
        self.turn()

    def turn(self) -> Seen:
        """The samples a second of one more epoch, and the CPU seconds that it took in all its processes."""
        before = _total(self._process.pid, _cpu_seconds)
        self._connection.send(True)
        speed = float(self._connection.recv()[0])
        return speed, _total(self._process.pid, _cpu_seconds) - before

    def peaks(self) -> dict[str, float]:
        """The most memory of one more epoch, in MiB."""
        self._connection.send(True)
        peak = 0.0
        while not self._connection.poll(0.05):
            peak = max(peak, _total(self._process.pid, _memory))
        return {"peak MiB": peak / 2**20, "device's MiB": self._connection.recv()[1]}

    def stop(self) -> None:
        self._connection.send(False)
        self._process.join()


def race(name: str, place: ways.Place, turns: int, threads: int) -> list[dict[str, Any]]:
    """One row per way of a race; the first is ours."""
    racers = [
        Racer(way, replace(place, checkpoints=place.checkpoints / name / str(number)), threads)
        for number, way in enumerate(RACES[name])
    ]
    first, *others = racers
    pairs = {other: [_pair(first, other, turn) for turn in range(turns)] for other in others}
    mine = [ours for turns_of_one in pairs.values() for ours, _ in turns_of_one]
    rows = [_row(name, first, mine, 1.0)]
    for other, turns_of_one in pairs.items():
        ratio = median(ours[0] / theirs[0] for ours, theirs in turns_of_one)
        rows.append(_row(name, other, [theirs for _, theirs in turns_of_one], ratio))
    for racer in racers:
        racer.stop()
    return rows


def _pair(ours: Racer, other: Racer, turn: int) -> tuple[Seen, Seen]:
    """A turn of each, one right after the other; whose is the first changes, so that a drift favours neither."""
    if turn % 2:
        theirs = other.turn()
        return ours.turn(), theirs
    return ours.turn(), other.turn()


def _row(race: str, racer: Racer, seen: Sequence[Seen], ratio: float) -> dict[str, Any]:
    speeds, seconds = zip(*seen, strict=True)
    spread = {"lowest": min(speeds), "highest": max(speeds), "CPU s/epoch": median(seconds)}
    row = {"race": race, "way": racer.way.name, "samples/s": median(speeds), **spread}
    return {**row, "ratio": ratio, "target": racer.way.target, **racer.peaks()}


def prepare(recipe: Experiment, folder: Path) -> ways.Place:
    """Draw the recipe's faces to a store, and to PNG files."""
    manifest, rig = scan(recipe.corpus).manifest, cameras(recipe.rendering.views)
    place = ways.Place(recipe, folder / "views", folder / "pictures", folder / "checkpoints")
    place.store.mkdir()
    manifest.save(place.store / "manifest.parquet")
    rows = rows_per_shard(len(rig), recipe.rendering.size)
    shards = list(manifest.frame.select("sample_id", "path", "texture").iter_slices(rows))
    write = ShardWriter(place.store, manifest.root, manifest.geometry, recipe.rendering, rig)
    for number, shard in enumerate(shards):
        if failure := write({"shard": number, **shard.to_dict(as_series=False)})["error"]:
            raise SystemExit(failure)
    finish_part(place.store, manifest, recipe.rendering, rig, len(shards))
    ways.write_pictures(ViewStore.open(place.store), place.pictures)
    return place


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure once, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="where the numbers go")
    parser.add_argument("--turns", type=int, default=15, help="epochs of each way")
    parser.add_argument("--subjects", type=int, default=32, help="people, of seven faces each")
    parser.add_argument("--threads", type=int, default=1, help="of torch, in each process")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change the recipe")
    parser.add_argument("--only", nargs="*", default=[*RACES], choices=RACES, help="some of the races")
    asked = parser.parse_args(arguments)
    sets = [f"corpus.generator.subjects={asked.subjects}", *asked.set]
    recipe = load_experiment(bundled("experiments") / "quickstart.yaml", sets)
    with tempfile.TemporaryDirectory() as folder:
        place = prepare(recipe, Path(folder))
        rows = [row for name in asked.only for row in race(name, place, asked.turns, asked.threads)]
    _show(rows)
    if asked.json:
        told = {"device": default_device().type, "threads": asked.threads, "recipe": recipe.model_dump(mode="json")}
        asked.json.write_text(json.dumps({**told, "rows": rows}, indent=1) + "\n")


def _total(pid: int | None, of: Callable[[psutil.Process], float]) -> float:
    """The sum over a process and all it started."""
    try:
        root = psutil.Process(pid)
        return sum(of(process) for process in (root, *root.children(recursive=True)))
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return 0.0


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _memory(process: psutil.Process) -> float:
    """Bytes; pages that several processes share are divided among them."""
    return float(process.memory_full_info().pss)


def _show(rows: list[dict[str, Any]]) -> None:
    for name, of_race in groupby(rows, key=lambda row: row["race"]):
        shown = [{key: value for key, value in row.items() if key != "race"} for row in of_race]
        table = Table(*shown[0], title=name)
        for row in shown:
            table.add_row(*map(_written, row.values()))
        Console().print(table)


def _written(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.0f}" if value >= 100 else f"{value:.3f}"
    return "" if value is None else str(value)


if __name__ == "__main__":
    main()
