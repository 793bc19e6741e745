"""Wavefront OBJ with its MTL: polygons, texture coordinates, vertex colours, the pictures of its materials as one."""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from polyview.corpus.formats.cuts import END
from polyview.corpus.formats.limits import Companions, check_face_count
from polyview.corpus.formats.materials import Material, read_libraries, text_of
from polyview.corpus.formats.numbers import as_colors, not_a_number
from polyview.corpus.formats.polygons import CORNERS_PER_FACE, surface
from polyview.corpus.formats.scanner import byte_at, ends_line, next_line, next_word, scan_number, scan_whole
from polyview.corpus.formats.skin import Skin, are_telling, dressed, of_whole_faces, painted, seen
from polyview.corpus.mesh import Mesh, MeshError

_MOST_MATERIALS = 1_000_000
_NONE, _ABSURD = -2, -3
"""An index that is absent, or that counts back beyond the first vertex; one that is no index at all."""
_LARGEST_INDEX = np.iinfo(np.int32).max
_CONTINUED = re.compile(rb"#[^\r\n]*|(\\\r?\n)")
"""A comment, or the end of a line that goes on in the next one."""
_PAINT = b"#MRGB"
_PAINTED = re.compile(rb"^[ \t]*#MRGB[ \t]+([0-9A-Fa-f]+)", re.MULTILINE)
_SHORTEST_VERTEX, _SHORTEST_UV = len("v 1+2+3\n"), len("vt 1\n")
_SPACE, _TAB, _NEWLINE, _RETURN, _SLASH = (np.uint8(ord(sign)) for sign in " \t\n\r/")
_V, _T, _F, _M, _U, _S = (np.uint8(ord(letter)) for letter in "vtfmus")


