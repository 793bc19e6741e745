"""What is damaged of a store, told before anybody trains on it, and made anew without what is whole."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import polars as pl
import pyarrow as pa

from polyview.rendering.shards import pixel_offsets, shard_path
from polyview.rendering.store import Part
from polyview.storage.mirror import files, is_away, remove


def damaged_files(part: Part) -> list[Path]:
    """The files of a complete part that are gone, cut or others than it says; no look is taken at their pixels.

    What has changed within the pixels is told by the checksum, when a shard is first read.
    """
    there = set(files(part.folder, "*.*"))
    found = [part.folder / name for name in ("manifest.parquet", "rejected.parquet")]
    damaged = [table for table in found if table not in there or not _is_table(table)]
    for number, (rows, offsets) in enumerate(zip(part.contents.rows, part.contents.offsets, strict=True)):
        shard = shard_path(part.folder, number)
        if shard not in there or not _is_shard(shard, rows, offsets):
            damaged.append(shard)
    return damaged


def reopen_part(folder: Path, damaged: Iterable[Path]) -> None:
    """Take away what is damaged of a complete part, which is then one that has yet to be finished."""
    for path in (folder / "store.json", *damaged):
        remove(path)


def _is_shard(path: Path, rows: int, offsets: tuple[int, ...]) -> bool:
    """Whether it is a whole file of so many rows, whose columns begin there; what is in a bucket alone is whole."""
    if is_away(path):
        return True
    try:
        with pa.memory_map(str(path)) as source:
            whole = source.read_buffer()
            batch = pa.ipc.open_file(whole).get_batch(0)
            return (batch.num_rows, pixel_offsets(batch, whole)) == (rows, offsets)
    except (pa.ArrowException, OSError):
        return False


def _is_table(path: Path) -> bool:
    try:
        return bool(pl.read_parquet_schema(path))
    except (pl.exceptions.PolarsError, OSError):
        return False
