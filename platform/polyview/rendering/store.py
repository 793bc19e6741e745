"""The views of a manifest's faces, on disk: Arrow shards that are read by memory map.

A store is a folder:
  manifest.parquet     the faces that were asked for
  shard-00000.arrow …  uncompressed Arrow IPC, one record batch: `sample_id`, and one fixed-shape uint8 column
                       (size x size x 3) per camera, named like `yaw+30_pitch+00`
  rejected.parquet     sample_id, path and reason of the faces that have no views
  store.json           what is in it; written last, so a folder that has it is complete
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from polyview.corpus.manifest import Manifest
from polyview.errors import UserError
from polyview.paths import replacing
from polyview.recipe import Rendering
from polyview.rendering.cameras import Camera

SCHEMA_VERSION = 1
REJECTED = pl.Schema({"sample_id": pl.String, "path": pl.String, "reason": pl.String})
_SHARD_BYTES = 64 << 20
_SHARD_ROWS = 128


class Contents(BaseModel):
    """`store.json`: what the store holds. rows: views per shard, in the order of the shards' numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: int
    fingerprint: str
    rendering: Rendering
    cameras: tuple[str, ...]
    rows: tuple[int, ...]
    rejected: int


class ViewStore:
    """A complete store, opened for reading; what it maps is shared with every process on the machine."""

    def __init__(self, folder: Path, contents: Contents) -> None:
        self.folder = folder
        self.contents = contents
        self.cameras = tuple(Camera.parse(name) for name in contents.cameras)
        self.size = contents.rendering.size
        self._shards = [_Shard(shard_path(folder, number)) for number in range(len(contents.rows))]
        self._starts = np.concatenate([[0], np.cumsum(contents.rows, dtype=np.int64)])

    @classmethod
    def open(cls, path: Path) -> ViewStore:
        """Open the store in the folder `path`; raises `UserError` where it is not there or not complete."""
        try:
            contents = Contents.model_validate_json((path / "store.json").read_bytes())
        except FileNotFoundError:
            raise UserError(f"{path}: no complete view store; `polyview render` makes or finishes one") from None
        except ValidationError:
            raise UserError(f"{path / 'store.json'}: not of this version; delete the folder and render anew") from None
        return cls(path, contents)

    def __len__(self) -> int:
        return int(self._starts[-1])

    @cached_property
    def sample_ids(self) -> list[str]:
        """One per row; the rejected ones have no row."""
        return [sample_id for shard in self._shards for sample_id in shard.sample_ids]

    @cached_property
    def manifest(self) -> Manifest:
        """All faces that were asked for, rejected ones too."""
        return Manifest.load(self.folder / "manifest.parquet")

    @cached_property
    def rejected(self) -> pl.DataFrame:
        """The faces without views: sample_id, path, reason."""
        return pl.read_parquet(self.folder / "rejected.parquet")

    def labels(self, column: str) -> list[str]:
        """The manifest's `column` for each row."""
        rows = pl.DataFrame({"sample_id": self.sample_ids}, schema={"sample_id": pl.String})
        joined = rows.join(self.manifest.frame, on="sample_id", how="left", maintain_order="left")
        return [str(label) for label in joined[column]]

    def gather(self, rows: NDArray[np.int64], cameras: Sequence[Camera]) -> NDArray[np.uint8]:
        """The views of some rows, (B, V, size, size, 3) uint8, in the order of `rows` and `cameras`.

        Only the pages of these views are read. Raises `KeyError` for a camera that the store does not have.
        """
        missing = [camera.name for camera in cameras if camera not in self.cameras]
        if missing:
            raise KeyError(f"{self.folder} has no {', '.join(missing)}; it has {', '.join(self.contents.cameras)}")
        views = np.empty((len(rows), len(cameras), self.size, self.size, 3), np.uint8)
        shard_of = np.searchsorted(self._starts, rows, side="right") - 1
        for number in np.unique(shard_of):
            chosen = np.flatnonzero(shard_of == number)
            within = rows[chosen] - self._starts[number]
            for index, camera in enumerate(cameras):
                views[chosen, index] = self._shards[number].column(camera.name)[within]
        return views


class _Shard:
    """One shard, mapped when first read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._columns: dict[str, NDArray[np.uint8]] = {}

    @cached_property
    def _batch(self) -> Any:
        return pa.ipc.open_file(pa.memory_map(str(self._path))).get_batch(0)

    @property
    def sample_ids(self) -> list[str]:
        return list(self._batch["sample_id"].to_pylist())

    def column(self, name: str) -> NDArray[np.uint8]:
        """All of one camera's views, (rows, size, size, 3): a view of the mapped file, not a copy."""
        if name not in self._columns:
            array, shape = self._batch[name], [len(self._batch)]
            while pa.types.is_fixed_size_list(array.type):
                shape.append(array.type.list_size)
                array = array.values
            self._columns[name] = array.to_numpy(zero_copy_only=True).reshape(shape)
        return self._columns[name]


def shard_path(folder: Path, number: int) -> Path:
    return folder / f"shard-{number:05d}.arrow"


def rows_per_shard(views: int, size: int) -> int:
    """Samples in a shard: few enough that a worker holds a shard in memory at any size."""
    return max(1, min(_SHARD_ROWS, _SHARD_BYTES // (views * size * size * 3)))


def write_shard(
    path: Path,
    sample_ids: Sequence[str],
    cameras: Sequence[str],
    views: NDArray[np.uint8],
    rejected: Sequence[dict[str, str]],
) -> None:
    """Write one shard, whole or not at all.

    views: (rows, V, size, size, 3). The rejected samples of the shard's range travel in its metadata, so that a
    render that was cut short knows them.
    """
    columns = [pa.array(sample_ids, pa.string())]
    columns += [_fixed_shape(np.ascontiguousarray(views[:, index])) for index in range(len(cameras))]
    batch = pa.record_batch(columns, names=["sample_id", *cameras])
    batch = batch.replace_schema_metadata({"rejected": json.dumps(list(rejected))})
    with replacing(path) as temporary, pa.ipc.new_file(str(temporary), batch.schema) as writer:
        writer.write_batch(batch)


def finish_store(folder: Path, manifest: Manifest, rendering: Rendering, cameras: Sequence[str], shards: int) -> None:
    """Gather what the shards say of themselves into rejected.parquet and store.json, which completes the store."""
    rows, rejected = [], []
    for number in range(shards):
        with pa.memory_map(str(shard_path(folder, number))) as source:
            reader = pa.ipc.open_file(source)
            rows.append(reader.get_batch(0).num_rows)
            rejected += json.loads(reader.schema.metadata[b"rejected"])
    with replacing(folder / "rejected.parquet") as temporary:
        pl.DataFrame(rejected, schema=REJECTED).write_parquet(temporary)
    contents = Contents(
        schema_version=SCHEMA_VERSION,
        fingerprint=manifest.fingerprint,
        rendering=rendering,
        cameras=tuple(cameras),
        rows=tuple(rows),
        rejected=len(rejected),
    )
    with replacing(folder / "store.json") as temporary:
        temporary.write_text(contents.model_dump_json(indent=2) + "\n")


def _fixed_shape(views: NDArray[np.uint8]) -> Any:
    array = pa.array(views.reshape(-1))
    for length in reversed(views.shape[1:]):
        array = pa.FixedSizeListArray.from_arrays(array, length)
    return array
