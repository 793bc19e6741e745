"""How the meshes of a training were loaded, kept with its model so that it looks at others in the same way."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import polars as pl
from pydantic import BaseModel, ConfigDict

from polyview.corpus.datasets.layout import picture_beside
from polyview.corpus.formats.limits import below
from polyview.corpus.load import load_mesh
from polyview.corpus.manifest import Manifest
from polyview.corpus.mesh import Mesh, MeshError
from polyview.corpus.orientation import HEAD, UPRIGHT, guess_axes
from polyview.recipe import Geometry
from polyview.storage.mirror import resolve


class Told(BaseModel):
    """What the dataset says of one mesh that its file does not: where its picture is, and its unit in millimetres."""

    model_config = ConfigDict(frozen=True)

    texture: str | None = None
    unit: float | None = None


class MeshSource(BaseModel):
    """A dataset's folder, what is done to its meshes, and what is told of those whose files do not say all."""

    model_config = ConfigDict(frozen=True)

    root: str
    geometry: Geometry
    told: Mapping[str, Told]

    @classmethod
    def of(cls, manifest: Manifest) -> MeshSource:
        """That of a manifest."""
        rows = manifest.frame.select(
            "path", "texture", unit="unit" if "unit" in manifest.frame.columns else pl.lit(None, pl.Float64)
        )
        some = rows.filter(pl.col("texture").is_not_null() | pl.col("unit").is_not_null())
        told = {path: Told(texture=texture, unit=unit) for path, texture, unit in some.iter_rows()}
        return cls(root=manifest.root, geometry=manifest.geometry, told=told)

    def load(self, path: str) -> Mesh:
        """The mesh at a path of this machine or of the dataset, as the training would have loaded it.

        One that is not the dataset's takes the picture beside it if the dataset's meshes have theirs beside them, and
        has its unit read off its extent unless the training was told one; what was guessed is in its `guesses`. Raises
        `MeshError`, which names the path, or `OSError` where the file cannot be read.
        """
        try:
            return self._load(path)
        except MeshError as error:
            raise MeshError(f"{path}: {error}") from None

    def _load(self, path: str) -> Mesh:
        file = Path(path).resolve()
        if Path(path).is_absolute() and not file.is_file():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        folder = resolve(self.root)
        here = file if file.is_file() else folder / path
        place = below(folder, str(here)) if self.root and here.is_file() else None
        if place is not None:
            told = self.told.get(place.as_posix(), Told())
            return load_mesh(place.as_posix(), told.texture, self.root, self.geometry, told.unit)
        if not file.is_file():
            return load_mesh(path, None, self.root, self.geometry)
        beside = picture_beside(file) if any(told.texture for told in self.told.values()) else None
        geometry = self.geometry if self.geometry.unit else self.geometry.model_copy(update={"unit": "auto"})
        mesh = load_mesh(file.name, beside.name if beside else None, str(file.parent), geometry)
        return mesh if geometry.axes else replace(mesh, guesses=(*mesh.guesses, *_not_upright(mesh)))


def _not_upright(mesh: Mesh) -> Iterator[str]:
    """That a mesh seems to be turned: one by itself is misread too easily to be turned back, as a dataset's are."""
    ways = guess_axes(mesh) if mesh.sides.max() <= HEAD[1] else None
    if ways is not None and ways != UPRIGHT:
        yield f"may not be upright: up seems to be {ways[0]}, front {ways[1]}; it is drawn as if y were up and z front"
