"""The views of a manifest's faces, on disk: Arrow shards that are read by memory map.

A store is a folder of parts, each named by the cameras that are in it. The first render of some faces makes one
part; whoever asks for more cameras later adds another, of the new ones alone. A part is a folder:
  manifest.parquet     the faces that were asked for
  shard-00000.arrow …  uncompressed Arrow IPC, one record batch: `sample_id`, and one fixed-shape uint8 column
                       (size x size x 3) per camera, named like `yaw+30_pitch+00`; further outputs of the same
                       camera are named like `yaw+30_pitch+00_depth`
  rejected.parquet     sample_id, path and reason of the faces that have no views
  doubts.parquet       sample_id, path, kind and reason of what was guessed of a mesh, and of suspicious views
  store.json           what is in it; written last, so a part that has it is complete, and never changed again, but
                       for shards that were damaged, which are rendered anew
In a mirror of a bucket the small files of a part are all here or none. A shard is here once it was fetched whole; of
one that is not, the rows that are asked for are read where they lie in the bucket, and not kept.
All parts of a store have the same rows. Each can be opened by itself: by polars, pyarrow or Hugging Face datasets
as `shard-*.arrow`, and as a store of its own.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
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
from polyview.recipe import Output, Rendering, digest
from polyview.rendering.cameras import Camera
from polyview.rendering.depth import DepthScale, depth_scale
from polyview.rendering.doubts import DOUBTS
from polyview.rendering.shards import Shard, flat, read_shard, shard_path
from polyview.storage.home import replacing
from polyview.storage.mirror import Span, address, fetch_all, is_away, read_spans

SCHEMA_VERSION = 3
REJECTED = pl.Schema({"sample_id": pl.String, "path": pl.String, "reason": pl.String})


class Contents(BaseModel):
    """`store.json`: what a part holds. rows: views per shard, in the order of the shards' numbers.

    offsets: for each shard, where in its file the pixels of each column begin, in bytes; a row follows the other.
    checksums: of each shard, the CRC-32 of its file, by which one that was changed since is told; earlier versions kept
    none.
    depth is the scale of the columns of distances, where there are any.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: int
    fingerprint: str
    rendering: Rendering
    cameras: tuple[str, ...]
    rows: tuple[int, ...]
    offsets: tuple[tuple[int, ...], ...]
    checksums: tuple[int, ...] = ()
    rejected: int
    depth: DepthScale | None = None


