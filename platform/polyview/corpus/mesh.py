"""One face as triangles."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polyview.wording import counted


class MeshError(ValueError):
    """Why a mesh cannot be used, in words for the person who owns the file."""


@contextmanager
def faults_of_the_mesh() -> Iterator[None]:
    """Makes what numbers such as no mesh should have raise a `MeshError`: one odd file must not end a whole dataset."""
    try:
        with np.errstate(all="ignore"):
            yield
    except MeshError:
        raise
    except (ArithmeticError, LookupError, ValueError) as error:
        raise MeshError(f"no face can be found in it: {type(error).__name__}: {error}") from None


@dataclass(frozen=True, eq=False)
class Mesh:
    """Triangles of a face.

    Axes are right-handed: x to the subject's left, y up, z out of the face.

    vertices: (V, 3) float32, millimetres
    faces: (F, 3) int32 indices into vertices, counter-clockwise seen from outside
    colors: (V, 3) uint8 RGB
    uv: (V, 2) float32 in [0, 1], origin at the texture's lower left
    texture: (H, W, 3) uint8 RGB, first row on top
    nose: (3,) float32, the tip of the nose, where the dataset knows it
    guesses: what was taken of it without being told, in words for the person who owns the file
    """

    vertices: NDArray[np.float32]
    faces: NDArray[np.int32]
    colors: NDArray[np.uint8] | None = None
    uv: NDArray[np.float32] | None = None
    texture: NDArray[np.uint8] | None = None
    nose: NDArray[np.float32] | None = None
    guesses: tuple[str, ...] = ()

    @property
    def sides(self) -> NDArray[np.float64]:
        """(3,) how large the mesh is along each axis."""
        columns = np.ascontiguousarray(self.vertices.T).astype(np.float64)
        extents: NDArray[np.float64] = columns.max(axis=1) - columns.min(axis=1)
        return extents

    def check(self) -> None:
        """Raises `MeshError` that says what is wrong, unless the mesh can be rendered."""
        if not len(self.vertices):
            raise MeshError(f"empty: 0 vertices, {counted(len(self.faces), 'face')}")
        if not len(self.faces):
            raise MeshError(f"a point cloud: {counted(len(self.vertices), 'point')} and no triangles")
        for name, array, columns in (("vertices", self.vertices, 3), ("faces", self.faces, 3), ("uv", self.uv, 2)):
            if array is not None and (array.ndim != 2 or array.shape[1] != columns):
                raise MeshError(f"{name} have shape {array.shape}, expected (n, {columns})")
        if not np.isfinite(self.vertices).all():
            broken = int((~np.isfinite(self.vertices).all(axis=1)).sum())
            raise MeshError(f"{broken} of {len(self.vertices)} vertices are not finite")
        low, high = int(self.faces.min()), int(self.faces.max())
        if low < 0 or high >= len(self.vertices):
            raise MeshError(f"face index {low if low < 0 else high} of {len(self.vertices)} vertices")
        for name, attribute in (("colors", self.colors), ("uv", self.uv)):
            if attribute is not None and len(attribute) != len(self.vertices):
                raise MeshError(f"{len(attribute)} {name} for {len(self.vertices)} vertices")
        if not self.sides.any():
            raise MeshError("all vertices lie in one point")


def nose_tip(mesh: Mesh) -> NDArray[np.float32]:
    """The tip of the nose (3,) float32; if not known, the foremost vertex of the middle half of the mesh in x and y.

    Of the whole mesh where that half is empty.
    """
    if mesh.nose is not None:
        return mesh.nose
    x, y, z = np.ascontiguousarray(mesh.vertices.T)
    central = middle_half(x) & middle_half(y)
    foremost = np.where(central, z, -np.inf) if central.any() else z
    nose: NDArray[np.float32] = mesh.vertices[foremost.argmax()]
    return nose


def middle_half(values: NDArray[Any]) -> NDArray[np.bool_]:
    """(N,) which values lie in the middle half between the lowest and the highest."""
    low, high = values.min(), values.max()
    middle: NDArray[np.bool_] = np.abs(values - (low + high) / 2) <= (high - low) / 4
    return middle
