"""OFF: polygons, with colours of vertices or of faces (COFF and its kin), as text."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from polyview.corpus.formats.limits import Companions, check_face_count
from polyview.corpus.formats.numbers import as_colors, as_indices, read_numbers
from polyview.corpus.formats.polygons import END, surface, with_polygon_colors
from polyview.corpus.mesh import Mesh, MeshError

_HEAD = re.compile(rb"\s*(?P<places>ST)?C?(?P<normals>N)?OFF\b")


def read(data: bytes, _: Companions) -> Mesh:
    """The mesh of an .off file; raises `MeshError`."""
    head = _HEAD.match(data)
    if head is None:
        raise MeshError("not readable as .off: it does not begin with OFF, COFF or NOFF")
    lines = [line for line in re.sub(rb"#[^\r\n]*", b"", data[head.end() :]).splitlines() if line.strip()]
    vertex_count, face_count = _counts(lines)
    check_face_count(face_count)
    if len(lines) - 1 < vertex_count + face_count:
        raise MeshError(
            f"declares {vertex_count} vertices and {face_count} faces in {len(lines) - 1} lines: the file is cut"
        )
    if not face_count:
        raise MeshError(f"a point cloud: {vertex_count} points and no triangles")
    rows = _rows(lines[1 : 1 + vertex_count])
    corners, colors = _faces(lines[1 + vertex_count : 1 + vertex_count + face_count])
    first, others = 3 + 3 * bool(head["normals"]), 2 * bool(head["places"])
    colored = rows.shape[1] - first - others in (3, 4)
    mesh = surface(rows[:, :3], corners, colors=as_colors(rows[:, first : first + 3]) if colored else None)
    return mesh if colored or colors is None else with_polygon_colors(mesh, corners, colors)


def _counts(lines: list[bytes]) -> tuple[int, int]:
    counts = re.match(rb"\s*(\d{1,18})\s+(\d{1,18})", lines[0] if lines else b"")
    if counts is None:
        raise MeshError("not readable as .off: no counts of vertices and faces")
    return int(counts[1]), int(counts[2])


def _rows(lines: list[bytes]) -> NDArray[np.float64]:
    """The numbers of lines that have equally many, (L, n)."""
    values, _ = read_numbers(np.frombuffer(b"\n".join(lines), np.uint8))
    width = len(lines[0].split()) if lines else 3
    if len(values) != width * len(lines) or width < 3:
        raise MeshError(f"not readable as .off: {len(lines)} vertices have {len(values)} numbers")
    return values.reshape(-1, width)


def _faces(lines: list[bytes]) -> tuple[NDArray[np.int32], NDArray[np.uint8] | None]:
    """The polygons' corners, `END` after each, and the colour of each where all have one."""
    polygons: list[NDArray[np.float64]] = []
    colors = []
    for line in lines:
        values, _ = read_numbers(np.frombuffer(line, np.uint8))
        count = int(values[0]) if len(values) else 0
        if not 0 <= count < len(values):
            raise MeshError(
                f"a face declares {count} corners and has {max(len(values) - 1, 0)}: the file is cut or broken"
            )
        polygons.append(np.append(values[1 : 1 + count], END))
        colors.append(values[1 + count : 4 + count])
    colored = all(len(color) == 3 for color in colors)
    return as_indices(np.concatenate(polygons)), as_colors(np.array(colors)) if colored else None
