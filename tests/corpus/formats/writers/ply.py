"""A head as PLY."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tests.corpus.formats.heads import Colors, Part, Points
from tests.corpus.formats.writers.habits import (
    COMMON,
    PICTURED,
    STRAY,
    Habits,
    save_picture,
    shown_by_points,
    with_degenerate,
)

HABITS: dict[str, list[Any]] = (
    COMMON
    | PICTURED
    | {
        "newline": ["\n", "\r\n", "\r"],
        "order": ["ascii", "binary_little_endian", "binary_big_endian"],
        "real": ["float", "double", "float32"],
        "colors": ["uchar", "float", "ushort", "int", "double", "bytes in ushort", "bytes in float"],
        "both": [False, True],
        "st": ["s t", "u v", "texture_u texture_v"],
        "alpha": [False, True],
        "first": ["xyz", "colors", "normals"],
        "list": ["uchar int", "uchar uint", "int int", "ushort ushort", "uint8 int32", "char short"],
        "corners": ["vertex_indices", "vertex_index"],
        "places": ["texcoord", "vertices"],
        "no picture": ["-1", "empty", "-1 empty"],
        "extra": [False, True],
        "elements": ["plain", "faces first", "edges between", "list in vertices"],
        "comments": [False, True],
    }
)
_CODES = {"float": "f", "float32": "f", "double": "d", "uchar": "B", "uint8": "B", "char": "b", "short": "h"}
_CODES |= {"ushort": "H", "int": "i", "int32": "i", "uint": "I"}
Row = list[tuple[str, str, Any]]
"""The properties of a row: type (or the two of a list), name, and what it holds."""


def write(folder: Path, parts: Sequence[Part], habits: Habits) -> str:
    """Writes the mesh and its pictures; returns the name of the first."""
    own = _Ply(parts, habits)
    names: list[str] = []
    of_points: list[Row] = []
    of_faces: list[Row] = []
    for number, part in enumerate(own.parts):
        of_faces += own.faces(part, len(of_points), len(names) if part.look == "picture" else -1)
        of_points += own.points(part)
        names += [save_picture(folder, part.colors, habits, number)] if part.look == "picture" else []
    if habits["stray"]:
        of_points.append(own.point(np.array(STRAY), np.full(3, 255, np.uint8), np.zeros(2)))
    elements = [("vertex", of_points), ("face", of_faces)]
    match habits["elements"]:
        case "faces first":
            elements.reverse()
        case "edges between":
            elements.insert(1, ("edge", [[("int", "vertex1", 0), ("int", "vertex2", 1)]] * 3))
            elements.insert(0, ("camera", [[("float", "view_px", 1.0)]]))
        case "list in vertices":
            for place, row in enumerate(of_points):
                row.insert(1, ("list uchar short", "near", list(range(place % 4))))
    comments = [f"comment TextureFile {name}" for name in names]
    comments += ["obj_info made to be read", "comment element face 7"] if habits["comments"] else []
    (folder / "head.ply").write_bytes(_ply(elements, comments, habits["order"], habits["newline"]))
    return "head.ply"


class _Ply:
    """The rows of a head's parts, which all have the same properties."""

    def __init__(self, parts: Sequence[Part], habits: Habits) -> None:
        looks = [part.look for part in parts]
        self._habits = habits
        self._pictured = "picture" in looks
        self._in_vertices = self._pictured and habits["places"] == "vertices"
        self._numbered = looks.count("picture") > 1 or (
            self._pictured and set(looks) != {"picture"} and (self._in_vertices or habits["no picture"] != "empty")
        )
        self._by_face = "face" in looks
        self._by_vertex = "vertex" in looks
        self.parts = [
            part.with_own_places() if self._in_vertices and part.look == "picture" else part for part in parts
        ]

    def points(self, part: Part) -> list[Row]:
        own = part.places if part.look == "picture" and self._in_vertices else np.full((len(part.points), 2), 0.5)
        colors = shown_by_points(part) if self._by_vertex else np.full((len(part.points), 3), 255, np.uint8)
        return [self.point(*row) for row in zip(part.points, colors, own, strict=True)]

    def point(self, point: Points, color: Colors, place: Points) -> Row:
        has_color = self._by_vertex or (self._by_face and self._habits["both"])
        return _ply_point(point, color if has_color else None, place if self._in_vertices else None, self._habits)

    def faces(self, part: Part, start: int, texnumber: int) -> list[Row]:
        """start: the number of the part's first vertex; texnumber: that of its picture."""
        habits = self._habits
        colors = part.colors if part.look == "face" else part.colors.reshape(-1, 3)[:1]
        length, kind = habits["list"].split()
        rows = []
        for number, (polygon, laid) in enumerate(with_degenerate(part, habits)):
            row: Row = [(f"list {length} {kind}", habits["corners"], [start + vertex for vertex in polygon])]
            if self._pictured and not self._in_vertices:
                nowhere = [0.0] * (2 * len(polygon) if habits["no picture"] == "-1" else 0)
                places = part.places[list(laid)].ravel().tolist() if part.look == "picture" else nowhere
                row.append((f"list uchar {habits['real']}", "texcoord", places))
            row += [("int", "texnumber", texnumber)] if self._numbered else []
            row += _ply_colors(colors[min(number, len(colors) - 1)], habits) if self._by_face else []
            if habits["extra"]:
                row = [("uchar", "flags", 3), *row, ("list uchar float", "weights", [0.5] * (number % 3))]
            rows.append(row)
        return rows


