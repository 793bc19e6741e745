"""Which faces a study was of, told without the faces: a manifest's rows, and the hashes of the files behind each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq

from polyview.corpus.manifest import OPTIONAL, SCHEMA, Manifest, fingerprint_of, reading_and_drawing
from polyview.recipe import Geometry
from polyview.storage.home import Home
from polyview.storage.mirror import fetch, files
from polyview.wording import counted

MOST_ROWS = 20_000_000
_CONTENTS = "contents"
_FILES = ("path", "texture")


@dataclass(frozen=True, eq=False)
class KnownFaces:
    """The rows of a manifest, and for each the hashes of its files; None where these could not be had.

    reading, drawing: the manifest's.
    """

    frame: pl.DataFrame
    geometry: Geometry
    contents: list[list[str]] | None
    reading: int
    drawing: int

    @classmethod
    def of(cls, manifest: Manifest) -> KnownFaces:
        """Those of a manifest, with what its files hold if they are still those that it was made of."""
        held = manifest.contents
        known = cls(manifest.frame, manifest.geometry, held, manifest.reading, manifest.drawing)
        return known if known.fingerprint == manifest.fingerprint else replace(known, contents=None)

    @property
    def fingerprint(self) -> str | None:
        """The manifest's, made anew of the rows and the contents; None where these are not known."""
        if self.contents is None:
            return None
        return fingerprint_of(self.frame, self.geometry, self.contents, self.reading, self.drawing)

    @cached_property
    def samples(self) -> pl.DataFrame:
        """What may be scored, each frame and each sequence: `sample`, `subject` and `truth`, each combination once."""
        truth = pl.col("expression").alias("truth")
        return pl.concat(
            self.frame.select(pl.col(name).alias("sample"), "subject", truth) for name in ("sample_id", "sequence")
        ).unique()

    def save(self, path: Path) -> None:
        """Write as Parquet, with the geometry in the file's metadata."""
        held = [] if self.contents is None else [pl.Series(_CONTENTS, self.contents, dtype=pl.List(pl.String))]
        path.parent.mkdir(parents=True, exist_ok=True)
        metadata = {
            "geometry": self.geometry.model_dump_json(),
            "reading": str(self.reading),
            "drawing": str(self.drawing),
        }
        self.frame.with_columns(held).write_parquet(path, metadata=metadata)

    @classmethod
    def load(cls, path: Path) -> KnownFaces:
        """Read what `save` wrote; raises `ValueError` where it is something else."""
        check_rows(path)
        table, metadata = pl.read_parquet(path), pl.read_parquet_metadata(path)
        rows = table.drop(_CONTENTS, strict=False)
        expected = {name: kind for name, kind in {**SCHEMA, **OPTIONAL}.items() if name in rows.columns}
        if dict(rows.schema) != expected or not SCHEMA.keys() <= expected.keys():
            raise ValueError("its columns are not those of a manifest")
        held = table[_CONTENTS].to_list() if _CONTENTS in table.columns else None
        geometry = Geometry.model_validate_json(metadata["geometry"])
        return cls(rows, geometry, held, *reading_and_drawing(metadata))

    def compare(self, found: Manifest) -> FaceDifferences:
        """How the faces that were found differ from these, by the samples' names and what is known of each."""
        columns = [name for name in (*SCHEMA, *OPTIONAL) if name not in _FILES]
        shared = [name for name in columns if name in self.frame.columns and name in found.frame.columns]
        before = _by_sample(self.frame.select(shared), self.contents)
        now = _by_sample(found.frame.select(shared), found.contents if self.contents is not None else None)
        return FaceDifferences(
            samples=len(before),
            missing=len(before.keys() - now.keys()),
            further=len(now.keys() - before.keys()),
            changed=sum(before[name] != now[name] for name in before.keys() & now.keys()),
            by_contents=self.contents is not None,
        )


def _by_sample(frame: pl.DataFrame, contents: Sequence[list[str]] | None) -> dict[str, tuple[Any, ...]]:
    """What is known of each sample: its row, and what its files hold where that is given."""
    held = contents if contents is not None else [[]] * len(frame)
    return {row[0]: (*row, *own) for row, own in zip(frame.iter_rows(), held, strict=True)}


@dataclass(frozen=True)
class FaceDifferences:
    """Of so many `samples`, how many are missing, how many `further` ones there are, and how many are others."""

    samples: int
    missing: int
    further: int
    changed: int
    by_contents: bool

    @property
    def same(self) -> bool:
        """Whether all are there, no other is, and each is what it was."""
        return not (self.missing or self.further or self.changed)

    def __str__(self) -> str:
        if self.same:
            told = f"the same {counted(self.samples, 'sample')}"
            return told if self.by_contents else f"{told} by name; what their files held was not known to the bundle"
        parts = [
            f"{self.missing} missing" if self.missing else "",
            f"{self.changed} that hold something else" if self.changed else "",
            f"{self.further} that the bundle has not" if self.further else "",
        ]
        return f"not the same, of {counted(self.samples, 'sample')} {', '.join(filter(None, parts))}"


def find_manifests(home: Home, fingerprints: Iterable[str]) -> dict[str, Manifest]:
    """The manifests with these fingerprints that lie with the views of a home; those of removed views are left out."""
    wanted = set(fingerprints)
    found: dict[str, Manifest] = {}
    for path in files(home.stores, "*/*/manifest.parquet"):
        if wanted <= found.keys():
            break
        manifest = Manifest.load(fetch(path))
        if manifest.fingerprint in wanted:
            found.setdefault(manifest.fingerprint, manifest)
    return found


def check_rows(path: Path) -> None:
    """Raises `ValueError` for a table whose few bytes would become more rows than memory holds."""
    rows = pq.read_metadata(path).num_rows
    if rows > MOST_ROWS:
        raise ValueError(f"it has {rows} rows")
