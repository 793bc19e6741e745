"""What a mesh has and does not need: faces that are there twice, vertices that no face uses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from polyview.corpus.mesh import Mesh

_FACTORS = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9], np.uint64)
_STIR = np.uint64(0xBF58476D1CE4E5B9)
_HALF, _TO_SLOT = np.uint64(32), np.uint64(46)


def tidied(mesh: Mesh) -> Mesh:
    """The mesh without faces that lie where an earlier one does, and then without vertices that no face uses.

    Faces that are there twice, each turned about, have no side that is outside, and a lone vertex is no part of a
    face: it must not be its nose or make it larger. A mesh that has neither is returned as it is. Raises `MeshError`
    as the mesh's own check does.
    """
    mesh.check()
    repeated = _repeated(mesh)
    if repeated.any():
        mesh = replace(mesh, faces=mesh.faces[~repeated])
    used = np.bincount(mesh.faces.ravel(), minlength=len(mesh.vertices)) > 0
    if used.all():
        return mesh
    renumbered = np.cumsum(used, dtype=np.int32) - np.int32(1)
    return replace(
        mesh,
        vertices=mesh.vertices[used],
        faces=renumbered[mesh.faces],
        colors=None if mesh.colors is None else mesh.colors[used],
        uv=None if mesh.uv is None else mesh.uv[used],
    )


def _repeated(mesh: Mesh) -> NDArray[np.bool_]:
    """(F,) which faces have their corners where those of an earlier face are, in whatever order."""
    repeated = np.zeros(len(mesh.faces), np.bool_)
    of_vertex = _marks(mesh.vertices)
    a, b, c = mesh.faces.T
    marks = of_vertex[a] + of_vertex[b] + of_vertex[c]
    slots = (marks >> _TO_SLOT).astype(np.intp)
    shared = np.sort(marks[np.bincount(slots)[slots] > 1])  # few, and to sort all would take longer than all else here
    alike = shared[1:][shared[1:] == shared[:-1]]
    if not len(alike):
        return repeated
    suspects = np.flatnonzero(np.isin(marks, alike))
    corners = mesh.vertices[mesh.faces[suspects]] + np.float32(0)  # of the two zeros that floats have, the same one
    _, places = np.unique(corners.reshape(-1, 3), axis=0, return_inverse=True)
    _, first = np.unique(np.sort(places.reshape(-1, 3), axis=1), axis=0, return_index=True)
    repeated[np.delete(suspects, first)] = True
    return repeated


def _marks(vertices: NDArray[np.float32]) -> NDArray[np.uint64]:
    """(V,) a number for each place, of which the sum over a face's corners tells faces apart, but for chance."""
    x, y, z = np.ascontiguousarray((vertices + np.float32(0)).T).view(np.uint32).astype(np.uint64)
    marks: NDArray[np.uint64] = x * _FACTORS[0] + y * _FACTORS[1] + z * _FACTORS[2]
    marks = (marks ^ (marks >> _HALF)) * _STIR
    return marks ^ (marks >> _HALF)
