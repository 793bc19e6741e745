"""From polygons, with texture coordinates of their own, to triangles with one uv per vertex."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from polyview.corpus.formats.limits import check_face_count
from polyview.corpus.mesh import Mesh, MeshError

END = -1
"""What ends a polygon in a flat list of corners."""
CORNERS_PER_FACE = 4
"""Entries of that list for a triangle; no polygon has more for each of the triangles that it is cut into."""


def surface(
    vertices: NDArray[np.float64],
    corners: NDArray[np.int64],
    uv: NDArray[np.float64] | None = None,
    uv_corners: NDArray[np.int64] | None = None,
    colors: NDArray[np.uint8] | None = None,
) -> Mesh:
    """A mesh of polygons, as fans of triangles; vertices that have several texture coordinates are split.

    vertices (V, 3); corners (n,) indices into vertices, `END` after each polygon; uv (U, 2);
    uv_corners (n,) indices into uv, in step with corners, or none where the indices of the vertices serve;
    colors (V, 3). The first V vertices of the mesh are those given. Raises `MeshError`.
    """
    corners = _ended(corners)
    check_face_count(len(corners) // CORNERS_PER_FACE)
    places = fans(corners)
    check_face_count(len(places))
    faces = corners[places]
    _check_range(faces, len(vertices), "face index {} of {} vertices")
    if uv is None or not len(uv):
        return _mesh(vertices, faces, None, colors)
    if uv_corners is None:
        uv_faces = faces
    else:
        uv_corners = _ended(uv_corners)
        if len(uv_corners) != len(corners) or ((uv_corners == END) != (corners == END)).any():
            raise MeshError("the texture coordinates' polygons are not those of the faces")
        uv_faces = uv_corners[places]
    _check_range(uv_faces, len(uv), "texture index {} of {} texture coordinates")
    faces, sources, of_uv = _split_at_seams(faces, uv_faces, len(vertices), len(uv))
    return _mesh(vertices[sources], faces, uv[of_uv], None if colors is None else colors[sources])


def fans(corners: NDArray[np.int64]) -> NDArray[np.int64]:
    """(T, 3) the places in `corners` of the triangles that its polygons are cut into, fan by fan.

    Polygons of fewer than three corners give none.
    """
    if len(corners) % 4 == 0 and (corners[3::4] == END).all() and np.count_nonzero(corners == END) * 4 == len(corners):
        return np.arange(len(corners)).reshape(-1, 4)[:, :3]
    ends = np.flatnonzero(corners == END)
    starts = np.concatenate([[0], ends[:-1] + 1]) if len(ends) else ends
    first = np.repeat(starts, ends - starts + 1)
    place = np.arange(len(first))
    inner = (place > first) & (corners != END)
    second = place[:-1][inner[:-1] & inner[1:]]
    return np.stack([first[second], second, second + 1], axis=1)


def with_polygon_colors(mesh: Mesh, corners: NDArray[np.int64], colors: NDArray[np.uint8]) -> Mesh:
    """The mesh that `surface` made of these polygons, each in its own colour (P, 3): no vertex is shared any more."""
    of_polygon = np.cumsum(_ended(corners) == END)[fans(_ended(corners))[:, 0]]
    return replace(
        mesh,
        vertices=mesh.vertices[mesh.faces].reshape(-1, 3),
        faces=np.arange(mesh.faces.size, dtype=np.int32).reshape(-1, 3),
        colors=colors[of_polygon].repeat(3, axis=0),
        uv=None if mesh.uv is None else mesh.uv[mesh.faces].reshape(-1, 2),
    )


def _ended(corners: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.append(corners, END) if len(corners) and corners[-1] != END else corners


def _check_range(indices: NDArray[np.int64], count: int, text: str) -> None:
    if indices.size:
        low, high = int(indices.min()), int(indices.max())
        if low < 0 or high >= count:
            raise MeshError(text.format(low if low < 0 else high, count))


def _split_at_seams(
    faces: NDArray[np.int64], uv_faces: NDArray[np.int64], count: int, uv_count: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Faces that index vertices with one uv each; where each such vertex comes from, and which uv it has.

    A vertex keeps one of its uv's; each other one that it has makes a new vertex, after all others.
    """
    own = np.zeros(count, dtype=np.int64)
    own[faces] = uv_faces
    other = own[faces] != uv_faces
    if not other.any():
        return faces, np.arange(count), own
    pairs, new = np.unique(faces[other] * uv_count + uv_faces[other], return_inverse=True)
    faces = faces.copy()
    faces[other] = count + new
    return faces, np.concatenate([np.arange(count), pairs // uv_count]), np.concatenate([own, pairs % uv_count])


def _mesh(
    vertices: NDArray[np.float64],
    faces: NDArray[np.int64],
    uv: NDArray[np.float64] | None,
    colors: NDArray[np.uint8] | None,
) -> Mesh:
    with np.errstate(over="ignore"):  # what does not fit becomes infinite, which the mesh's own check tells
        return Mesh(
            vertices=vertices.astype(np.float32),
            faces=faces.astype(np.int32),
            colors=colors,
            uv=None if uv is None else uv.astype(np.float32),
        )
