"""The table of faces that everything after `corpus` starts from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from itertools import product
from pathlib import Path
from typing import Any

import polars as pl

from polyview.corpus.contents import content_digests
from polyview.corpus.formats.limits import FORMATS, format_of, landmark_files, names_in, reading_of
from polyview.corpus.references import references
from polyview.errors import UserError
from polyview.recipe import Geometry
from polyview.storage.home import replacing
from polyview.storage.mirror import resolve

SCHEMA = pl.Schema(
    {
        "sample_id": pl.String,
        "subject": pl.String,
        "expression": pl.String,
        "intensity": pl.Float64,
        "sequence": pl.String,
        "frame": pl.Int64,
        "path": pl.String,
        "texture": pl.String,
        "dataset": pl.String,
    }
)
OPTIONAL = pl.Schema({"unit": pl.Float64})
"""Columns that a manifest has where a dataset tells them of any face: others, and their fingerprints, are without."""
SEQUENCE = ("subject", "sequence", "expression")
"""What tells a sequence's frames from all others: names of sequences may repeat from person to person."""
SKIPPED = pl.Schema({"path": pl.String, "reason": pl.String})
_NULLABLE = {"texture"}
_COMPANIONS = (".bnd", ".lm3", ".mtl")
_AS_IT_IS = Geometry()
DRAWING = 2
"""How `rendering` draws what is read: another number wherever the same file gives another picture.

It counts in the fingerprint, so that neither a store nor a report holds pictures of two kinds. See `drawing_of`.
"""
_UNNOTED_DRAWING = 2
"""That of manifests which do not note theirs: their fingerprints stay as they were."""


