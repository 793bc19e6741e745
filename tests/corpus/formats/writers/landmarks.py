"""Landmarks of a face as the datasets write them: .bnd of BU-3DFE and BU-4DFE, .lm3 of Bosphorus."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tests.corpus.formats.faces import Face
from tests.corpus.formats.heads import Points
from tests.corpus.formats.writers.habits import Habits

COMMON: dict[str, list[Any]] = {
    "newline": ["\n", "\r\n"],
    "digits": ["{:.6f}", "{:.9g}", "{:.8e}", "{:+.7f}"],
    "spaces": [" ", "  ", "\t"],
    "case": [str.lower, str.upper],
    "stem": [str, str.upper],
    "packed": [False, True],
}
BND: dict[str, list[Any]] = COMMON | {
    "numbers": ["of vertices", "in order"],
    "more": ["nothing", "empty line", "empty row", "zeros"],
}
LM3: dict[str, list[Any]] = COMMON | {
    "head": ["", "# 3D landmarks of a scan\n\n", "Landmarks file, 2 cameras\n"],
    "blank lines": [False, True],
    "order": ["plain", "reversed"],
    "names": [str, str.lower, str.upper],
    "others": [False, True],
}
_LM3 = {
    "Outer left eye corner": "right eye outer",
    "Inner left eye corner": "right eye inner",
    "Inner right eye corner": "left eye inner",
    "Outer right eye corner": "left eye outer",
    "Nose tip": "nose tip",
    "Left mouth corner": "mouth outer",
    "Right mouth corner": "mouth inner",
}
"""Its names, in which left is the viewer's."""
_OTHERS = ("Outer left eyebrow", "Middle of the right eyebrow", "Left nose peak", "Nose saddle left", "Left ear lobe")


def write_bnd(file: Path, face: Face, habits: Habits) -> Path:
    """83 rows of a number and a place: eyes, brows, nose, lips and the outline of the face."""
    points = _eighty_three(face)
    numbers = np.arange(len(points)) if habits["numbers"] == "in order" else _nearest(points, face.part.points)
    rows = [
        habits["spaces"].join([str(number), *map(habits["digits"].format, point)])
        for number, point in zip(numbers.tolist(), points, strict=True)
    ]
    rows += {"nothing": [], "empty line": [""], "empty row": ["83"], "zeros": ["83 0 0 0"]}[habits["more"]]
    return _written(file, habits["case"](".bnd"), rows, habits)


def write_lm3(file: Path, face: Face, habits: Habits) -> Path:
    """A header, and a line with a name and a line with a place for each; without what is not seen."""
    marks = [(name, face.marks[own]) for name, own in _LM3.items()]
    marks += [(name, face.part.points[7 * number]) for number, name in enumerate(_OTHERS)] if habits["others"] else []
    marks = marks[::-1] if habits["order"] == "reversed" else marks
    rows = [f"{habits['head']}{len(marks)} landmarks:"]
    for name, point in marks:
        rows += ["", habits["names"](name)] if habits["blank lines"] else [habits["names"](name)]
        rows.append(habits["spaces"].join(map(habits["digits"].format, point)))
    return _written(file, habits["case"](".lm3"), rows, habits)


WRITERS: Mapping[str, tuple[Callable[[Path, Face, Habits], Path], dict[str, list[Any]]]] = {
    ".bnd": (write_bnd, BND),
    ".lm3": (write_lm3, LM3),
}


def _eighty_three(face: Face) -> Points:
    """The subject's right eye and left eye, both brows, the nose, the lips from outside and inside, the outline."""

    def ring(name: str, count: int, height: float) -> list[Points]:
        return _ring(face.marks[f"{name} outer"], face.marks[f"{name} inner"], _up(face) * height, count)

    eyes = ring("right eye", 8, 5) + ring("left eye", 8, 5)
    brows = [point + _up(face) * 18 for point in ring("right eye", 10, 2) + ring("left eye", 10, 2)]
    nose = _ring(*(face.marks["nose tip"] + side * _across(face) for side in (-17, 17)), _up(face) * 12, 12)
    lips = ring("mouth", 12, 8) + ring("mouth", 8, 3)
    outline = [face.part.points[number] for number in range(15)]
    return np.array([*eyes, *brows, *nose, *lips, *outline])


def _ring(start: Points, end: Points, up: Points, count: int) -> list[Points]:
    """Points around the middle of two, that are as far above as below."""
    angles = 2 * np.pi * np.arange(count) / count
    middle, half = (start + end) / 2, (end - start) / 2
    return [middle + np.cos(angle) * half + np.sin(angle) * up for angle in angles]


def _up(face: Face) -> Points:
    """One millimetre up, in the units of the face."""
    return (face.middle("left eye") - face.middle("mouth") + face.middle("right eye") - face.middle("mouth")) / 2 / 76


def _across(face: Face) -> Points:
    return (face.middle("left eye") - face.middle("right eye")) / 64


def _nearest(points: Points, vertices: Points) -> Points:
    return np.linalg.norm(points[:, np.newaxis] - vertices, axis=2).argmin(axis=1)


def _written(file: Path, suffix: str, rows: Sequence[str], habits: Habits) -> Path:
    data = "\n".join([*rows, ""]).replace("\n", habits["newline"]).encode()
    place = file.with_name(habits["stem"](file.stem) + suffix + (".gz" if habits["packed"] else ""))
    place.write_bytes(gzip.compress(data) if habits["packed"] else data)
    return place
