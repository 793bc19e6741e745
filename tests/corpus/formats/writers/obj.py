"""A head as OBJ with its MTL."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

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
    colored = any(part.look == "vertex" for part in parts)
    points: list[str] = []
    blocks: list[list[str]] = []
    count, count_vt = 0, 0

    def number(value: float) -> str:
        return f"{value:.7e}" if habits["numbers"] == "exponent" else f"{value:.5f}"

    def corner(place: int, own: int | None, relative: bool) -> str:
        vertex = place - total if relative else place + 1
        if own is None:
            return f"{vertex}//{1}" if habits["normals"] else f"{vertex}"
        word = f"{vertex}/{own - total_vt if relative else own + 1}"
        return f"{word}/1" if habits["normals"] else word

    library = ["# materials"] if habits["comments"] else []
    for order, part in enumerate(parts):
        own: list[str] = []
        for point, color in zip(part.points, shown_by_points(part), strict=True):
            word = " ".join(map(number, point))
            if colored:
                shares = [f"{share:.6f}" for share in color / 255]
                word += " " + " ".join(map(str, color) if habits["colors"] == "bytes" else shares)
                word += " 1.0" if habits["colors"] == "alpha" else ""
            elif habits["numbers"] == "w":
                word += " 1.0"
            own.append(f"v {word}")
        if habits["stray"]:
            own.append(
                "v "
                + " ".join(map(str, STRAY))
                + (" 0 0 0" if colored else "")
                + (" 1.0" if colored and habits["colors"] == "alpha" else "")
            )
        has_vt = part.look == "picture" or habits["always vt"]
        own += [f"vt {u:.6f} {v:.6f}" + (" 0" if habits["vt"] == 3 else "") for u, v in part.places if has_vt]
        points += own
        total = count + len(part.points) + habits["stray"]
        total_vt = count_vt + len(part.places) * has_vt
        if habits["blocks"] == "points first":
            total = sum(len(each.points) + habits["stray"] for each in parts)
            total_vt = sum(len(each.places) for each in parts if each.look == "picture" or habits["always vt"])
        faces = [f"{habits['groups']} {order + 1}"] if habits["groups"] else []
        use = _obj_material(folder, part, habits, order, library)
        faces += [use] if use else []
        for place, (polygon, laid) in enumerate(with_degenerate(part, habits)):
            relative = habits["indices"] == "from the end" or (habits["indices"] == "mixed" and place % 2 == 1)
            words = [
                corner(count + vertex, count_vt + own_place if has_vt else None, relative)
                for vertex, own_place in zip(polygon, laid, strict=True)
            ]
            if habits["uses"] != "once" and use:
                faces.append(use)
            if habits["continued"]:
                words[1] += " \\" + habits["newline"] if habits["newline"] != "\r" else ""
            faces.append("f " + " ".join(words))
        if habits["comments"]:
            faces += ["", "# f 1 2 3", "   "]
        count, count_vt = count + len(part.points) + habits["stray"], count_vt + len(part.places) * has_vt
        blocks.append([*own, *faces] if habits["blocks"] == "part by part" else faces)
    lines = ["# a head, made to be read"] if habits["comments"] else []
    lines += [f"mtllib {habits['library']}"] if library else []
    lines += ["vn 0 0 1"] if habits["normals"] else []
    lines += points if habits["blocks"] == "points first" else []
    if habits["uses"] == "mixed" and habits["blocks"] == "points first":
        blocks = [_mixed(blocks)]
    for block in blocks:
        lines += block
    if habits["indented"]:
        lines = [f"  {line.replace(' ', '   ', 1)}\t" for line in lines]
    if library:
        (folder / "head.mtl" if habits["library"] == "HEAD.MTL" else folder / habits["library"]).write_bytes(
            as_text(library, habits | {"newline": "\r\n" if habits["newline"] == "\r\n" else "\n"})
        )
    (folder / "head.obj").write_bytes(as_text(lines, habits))
    return "head.obj"


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
    return first + [
        line for place in range(longest) for part in others for line in (part[place] if place < len(part) else [])
    ]


def _obj_material(folder: Path, part: Part, habits: Habits, number: int, library: list[str]) -> str:
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
        library += [
            "Ka 0.1 0.9 0.1",
            "Ks 0.5 0.5 0.5",
            "Ns 96",
            "d 1.0",
            "illum 2",
            "map_Bump bump.png",
            "map_d gone.png",
        ]
    if habits["mtl"] == "unused":
        library += [f"newmtl other {number}", "map_Kd gone.png", "Kd 0 1 0"]
    return f"usemtl {name}"
