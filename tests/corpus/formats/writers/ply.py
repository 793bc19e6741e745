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
    pictured = [part for part in parts if part.look == "picture"]
    by_vertex, by_face = (any(part.look == look for part in parts) for look in ("vertex", "face"))
    by_vertex |= not by_face and any(part.look == "material" for part in parts)
    if habits["places"] == "vertices" and pictured:
        parts = [part.with_own_places() if part.look == "picture" else part for part in parts]
    of_points: list[Row] = []
    of_faces: list[Row] = []
    start, names = 0, []
    is_told = habits["no picture"] != "empty" or habits["places"] == "vertices"
    for number, part in enumerate(parts):
        texnumber = -1
        if part.look == "picture":
            texnumber = len(names)
            names.append(save_picture(folder, part.colors, habits, number))
        in_vertices = habits["places"] == "vertices" and bool(pictured)
        for place, point in enumerate(part.points):
            uv = (part.places[place] if part.look == "picture" else (0.5, 0.5)) if in_vertices else None
            white = np.full(3, 255, np.uint8) if habits["both"] and by_face else None
            of_points.append(_ply_point(point, shown_by_points(part)[place] if by_vertex else white, uv, habits))
        for place, (polygon, laid) in enumerate(with_degenerate(part, habits)):
            length, kind = habits["list"].split()
            row: Row = [(f"list {length} {kind}", habits["corners"], [start + vertex for vertex in polygon])]
            if pictured and not in_vertices:
                own: list[float] = part.places[list(laid)].ravel().tolist() if part.look == "picture" else []
                if part.look != "picture" and habits["no picture"] == "-1":
                    own = [0.0] * (2 * len(polygon))
                row.append((f"list uchar {habits['real']}", "texcoord", own))
            if pictured and (len(pictured) > 1 or (is_told and len(pictured) < len(parts))):
                row.append(("int", "texnumber", texnumber))
            if by_face:
                color = (
                    part.colors[min(place, len(part.colors) - 1)]
                    if part.look in ("face", "material")
                    else part.colors.reshape(-1, 3)[0]
                )
                if part.look == "none":
                    color = part.colors[0]
                row += _ply_colors(color, habits)
            if habits["extra"]:
                row.insert(0, ("uchar", "flags", 3))
                row.append(("list uchar float", "weights", [0.5] * (place % 3)))
            of_faces.append(row)
        start += len(part.points)
    if habits["stray"]:
        of_points.append(
            _ply_point(
                np.array(STRAY),
                np.full(3, 255, np.uint8) if by_vertex or (habits["both"] and by_face) else None,
                (0.0, 0.0) if habits["places"] == "vertices" and pictured else None,
                habits,
            )
        )
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