class ViewStore:
    """A store, opened for reading; what it maps is shared with every process on the machine.

    `frames` is how many pictures of each camera a row has.
    """

    frames = 1

    def __init__(self, folder: Path, parts: Sequence[Part]) -> None:
        self.folder = folder
        self.parts = tuple(parts)
        self.cameras = tuple(sorted({camera for part in parts for camera in part.cameras}))
        self.rendering = parts[0].contents.rendering
        self.outputs: tuple[Output, ...] = (self.rendering.shading, *self.rendering.outputs)
        self.size = self.rendering.size
        self.depth = parts[0].contents.depth

    @classmethod
    def open(cls, path: Path) -> ViewStore:
        """Open the store, or the part of one, in the folder `path`; raises `UserError` where nothing is complete."""
        folders = complete_parts(path)
        if not folders:
            raise UserError(f"{address(path)}: no complete view store; `polyview render` makes or finishes one")
        return cls(path, [Part.open(folder) for folder in folders])

    def __len__(self) -> int:
        return len(self.parts[0])

    @cached_property
    def sample_ids(self) -> list[str]:
        """One per row; the rejected ones have no row."""
        return self.parts[0].sample_ids()

    @cached_property
    def manifest(self) -> Manifest:
        """All faces that were asked for, rejected ones too."""
        return Manifest.load(self.parts[0].folder / "manifest.parquet")

    @cached_property
    def rejected(self) -> pl.DataFrame:
        """The faces without views: sample_id, path, reason."""
        return _read_table(self.parts[0].folder / "rejected.parquet")

    @cached_property
    def doubts(self) -> pl.DataFrame:
        """What is doubtful of the faces and of all parts' views, as `DOUBTS`; nothing where older parts do not say."""
        files = [part.folder / "doubts.parquet" for part in self.parts]
        return pl.concat([DOUBTS.to_frame(), *map(_read_table, filter(Path.is_file, files))]).unique(
            maintain_order=True
        )

    def labels(self, column: str) -> list[str]:
        """The manifest's `column` for each row."""
        rows = pl.DataFrame({"sample_id": self.sample_ids}, schema={"sample_id": pl.String})
        joined = rows.join(self.manifest.frame, on="sample_id", how="left", maintain_order="left")
        return [str(label) for label in joined[column]]

    def rows_of(self, subjects: Iterable[str]) -> NDArray[np.int64]:
        """The places of all samples of some subjects, in order."""
        chosen = set(subjects)
        return np.array([row for row, owner in enumerate(self.labels("subject")) if owner in chosen], dtype=np.int64)

    def shape(self, rows: int, cameras: int) -> tuple[int, ...]:
        """The shape of so many rows' views: (B, V, size, size, 3)."""
        return rows, cameras, self.size, self.size, 3

    def gather(
        self,
        rows: NDArray[np.int64],
        cameras: Sequence[Camera],
        output: Output | None = None,
        out: NDArray[np.uint8] | None = None,
    ) -> NDArray[np.uint8]:
        """The views of some rows, (B, V, size, size, 3) uint8, in the order of `rows` and `cameras`.

        `output` is one of the recipe's further outputs; its shading if None. Only the pages of these views are read.
        They are put into `out`, if that is given.
        Raises `KeyError` for a camera or an output that the store does not have.
        """
        missing = [camera.name for camera in cameras if camera not in self.cameras]
        if missing:
            has = ", ".join(camera.name for camera in self.cameras)
            raise KeyError(f"{self.folder} has no {', '.join(missing)}; it has {has}")
        if output is not None and output not in self.outputs:
            raise KeyError(f"{self.folder} has no output {output}; it has {', '.join(self.outputs)}")
        views = np.empty(ViewStore.shape(self, len(rows), len(cameras)), np.uint8) if out is None else out
        for index, camera in enumerate(cameras):
            part = next(part for part in self.parts if camera in part.cameras)
            part.read(rows, column_name(camera, output, self.rendering), views[:, index])
        return views


class Part:
    """The shards of one render."""

    def __init__(self, folder: Path, contents: Contents) -> None:
        self.folder = folder
        self.contents = contents
        self.cameras = tuple(Camera.parse(name) for name in contents.cameras)
        checksums = contents.checksums or (None,) * len(contents.rows)
        self._shards = [_Shard(shard_path(folder, number), checksum) for number, checksum in enumerate(checksums)]
        self._starts = np.concatenate([[0], np.cumsum(contents.rows, dtype=np.int64)])
        self._columns = column_names(self.cameras, contents.rendering)

    @classmethod
    def open(cls, folder: Path) -> Part:
        try:
            return cls(folder, Contents.model_validate_json((folder / "store.json").read_bytes()))
        except ValidationError:
            raise UserError(
                f"{folder / 'store.json'}: not of this version; delete the folder and render anew"
            ) from None

    def __len__(self) -> int:
        return int(self._starts[-1])

    def sample_ids(self) -> list[str]:
        """One per row, told without a look at the shards: those that were asked for and not rejected."""
        asked = _read_table(self.folder / "manifest.parquet").select("sample_id")
        rejected = _read_table(self.folder / "rejected.parquet").select("sample_id")
        return asked.join(rejected, on="sample_id", how="anti", maintain_order="left")["sample_id"].to_list()

    def read(self, rows: NDArray[np.int64], name: str, out: NDArray[np.uint8]) -> None:
        """Copy some rows of a column into `out`."""
        shard_of = np.searchsorted(self._starts, rows, side="right") - 1
        away: list[tuple[int, Span]] = []
        for number in np.unique(shard_of):
            chosen = np.flatnonzero(shard_of == number)
            shard, own = self._shards[number], rows[chosen] - self._starts[number]
            if not shard.is_away:
                column = shard.column(name)
                # One copy of each picture: a choice of several would make two.
                for at, row in zip(chosen.tolist(), own.tolist(), strict=True):
                    out[at] = column[row]
                continue
            begin, length = self.contents.offsets[number][self._columns.index(name)], out[0].nbytes
            away += [
                (at, Span(shard.path, begin + row * length, length))
                for at, row in zip(chosen.tolist(), own.tolist(), strict=True)
            ]
        for (at, _), pixels in zip(away, read_spans(span for _, span in away), strict=True):
            out[at] = np.frombuffer(pixels, np.uint8).reshape(out[at].shape)


