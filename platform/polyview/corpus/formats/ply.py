"""PLY, as text or binary: polygons or strips of triangles, colours of vertices or faces, a picture."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from polyview.corpus.formats.cuts import END
from polyview.corpus.formats.limits import Companions, check_face_count
from polyview.corpus.formats.materials import Material, text_of
from polyview.corpus.formats.numbers import as_colors, as_indices, read_numbers
from polyview.corpus.formats.polygons import polygon_of_corner, surface, with_polygon_colors
from polyview.corpus.formats.skin import Skin, are_telling, dressed, painted
from polyview.corpus.mesh import Mesh, MeshError
from polyview.wording import counted

_HEADER = 1 << 16
_KINDS = {
    **{"char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2"},
    **{"ushort": "u2", "uint16": "u2", "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4"},
    **{"float": "f4", "float32": "f4", "double": "f8", "float64": "f8"},
}
_ORDERS = {"ascii": "<", "binary_little_endian": "<", "binary_big_endian": ">"}
_COLORS = (("red", "green", "blue"), ("diffuse_red", "diffuse_green", "diffuse_blue"), ("r", "g", "b"))
_PLACES = (("s", "t"), ("u", "v"), ("texture_u", "texture_v"))
_CORNERS = ("vertex_indices", "vertex_index")


_Kinds = tuple[np.dtype[Any], np.dtype[Any] | None]
"""The kind of a property's values, and that of its length where it is a list."""


class _Property(NamedTuple):
    """kind: as numpy names it; length: the kind of a list's length, empty where it is no list."""

    kind: str
    length: str


@dataclass
class _Element:
    name: str
    count: int
    properties: dict[str, _Property] = field(default_factory=dict)


class _List(NamedTuple):
    """A list for each row: all values in one row after the other, and how many each row has."""

    values: NDArray[np.float64]
    lengths: NDArray[np.int64]

    def ended(self) -> NDArray[np.int32]:
        """The values with `END` behind each row."""
        indices = as_indices(self.values)
        if len(self.lengths) and (self.lengths == self.lengths[0]).all():
            rows = indices.reshape(len(self.lengths), -1)
            return np.pad(rows, ((0, 0), (0, 1)), constant_values=END).ravel()
        return np.insert(indices, np.cumsum(self.lengths), END)


class _Table(NamedTuple):
    """An element's content: a number for each row, or a list for each row."""

    numbers: dict[str, NDArray[np.float64]]
    lists: dict[str, _List]


def read(data: bytes, companions: Companions) -> Mesh:
    """The mesh of a .ply file; raises `MeshError`.

    Several pictures, of which the faces' `texnumber` says where each belongs, become one.
    """
    elements, pictures, order, start = _header(data)
    tables = _tables(data, elements, order, start)
    vertices = tables.get("vertex", _Table({}, {})).numbers
    if not {"x", "y", "z"} <= vertices.keys():
        raise MeshError("not readable as .ply: its vertices have no x, y, z")
    faces = tables.get("face", _Table({}, {}))
    corners = _corners(tables)
    if not len(corners):
        raise MeshError(f"a point cloud: {counted(len(vertices['x']), 'point')} and no triangles")
    kinds = {element.name: element.properties for element in elements}
    bare = _texture_coordinates(vertices, faces, corners)
    colors, by_face = _colors(vertices, kinds["vertex"]), _colors(faces.numbers, kinds.get("face", {}))
    if are_telling(by_face) and not are_telling(colors):
        colors = None  # programs write white for all vertices beside the colours of faces
    colored = are_telling(by_face if colors is None else colors)
    skin = _skin(bare, corners, faces.numbers.get("texnumber"), pictures, companions, colored)
    mesh = surface(
        np.column_stack([vertices[axis] for axis in "xyz"]),
        corners,
        skin.uv,
        skin.uv_corners,
        colors,
    )
    if colors is None and by_face is not None:
        mesh = with_polygon_colors(mesh, corners, by_face)
    return dressed(mesh, corners, skin)


