"""From polygons, with texture coordinates of their own, to triangles with one uv per vertex."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numba import njit
from numpy.typing import NDArray

from polyview.corpus.formats.cuts import END, cut
from polyview.corpus.formats.limits import check_face_count
from polyview.corpus.mesh import Mesh, MeshError

CORNERS_PER_FACE = 4
"""Entries of that list for a triangle; no polygon has more for each of the triangles that it is cut into."""


def surface(
    vertices: NDArray[np.float64],
    corners: NDArray[np.int32],
    uv: NDArray[np.float64] | None = None,
    uv_corners: NDArray[np.int32] | None = None,
    colors: NDArray[np.uint8] | None = None,
) -> Mesh:
    """A mesh of polygons, cut into triangles; vertices that have several texture coordinates are split.

    vertices (V, 3); corners (n,) indices into vertices, `END` after each polygon; uv (U, 2);
    uv_corners (n,) indices into uv, in step with corners, or none where the indices of the vertices serve;
    colors (V, 3). The first V vertices of the mesh are those given. Raises `MeshError`.
    """
    corners = ended(corners)
    check_face_count(len(corners) // CORNERS_PER_FACE)
    triangles = cut(corners, vertices)
    faces = corners[triangles]
    check_face_count(len(faces))
    check_range(faces, len(vertices), "face index {} of {} vertices")
    if uv is None or not len(uv):
        return _mesh(vertices, faces, None, colors)
    if uv_corners is None:
        uv_faces = faces
    else:
        uv_corners = ended(uv_corners)
        if len(uv_corners) != len(corners) or ((uv_corners == END) != (corners == END)).any():
            raise MeshError("the texture coordinates' polygons are not those of the faces")
        uv_faces = uv_corners[triangles]
    check_range(uv_faces, len(uv), "texture index {} of {} texture coordinates")
    faces, of_uv, doubled = _split_at_seams(faces, uv_faces, len(vertices), len(uv))
    if len(doubled):
        vertices = np.concatenate([vertices, vertices[doubled]])
        colors = None if colors is None else np.concatenate([colors, colors[doubled]])
    return _mesh(vertices, faces, uv[of_uv], colors)


def of_triangles(corners: NDArray[np.int32], values: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(T,) for each triangle that polygons are cut into, what its polygon has of values (n,), in step with corners."""
    ends = np.flatnonzero(corners == END)
    starts = np.append(0, ends[:-1] + 1)[: len(ends)]
    return values[starts].repeat((ends - starts - 2).clip(min=0))


def with_polygon_colors(mesh: Mesh, corners: NDArray[np.int32], colors: NDArray[np.uint8]) -> Mesh:
    """The mesh that `surface` made of these polygons, each in its own colour (P, 3): no vertex is shared any more."""
    return with_corner_colors(mesh, corners, polygon_of_corner(corners), colors)


def with_corner_colors(
    mesh: Mesh, corners: NDArray[np.int32], color_corners: NDArray[np.int32], colors: NDArray[np.uint8]
) -> Mesh:
    """The mesh that `surface` made of these polygons, each corner in its own colour: no vertex is shared any more.

    color_corners (n,): indices into colors (C, 3), in step with corners.
    """
    of_corner = color_corners[cut(ended(corners), mesh.vertices)]
    check_range(of_corner, len(colors), "colour index {} of {} colours")
    return replace(
        mesh,
        vertices=mesh.vertices[mesh.faces].reshape(-1, 3),
        faces=np.arange(mesh.faces.size, dtype=np.int32).reshape(-1, 3),
        colors=colors[of_corner].reshape(-1, 3),
        uv=None if mesh.uv is None else mesh.uv[mesh.faces].reshape(-1, 2),
    )


def polygon_of_corner(corners: NDArray[np.int32]) -> NDArray[np.int32]:
    """(n,) the number of each corner's polygon, and of what ends it the next one's."""
    return np.cumsum(corners == END, dtype=np.int32)


def as_polygons(faces: NDArray[np.int32]) -> NDArray[np.int32]:
    """Triangles (F, 3) as a flat list of corners."""
    return np.column_stack([faces, np.full(len(faces), END)]).ravel().astype(np.int32)


def ended(corners: NDArray[np.int32]) -> NDArray[np.int32]:
    """The corners with an `END` after the last polygon too."""
    return np.append(corners, np.int32(END)) if len(corners) and corners[-1] != END else corners


def check_range(indices: NDArray[np.int32], count: int, text: str) -> None:
    """Raises `MeshError` with `text`, which takes the index and the count, where an index is out of range."""
    if indices.size:
        low, high = int(indices.min()), int(indices.max())
        if low < 0 or high >= count:
            raise MeshError(text.format(low if low < 0 else high, count))


def _split_at_seams(
    faces: NDArray[np.int32], uv_faces: NDArray[np.int32], count: int, uv_count: int
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
    """Faces that index vertices with one uv each; the uv of each vertex; which vertices are doubled at the end.

    A vertex keeps the first of its uv's; each other one that it has makes a new vertex, after all others.
    """
    own = np.zeros(count, dtype=np.int32)
    if not _fill_own(faces, uv_faces, own):
        return faces, own, own[:0]
    other = own[faces] != uv_faces
    pairs, new = np.unique(faces[other].astype(np.int64) * uv_count + uv_faces[other], return_inverse=True)
    faces = faces.copy()
    faces[other] = count + new
    sources, places = np.divmod(pairs, uv_count)
    return faces, np.concatenate([own, places.astype(np.int32)]), sources.astype(np.int32)


@njit(cache=True, nogil=True)
def _fill_own(faces, uv_faces, own):  # type: ignore[no-untyped-def]
    """Fill in the first uv of each vertex; returns whether any vertex has another."""
    bare = np.ones(len(own), np.bool_)
    several = False
    for face in range(len(faces)):
        for corner in range(3):
            vertex, place = faces[face, corner], uv_faces[face, corner]
            if bare[vertex]:
                bare[vertex] = False
                own[vertex] = place
            elif own[vertex] != place:
                several = True
    return several


def _mesh(
    vertices: NDArray[np.float64],
    faces: NDArray[np.int32],
    uv: NDArray[np.float64] | None,
    colors: NDArray[np.uint8] | None,
) -> Mesh:
    with np.errstate(over="ignore"):  # what does not fit becomes infinite, which the mesh's own check tells
        return Mesh(
            vertices=vertices.astype(np.float32),
            faces=faces,
            colors=colors,
            uv=None if uv is None else uv.astype(np.float32),
        )