def _ply_point(point: Points, color: Colors | None, uv: Any, habits: Habits) -> Row:
    real = habits["real"]
    own: Row = [(real, axis, value) for axis, value in zip("xyz", point.tolist(), strict=True)]
    colors = [] if color is None else _ply_colors(color, habits)
    normals: Row = [("float", f"n{axis}", 0.5) for axis in "xyz"] if habits["extra"] else []
    if uv is not None:
        across, up = habits["st"].split()
        colors = [("float", across, float(uv[0])), ("float", up, float(uv[1])), *colors]
    match habits["first"]:
        case "colors":
            return [*colors, *own, *normals]
        case "normals":
            return [*normals, *own, *colors]
    return [*own, *normals, *colors]


def _ply_colors(color: Colors, habits: Habits) -> Row:
    kind = habits["colors"].removeprefix("bytes in ")
    scale = {"uchar": 1, "int": 1, "ushort": 257}.get(habits["colors"], 1 if "bytes" in habits["colors"] else 1 / 255)
    values = [
        (value * scale if kind in ("float", "double") else int(value * scale)) for value in [*color.tolist(), 255]
    ]
    rows = [(kind, name, value) for name, value in zip(("red", "green", "blue", "alpha"), values, strict=True)]
    return rows if habits["alpha"] else rows[:3]


def _ply(elements: Sequence[tuple[str, list[Row]]], comments: list[str], order: str, newline: str) -> bytes:
    lines = ["ply", f"format {order} 1.0", *comments]
    body = b""
    end = {"binary_little_endian": "<", "binary_big_endian": ">"}.get(order)
    for name, rows in elements:
        lines.append(f"element {name} {len(rows)}")
        lines += [f"property {kind} {field}" for kind, field, _ in rows[0]]
        for row in rows:
            words: list[str] = []
            for kind, _, value in row:
                *head, of_values = kind.removeprefix("list ").split()
                values = value if head else [value]
                words += [str(len(values))] * len(head) + [repr(own) for own in values]
                if end:
                    body += struct.pack(end + _CODES[head[0]], len(values)) if head else b""
                    body += struct.pack(end + _CODES[of_values] * len(values), *values)
            body += b"" if end else (" ".join(words) + newline).encode()
    return newline.join([*lines, "end_header", ""]).encode() + body