def _header(data: bytes) -> tuple[list[_Element], list[str], str, int]:
    """The elements, the pictures, the format, and where the body begins."""
    end = re.search(rb"\bend_header[ \t]*(\r\n|\n|\r)", data[:_HEADER])
    if not data.startswith(b"ply") or end is None:
        raise MeshError("not readable as .ply: the header has no end")
    elements: list[_Element] = []
    pictures: list[str] = []
    order = ""
    for line in data[: end.start()].splitlines():
        match text_of(line).split():
            case ["format", name, *_]:
                order = name
            case ["comment", "TextureFile", *_]:
                pictures.append(text_of(line).split("TextureFile", 1)[1].strip())
            case ["element", name, digits]:
                elements.append(_Element(name, _whole(digits)))
            case ["property", "list", length, kind, name] if elements:
                elements[-1].properties[name] = _Property(_kind(kind), _kind(length))
            case ["property", kind, name] if elements:
                elements[-1].properties[name] = _Property(_kind(kind), "")
    if order not in _ORDERS:
        raise MeshError(f"not readable as .ply: its format is {order[:40]!r}, not one of {', '.join(_ORDERS)}")
    return elements, pictures, order, end.end()


def _kind(name: str) -> str:
    if name not in _KINDS:
        raise MeshError(f"not readable as .ply: {name[:24]!r} is no type of number")
    return _KINDS[name]


def _whole(digits: str) -> int:
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 18:
        raise MeshError(f"{digits[:24]!r} is not a count")
    return int(digits)


def _tables(data: bytes, elements: list[_Element], order: str, start: int) -> dict[str, _Table]:
    """The content of each element; a body of text is read as numbers first, and then as a binary one of doubles."""
    for element in elements:
        if element.name == "face":
            check_face_count(element.count)
    for element in elements:
        if element.count > len(data) - start:
            raise _cut(element, len(data) - start)
    body = np.frombuffer(data, dtype=np.uint8)[start:]
    if order == "ascii":
        body = read_numbers(body)[0].view(np.uint8)
    tables: dict[str, _Table] = {}
    for element in elements:
        kinds = element.properties
        if order == "ascii":
            kinds = {name: _Property("f8", "f8" if kind.length else "") for name, kind in kinds.items()}
        tables[element.name], body = _table(body, replace(element, properties=kinds), _ORDERS[order])
    return tables


def _table(body: NDArray[np.uint8], element: _Element, order: str) -> tuple[_Table, NDArray[np.uint8]]:
    """An element's content, and what follows it."""
    kinds = [
        (np.dtype(order + kind), np.dtype(order + length) if length else None)
        for kind, length in element.properties.values()
    ]
    if any(length is not None and length.kind == "f" and length.itemsize != 8 for _, length in kinds):
        raise MeshError(f"not readable as .ply: a list of {element.name!r} has no whole length")
    return _table_of_alike(body, element, kinds) or _table_of_any(body, element, kinds, order)


def _table_of_alike(
    body: NDArray[np.uint8], element: _Element, kinds: list[_Kinds]
) -> tuple[_Table, NDArray[np.uint8]] | None:
    """As `_table`, where all rows have lists of the same lengths, so that each has the same place in its row."""
    fields: list[Any] = []
    place = 0
    for column, (kind, length) in enumerate(kinds):
        count = 1
        if length is not None:
            if place + length.itemsize > len(body):
                return None
            count = _length(body, place, length.itemsize, length.str[0] == ">")
            fields.append((f"length {column}", length))
            place += length.itemsize
        if not 0 <= count * kind.itemsize <= len(body) - place:
            return None
        fields.append((f"values {column}", kind, (count,)))
        place += count * kind.itemsize
    row = np.dtype(fields)
    end = element.count * row.itemsize
    if not end or end > len(body):
        return None
    rows = body[:end].view(row)
    lengths = {column: rows[f"length {column}"] for column, (_, length) in enumerate(kinds) if length is not None}
    if any((own != own[0]).any() for own in lengths.values()):
        return None
    table = _Table({}, {})
    for column, name in enumerate(element.properties):
        values = rows[f"values {column}"].astype(np.float64)
        if column in lengths:
            table.lists[name] = _List(values.ravel(), lengths[column].astype(np.int64))
        else:
            table.numbers[name] = values[:, 0]
    return table, body[end:]


