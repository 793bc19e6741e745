"""One shard of a part: a file of Arrow's with the views of some faces, written whole or not at all."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from polyview.storage.home import replacing
from polyview.storage.mirror import fetch

_SHARD_BYTES = 32 << 20
_SHARD_ROWS = 64
_MAGIC, _CACHE_LINE = 8, 64  # bytes: before all else in a file of Arrow's, and what a processor reads at once


class Shard(NamedTuple):
    """What a shard says of itself: its rows, where each column's pixels begin, what is amiss with its samples, and the
    CRC-32 of its file.
    """

    rows: int
    offsets: tuple[int, ...]
    rejected: list[dict[str, str]]
    doubts: list[dict[str, str]]
    checksum: int


def shard_path(folder: Path, number: int) -> Path:
    return folder / f"shard-{number:05d}.arrow"


def rows_per_shard(columns: int, size: int) -> int:
    """Samples in a shard: few enough that a worker holds a shard in memory at any size, and loses little if killed."""
    return max(1, min(_SHARD_ROWS, _SHARD_BYTES // (columns * size * size * 3)))


def write_shard(
    path: Path,
    sample_ids: Sequence[str],
    columns: Sequence[str],
    views: NDArray[np.uint8],
    rejected: Sequence[dict[str, str]],
    doubts: Sequence[dict[str, str]] = (),
) -> None:
    """Write one shard, whole or not at all.

    views: (columns, rows, size, size, 3). The rejected samples of the shard's range travel in its metadata, so that
    a render that was cut short knows them. Raises `OSError` where the disk is full or cannot be written.
    """
    arrays = [pa.array(sample_ids, pa.string()), *(_fixed_shape(column) for column in views)]
    told = {"rejected": json.dumps(list(rejected)), "doubts": json.dumps(list(doubts))}
    batch = _aligned(pa.record_batch(arrays, names=["sample_id", *columns]), told, views.nbytes)
    # Through Python's own file, whose errors say what the system said.
    with replacing(path) as temporary, temporary.open("wb") as file, pa.ipc.new_file(file, batch.schema) as writer:
        writer.write_batch(batch)


def _aligned(batch: Any, told: Mapping[str, str], pixels: int) -> Any:
    """The batch with its metadata, and as much of nothing there as has its last `pixels` bytes begin with a cache line.

    Those of a file of Arrow's begin at any eighth byte, from where copies to page-locked memory take a third longer.
    """
    unaligned = batch.replace_schema_metadata({**told, "padding": ""})
    before = _MAGIC + unaligned.schema.serialize().size + pa.ipc.get_record_batch_size(unaligned) - pixels
    return batch.replace_schema_metadata({**told, "padding": " " * (-before % _CACHE_LINE)})


def shard_columns(path: Path) -> set[str]:
    """The names of a shard's columns of views."""
    with pa.memory_map(str(fetch(path))) as source:
        return set(pa.ipc.open_file(source).schema.names) - {"sample_id"}


def read_shard(path: Path) -> Shard:
    with pa.memory_map(str(fetch(path))) as source:
        whole = source.read_buffer()
        reader = pa.ipc.open_file(whole)
        batch = reader.get_batch(0)
        told = {name: json.loads(reader.schema.metadata.get(name, b"[]")) for name in (b"rejected", b"doubts")}
        return Shard(batch.num_rows, pixel_offsets(batch, whole), told[b"rejected"], told[b"doubts"], zlib.crc32(whole))


def pixel_offsets(batch: Any, whole: Any) -> tuple[int, ...]:
    """Where in a shard's file the pixels of each column begin; what is empty lies nowhere."""
    pixels = (flat(column)[0].buffers()[1] for column in batch.columns[1:])
    return tuple(buffer.address - whole.address if batch.num_rows else 0 for buffer in pixels)


def flat(array: Any) -> tuple[Any, list[int]]:
    """A column's pixels one after the other, and the shape that they have."""
    shape = [len(array)]
    while pa.types.is_fixed_size_list(array.type):
        shape.append(array.type.list_size)
        array = array.values
    return array, shape


def _fixed_shape(views: NDArray[np.uint8]) -> Any:
    array = pa.array(views.reshape(-1))
    for length in reversed(views.shape[1:]):
        array = pa.FixedSizeListArray.from_arrays(array, length)
    return array