def read(data: bytes, companions: Companions) -> Mesh:
    """The mesh of an .obj file; raises `MeshError`.

    Several materials become one texture. A material library that is missing means no picture; a picture that a
    material in use names must be there. Vertex colours serve where there is no picture. Faces of a material that is
    nearly clear are left out, unless all are of such.
    """
    lines = _read_lines(data)
    check_face_count(len(lines.corners) // CORNERS_PER_FACE)
    if len(lines.named) > _MOST_MATERIALS:
        raise MeshError(f"{len(lines.named)} lines of materials, more than the {_MOST_MATERIALS} that a face may have")
    if len(lines.corners) and lines.corners.min() < END:
        raise MeshError("a face index is 0, is not a whole number, or counts back beyond the first vertex")
    materials, of_corner = _materials(data, lines, companions)
    shown = seen(materials, of_corner)
    corners, of_corner = lines.corners[shown], of_corner[shown]
    bare = _texture_coordinates(lines.uv, lines.uv_corners[shown])
    colors = _painted(data, len(lines.vertices)) if lines.colors is None else as_colors(_without_weights(lines.colors))
    skin = _skin(bare, materials, corners, of_corner, companions, are_telling(colors))
    return dressed(surface(lines.vertices, corners, skin.uv, skin.uv_corners, colors), corners, skin)


class _Lines(NamedTuple):
    """What the lines of a file say.

    vertices (V, 3); colors (V, 3 or 4) what stands behind them, where it is as much for all; uv (U, 2); corners and
    uv_corners (n,), `END` after each face; named (M, 2): where each line of a library or a material begins, and the
    first corner after it.
    """

    vertices: NDArray[np.float64]
    colors: NDArray[np.float64] | None
    uv: NDArray[np.float64]
    corners: NDArray[np.int32]
    uv_corners: NDArray[np.int32]
    named: NDArray[np.int64]


def _read_lines(data: bytes) -> _Lines:
    """All lines; raises `MeshError` that quotes what is not a number, or names the line of a face that is none.

    The arrays are as large as the count of lines and blanks allows, which is many times what is used: memory that
    is never written to is never taken.
    """
    text = np.frombuffer(_unbroken(data), dtype=np.uint8)
    lines, blanks, faces = _count(text[1:], text[:-1])
    check_face_count(faces)
    most_vertices, most_uv = min(lines, len(text) // _SHORTEST_VERTEX + 1), min(lines, len(text) // _SHORTEST_UV + 1)
    vertices, colors, uv = np.empty((most_vertices, 3)), np.empty((most_vertices, 4)), np.empty((most_uv, 2))
    corners, uv_corners = np.empty(lines + blanks, np.int32), np.empty(lines + blanks, np.int32)
    named, used = np.empty((lines, 2), np.int64), np.zeros(4, np.int64)
    bad_place, is_face, colored = _fill(
        text.ctypes.data, len(text), vertices, colors, uv, corners, uv_corners, named, used
    )
    if bad_place >= 0:
        raise _no_face(data, bad_place) if is_face else not_a_number(text, bad_place)
    return _Lines(
        vertices[: used[0]],
        colors[: used[0], :colored] if colored else None,
        uv[: used[1]],
        corners[: used[2]],
        uv_corners[: used[2]],
        named[: used[3]],
    )


def _without_weights(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    """(V, 3) the colours among the numbers behind a vertex: of four, those behind a weight of 1, or before an alpha."""
    weighted = numbers.shape[1] == 4 and bool((numbers[:, 0] == 1).all())
    return numbers[:, 1:] if weighted else numbers[:, :3]


def _painted(data: bytes, count: int) -> NDArray[np.uint8] | None:
    """(V, 3) the colours that ZBrush writes in comments: of vertex after vertex a mask, red, green and blue in hex.

    None where there are not as many as vertices.
    """
    if _PAINT not in data:  # which is found far faster than a line of it
        return None
    digits = b"".join(_PAINTED.findall(data))
    painted = np.frombuffer(bytes.fromhex(digits[: len(digits) // 8 * 8].decode()), np.uint8).reshape(-1, 4)
    return painted[:, 1:] if len(painted) == count else None


def _unbroken(data: bytes) -> bytes:
    """The text with blanks for each backslash and line's end behind it, so that all else stays in its place."""
    if b"\\" not in data or not (b"\\\n" in data or b"\\\r\n" in data):  # a lone sign is found far faster
        return data
    return _CONTINUED.sub(lambda match: b" " * len(match[0]) if match[1] else match[0], data)


def _no_face(data: bytes, place: int) -> MeshError:
    """The error that names the line at `place`, which is a face of fewer than three corners."""
    number = len(data[: place + 1].splitlines())
    line = text_of(data[place : place + 40].splitlines()[0])
    return MeshError(f"line {number}, {line!r}, is a face of fewer than 3 corners: the file is cut or broken")


def _texture_coordinates(uv: NDArray[np.float64], uv_corners: NDArray[np.int32]) -> Skin:
    """Those of the file, with a place at (0, 0) for corners that have none; none where no corner has any."""
    absent = uv_corners == _NONE
    if not absent.any():
        return Skin(uv, uv_corners) if len(uv_corners) else Skin(None, None)
    if absent[uv_corners != END].all():
        return Skin(None, None)
    placed = of_whole_faces(uv_corners, ~absent)
    places = np.where(absent, len(uv), uv_corners)
    return Skin(np.vstack([uv, np.zeros((1, 2))]), places, placed=None if placed.all() else placed)


def _materials(data: bytes, lines: _Lines, companions: Companions) -> tuple[list[Material], NDArray[np.int64]]:
    """The materials in the order in which they are taken into use, and the number of each corner's."""
    libraries, uses = _material_lines(data, lines.named)
    materials = read_libraries(libraries, companions)
    count = len(lines.corners)
    if not uses:
        only = Material() if companions.texture or not count else _only_picture(materials)
        return [only], np.zeros(count, np.int64)
    words, starts = zip(("", 0), *uses, strict=True)
    of_corner = np.searchsorted(starts, np.arange(count), side="right") - 1
    return [materials.get(word, Material()) for word in words], of_corner


def _skin(
    bare: Skin,
    materials: list[Material],
    corners: NDArray[np.int32],
    of_corner: NDArray[np.int64],
    companions: Companions,
    colored: bool,
) -> Skin:
    """The coordinates with the picture of the materials in use; with all of them as one, where they are several."""
    if not len(corners) or (companions.texture and bare.placed is None):
        return bare._replace(texture=companions.picture(None))
    if companions.texture:
        materials = [Material(companions.texture, material.colour) for material in materials]
    return painted(bare, materials, corners, of_corner, companions, colored)


def _material_lines(data: bytes, named: NDArray[np.int64]) -> tuple[list[str], list[tuple[str, int]]]:
    """What `mtllib` lines name, each once; the material of each `usemtl` line, and the first corner that has it."""
    libraries: list[str] = []
    uses: list[tuple[str, int]] = []
    for start, corner in named.tolist():
        line = text_of(data[start : start + 400].splitlines()[0])
        if line.startswith("mtllib"):
            libraries.append(line[6:].strip())
        elif line.startswith("usemtl"):
            uses.append((line[6:].strip(), corner))
    return list(dict.fromkeys(libraries)), uses


def _only_picture(materials: dict[str, Material]) -> Material:
    """The look of a mesh that names no material in use; raises `MeshError` where there are several pictures."""
    looks = {look.picture: look.look for look in materials.values() if look.picture}
    if len(looks) > 1:
        raise MeshError(
            f"has {len(looks)} pictures ({', '.join(sorted(looks)[:3])}) and no usemtl that says where each belongs; "
            "name one in the column texture of corpus.table"
        )
    return next(iter(looks.values()), Material())


@njit(cache=True, nogil=True)
def _count(text, before):  # type: ignore[no-untyped-def]
    """How many lines there can be at most, how many blanks, and how many lines that begin as a face.

    before: the text, one byte earlier.
    """
    lines, blanks, faces = np.int64(2), np.int64(1), np.int64(0)
    for i in range(len(text)):
        lines += (text[i] == _NEWLINE) | (text[i] == _RETURN)
        blanks += (text[i] == _SPACE) | (text[i] == _TAB)
        faces += (text[i] == _F) & (before[i] == _NEWLINE)
    return lines, blanks, faces


@njit(cache=True, nogil=True)
def _is_blank(text, i):  # type: ignore[no-untyped-def]
    return byte_at(text, i) == _SPACE or byte_at(text, i) == _TAB


@njit(cache=True, nogil=True)
def _key(text, i, end):  # type: ignore[no-untyped-def]
    """What a line is: 1 vertex, 2 texture coordinate, 3 face, 4 material, 0 anything else."""
    if i < end and byte_at(text, i) == _F and (ends_line(text, i + 1, end) or _is_blank(text, i + 1)):
        return 3
    if i + 2 >= end:
        return 0
    first, second = byte_at(text, i), byte_at(text, i + 1)
    if first == _V:
        if _is_blank(text, i + 1):
            return 1
        return 2 if second == _T and _is_blank(text, i + 2) else 0
    return 4 if (first == _M and second == _T) or (first == _U and second == _S) else 0  # mtllib, usemtl


@njit(cache=True, nogil=True)
def _fill(text, end, vertices, colors, uv, corners, uv_corners, named, used):  # type: ignore[no-untyped-def]
    """Read all lines into the arrays: where one is faulty (or -1), whether as a face, and the colours' columns.

    used: how many rows of vertices, uv, corners and named are filled.
    """
    vertex, place, corner, name = np.int64(0), np.int64(0), np.int64(0), np.int64(0)
    colored, i = 4, np.int64(0)
    while i < end:
        i = next_word(text, i, end)
        kind = _key(text, i, end)
        if kind == 1:
            found, i = _fill_row(text, i + 1, end, vertices, vertex)
            if found < 3:
                return i, False, 0
            if colored:
                found, i = _fill_row(text, i, end, colors, vertex)
                if found < 3 or (vertex > 0 and found != colored):
                    found = 0
                colored = found
            vertex += 1
        elif kind == 2:
            uv[place, 1] = 0.0
            found, i = _fill_row(text, i + 2, end, uv, place)
            if found < 1:
                return i, False, 0
            place += 1
        elif kind == 3:
            start, first = i, corner
            i = next_word(text, i + 1, end)
            while not ends_line(text, i, end):
                corners[corner], uv_corners[corner], after = _scan_corner(text, i, end, vertex, place)
                if after == i:
                    return i, False, 0
                corner += 1
                i = next_word(text, after, end)
            if corner - first < 3:
                return start, True, 0
            corners[corner] = uv_corners[corner] = END
            corner += 1
        elif kind == 4:
            named[name, 0], named[name, 1] = i, corner
            name += 1
        i = next_line(text, i, end)
    used[0], used[1], used[2], used[3] = vertex, place, corner, name
    return np.int64(-1), False, colored if vertex > 0 else 0


@njit(cache=True, nogil=True)
def _fill_row(text, i, end, rows, row):  # type: ignore[no-untyped-def]
    """How many numbers the rest of the line has, as many as fit into the row, and where they end."""
    found = 0
    i = next_word(text, i, end)
    while not ends_line(text, i, end) and found < rows.shape[1]:
        value, after = scan_number(text, i, end)
        if after == i:
            return 0, i
        rows[row, found] = value
        found += 1
        i = next_word(text, after, end)
    return found, i


@njit(cache=True, nogil=True)
def _scan_corner(text, i, end, vertices, uvs):  # type: ignore[no-untyped-def]
    """The vertex and the texture coordinate of a corner such as 7, 7/3, 7//2 or -1/-1/-1, and the place after it."""
    corner, after = _scan_index(text, i, end, vertices)
    if after == i:
        return corner, corner, i
    uv_corner = np.int64(_NONE)
    if after < end and byte_at(text, after) == _SLASH:
        uv_corner, after = _scan_index(text, after + 1, end, uvs)
        if after < end and byte_at(text, after) == _SLASH:
            _, after = _scan_index(text, after + 1, end, np.int64(0))
    if not (ends_line(text, after, end) or _is_blank(text, after)):
        return corner, uv_corner, i
    return corner, uv_corner, after


@njit(cache=True, nogil=True)
def _scan_index(text, at, end, count):  # type: ignore[no-untyped-def]
    """The index at `at`, counted from zero, and the place after it: of one that counts from one, or back from the last.

    count: how many there are so far.
    """
    index, after = scan_whole(text, at, end)
    if after == at or not (ends_line(text, after, end) or _is_blank(text, after) or byte_at(text, after) == _SLASH):
        value, after = scan_number(text, at, end)
        if value != np.floor(value) or abs(value) > _LARGEST_INDEX:
            return np.int64(_ABSURD), after
        index = np.int64(value)
    if index > 0:
        return index - 1, after
    return index + count if index < 0 and index + count >= 0 else np.int64(_NONE), after
