"""A head as OFF."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tests.corpus.formats.heads import Colors, Part, Points
from tests.corpus.formats.writers.habits import COMMON, STRAY, TEXT, Habits, as_text, shown_by_points, with_degenerate

HABITS: dict[str, list[Any]] = (
    COMMON
    | TEXT
    | {
        "colors": ["bytes", "shares", "alpha bytes", "alpha shares"],
        "normals": [False, True],
        "both": [False, True],
        "places": [False, True],
        "counts": ["own line", "same line"],
        "spaces": [" ", "  ", "\t"],
    }
)


def write(folder: Path, parts: Sequence[Part], habits: Habits) -> str:
    """Writes the mesh; returns its name."""
    by_vertex, by_face = (any(part.look == look for part in parts) for look in ("vertex", "face"))
    has_colors = by_vertex or (by_face and habits["both"])
    white = np.full(3, 255, np.uint8)
    points, faces = [], []
    for part in parts:
        faces += _faces(part, habits, len(points), colored=not by_vertex)
        colors = shown_by_points(part) if by_vertex else [white] * len(part.points)
        points += [_point(*row, habits, has_colors) for row in zip(part.points, colors, strict=True)]
    if habits["stray"]:
        points.append(_point(np.array(STRAY), white, habits, has_colors))
    counts = habits["spaces"].join(map(str, (len(points), len(faces), 0)))
    name = ("ST" if habits["places"] else "") + ("C" if has_colors else "") + ("N" if habits["normals"] else "") + "OFF"
    lines = [name, counts] if habits["counts"] == "own line" else [f"{name} {counts}"]
    if habits["comments"]:
        lines[1:1] = ["# made to be read", ""] if habits["counts"] == "own line" else []
        points[3:3] = ["", "# 1 2 3"]
        faces[1:1] = ["# 3 0 1 2", ""]
    (folder / "head.off").write_bytes(as_text([*lines, *points, *faces], habits))
    return "head.off"


def _point(point: Points, color: Colors, habits: Habits, colored: bool) -> str:
    words = [f"{value:.6f}" for value in point]
    words += ["0", "0", "1"] if habits["normals"] else []
    words += _color(color, habits) if colored else []
    words += ["0.5", "0.25"] if habits["places"] else []
    return str(habits["spaces"].join(words))


def _faces(part: Part, habits: Habits, start: int, colored: bool) -> list[str]:
    """start: the number of the part's first vertex; colored: whether faces have colours, where the part has any."""
    rows = []
    for number, (polygon, _) in enumerate(with_degenerate(part, habits)):
        words = [str(len(polygon)), *(str(start + vertex) for vertex in polygon)]
        if colored and part.look in ("face", "material"):
            words += _color(part.colors[min(number, len(part.colors) - 1)], habits)
        rows.append(habits["spaces"].join(words))
    return rows


def _color(color: Colors, habits: Habits) -> list[str]:
    values = [*color.tolist(), 255] if habits["colors"].startswith("alpha") else color.tolist()
    return [f"{value / 255:.6f}" if habits["colors"].endswith("shares") else str(value) for value in values]
