"""What is common to the writers of heads: the habits that several formats share, pictures, and nodes around a part.

A writer takes a folder, the parts of a head and its habits, and returns the name of the file. What it may be told is in
its `HABITS`, the plainest first: what the format's specification allows, and what programs do.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.spatial.transform import Rotation
from tests.corpus.formats.heads import Colors, Part, Polygon

Habits = Mapping[str, Any]
Matrix = NDArray[np.float64]

STRAY = (400.0, -300.0, 250.0)
NAMES = ("skin{}", "my skin {}", "sub/skin{}", "gesicht-ä{}", "skin%20{}")
PICTURES = {"png": "PNG", "jpg": "JPEG", "bmp": "BMP", "PNG": "PNG", "tif": "TIFF"}

COMMON = {"cut": ["triangles", "quads", "mixed"], "stray": [False, True], "degenerate": [False, True]}
PICTURED = {
    "far": [False, True],
    "given": [False, True],
    "name": list(NAMES),
    "suffix": ["png", "jpg", "bmp", "PNG", "tif"],
    "case": ["as it is", "other"],
    "mode": ["RGB", "RGBA"],
}
TEXT = {"newline": ["\n", "\r\n"], "comments": [False, True], "byte order mark": [False, True]}


def turn(axis: int, angle: float) -> Matrix:
    """(4, 4) about an axis."""
    matrix, (a, b) = np.eye(4), [(1, 2), (2, 0), (0, 1)][axis]
    matrix[[a, b, a, b], [a, b, b, a]] = np.cos(angle), np.cos(angle), -np.sin(angle), np.sin(angle)
    return matrix


def moved(*offset: float) -> Matrix:
    matrix = np.eye(4)
    matrix[:3, 3] = offset
    return matrix


def scaled(*factors: float) -> Matrix:
    return np.diag([*factors, 1.0])


CHAINS: dict[str, list[Matrix]] = {
    "flat": [],
    "moved": [moved(10, -20, 30)],
    "scaled": [scaled(2, 0.5, 4)],
    "turned": [turn(1, 0.7)],
    "mirrored": [scaled(-1, 1, 1)],
    "matrix": [moved(3, 2, 1) @ turn(0, 0.4) @ scaled(1, 2, 1)],
    "nested": [moved(5, 6, 7), turn(2, -1.1), scaled(1, -2, 1), turn(0, 0.3)],
}
"""From the outermost node to the innermost."""


def within(part: Part, chain: Sequence[Matrix]) -> Part:
    """The part as it is written below nodes that bring it to where it should be."""
    matrix = np.linalg.multi_dot([np.eye(4), np.eye(4), *chain])
    inverse = np.linalg.inv(matrix)
    points = part.points @ inverse[:3, :3].T + inverse[:3, 3]
    local = Part(points, part.polygons, part.places, part.laid, part.look, part.colors)
    return local.turned_inside_out() if np.linalg.det(matrix) < 0 else local


def save_picture(folder: Path, picture: Colors, habits: Habits, number: int) -> str:
    """Writes a picture, and returns the name that the mesh calls it by."""
    name = f"{habits['name'].format(number)}.{habits['suffix']}"
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(encoded(picture, habits["suffix"], habits["mode"]))
    return name.swapcase() if habits.get("case") == "other" else name


def encoded(picture: Colors, suffix: str, mode: str = "RGB") -> bytes:
    """mode: `RGBA` where the picture should be more and more clear from top to bottom, where its format can be."""
    file = io.BytesIO()
    if mode == "RGBA" and suffix.lower() in ("png", "tif"):
        opacity = np.linspace(255, 0, picture.size // 3).astype(np.uint8).reshape(*picture.shape[:2], 1)
        picture = np.concatenate([picture, opacity], axis=2)
    options = {"quality": 98, "subsampling": 0} if PICTURES[suffix] == "JPEG" else {}
    Image.fromarray(picture).save(file, PICTURES[suffix], **options)
    return file.getvalue()


def as_text(lines: Sequence[str], habits: Habits) -> bytes:
    text = habits["newline"].join([*lines, ""]).encode()
    return (b"\xef\xbb\xbf" if habits.get("byte order mark") else b"") + text


def taken_apart(matrix: Matrix) -> dict[str, NDArray[np.float64]]:
    """The translation, the scale and the rotation (as a vector) of a matrix that turns, or else mirrors."""
    scale = np.linalg.norm(matrix[:3, :3], axis=0)
    if np.linalg.det(matrix[:3, :3]) < 0:
        scale = np.diag(matrix[:3, :3])
    rotation = Rotation.from_matrix(matrix[:3, :3] / scale).as_rotvec()
    return {"translation": matrix[:3, 3], "scale": scale, "rotation": rotation}


def with_degenerate(part: Part, habits: Habits) -> list[tuple[Polygon, Polygon]]:
    """The polygons of a part, each with its texture coordinates; after them one without an area, if that is asked."""
    polygons = list(zip(part.polygons, part.laid, strict=True))
    first, laid = polygons[0]
    return [*polygons, ((first[0], *first[:2]), (laid[0], *laid[:2]))] if habits["degenerate"] else polygons


def shown_by_points(part: Part) -> Colors:
    """(V, 3) the colours of a part's points, where those are what the file has of every part."""
    return part.colors if part.look == "vertex" else part.colors.reshape(-1, 3)[:1].repeat(len(part.points), axis=0)