@dataclass(frozen=True, eq=False)
class Found:
    """What lies in a dataset's folder.

    rows: the faces, in the columns of `SCHEMA`, perhaps with those of `OPTIONAL`; skipped: path and reason of what
    cannot be used; remarks: sentences about what was guessed.
    """

    rows: pl.DataFrame
    skipped: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=SKIPPED))
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Manifest:
    """One row per face frame, sorted by `sample_id`, in the columns of `SCHEMA`.

    unit: a column of frames that need it, the millimetres per unit of that row's file; null where it is the geometry's.

    root: the folder that `path` and `texture` are relative to; empty where paths hold all that is needed.
    fingerprint: 16 hex digits that change with any row, with the content of any file named in one, named by the mesh or
    lying beside it as its landmarks or materials, with the geometry, and with how files are read and drawn.
    geometry: what is done to each mesh as it is loaded.
    reading: `READING` of the version that made it; 0 where no file is read, and of earlier versions, which left it out.
    drawing: `drawing_of` that version.
    held: `contents`, where it was read as the manifest was built.
    """

    frame: pl.DataFrame
    root: str
    fingerprint: str
    geometry: Geometry = _AS_IT_IS
    reading: int = 0
    drawing: int = _UNNOTED_DRAWING
    held: list[list[str]] | None = field(default=None, repr=False)

    @classmethod
    def build(cls, frame: pl.DataFrame, root: str, geometry: Geometry = _AS_IT_IS) -> Manifest:
        """A manifest of these rows, in any order; raises `UserError` where they do not fit the schema."""
        frame = _conformed(frame).sort("sample_id")
        reading, held = reading_of(frame["path"]), _contents(frame, root)
        drawing = drawing_of(frame, root, geometry)
        fingerprint = fingerprint_of(frame, geometry, held, reading, drawing)
        return cls(frame, root, fingerprint, geometry, reading, drawing, held)

    @cached_property
    def contents(self) -> list[list[str]]:
        """For each row the hashes of its files: those that it names, then those beside the mesh.

        They are as when the manifest was built; of one that was loaded, as they are now.
        """
        return self.held if self.held is not None else _contents(self.frame, self.root)

    @cached_property
    def former_fingerprints(self) -> tuple[str, str, str]:
        """What earlier versions called these files, however they read them, if they drew them alike.

        By content; by content, but for what meshes name; and by size and time.
        """
        alone = _contents(self.frame, self.root, named_too=False)
        whole, of_named, of_times = (
            fingerprint_of(self.frame, self.geometry, held, drawing=self.drawing)
            for held in (self.contents, alone, _sizes_and_times(self.frame, self.root))
        )
        return whole, of_named, of_times

    def is_called(self, fingerprint: str) -> bool:
        """Whether this is its fingerprint, or what an earlier version called it, for which files are looked at."""
        return fingerprint == self.fingerprint or fingerprint in self.former_fingerprints

    def is_of_faces(self, fingerprint: str) -> bool:
        """Whether it is called so now, or was by an earlier version that may have read or drawn the same otherwise."""
        former = product(range(self.reading + 1), range(_UNNOTED_DRAWING, self.drawing + 1))
        return self.is_called(fingerprint) or any(
            fingerprint == fingerprint_of(self.frame, self.geometry, self.contents, *numbers) for numbers in former
        )

    def save(self, path: Path) -> None:
        """Write as Parquet, with all but the rows in the file's metadata."""
        metadata = {
            "root": self.root,
            "fingerprint": self.fingerprint,
            "geometry": self.geometry.model_dump_json(),
            "reading": str(self.reading),
            "drawing": str(self.drawing),
        }
        with replacing(path) as temporary:
            self.frame.write_parquet(temporary, metadata=metadata)

    @staticmethod
    def is_one(path: Path) -> bool:
        """Whether a file is what `save` wrote."""
        try:
            return {"root", "fingerprint"} <= pl.read_parquet_metadata(path).keys()
        except (pl.exceptions.PolarsError, OSError):
            return False

    @classmethod
    def load(cls, path: Path) -> Manifest:
        """Read what `save` wrote; raises `UserError` if the file is missing or not a manifest."""
        try:
            metadata = pl.read_parquet_metadata(path)
            frame = pl.read_parquet(path)
        except FileNotFoundError:
            raise UserError(f"{path}: no such manifest; make one with `polyview scan`") from None
        except (pl.exceptions.PolarsError, OSError) as error:
            raise UserError(f"{path}: not readable as a manifest: {error}") from None
        if not {"root", "fingerprint"} <= metadata.keys():
            raise UserError(f"{path}: a Parquet file, but not a manifest; make one with `polyview scan`")
        geometry = Geometry.model_validate_json(metadata.get("geometry", "{}"))
        reading, drawing = reading_and_drawing(metadata)
        return cls(_conformed(frame), metadata["root"], metadata["fingerprint"], geometry, reading, drawing)

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def subjects(self) -> list[str]:
        """Each subject once, sorted."""
        return self.frame["subject"].unique().sort().to_list()

    def summary(self) -> pl.DataFrame:
        """Faces, subjects and sequences of each expression, and of all together."""
        counts = [
            pl.len().alias("faces"),
            pl.col("subject").n_unique(),
            pl.struct(SEQUENCE).n_unique().alias("sequence"),
        ]
        by_expression = self.frame.group_by("expression").agg(counts).sort("expression")
        return pl.concat([by_expression, self.frame.select(pl.lit("all").alias("expression"), *counts)])


def guessed_films(frame: pl.DataFrame, root: str, geometry: Geometry) -> pl.DataFrame:
    """The rows of films of which something is guessed: the unit of their files, or the nose of some frame."""
    is_file = pl.Series([format_of(path) in FORMATS for path in frame["path"]], dtype=pl.Boolean)
    films = frame.filter(is_file).filter(pl.col("frame").n_unique().over(SEQUENCE) > 1)
    if geometry.unit == "auto" or films.is_empty():
        return films
    names, folder = cache(names_in), resolve(root)
    marked = [bool(root and landmark_files(path, folder, names)) for path in films["path"]]
    is_marked = pl.Series("is_marked", marked, dtype=pl.Boolean)
    return films.with_columns(is_marked).filter((~pl.col("is_marked")).any().over(SEQUENCE)).drop("is_marked")


def drawing_of(frame: pl.DataFrame, root: str, geometry: Geometry) -> int:
    """`DRAWING`, and one more where films are guessed of: their frames were framed one by one by earlier versions."""
    return DRAWING + (not guessed_films(frame, root, geometry).is_empty())


