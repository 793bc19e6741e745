"""Points of a face that people marked: .bnd of BU-3DFE and BU-4DFE, .lm3 of Bosphorus."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from polyview.corpus.formats.limits import format_of, landmark_files, read_bytes, unpacked
from polyview.corpus.formats.numbers import read_numbers
from polyview.corpus.mesh import MeshError

Point = NDArray[np.float32]

_LARGEST = 1 << 20
_BND_ROWS = 83
_RIGHT_EYE, _LEFT_EYE, _NOSE, _MOUTH = slice(0, 8), slice(8, 16), slice(36, 48), slice(48, 60)
"""Rows of a .bnd file: the subject's right eye first, as in its description at Binghamton."""


@dataclass(frozen=True, eq=False)
class Landmarks:
    """Places on a face, (3,) float32 each, in the units of the mesh; none where the file does not have it.

    right_eye, left_eye: the subject's own, the middle of each; mouth: its middle; nose: its tip;
    nose_middle: the middle of the nose's outline, of files that mark no tip.
    """

    right_eye: Point | None = None
    left_eye: Point | None = None
    mouth: Point | None = None
    nose: Point | None = None
    nose_middle: Point | None = None


def find_landmarks(path: str, root: str) -> Landmarks | None:
    """Those of the mesh at `path`, from the first of its files of landmarks; raises `MeshError` if that is broken."""
    for file in landmark_files(path, Path(root)):
        data = unpacked(read_bytes(file, _LARGEST))
        try:
            return read_bnd(data) if format_of(file.name) == ".bnd" else read_lm3(data)
        except MeshError as error:
            raise MeshError(f"{error}, in {file.name}; mend it, or put it elsewhere") from None
    return None


def read_bnd(data: bytes) -> Landmarks:
    """Of 83 lines `index x y z`, with or without an empty 84th; raises `MeshError`."""
    lines = [np.frombuffer(line, dtype=np.uint8) for line in data.splitlines() if line.strip()]
    rows = [row for line in lines if len(row := read_numbers(line)[0])][:_BND_ROWS]
    if [len(row) for row in rows] != [4] * _BND_ROWS:
        raise MeshError(f"landmarks: not {_BND_ROWS} lines of four numbers, index x y z, with points as decimal marks")
    points = _finite(np.array(rows)[:, 1:])
    return Landmarks(
        right_eye=_middle(points[_RIGHT_EYE]),
        left_eye=_middle(points[_LEFT_EYE]),
        mouth=_middle(points[_MOUTH]),
        nose_middle=_middle(points[_NOSE]),
    )


def read_lm3(data: bytes) -> Landmarks:
    """Of a header `N landmarks:` and N times a line with a name and a line with x y z; raises `MeshError`.

    Left and right in the names are the viewer's: a "left" eye is the subject's right one.
    """
    header, colon, body = data.decode("latin-1").partition("landmarks:")
    count = re.search(r"(\d+)\s*$", header)
    lines = [line.strip() for line in body.splitlines() if line.strip()]
    number = int(count[1][:9]) if count else 0
    if not colon or not 0 < 2 * number <= len(lines):
        raise MeshError("landmarks: not a header `N landmarks:` with N names and places after it")
    names, places_text = lines[: 2 * number : 2], lines[1 : 2 * number : 2]
    try:
        places = np.array([line.split() for line in places_text], dtype=np.float64).reshape(number, 3)
    except ValueError:
        raise MeshError("landmarks: a place is not three numbers") from None
    points = dict(zip((name.lower() for name in names), _finite(places), strict=True))
    if len(points) < number:
        raise MeshError("landmarks: a name is there twice")
    return Landmarks(
        right_eye=_of(points, "left", "eye", "corner"),
        left_eye=_of(points, "right", "eye", "corner"),
        mouth=_of(points, "mouth", "corner"),
        nose=_of(points, "nose", "tip"),
    )


def _of(points: dict[str, NDArray[np.float64]], *words: str) -> Point | None:
    """The middle of the points whose names hold all of these words; none unless both of a pair are there."""
    found = [point for name, point in points.items() if set(words) <= set(name.split())]
    enough = 2 if words[-1] == "corner" else 1
    return _middle(np.array(found)) if len(found) >= enough else None


def _middle(points: NDArray[np.float64]) -> Point:
    middle: Point = points.mean(axis=0).astype(np.float32)
    return middle


def _finite(points: NDArray[np.float64]) -> NDArray[np.float64]:
    if not (np.abs(points) < 1e30).all():
        raise MeshError("landmarks: a place is not finite")
    return points
