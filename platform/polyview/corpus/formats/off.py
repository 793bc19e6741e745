"""OFF: polygons, with colours of vertices or of faces (COFF and its kin), as text."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from polyview.corpus.formats.cuts import END
from polyview.corpus.formats.limits import Companions, check_face_count
from polyview.corpus.formats.materials import Material
from polyview.corpus.formats.numbers import as_colors, as_indices, not_a_number
from polyview.corpus.formats.polygons import surface, with_polygon_colors
from polyview.corpus.formats.scanner import byte_at, ends_line, next_line, scan_number
from polyview.corpus.formats.skin import are_telling, color_of
from polyview.corpus.mesh import Mesh, MeshError
from polyview.wording import counted

_HEAD = re.compile(rb"\s*(?P<places>ST)?C?(?P<normals>N)?OFF\b")
_COUNTS = re.compile(rb"(?:\s|#[^\r\n]*+)*+(\d{1,18})\s+(\d{1,18})")
_LINE = re.compile(rb"[^\r\n]*")
_COMMA, _SPACE = np.uint8(ord(",")), np.uint8(ord(" "))


def read(data: bytes, companions: Companions) -> Mesh:
    """The mesh of an .off file; raises `MeshError`."""
    head = _HEAD.match(data)
    if head is None:
        raise MeshError("not readable as .off: it does not begin with OFF, COFF, NOFF or STOFF")
    vertex_count, face_count, start = _counts(data, head.end())
    check_face_count(face_count)
    vertices, start = _rows(data, start, vertex_count)
    polygons, _end = _rows(data, start, face_count)
    found = len(vertices.lengths) + len(polygons.lengths)
    if found < vertex_count + face_count:
        raise MeshError(f"declares {vertex_count} vertices and {face_count} faces in {found} lines: the file is cut")
    if not face_count:
        raise MeshError(f"a point cloud: {counted(vertex_count, 'point')} and no triangles")
    rows = _alike(vertices)
    corners, colors = _faces(polygons)
    first, others = 3 + 3 * bool(head["normals"]), 2 * bool(head["places"])
    count = rows.shape[1] - first - others
    of_vertices = as_colors(rows[:, first : first + 3]) if count in (3, 4) else None
    if are_telling(colors) and not are_telling(of_vertices):
        of_vertices = None  # programs write white for all vertices beside the colours of faces
    uv = rows[:, -2:] if others and count in (0, 3, 4) else None
    mesh = surface(rows[:, :3], corners, uv, colors=of_vertices)
    mesh = mesh if of_vertices is not None or colors is None else with_polygon_colors(mesh, corners, colors)
    return replace(mesh, texture=companions.picture(None))


class _Rows(NamedTuple):
    """The numbers of lines, all in one row after the other (n,), and how many each line has (L,)."""

    values: NDArray[np.float64]
    lengths: NDArray[np.int64]


def _counts(data: bytes, start: int) -> tuple[int, int, int]:
    """How many vertices and faces there are, and where the line that says so ends."""
    counts = _COUNTS.match(data, start)
    if counts is None:
        raise MeshError("not readable as .off: no counts of vertices and faces")
    end = _LINE.match(data, counts.end())
    return int(counts[1]), int(counts[2]), end.end() if end else len(data)


def _rows(data: bytes, start: int, most: int) -> tuple[_Rows, int]:
    """What the next lines hold, at most `most` of those that hold anything, and where they end.

    Raises `MeshError` that quotes what is not a number.
    """
    text = np.frombuffer(data, np.uint8)
    values = np.empty((len(text) - start) // 2 + 1)
    lengths = np.empty(min(most, len(values)), np.int64)
    lines, count, place, sound = _fill(text.ctypes.data, start, len(text), values, lengths)
    if not sound:
        raise not_a_number(text, place)
    return _Rows(values[:count], lengths[:lines]), place


def _alike(rows: _Rows) -> NDArray[np.float64]:
    """The numbers of lines that have equally many, (L, n)."""
    count, width = len(rows.lengths), int(rows.lengths[0]) if len(rows.lengths) else 3
    if (rows.lengths != width).any() or width < 3:
        raise MeshError(f"not readable as .off: {count} vertices have {len(rows.values)} numbers")
    return rows.values.reshape(-1, width)


def _faces(rows: _Rows) -> tuple[NDArray[np.int32], NDArray[np.uint8] | None]:
    """The polygons' corners, `END` after each, and the colour of each, where any has one: of others the plain one."""
    starts = np.cumsum(rows.lengths) - rows.lengths
    declared, others = np.trunc(rows.values[starts]), rows.lengths - 1
    wrong = (declared < 0) | (declared > others)
    if wrong.any():
        face = wrong.argmax()
        raise MeshError(f"a face declares {declared[face]:g} corners and has {others[face]}: the file is cut or broken")
    counts = declared.astype(np.int64)
    place = np.arange(len(rows.values)) - starts.repeat(rows.lengths)
    # What ends a polygon takes the place of the count before the next one.
    corners = np.where(place == 0, END, rows.values)[place <= counts.repeat(rows.lengths)]
    colors = None
    if (colored := others - counts >= 3).any():
        colors = np.tile(color_of(Material()), (len(counts), 1))
        colors[colored] = as_colors(rows.values[(starts + 1 + counts)[colored, np.newaxis] + np.arange(3)])
    return as_indices(np.append(corners[1:], END)), colors


@njit(cache=True, nogil=True)
def _fill(text, start, end, values, lengths):  # type: ignore[no-untyped-def]
    """Fill in the numbers and how many each line has: lines, numbers, where the scan stopped, whether all was sound."""
    i, line, count = np.int64(start), np.int64(0), np.int64(0)
    while i < end and line < len(lengths):
        first = count
        while not ends_line(text, i, end):
            if _separates(byte_at(text, i)):
                i += 1
                continue
            value, after = scan_number(text, i, end)
            if after == i or not (ends_line(text, after, end) or _separates(byte_at(text, after))):
                return line, count, i, False
            values[count] = value
            count += 1
            i = after
        if count > first:
            lengths[line] = count - first
            line += 1
        i = next_line(text, i, end)
    return line, count, min(i, np.int64(end)), True


@njit(cache=True, nogil=True)
def _separates(sign):  # type: ignore[no-untyped-def]
    return sign <= _SPACE or sign == _COMMA
