"""Wavefront OBJ with its MTL: polygons, texture coordinates, vertex colours, the pictures of its materials as one."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from polyview.corpus.formats.atlas import joined
from polyview.corpus.formats.limits import Companions, check_face_count
from polyview.corpus.formats.materials import Material, read_libraries, text_of
from polyview.corpus.formats.numbers import as_colors, not_a_number, scan_number
from polyview.corpus.formats.polygons import CORNERS_PER_FACE, END, surface
from polyview.corpus.mesh import Mesh, MeshError

_MOST_MATERIALS = 1_000_000
_PLAIN = (0.78, 0.78, 0.78)
"""The colour of a material that has neither picture nor colour."""
_NONE = -2
"""An index that is absent, or that counts back beyond the first vertex."""
_ABSURD = 1 << 40
_SPACE, _TAB, _NEWLINE, _RETURN, _SLASH, _HASH = (np.uint8(ord(sign)) for sign in " \t\n\r/#")
_V, _T, _F, _M, _U = (np.uint8(ord(letter)) for letter in "vtfmu")


def read(data: bytes, companions: Companions) -> Mesh:
    """The mesh of an .obj file; raises `MeshError`.

    Several materials become one texture. A material library that is missing means no picture; a picture that a
    material in use names must be there. Vertex colours serve where there is no picture.
    """
    text = np.frombuffer(data, dtype=np.uint8)
    counts = _count(text)
    check_face_count(counts[2] // CORNERS_PER_FACE)
    if counts[3] > _MOST_MATERIALS:
        raise MeshError(f"{counts[3]} lines of materials, more than the {_MOST_MATERIALS} that a face may have")
    vertices, uv = np.empty((counts[0], 6)), np.empty((counts[1], 2))
    corners, uv_corners = np.empty(counts[2], np.int64), np.empty(counts[2], np.int64)
    named = np.empty((counts[3], 2), np.int64)
    bad_line, colored = _fill(text, vertices, uv, corners, uv_corners, named)
    if bad_line >= 0:
        raise not_a_number(text, bad_line)
    if ((corners == _NONE) | (corners == _ABSURD)).any():
        raise MeshError("a face index is 0, is not a whole number, or counts back beyond the first vertex")
    skin = _skin(data, named, corners, _Skin(*_texture_coordinates(uv, uv_corners), None), companions)
    mesh = surface(
        vertices[:, :3],
        corners,
        skin.uv,
        skin.uv_corners,
        colors=as_colors(vertices[:, 3:]) if colored and skin.texture is None else None,
    )
    return replace(mesh, texture=skin.texture)


class _Skin(NamedTuple):
    """Texture coordinates, which of them each corner has, and the picture that they are in."""

    uv: NDArray[np.float64] | None
    uv_corners: NDArray[np.int64] | None
    texture: NDArray[np.uint8] | None


def _texture_coordinates(
    uv: NDArray[np.float64], uv_corners: NDArray[np.int64]
) -> tuple[NDArray[np.float64] | None, NDArray[np.int64] | None]:
    """Those of the file, with a place at (0, 0) for corners that have none; none where no corner has any."""
    absent = uv_corners == _NONE
    if absent[uv_corners != END].all():
        return None, None
    return np.vstack([uv, np.zeros((1, 2))]), np.where(absent, len(uv), uv_corners)


def _skin(
    data: bytes, named: NDArray[np.int64], corners: NDArray[np.int64], bare: _Skin, companions: Companions
) -> _Skin:
    """The coordinates with the picture of the materials in use; with all of them as one, where they are several."""
    if companions.texture or not len(corners):
        return bare._replace(texture=companions.picture(None))
    libraries, uses = _material_lines(data, named)
    materials = read_libraries(libraries, companions)
    if not uses:
        return bare._replace(texture=companions.picture(_only_picture(materials)))
    looks, of_corner = _looks(corners, uses, materials)
    if len(looks) == 1 and looks[0].picture:
        return bare._replace(texture=companions.picture(looks[0].picture))
    if len(looks) == 1 and looks[0].is_plain:
        return bare
    tiles = [_tile(look, companions) for look in looks]
    places = np.zeros((len(corners), 2)) if bare.uv is None else bare.uv[bare.uv_corners]
    texture, uv, uv_corners = joined(tiles, places, corners, of_corner)
    return _Skin(uv, uv_corners, texture)


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


def _looks(
    corners: NDArray[np.int64], uses: list[tuple[str, int]], materials: dict[str, Material]
) -> tuple[list[Material], NDArray[np.int64]]:
    """What the faces look like, each look once, and the number of each corner's."""
    words, starts = zip(("", 0), *uses, strict=True)
    numbers: dict[Material, int] = {}
    of_use = np.array([numbers.setdefault(materials.get(word, Material()).look, len(numbers)) for word in words])
    of_corner = of_use[np.searchsorted(starts, np.arange(len(corners)), side="right") - 1]
    used, renumbered = np.unique(of_corner, return_inverse=True)
    looks = list(numbers)
    return [looks[number] for number in used], renumbered


def _only_picture(materials: dict[str, Material]) -> str | None:
    """The picture of a mesh that names no material in use; raises `MeshError` where there are several."""
    names = sorted({look.picture for look in materials.values() if look.picture})
    if len(names) > 1:
        raise MeshError(
            f"has {len(names)} pictures ({', '.join(names[:3])}) and no usemtl that says where each belongs; "
            "name one in the column texture of corpus.table"
        )
    return names[0] if names else None