def _table_of_any(
    body: NDArray[np.uint8], element: _Element, kinds: list[_Kinds], order: str
) -> tuple[_Table, NDArray[np.uint8]]:
    """As `_table`, row by row."""
    sizes = np.array([(kind.itemsize, length.itemsize if length else 0) for kind, length in kinds], np.int64)
    places = np.empty((element.count, len(kinds)), np.int64)
    lengths = np.empty((element.count, len(kinds)), np.int64)
    end = _walk(body, sizes.reshape(-1, 2), order == ">", places, lengths)
    if end < 0:
        raise _cut(element, len(body))
    table = _Table({}, {})
    for column, (name, (kind, length)) in enumerate(zip(element.properties, kinds, strict=True)):
        own = lengths[:, column]
        starts = places[:, column]
        if length is not None:
            within = np.arange(own.sum()) - (np.cumsum(own) - own).repeat(own)
            starts = starts.repeat(own) + within * kind.itemsize
        values = body[starts[:, np.newaxis] + np.arange(kind.itemsize)].view(kind).ravel().astype(np.float64)
        if length is None:
            table.numbers[name] = values
        else:
            table.lists[name] = _List(values, own)
    return table, body[end:]


def _cut(element: _Element, size: int) -> MeshError:
    return MeshError(f"declares {element.count} of {element.name!r} in {size} bytes: the file is cut")


@njit(cache=True, nogil=True)
def _walk(body, sizes, big_endian, places, lengths):  # type: ignore[no-untyped-def]
    """Fill in where each property of each row begins, and how many values it has; the end, or -1 beyond the body."""
    at, end = np.int64(0), np.int64(len(body))
    for row in range(len(places)):
        for column in range(len(sizes)):
            size, length_size = sizes[column, 0], sizes[column, 1]
            count = np.int64(1)
            if length_size:
                if at + length_size > end:
                    return np.int64(-1)
                count = _length(body, at, length_size, big_endian)
                at += length_size
            if count < 0 or count > end or at + count * size > end:
                return np.int64(-1)
            places[row, column] = at
            lengths[row, column] = count
            at += count * size
    return at


@njit(cache=True, nogil=True)
def _length(body, at, size, big_endian):  # type: ignore[no-untyped-def]
    """A list's length: a whole number of `size` bytes, or a double where it has eight."""
    if size == 8:
        value = body[at : at + 8].view(np.float64)[0]
        return np.int64(value) if 0 <= value < 1e9 and value == np.floor(value) else np.int64(-1)
    value = np.int64(0)
    for byte in range(size):
        value = value * 256 + np.int64(body[at + byte if big_endian else at + size - 1 - byte])
    return value


def _corners(tables: dict[str, _Table]) -> NDArray[np.int32]:
    """The polygons' corners, `END` after each: those of the faces, or of the strips of triangles."""
    for name, strips in (("face", False), ("tristrips", True)):
        lists = tables[name].lists if name in tables else {}
        for key in _CORNERS:
            if key in lists:
                return _unrolled(lists[key].ended()) if strips else lists[key].ended()
    return np.empty(0, np.int32)


