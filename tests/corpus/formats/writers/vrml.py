"""A head as VRML 2.0."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tests.corpus.formats.heads import Part, Points
from tests.corpus.formats.writers.habits import (
    CHAINS,
    COMMON,
    PICTURED,
    STRAY,
    TEXT,
    Habits,
    Matrix,
    as_text,
    save_picture,
    taken_apart,
    with_degenerate,
    within,
)

HABITS: dict[str, list[Any]] = (
    COMMON
    | PICTURED
    | TEXT
    | {
        "places": ["own index", "same index", "index absent"],
        "clockwise": [False, True],
        "crease": [False, True],
        "normals": [False, True],
        "nodes": ["flat", "moved", "scaled", "turned", "mirrored", "nested"],
        "used": ["own", "DEF", "DEF outside"],
        "colors": ["plain", "indexed"],
        "order": ["points first", "points last"],
        "separator": [" ", ", ", ","],
        "end": ["-1", "open"],
        "url": ["word", "list"],
        "container": ["", "Group", "Anchor", "Collision", "LOD", "Switch", "Billboard"],
        "shape": ["look first", "look last"],
    }
)

_BESIDE = [
    "# a } [ head",
    'WorldInfo { title "a { head } [" }',
    'NavigationInfo { type [ "EXAMINE" "ANY" ] }',
    "Viewpoint { position 0 0 500 }",
    "Background { skyColor [ 0 0 0, 1 0 0 ] }",
    "PointLight { color 1 0 0 location 0 0 9 }",
]
"""What a file may hold beside a head, with names and signs that are also those of a head."""


def write(folder: Path, parts: Sequence[Part], habits: Habits) -> str:
    chain = CHAINS[habits["nodes"]]
    lines = ["#VRML V2.0 utf8"]
    lines += _BESIDE if habits["comments"] else []
    for number, part in enumerate(parts):
        local = within(part, chain)
        look = _wrl_look(folder, part, habits, number)
        geometry = f"geometry IndexedFaceSet {{ {_wrl_faces(local, habits, number, lines)} }}"
        shape = (
            f"Shape {{ {look} {geometry} }}" if habits["shape"] == "look first" else f"Shape {{ {geometry} {look} }}"
        )
        match habits["container"]:
            case "LOD":
                shape = f"LOD {{ range [ 500 ] level [ {shape} Shape {{ geometry Sphere {{ }} }} ] }}"
            case "Switch":
                shape = f"Switch {{ whichChoice 1 choice [ Group {{ }} {shape} ] }}"
            case container if container:
                shape = f"{container} {{ children {shape} }}"
        for matrix in reversed(chain):
            shape = f"Transform {{ {_wrl_place(matrix)} children [ {shape} ] }}"
        lines.append(shape)
    (folder / "head.wrl").write_bytes(as_text(lines, habits))
    return "head.wrl"


def _wrl_place(matrix: Matrix) -> str:
    numbers = taken_apart(matrix)
    angle = float(np.linalg.norm(numbers["rotation"]))
    axis = numbers["rotation"] / angle if angle else np.array([0, 0, 1])
    numbers["rotation"] = np.append(axis, angle)
    return " ".join(f"{name} {' '.join(f'{value:.9g}' for value in values)}" for name, values in numbers.items())


def _wrl_look(folder: Path, part: Part, habits: Habits, number: int) -> str:
    if part.look == "picture":
        name = save_picture(folder, part.colors, habits, number)
        url = f'[ "{name}" ]' if habits["url"] == "list" else f'"{name}"'
        white = "material Material { diffuseColor 1 1 1 }"
        return f"appearance Appearance {{ {white} texture ImageTexture {{ url {url} }} }}"
    if part.look == "material":
        red, green, blue = part.colors[0] / 255
        return f"appearance Appearance {{ material Material {{ diffuseColor {red:.6f} {green:.6f} {blue:.6f} }} }}"
    return "appearance Appearance { material Material { } }" if habits["crease"] else ""


def _wrl_faces(part: Part, habits: Habits, number: int, lines: list[str]) -> str:
    """What stands in a face set; nodes that it uses and that stand outside of it are added to the lines."""
    if habits["places"] == "index absent" or (habits["places"] == "same index" and part.look == "picture"):
        part = part.with_own_places()
    if habits["clockwise"]:
        part = part.turned_inside_out()
    gap = habits["separator"]

    def listed(polygons: Sequence[tuple[int, ...]]) -> str:
        words = [gap.join(map(str, (*polygon, -1))) for polygon in polygons]
        joined = gap.join(words)
        return joined.removesuffix(f"{gap}-1") if habits["end"] == "open" else joined

    def rows(values: Points) -> str:
        return gap.join(" ".join(f"{value:.7f}" for value in row) for row in values)

    polygons, laid = (list(column) for column in zip(*with_degenerate(part, habits), strict=True))
    points = np.vstack([part.points, [STRAY]]) if habits["stray"] else part.points
    coordinates = f"Coordinate {{ point [ {rows(points)} ] }}"
    match habits["used"]:
        case "DEF":
            coordinates = f"DEF points{number} {coordinates}"
        case "DEF outside":
            faces = f"IndexedFaceSet {{ coord DEF points{number} {coordinates} }}"
            lines.append(f"Switch {{ whichChoice -1 choice [ Shape {{ geometry {faces} }} ] }}")
            coordinates = f"USE points{number}"
    index = f"coordIndex [ {listed(polygons)} ]"
    words = [f"coord {coordinates}", index] if habits["order"] == "points first" else [index, f"coord {coordinates}"]
    if part.look == "picture":
        words.append(f"texCoord TextureCoordinate {{ point [ {rows(part.places)} ] }}")
        if habits["places"] == "index absent" and habits["stray"]:
            words[-1] = f"texCoord TextureCoordinate {{ point [ {rows(np.vstack([part.places, [(0, 0)]]))} ] }}"
        if habits["places"] != "index absent":
            words.append(f"texCoordIndex [ {listed(laid)} ]")
    if part.look in ("vertex", "face"):
        colors = part.colors / 255
        if part.look == "face" and habits["degenerate"]:
            colors = np.vstack([colors, colors[:1]])
        if part.look == "vertex" and habits["stray"]:
            colors = np.vstack([colors, [(0, 0, 0)]])
        if habits["colors"] == "indexed":
            backward = len(colors) - 1
            colors = colors[::-1]
            own = [tuple(backward - vertex for vertex in polygon) for polygon in polygons]
            of_faces = " ".join(str(backward - place) for place in range(len(polygons)))
            words.append(f"colorIndex [ {listed(own) if part.look == 'vertex' else of_faces} ]")
        words.append(f"color Color {{ color [ {rows(colors)} ] }}")
        words += ["colorPerVertex FALSE"] if part.look == "face" else []
    words += ["ccw FALSE"] if habits["clockwise"] else []
    words += ["creaseAngle 3.14", "solid FALSE", "convex TRUE"] if habits["crease"] else []
    if habits["normals"]:
        words.insert(
            0, f"normal Normal {{ vector [ {rows(np.ones((len(points), 3)))} ] }} normalIndex [ {listed(polygons)} ]"
        )
        words.append("normalPerVertex TRUE")
    return " ".join(words)
