"""A scan of a face of which all is known: its surface, where its landmarks lie, and what a pose makes of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial.transform import Rotation
from tests.corpus.formats.heads import Part, Points
from tests.corpus.formats.writers.habits import Matrix

ROWS, COLUMNS = 47, 37
EYES, MOUTH, NOSE = (32.0, 36.0), (0.0, -40.0), (0.0, -5.0)
"""Where the middle of the subject's left eye, of the mouth, and the tip of the nose are, in x and y, millimetres."""


@dataclass(frozen=True, eq=False)
class Face:
    """part: the surface, every corner of it in a colour of its own; marks: by name where a landmark lies."""

    part: Part
    marks: Mapping[str, Points]

    def moved(self, matrix: Matrix) -> Face:
        """The same as it is after a (4, 4) map, seen from outside as before."""

        def mapped(points: Points) -> Points:
            return points @ matrix[:3, :3].T + matrix[:3, 3]

        part = replace(self.part, points=mapped(self.part.points))
        part = part.turned_inside_out() if np.linalg.det(matrix[:3, :3]) < 0 else part
        return Face(part, {name: mapped(mark) for name, mark in self.marks.items()})

    def upright(self) -> Points:
        """The corners with the tip of the nose at the origin, eyes and mouth upright and to the front."""
        right, left = self.middle("right eye"), self.middle("left eye")
        up = (right + left) / 2 - self.middle("mouth")
        out = np.cross(left - right, up)
        axes = np.stack([np.cross(up, out), up, out])
        axes /= np.linalg.norm(axes, axis=1, keepdims=True)
        return (self.part.points - self.marks["nose tip"]) @ axes.T

    def middle(self, name: str) -> Points:
        """Of the two corners of an eye or the mouth."""
        return (self.marks[f"{name} inner"] + self.marks[f"{name} outer"]) / 2


def depth(x: Points, y: Points) -> Points:
    """How far in front a face is: with a nose that is steep below and gentle above, and a wart on its left cheek."""
    above = np.where(y > NOSE[1], 34, 9)
    nose = 28 * np.exp(-((x / 11) ** 2) - ((y - NOSE[1]) / above) ** 2)
    wart = 6 * np.exp(-(((x - 35) / 8) ** 2) - ((y + 25) / 8) ** 2)
    eyes = -9 * np.exp(-(((np.abs(x) - EYES[0]) / 13) ** 2) - ((y - EYES[1]) / 9) ** 2)
    lips = 6 * np.exp(-((x / 20) ** 2) - ((y - MOUTH[1]) / 8) ** 2)
    return 60 - (x / 12) ** 2 * 1.2 - (y / 14) ** 2 + nose + eyes + lips + wart


def face() -> Face:
    """One face, 140 x 180 mm, as a scanner sees it: open behind."""
    x, y = (grid.ravel() for grid in np.meshgrid(np.linspace(-70, 70, COLUMNS), np.linspace(90, -90, ROWS)))
    index = np.arange(ROWS * COLUMNS).reshape(ROWS, COLUMNS)
    a, b, c, d = (part.ravel().tolist() for part in (index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]))
    polygons = list(zip(a, b, c, d, strict=True))
    colors = np.stack([(x + 70) / 140 * 200 + 30, (y + 90) / 180 * 200 + 30, 60 + 0 * x], 1).astype(np.uint8)
    places = np.stack([(x + 70) / 140, (y + 90) / 180], 1)
    part = Part(np.stack([x, y, depth(x, y)], 1), polygons, places, polygons, "vertex", colors)
    return Face(part, {name: _on_surface(*place) for name, place in _marked().items()})


def _marked() -> dict[str, tuple[float, float]]:
    """Left and right are the subject's, who has x to the left."""
    (x, y), (_, mouth_y) = EYES, MOUTH
    return {
        "nose tip": NOSE,
        "right eye outer": (-x - 14, y),
        "right eye inner": (-x + 14, y),
        "left eye inner": (x - 14, y),
        "left eye outer": (x + 14, y),
        "mouth outer": (-25, mouth_y),
        "mouth inner": (25, mouth_y),
    }


def _on_surface(x: float, y: float) -> Points:
    return np.array([x, y, depth(np.array(x), np.array(y))])


def pose(turned: Rotation, shift: tuple[float, float, float], unit: float) -> Matrix:
    """What turns and moves a face, millimetres, and then writes it in units of so many millimetres."""
    matrix = np.eye(4)
    matrix[:3, :3] = turned.as_matrix() / unit
    matrix[:3, 3] = np.array(shift) / unit
    return matrix