def _unrolled(strips: NDArray[np.int32]) -> NDArray[np.int32]:
    """Triangles of strips, each of which -1 ends: each vertex makes one with the two before it, turned about."""
    place = np.arange(len(strips))
    start = np.maximum.accumulate(np.where(strips == END, place + 1, 0))
    first = place[:-2][(strips[:-2] != END) & (strips[1:-1] != END) & (strips[2:] != END)]
    odd = (first - start[first]) % 2
    triangles = np.column_stack([strips[first + odd], strips[first + 1 - odd], strips[first + 2]])
    a, b, c = triangles.T
    triangles = triangles[(a != b) & (b != c) & (c != a)]
    return np.pad(triangles, ((0, 0), (0, 1)), constant_values=END).ravel()


def _texture_coordinates(vertices: dict[str, NDArray[np.float64]], faces: _Table, corners: NDArray[np.int32]) -> Skin:
    """Those of the faces' corners, or else of the vertices; a face that does not have two for each corner has none."""
    own = faces.lists.get("texcoord")
    sizes = np.diff(np.flatnonzero(np.append(END, corners) == END)) - 1
    if own is not None and len(own.lengths) == len(sizes) and (whole := own.lengths == 2 * sizes).any():
        places = own.values[whole.repeat(own.lengths)].reshape(-1, 2)
        placed = whole.repeat(sizes + 1)
        with_place = placed & (corners != END)
        uv_corners = np.where(with_place, np.cumsum(with_place) - 1, np.where(corners == END, END, len(places)))
        if whole.all():
            return Skin(places, uv_corners.astype(np.int32))
        return Skin(np.vstack([places, np.zeros((1, 2))]), uv_corners.astype(np.int32), placed=placed)
    for names in _PLACES:
        if set(names) <= vertices.keys():
            return Skin(np.column_stack([vertices[name] for name in names]), None)
    return Skin(None, None)


def _skin(
    bare: Skin,
    corners: NDArray[np.int32],
    numbers: NDArray[np.float64] | None,
    pictures: list[str],
    companions: Companions,
    colored: bool,
) -> Skin:
    """The coordinates with the picture; with all pictures as one, where they are several.

    numbers: which picture each polygon has, from 0; -1 for none. colored: as of `painted`.
    """
    is_one = bool(companions.texture) or (len(set(pictures)) < 2 and not _leaves_out(pictures, numbers))
    only = companions.texture or (pictures[0] if pictures and bare.uv is not None else None)
    if is_one and bare.placed is not None:
        return painted(bare, [Material(only)], corners, np.zeros(len(corners), np.int64), companions, colored)
    if is_one or bare.uv is None:
        return bare._replace(texture=companions.picture(only))
    if numbers is None or len(numbers) != (corners == END).sum():
        raise MeshError(
            f"has {len(pictures)} pictures ({', '.join(pictures[:3])}) and no texnumber of its faces that says where "
            "each belongs; name one in the column texture of corpus.table"
        )
    used, of_polygon = np.unique(as_indices(numbers), return_inverse=True)
    if used[-1] >= len(pictures):
        raise MeshError(f"texnumber {used[-1]} of {len(pictures)} pictures: export it again with all of them")
    looks = [Material(pictures[number] if number >= 0 else None) for number in used]
    of_corner = of_polygon[polygon_of_corner(corners).clip(max=len(numbers) - 1)]
    return painted(bare, looks, corners, of_corner, companions, colored)


def _leaves_out(pictures: list[str], numbers: NDArray[np.float64] | None) -> bool:
    """Whether the only picture is that of some polygons alone."""
    return bool(pictures) and numbers is not None and bool((numbers < 0).any() and (numbers == 0).any())


def _colors(numbers: dict[str, NDArray[np.float64]], kinds: dict[str, _Property]) -> NDArray[np.uint8] | None:
    for names in _COLORS:
        if set(names) <= numbers.keys():
            values = np.column_stack([numbers[name] for name in names])
            match kinds[names[0]].kind:
                case "u1":
                    return values.astype(np.uint8)
                case "u2":
                    # Some programs put the eight bits of a colour in sixteen, whose largest is then no light at all.
                    return (values / (257 if values.size and values.max() > 255 else 1)).astype(np.uint8)
                case _:
                    return as_colors(values)
    return None