def _conformed(frame: pl.DataFrame) -> pl.DataFrame:
    missing = [name for name in SCHEMA if name not in frame.columns]
    if missing:
        raise UserError(f"the manifest lacks the columns {', '.join(missing)}; it needs {', '.join(SCHEMA)}")
    optional = {name: kind for name, kind in OPTIONAL.items() if name in frame.columns and frame[name].count()}
    try:
        frame = frame.select(pl.col(name).cast(kind) for name, kind in {**SCHEMA, **optional}.items())
    except pl.exceptions.PolarsError as error:
        raise UserError(f"the manifest's columns have wrong types: {str(error).splitlines()[0]}") from None
    empty = [name for name in SCHEMA if name not in _NULLABLE and frame[name].null_count()]
    if empty:
        raise UserError(f"the manifest has empty cells in {', '.join(empty)}")
    repeated = frame["sample_id"].filter(frame["sample_id"].is_duplicated())
    if len(repeated):
        raise UserError(f"the manifest names sample_id {repeated[0]!r} more than once")
    return frame


def reading_and_drawing(metadata: Mapping[str, str]) -> tuple[int, int]:
    """How the version read and drew that wrote a file with such metadata; earlier ones left it out."""
    return int(metadata.get("reading", "0")), int(metadata.get("drawing", _UNNOTED_DRAWING))


def fingerprint_of(
    frame: pl.DataFrame,
    geometry: Geometry,
    contents: Iterable[Sequence[Any]],
    reading: int = 0,
    drawing: int = _UNNOTED_DRAWING,
) -> str:
    """The fingerprint of a manifest's rows, of what is done to the meshes, and of each row's contents."""
    digest = hashlib.blake2b(digest_size=8)
    if drawing != _UNNOTED_DRAWING:
        digest.update(f"drawing {drawing}".encode())
    if reading:
        digest.update(f"reading {reading}".encode())
    if geometry != _AS_IT_IS:
        later = {"axes"} if geometry.axes is None else set()  # older fingerprints stay as they were
        digest.update(geometry.model_dump_json(exclude=later).encode())
    for row, held in zip(frame.iter_rows(), contents, strict=True):
        digest.update(repr((*row, *held)).encode())
    return digest.hexdigest()


def _contents(frame: pl.DataFrame, root: str, named_too: bool = True) -> list[list[str]]:
    folder = resolve(root)
    files = {name: folder / name for name in _named(frame)} if root else {}
    referred = _belonging(frame, files, folder) if named_too else {}
    held = content_digests(
        path for name in files.values() for path in (name, *_companions(name), *referred.get(name, ()))
    )

    def of_row(path: str, texture: str | None) -> list[str]:
        own = [files[name] for name in (path, texture) if name in files]
        beside = [*_companions(own[0]), *referred.get(own[0], ())] if own and path in files else []
        return [held[file] for file in dict.fromkeys((*own, *beside)) if file in held]

    return [of_row(*names) for names in frame.select("path", "texture").iter_rows()]


def _belonging(frame: pl.DataFrame, files: Mapping[str, Path], root: Path) -> dict[Path, list[Path]]:
    """What each mesh names, and its landmarks wherever they lie."""
    names = cache(names_in)
    meshes = {path: files[path] for path in frame["path"].unique() if path in files}
    named = references(meshes.values(), root)
    return {mesh: [*named[mesh], *landmark_files(path, root, names)] for path, mesh in meshes.items()}


def _sizes_and_times(frame: pl.DataFrame, root: str) -> Iterator[list[Any]]:
    """What a fingerprint was made of when files counted by their size and time."""
    folder = resolve(root)
    for path, texture in frame.select("path", "texture").iter_rows():
        own = [_size_and_time(folder / name) for name in (path, texture) if root and name]
        beside = _companions(folder / path) if root and path else []
        yield [*own, *filter(None, map(_size_and_time, beside))]


def _named(frame: pl.DataFrame) -> list[str]:
    """The files that rows name, as meshes or as textures."""
    names = pl.concat([frame["path"], frame["texture"]]).drop_nulls().unique(maintain_order=True)
    return [name for name in names if name]


def _companions(mesh: Path) -> list[Path]:
    """What may lie beside a mesh and belong to it: landmarks and materials."""
    return [mesh.with_suffix(suffix) for suffix in _COMPANIONS] if mesh.name else []


def _size_and_time(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status.st_size, status.st_mtime_ns
