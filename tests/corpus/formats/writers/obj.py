"""A head as OBJ with its MTL."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tests.corpus.formats.heads import Part
from tests.corpus.formats.writers.habits import (
    COMMON,
    PICTURED,
    STRAY,
    TEXT,
    Habits,
    as_text,
    save_picture,
    shown_by_points,
    with_degenerate,
)

Counts = NDArray[np.int64]

HABITS: dict[str, list[Any]] = (
    COMMON
    | PICTURED
    | TEXT
    | {
        "newline": ["\n", "\r\n", "\r"],
        "indices": ["from one", "from the end", "mixed"],
        "blocks": ["points first", "part by part"],
        "numbers": ["plain", "exponent", "w"],
        "colors": ["shares", "bytes", "alpha"],
        "normals": [False, True],
        "groups": ["", "o", "g", "s"],
        "uses": ["once", "each face", "mixed"],
        "indented": [False, True],
        "continued": [False, True],
        "vt": [2, 3],
        "library": ["head.mtl", "my head.mtl", "HEAD.MTL"],
        "mtl": ["plain", "rich", "black", "tabs", "unused"],
        "nameless": ["no library", "not in library", "empty"],
        "always vt": [False, True],
    }
)


def write(folder: Path, parts: Sequence[Part], habits: Habits) -> str:
    """Writes the mesh, the library of its materials and their pictures; returns the name of the first."""
    colored = any(part.look == "vertex" for part in parts)
    library = ["# materials"] if habits["comments"] else []
    points = [_points(part, habits, colored) for part in parts]
    ends = np.cumsum([[_count(own, "v "), _count(own, "vt ")] for own in points], axis=0)
    starts = np.vstack([np.zeros((1, 2), int), ends[:-1]])
    blocks = []
    for number, part in enumerate(parts):
        faces = [f"{habits['groups']} {number + 1}"] if habits["groups"] else []
        use = _material(folder, part, habits, number, library)
        so_far = ends[-1] if habits["blocks"] == "points first" else ends[number]
        faces += [use] if use else []
        for place, words in enumerate(_corners(part, habits, starts[number], so_far)):
            faces += [use] if use and habits["uses"] != "once" else []
            if habits["continued"] and habits["newline"] != "\r":
                words[1] += " \\" + habits["newline"]
            faces.append("f " + " ".join(words))
            faces += ["", "# f 1 2 3", "   "] if habits["comments"] and not place else []
        blocks.append(faces if habits["blocks"] == "points first" else [*points[number], *faces])
    lines = ["# a head, made to be read"] if habits["comments"] else []
    lines += [f"mtllib {habits['library']}"] if library else []
    lines += ["vn 0 0 1"] if habits["normals"] else []
    if habits["blocks"] == "points first":
        blocks = [*points, *([_mixed(blocks)] if habits["uses"] == "mixed" else blocks)]
    lines += [line for block in blocks for line in block]
    if habits["indented"]:
        lines = [f"  {line.replace(' ', '   ', 1)}\t" for line in lines]
    if library:
        name = "head.mtl" if habits["library"] == "HEAD.MTL" else habits["library"]
        newline = "\r\n" if habits["newline"] == "\r\n" else "\n"
        (folder / name).write_bytes(as_text(library, {**habits, "newline": newline}))
    (folder / "head.obj").write_bytes(as_text(lines, habits))
    return "head.obj"


def _count(lines: list[str], key: str) -> int:
    return sum(line.startswith(key) for line in lines)


def _says_places(part: Part, habits: Habits) -> bool:
    return part.look == "picture" or bool(habits["always vt"])


def _points(part: Part, habits: Habits, colored: bool) -> list[str]:
    """The lines of a part's vertices and texture coordinates; colored: whether vertices have colours."""
    lines = []
    points, colors = part.points, shown_by_points(part)
    if habits["stray"]:
        points, colors = np.vstack([points, [STRAY]]), np.vstack([colors, np.zeros((1, 3), np.uint8)])
    form = "{:.7e}" if habits["numbers"] == "exponent" else "{:.5f}"
    for point, color in zip(points, colors, strict=True):
        words = [form.format(value) for value in point]
        if colored:
            words += map(str, color) if habits["colors"] == "bytes" else (f"{share:.6f}" for share in color / 255)
            words += ["1.0"] if habits["colors"] == "alpha" else []
        elif habits["numbers"] == "w":
            words.append("1.0")
        lines.append("v " + " ".join(words))
    depth = " 0" if habits["vt"] == 3 else ""
    return lines + [f"vt {u:.6f} {v:.6f}{depth}" for u, v in part.places if _says_places(part, habits)]


def _corners(part: Part, habits: Habits, start: Counts, so_far: Counts) -> Iterator[list[str]]:
    """The words of each face's corners; start, so_far: points and places that are before the part, and the face."""
    for number, both in enumerate(with_degenerate(part, habits)):
        from_the_end = habits["indices"] == "from the end" or (habits["indices"] == "mixed" and number % 2 == 1)
        shift = start - so_far if from_the_end else start + 1
        words = []
        for vertex, place in zip(*both, strict=True):
            of_place = str(place + shift[1]) if _says_places(part, habits) else ""
            normal = "/1" if habits["normals"] else ""
            words.append(f"{vertex + shift[0]}/{of_place}{normal}" if of_place or normal else str(vertex + shift[0]))
        yield words


def _mixed(blocks: list[list[str]]) -> list[str]:
    """The faces of all parts in turn, each behind what it needs to be of its own part."""
    runs: list[list[list[str]]] = []
    for block in blocks:
        runs.append([[]])
        for line in block:
            runs[-1][-1].append(line)
            if line.startswith("f "):
                runs[-1].append([])
    longest = max(map(len, runs))
    # A face of a part that names no material comes before all that do.
    named = [any(line.startswith("usemtl") for run in part for line in run) for part in runs]
    first = [line for part, is_named in zip(runs, named, strict=True) if not is_named for run in part for line in run]
    others = [part for part, is_named in zip(runs, named, strict=True) if is_named]
    turns = [part[place] for place in range(longest) for part in others if place < len(part)]
    return first + [line for run in turns for line in run]


def _material(folder: Path, part: Part, habits: Habits, number: int, library: list[str]) -> str:
    """The line that takes the part's material into use; what the library says of it is added to that."""
    name = f"look {number}"
    if part.look in ("none", "vertex", "face"):
        match habits["nameless"]:
            case "no library":
                return f"usemtl {name}" if number else ""
            case "empty":
                library += [f"newmtl {name}"]
        return f"usemtl {name}"
    tab = "\t" if habits["mtl"] == "tabs" else ""
    library += [f"{tab}newmtl {name}"]
    if part.look == "material":
        red, green, blue = part.colors[0] / 255
        library += [f"{tab}Kd {red:.6f} {green:.6f} {blue:.6f}"]
    else:
        picture = save_picture(folder, part.colors, habits, number)
        options = {"rich": "-s 1 1 1 -o 0 0 0 -clamp on "}.get(habits["mtl"], "")
        library += [f"{tab}map_Kd{tab or ' '}{options}{picture}"]
        library += [f"{tab}Kd 0 0 0"] if habits["mtl"] == "black" else []
    if habits["mtl"] == "rich":
        library += ["Ka 0.1 0.9 0.1", "Ks 0.5 0.5 0.5", "d 1.0", "illum 2", "map_Bump bump.png", "map_d gone.png"]
    if habits["mtl"] == "unused":
        library += [f"newmtl other {number}", "map_Kd gone.png", "Kd 0 1 0"]
    return f"usemtl {name}"
