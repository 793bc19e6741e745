"""Bosphorus (.bnt): a range scan on a grid, made a surface.

Little-endian: uint16 rows, uint16 columns, float64 depth of the background, uint16 length of the picture's name,
the name, uint32 count (5 x rows x columns), then that many float64: all x, all y, z, u, v, row by row of the grid.
"""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

from polyview.corpus.formats.cuts import END
from polyview.corpus.formats.limits import Companions
from polyview.corpus.formats.polygons import surface
from polyview.corpus.mesh import Mesh, MeshError

_DEPTH_JUMP = 10.0
"""Triangles that span more depth than this many grid steps bridge a gap of the scan; they are no surface."""


def read(data: bytes, companions: Companions) -> Mesh:
    """The mesh of a .bnt file, without the background; raises `MeshError`."""
    rows, columns, values = _grid(data)
    points, background = values[:3].T, _background(data)
    scanned = np.isfinite(points).all(axis=1) & (points[:, 2] > background) & (np.abs(points) < 1e6).all(axis=1)
    faces = _joined(rows, columns, points, scanned)
    if not len(faces):
        raise MeshError("empty: no two scanned points of the grid lie on one surface")
    used, renumbered = np.unique(faces, return_inverse=True)
    faces = renumbered.reshape(-1, 3)
    corners = np.column_stack([faces, np.full(len(faces), END)]).ravel().astype(np.int32)
    mesh = surface(points[used], corners, _upward(values[3:].T[used], points[used]))
    return Mesh(mesh.vertices, mesh.faces, uv=mesh.uv, texture=companions.picture(None))


def _grid(data: bytes) -> tuple[int, int, NDArray[np.float64]]:
    """Rows, columns, and the values (5, rows x columns)."""
    try:
        rows, columns, _, length = struct.unpack_from("<HHdH", data)
        (count,) = struct.unpack_from("<I", data, 14 + length)
    except struct.error:
        raise MeshError(f"{len(data)} bytes are too few for the header of a .bnt file") from None
    if count != 5 * rows * columns:
        raise MeshError(f"a grid of {rows} x {columns} has {5 * rows * columns} numbers, the file declares {count}")
    start = 18 + length
    if len(data) - start < 8 * count:
        raise MeshError(f"declares {count} numbers and holds {max(len(data) - start, 0) // 8}: the file is cut")
    return rows, columns, np.frombuffer(data, "<f8", count, start).reshape(5, -1)


def _background(data: bytes) -> float:
    (depth,) = struct.unpack_from("<d", data, 4)
    # Written as text and back somewhere, the depth may differ in its last digits.
    return float(depth + abs(depth) * 1e-6)


def _joined(rows: int, columns: int, points: NDArray[np.float64], scanned: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(T, 3) triangles between scanned neighbours of the grid that lie on one surface, turned to the viewer."""
    grid = np.arange(rows * columns).reshape(rows, columns)
    corner, right, below, across = grid[:-1, :-1], grid[:-1, 1:], grid[1:, :-1], grid[1:, 1:]
    halves = [np.stack([corner, below, right], -1), np.stack([right, below, across], -1)]
    faces = np.concatenate([half.reshape(-1, 3) for half in halves])
    faces = faces[scanned[faces].all(axis=1)]
    if not len(faces):
        raise MeshError("empty: no two scanned points of the grid are neighbours")
    a, b, c = (points[faces[:, corner], :2] for corner in range(3))
    step = np.median(np.linalg.norm(b - a, axis=1))
    faces = faces[np.ptp(points[faces, 2], axis=1) <= _DEPTH_JUMP * step]
    winding = np.sum((b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0]))
    return faces if winding >= 0 else faces[:, ::-1]


def _upward(uv: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
    """The texture coordinates with v upwards: pictures are upright, so v must grow with y."""
    up = points[:, 1] - points[:, 1].mean()
    if np.isfinite(uv).all() and (up * uv[:, 1]).sum() < 0:
        return np.column_stack([uv[:, 0], 1 - uv[:, 1]])
    return uv
