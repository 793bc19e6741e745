"""A head as STL."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tests.corpus.formats.heads import Part, Points
from tests.corpus.formats.writers.habits import Habits

HABITS: dict[str, list[Any]] = {
    "kind": ["binary", "ascii"],
    "header": ["", "solid head"],
    "newline": ["\n", "\r\n"],
    "name": ["head", "", "facet of a head"],
    "indented": ["  ", "\t", ""],
    "degenerate": [False, True],
    "dialect": ["viscam", "magics", "meshlab"],
    "case": ["lower", "upper"],
    "normals": ["right", "zero"],
    "solids": ["one", "each part"],
}


def write(folder: Path, parts: Sequence[Part], habits: Habits) -> str:
    """Colours of faces in a dialect of binary files: MeshLab's is that of Magics with one more bit."""
    colored = [part.look != "none" for part in parts]
    magics = habits["dialect"] != "viscam" and any(colored)
    bit = 0x8000 if habits["dialect"] == "viscam" or (habits["dialect"] == "meshlab" and all(colored)) else 0
    solids: list[list[tuple[Points, int]]] = []
    for part in parts:
        cut = part.in_triangles()
        rows = []
        for place, polygon in enumerate(cut.polygons):
            word = 0x8000 if magics else 0
            if part.look in ("face", "material"):
                red, green, blue = (
                    np.round(cut.colors[place if part.look == "face" else 0] / 255 * 31).astype(int).tolist()
                )
                word = bit | (red | green << 5 | blue << 10 if magics else red << 10 | green << 5 | blue)
            rows.append((cut.points[list(polygon)], word))
        if habits["degenerate"]:
            rows.append((cut.points[[0, 0, 1]], rows[-1][1]))
        solids.append(rows)
    if habits["solids"] == "one" or habits["kind"] == "binary":
        solids = [[row for rows in solids for row in rows]]
    data = _binary_stl(solids[0], habits, magics) if habits["kind"] == "binary" else _text_stl(solids, habits)
    (folder / "head.stl").write_bytes(data)
    return "head.stl"


def _normal(corners: Points, habits: Habits) -> Points:
    a, b, c = corners
    normal = np.cross(b - a, c - a)
    length = np.linalg.norm(normal)
    return np.zeros(3) if habits["normals"] == "zero" or not length else normal / length


def _binary_stl(rows: list[tuple[Points, int]], habits: Habits, magics: bool) -> bytes:
    header = habits["header"].encode()
    header = header.ljust(10) + (b"COLOR=" + bytes([*(199, 199, 199), 255]) if magics else b"")
    body = b"".join(struct.pack("<12fH", *_normal(corners, habits), *corners.ravel(), word) for corners, word in rows)
    return header.ljust(80, b" ") + struct.pack("<I", len(rows)) + body


def _text_stl(solids: list[list[tuple[Points, int]]], habits: Habits) -> bytes:
    lines: list[str] = []
    gap = habits["indented"]
    for rows in solids:
        lines.append(f"solid {habits['name']}".rstrip())
        for corners, _ in rows:
            lines.append(f"{gap}facet normal " + " ".join(f"{value:.6e}" for value in _normal(corners, habits)))
            lines.append(f"{gap}{gap}outer loop")
            lines += [f"{gap}{gap}{gap}vertex " + " ".join(f"{value:.7e}" for value in corner) for corner in corners]
            lines += [f"{gap}{gap}endloop", f"{gap}endfacet"]
        lines.append(f"endsolid {habits['name']}".rstrip())
    text = habits["newline"].join([*lines, ""])
    return (text.upper() if habits["case"] == "upper" else text).encode()