def _tile(look: Material, companions: Companions) -> NDArray[np.uint8]:
    picture = companions.picture(look.picture)
    if picture is not None:
        return picture
    colour = _PLAIN if look.colour is None else look.colour
    return np.full((1, 1, 3), np.round(np.array(colour) * 255), np.uint8)


@njit(cache=True, nogil=True)
def _next_line(text, i):  # type: ignore[no-untyped-def]
    while i < len(text) and text[i] != _NEWLINE and text[i] != _RETURN:
        i += 1
    return i + 1


@njit(cache=True, nogil=True)
def _next_word(text, i):  # type: ignore[no-untyped-def]
    """The place of the next word of this line; of its end, where there is none."""
    while i < len(text) and (text[i] == _SPACE or text[i] == _TAB):
        i += 1
    return i


@njit(cache=True, nogil=True)
def _ends(text, i):  # type: ignore[no-untyped-def]
    return i >= len(text) or text[i] == _NEWLINE or text[i] == _RETURN or text[i] == _HASH


@njit(cache=True, nogil=True)
def _key(text, i):  # type: ignore[no-untyped-def]
    """What a line is: 1 vertex, 2 texture coordinate, 3 face, 4 material, 0 anything else."""
    if i + 1 >= len(text):
        return 0
    first, second = text[i], text[i + 1]
    blank = second in (_SPACE, _TAB)
    if first == _V:
        if blank:
            return 1
        return 2 if second == _T and i + 2 < len(text) and text[i + 2] in (_SPACE, _TAB) else 0
    if first == _F and blank:
        return 3
    return 4 if (first == _M and second == _T) or (first == _U and second == 115) else 0  # mtllib, usemtl


@njit(cache=True, nogil=True)
def _count(text):  # type: ignore[no-untyped-def]
    """How many vertices, texture coordinates, corners (with the end of each face) and material lines there are."""
    counts = np.zeros(5, np.int64)
    kind, at_start, in_word = 0, True, False
    for i in range(len(text)):
        sign = text[i]
        if sign in (_NEWLINE, _RETURN):
            counts[2] += kind == 3
            kind, at_start = 0, True
        elif sign in (_SPACE, _TAB):
            in_word = False
        elif sign == _HASH and kind == 3:
            counts[2] += 1
            kind = 0
        elif at_start:
            kind = _key(text, i)
            counts[kind - 1] += kind != 3  # what is nothing goes to the last, which no one reads
            at_start, in_word = False, True
        elif kind == 3:
            counts[2] += not in_word
            in_word = True
    counts[2] += kind == 3
    return counts


@njit(cache=True, nogil=True)
def _fill(text, vertices, uv, corners, uv_corners, named):  # type: ignore[no-untyped-def]
    """Read all lines into arrays of the counted sizes: where one is faulty (or -1), and whether all have colours."""
    at = np.zeros(4, np.int64)
    colored = len(vertices) > 0
    i = 0
    while i < len(text):
        i = _next_word(text, i)
        kind = _key(text, i)
        if kind == 1:
            found, i = _fill_row(text, i + 1, vertices[at[0]])
            if found < 3:
                return i, False
            colored = colored and found == 6
            at[0] += 1
        elif kind == 2:
            found, i = _fill_row(text, i + 2, uv[at[1]])
            if found < 1:
                return i, False
            if found == 1:
                uv[at[1], 1] = 0.0
            at[1] += 1
        elif kind == 3:
            i = _next_word(text, i + 1)
            while not _ends(text, i):
                corner, uv_corner, after = _scan_corner(text, i, at[0], at[1])
                if after == i:
                    return i, False
                corners[at[2]], uv_corners[at[2]] = corner, uv_corner
                at[2] += 1
                i = _next_word(text, after)
            corners[at[2]] = uv_corners[at[2]] = END
            at[2] += 1
        elif kind == 4:
            named[at[3], 0], named[at[3], 1] = i, at[2]
            at[3] += 1
        i = _next_line(text, i)
    return -1, colored


@njit(cache=True, nogil=True)
def _fill_row(text, i, row):  # type: ignore[no-untyped-def]
    """How many numbers the line has, as many as fit into row, and where they end."""
    found = 0
    i = _next_word(text, i)
    while not _ends(text, i) and found < len(row):
        value, after = scan_number(text, i, len(text))
        if after == i:
            return 0, i
        row[found] = value
        found += 1
        i = _next_word(text, after)
    return found, i


@njit(cache=True, nogil=True)
def _scan_corner(text, i, vertices, uvs):  # type: ignore[no-untyped-def]
    """The vertex and the texture coordinate of a corner such as 7, 7/3, 7//2 or -1/-1/-1, and the place after it."""
    corner, after = scan_number(text, i, len(text))
    if after == i:
        return _NONE, _NONE, i
    uv_corner = 0.0
    if after < len(text) and text[after] == _SLASH:
        after += 1
        uv_corner, after = scan_number(text, after, len(text))
        if after < len(text) and text[after] == _SLASH:
            _, after = scan_number(text, after + 1, len(text))
    if not (_ends(text, after) or text[after] == _SPACE or text[after] == _TAB):
        return _NONE, _NONE, i
    return _from_one(corner, vertices), _from_one(uv_corner, uvs), after


@njit(cache=True, nogil=True)
def _from_one(index, count):  # type: ignore[no-untyped-def]
    """An index from zero, of one that counts from one, or back from the last of `count` so far."""
    if index != np.floor(index) or abs(index) > 1e15:
        return np.int64(_ABSURD)
    if index > 0:
        return np.int64(index) - 1
    return np.int64(index) + count if index < 0 and index + count >= 0 else np.int64(_NONE)