class _Shard:
    """One shard, mapped and compared with its checksum when first read."""

    def __init__(self, path: Path, checksum: int | None) -> None:
        self.path = path
        self.checksum = checksum
        self._columns: dict[str, NDArray[np.uint8]] = {}

    @property
    def is_away(self) -> bool:
        """Whether it is in a bucket alone."""
        return not self._columns and is_away(self.path)

    @cached_property
    def _batch(self) -> Any:
        try:
            whole = pa.memory_map(str(self.path)).read_buffer()
            if self.checksum not in (None, zlib.crc32(whole)):
                raise _damaged(self.path)
            return pa.ipc.open_file(whole).get_batch(0)
        except (pa.ArrowInvalid, OSError):
            raise _damaged(self.path) from None

    def column(self, name: str) -> NDArray[np.uint8]:
        """All of one camera's views, (rows, size, size, 3): a view of the mapped file, not a copy."""
        if name not in self._columns:
            pixels, shape = flat(self._batch[name])
            self._columns[name] = pixels.to_numpy(zero_copy_only=True).reshape(shape)
        return self._columns[name]


def _read_table(path: Path) -> pl.DataFrame:
    try:
        return pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError):
        raise _damaged(path) from None


def _damaged(path: Path) -> UserError:
    return UserError(f"{address(path)}: gone or damaged; delete the folder that it is in, and render anew")


def fetch_contents(store: Path) -> None:
    """Have here what a store's complete parts say of themselves."""
    fetch_all(store, "*.parquet", "*/*.parquet", "store.json", "*/store.json")


def fetch_views(store: Path, cameras: Sequence[Camera]) -> None:
    """Have all of a store here that a trial reads which looks through these cameras."""
    fetch_contents(store)
    for part in map(Part.open, complete_parts(store)):
        if set(part.cameras) & set(cameras):
            fetch_all(part.folder, "shard-*.arrow")


def complete_parts(folder: Path) -> list[Path]:
    """The parts of a store that can be read; the folder itself where it is one."""
    if (folder / "store.json").is_file():
        return [folder]
    return sorted(mark.parent for mark in folder.glob("*/store.json"))


def part_path(store: Path, cameras: Sequence[Camera]) -> Path:
    """Where the part with these cameras is, like `3-views-0c5f9e1d7a2b4c68`."""
    names = [camera.name for camera in cameras]
    return store / f"{len(names)}-views-{digest(names)}"


def column_name(camera: Camera, output: Output | None, rendering: Rendering) -> str:
    """The name of one output's column; that of the recipe's shading is the camera's own."""
    return camera.name if output in (None, rendering.shading) else f"{camera.name}_{output}"


def column_names(cameras: Sequence[Camera], rendering: Rendering) -> list[str]:
    """All columns of a part, in the order in which a renderer draws them."""
    outputs = (rendering.shading, *rendering.outputs)
    return [column_name(camera, output, rendering) for output in outputs for camera in cameras]


def finish_part(
    folder: Path,
    manifest: Manifest,
    rendering: Rendering,
    cameras: Sequence[Camera],
    shards: int,
    known: Mapping[int, Shard] | None = None,
) -> None:
    """Gather what the shards say of themselves into rejected.parquet and store.json, which completes the part.

    The shards that are `known` are not read.
    """
    found = [(known or {}).get(number) or read_shard(shard_path(folder, number)) for number in range(shards)]
    rejected = [row for shard in found for row in shard.rejected]
    with replacing(folder / "rejected.parquet") as temporary:
        pl.DataFrame(rejected, schema=REJECTED).write_parquet(temporary)
    with replacing(folder / "doubts.parquet") as temporary:
        pl.DataFrame([row for shard in found for row in shard.doubts], schema=DOUBTS).write_parquet(temporary)
    contents = Contents(
        schema_version=SCHEMA_VERSION,
        fingerprint=manifest.fingerprint,
        rendering=rendering,
        cameras=tuple(camera.name for camera in cameras),
        rows=tuple(shard.rows for shard in found),
        offsets=tuple(shard.offsets for shard in found),
        checksums=tuple(shard.checksum for shard in found),
        rejected=len(rejected),
        depth=depth_scale(rendering),
    )
    with replacing(folder / "store.json") as temporary:
        temporary.write_text(contents.model_dump_json(indent=2) + "\n")
