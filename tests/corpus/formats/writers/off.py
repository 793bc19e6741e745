"""A head as OFF."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tests.corpus.formats.heads import Colors, Part
from tests.corpus.formats.writers.habits import COMMON, STRAY, TEXT, Habits, as_text, shown_by_points

HABITS: dict[str, list[Any]] = (
    COMMON
    | TEXT
    | {
        "colors": ["bytes", "shares", "alpha bytes", "alpha shares"],
        "normals": [False, True],
        "places": [False, True],
        "counts": ["own line", "same line"],
        "spaces": [" ", "  ", "\t"],
    }
)


def write(folder: Path, parts: Sequence[Part], habits: Habits) -> str:
    by_vertex = any(part.look == "vertex" for part in parts)
    gap = habits["spaces"]

    def color_of(color: Colors) -> str:
        values = [*color.tolist(), 255] if habits["colors"].startswith("alpha") else color.tolist()
        shares = habits["colors"].endswith("shares")
        return gap + gap.join(f"{value / 255:.6f}" if shares else str(value) for value in values)

    points, faces, start = [], [], 0
    for part in parts:
        for point, color in zip(part.points, shown_by_points(part), strict=True):
            normal = f"{gap}0{gap}0{gap}1" if habits["normals"] else ""
            points.append(gap.join(f"{value:.6f}" for value in point) + normal + (color_of(color) if by_vertex else ""))
            points[-1] += f"{gap}0.5{gap}0.25" if habits["places"] else ""
        for place, polygon in enumerate(part.polygons):
            own = part.colors[place if part.look == "face" else 0] if part.look in ("face", "material") else None
            word = gap.join(map(str, (len(polygon), *(start + vertex for vertex in polygon))))
            faces.append(word + ("" if own is None or by_vertex else color_of(own)))
        if habits["degenerate"]:
            a, b, *_ = part.polygons[0]
            last = faces[-1].split(gap)[len(part.polygons[-1]) + 1 :]
            faces.append(gap.join(["3", str(start + a), str(start + a), str(start + b), *last]))
        start += len(part.points)
    if habits["stray"]:
        points.append(
            gap.join(map(str, STRAY))
            + (f"{gap}0{gap}0{gap}1" if habits["normals"] else "")
            + (color_of(np.zeros(3, np.uint8)) if by_vertex else "")
        )
        points[-1] += f"{gap}0.5{gap}0.25" if habits["places"] else ""
    counts = f"{len(points)}{gap}{len(faces)}{gap}0"
    name = ("ST" if habits["places"] else "") + ("C" if by_vertex else "") + ("N" if habits["normals"] else "") + "OFF"
    lines = [name, counts] if habits["counts"] == "own line" else [f"{name} {counts}"]
    if habits["comments"]:
        lines[1:1] = ["# made to be read", ""] if habits["counts"] == "own line" else []
        points[3:3] = ["", "# 1 2 3"]
        faces[1:1] = ["# 3 0 1 2", ""]
    (folder / "head.off").write_bytes(as_text([*lines, *points, *faces], habits))
    return "head.off"
