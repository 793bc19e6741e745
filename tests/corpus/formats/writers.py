"""One head in every format, in all habits of writing: what each format's specification allows, and what programs do.

A writer takes a folder, the parts of a head and its habits, and returns the name of the file. What it may be told is
in `HABITS`, the plainest first.
"""

from __future__ import annotations

import base64
import io
import json
import struct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tests.corpus.formats.heads import Colors, Part, Points

Habits = Mapping[str, Any]
Matrix = NDArray[np.float64]
Tree = dict[str, Any]

STRAY = (400.0, -300.0, 250.0)
NAMES = ("skin{}", "my skin {}", "sub/skin{}", "gesicht-ä{}", "skin%20{}")
PICTURES = {"png": "PNG", "jpg": "JPEG", "bmp": "BMP", "PNG": "PNG", "tif": "TIFF"}

COMMON = {"cut": ["triangles", "quads", "mixed"], "stray": [False, True], "degenerate": [False, True]}
PICTURED = {"name": list(NAMES), "suffix": ["png", "jpg", "bmp", "PNG", "tif"], "case": ["as it is", "other"]}
TEXT = {"newline": ["\n", "\r\n"], "comments": [False, True], "byte order mark": [False, True]}
HABITS: dict[str, dict[str, list[Any]]] = {
    ".obj": COMMON
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
    },
    ".ply": COMMON
    | PICTURED
    | {
        "newline": ["\n", "\r\n", "\r"],
        "order": ["ascii", "binary_little_endian", "binary_big_endian"],
        "real": ["float", "double", "float32"],
        "colors": ["uchar", "float", "ushort", "int", "double", "bytes in ushort", "bytes in float"],
        "both": [False, True],
        "st": ["s t", "u v", "texture_u texture_v"],
        "alpha": [False, True],
        "first": ["xyz", "colors", "normals"],
        "list": ["uchar int", "uchar uint", "int int", "ushort ushort", "uint8 int32", "char short"],
        "corners": ["vertex_indices", "vertex_index"],
        "places": ["texcoord", "vertices"],
        "no picture": ["-1", "empty", "-1 empty"],
        "extra": [False, True],
        "elements": ["plain", "faces first", "edges between", "list in vertices"],
        "comments": [False, True],
    },
    ".off": COMMON
    | TEXT
    | {
        "colors": ["bytes", "shares", "alpha bytes", "alpha shares"],
        "normals": [False, True],
        "places": [False, True],
        "counts": ["own line", "same line"],
        "spaces": [" ", "  ", "\t"],
    },
    ".stl": {
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
    },
    ".wrl": COMMON
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
    },
    ".glb": {},
}
GLTF: dict[str, list[Any]] = {
    "cut": ["triangles"],
    "stray": [False, True],
    "degenerate": [False, True],
    "name": list(NAMES),
    "suffix": ["png", "jpg"],
    "container": ["glb", "gltf inline", "gltf"],
    "image": ["inside", "inline", "beside"],
    "indices": ["uint32", "uint16", "uint8", "none"],
    "arrays": ["apart", "interleaved", "one view"],
    "places": ["float32", "uint16", "uint8"],
    "colors": ["float32", "uint8", "uint16"],
    "alpha": [False, True],
    "mode": ["triangles", "strip"],
    "coordinates": [0, 1],
    "material": ["plain", "rich", "emissive", "gloss"],
    "children": [False, True],
    "nodes": ["flat", "moved", "scaled", "turned", "mirrored", "matrix", "nested"],
    "meshes": ["each part", "one"],
    "more": ["nothing", "attributes", "decoys", "targets", "second scene", "no scenes"],
    "sampler": ["none", "repeat", "clamp", "mirror"],
}
HABITS[".glb"] = GLTF


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
    file.write_bytes(encoded(picture, habits["suffix"]))
    return name.swapcase() if habits.get("case") == "other" else name


def encoded(picture: Colors, suffix: str) -> bytes:
    file = io.BytesIO()
    options = {"quality": 98, "subsampling": 0} if PICTURES[suffix] == "JPEG" else {}
    Image.fromarray(picture).save(file, PICTURES[suffix], **options)
    return file.getvalue()


def as_text(lines: Sequence[str], habits: Habits) -> bytes:
    text = habits["newline"].join([*lines, ""]).encode()
    return (b"\xef\xbb\xbf" if habits.get("byte order mark") else b"") + text


def shown_by_points(part: Part) -> Colors:
    """(V, 3) the colours of a part's points, where those are what the file has of every part."""
    return part.colors if part.look == "vertex" else part.colors[:1].reshape(-1, 3)[:1].repeat(len(part.points), axis=0)


def write_obj(folder: Path, parts: Sequence[Part], habits: Habits) -> str:
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
        polygons = list(zip(part.polygons, part.laid, strict=True))
        if habits["degenerate"]:
            polygons.append(((part.polygons[0][0], *part.polygons[0][:2]), (part.laid[0][0], *part.laid[0][:2])))
        for place, (polygon, laid) in enumerate(polygons):
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


_CODES = {"float": "f", "float32": "f", "double": "d", "uchar": "B", "uint8": "B", "char": "b", "short": "h"}
_CODES |= {"ushort": "H", "int": "i", "int32": "i", "uint": "I"}
Row = list[tuple[str, str, Any]]
"""The properties of a row: type (or the two of a list), name, and what it holds."""


def write_ply(folder: Path, parts: Sequence[Part], habits: Habits) -> str:
    pictured = [part for part in parts if part.look == "picture"]
    by_vertex, by_face = (any(part.look == look for part in parts) for look in ("vertex", "face"))
    by_vertex |= not by_face and any(part.look == "material" for part in parts)
    if habits["places"] == "vertices" and pictured:
        parts = [part.with_own_places() if part.look == "picture" else part for part in parts]
    of_points: list[Row] = []
    of_faces: list[Row] = []
    start, names = 0, []
    for number, part in enumerate(parts):
        texnumber = -1
        if part.look == "picture":
            texnumber = len(names)
            names.append(save_picture(folder, part.colors, habits, number))
        in_vertices = habits["places"] == "vertices" and bool(pictured)
        for place, point in enumerate(part.points):
            uv = (part.places[place] if part.look == "picture" else (0.5, 0.5)) if in_vertices else None
            white = np.full(3, 255, np.uint8) if habits["both"] and by_face else None
            of_points.append(_ply_point(point, shown_by_points(part)[place] if by_vertex else white, uv, habits))
        polygons = list(zip(part.polygons, part.laid, strict=True))
        if habits["degenerate"]:
            polygons.append(((part.polygons[0][0], *part.polygons[0][:2]), (part.laid[0][0], *part.laid[0][:2])))
        for place, (polygon, laid) in enumerate(polygons):
            length, kind = habits["list"].split()
            row: Row = [(f"list {length} {kind}", habits["corners"], [start + vertex for vertex in polygon])]
            if pictured and not in_vertices:
                own: list[float] = part.places[list(laid)].ravel().tolist() if part.look == "picture" else []
                if part.look != "picture" and habits["no picture"] == "-1":
                    own = [0.0] * (2 * len(polygon))
                row.append((f"list uchar {habits['real']}", "texcoord", own))
            if pictured and (len(names) > 1 or len(pictured) < len(parts) or len(pictured) > 1):
                if habits["no picture"] != "empty" or in_vertices or len(pictured) > 1:
                    row.append(("int", "texnumber", texnumber))
            if by_face:
                color = (
                    part.colors[min(place, len(part.colors) - 1)]
                    if part.look in ("face", "material")
                    else part.colors.reshape(-1, 3)[0]
                )
                if part.look == "none":
                    color = part.colors[0]
                row += _ply_colors(color, habits)
            if habits["extra"]:
                row.insert(0, ("uchar", "flags", 3))
                row.append(("list uchar float", "weights", [0.5] * (place % 3)))
            of_faces.append(row)
        start += len(part.points)
    if habits["stray"]:
        of_points.append(
            _ply_point(
                np.array(STRAY),
                np.full(3, 255, np.uint8) if by_vertex or (habits["both"] and by_face) else None,
                (0.0, 0.0) if habits["places"] == "vertices" and pictured else None,
                habits,
            )
        )
    elements = [("vertex", of_points), ("face", of_faces)]
    match habits["elements"]:
        case "faces first":
            elements.reverse()
        case "edges between":
            elements.insert(1, ("edge", [[("int", "vertex1", 0), ("int", "vertex2", 1)]] * 3))
            elements.insert(0, ("camera", [[("float", "view_px", 1.0)]]))
        case "list in vertices":
            for place, row in enumerate(of_points):
                row.insert(1, ("list uchar short", "near", list(range(place % 4))))
    comments = [f"comment TextureFile {name}" for name in names]
    comments += ["obj_info made to be read", "comment element face 7"] if habits["comments"] else []
    (folder / "head.ply").write_bytes(_ply(elements, comments, habits["order"], habits["newline"]))
    return "head.ply"


def _ply_point(point: Points, color: Colors | None, uv: Any, habits: Habits) -> Row:
    real = habits["real"]
    own: Row = [(real, axis, value) for axis, value in zip("xyz", point.tolist(), strict=True)]
    colors = [] if color is None else _ply_colors(color, habits)
    normals: Row = [("float", f"n{axis}", 0.5) for axis in "xyz"] if habits["extra"] else []
    if uv is not None:
        across, up = habits["st"].split()
        colors = [("float", across, float(uv[0])), ("float", up, float(uv[1])), *colors]
    match habits["first"]:
        case "colors":
            return [*colors, *own, *normals]
        case "normals":
            return [*normals, *own, *colors]
    return [*own, *normals, *colors]


def _ply_colors(color: Colors, habits: Habits) -> Row:
    kind = habits["colors"].removeprefix("bytes in ")
    scale = {"uchar": 1, "int": 1, "ushort": 257}.get(habits["colors"], 1 if "bytes" in habits["colors"] else 1 / 255)
    values = [
        (value * scale if kind in ("float", "double") else int(value * scale)) for value in [*color.tolist(), 255]
    ]
    rows = [(kind, name, value) for name, value in zip(("red", "green", "blue", "alpha"), values, strict=True)]
    return rows if habits["alpha"] else rows[:3]


def _ply(elements: Sequence[tuple[str, list[Row]]], comments: list[str], order: str, newline: str) -> bytes:
    lines = ["ply", f"format {order} 1.0", *comments]
    body = b""
    end = {"binary_little_endian": "<", "binary_big_endian": ">"}.get(order)
    for name, rows in elements:
        lines.append(f"element {name} {len(rows)}")
        lines += [f"property {kind} {field}" for kind, field, _ in rows[0]]
        for row in rows:
            words: list[str] = []
            for kind, _, value in row:
                *head, of_values = kind.removeprefix("list ").split()
                values = value if head else [value]
                words += [str(len(values))] * len(head) + [repr(own) for own in values]
                if end:
                    body += struct.pack(end + _CODES[head[0]], len(values)) if head else b""
                    body += struct.pack(end + _CODES[of_values] * len(values), *values)
            body += b"" if end else (" ".join(words) + newline).encode()
    return newline.join([*lines, "end_header", ""]).encode() + body


def write_off(folder: Path, parts: Sequence[Part], habits: Habits) -> str:
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


def write_stl(folder: Path, parts: Sequence[Part], habits: Habits) -> str:
    """Colours of faces in a dialect of binary files; MeshLab's is that of Magics with a bit set which that one keeps."""
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


def write_wrl(folder: Path, parts: Sequence[Part], habits: Habits) -> str:
    chain = CHAINS[habits["nodes"]]
    lines = ["#VRML V2.0 utf8"]
    lines += ["# a } [ head", 'WorldInfo { title "a { head } [" }'] if habits["comments"] else []
    lines += (
        [
            'NavigationInfo { type [ "EXAMINE" "ANY" ] }',
            "Viewpoint { position 0 0 500 }",
            "Background { skyColor [ 0 0 0, 1 0 0 ] }",
            "PointLight { color 1 0 0 location 0 0 9 }",
        ]
        if habits["comments"]
        else []
    )
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
    from scipy.spatial.transform import Rotation

    scale = np.linalg.norm(matrix[:3, :3], axis=0)
    if np.linalg.det(matrix[:3, :3]) < 0:
        scale = np.diag(matrix[:3, :3])
    vector = Rotation.from_matrix(matrix[:3, :3] / scale).as_rotvec()
    angle = float(np.linalg.norm(vector))
    axis = vector / angle if angle else np.array([0, 0, 1])
    numbers = {"rotation": [*axis, angle], "scale": scale, "translation": matrix[:3, 3]}
    return " ".join(f"{name} {' '.join(f'{value:.9g}' for value in values)}" for name, values in numbers.items())


def _wrl_look(folder: Path, part: Part, habits: Habits, number: int) -> str:
    if part.look == "picture":
        name = save_picture(folder, part.colors, habits, number)
        url = f'[ "{name}" ]' if habits["url"] == "list" else f'"{name}"'
        return f"appearance Appearance {{ material Material {{ diffuseColor 1 1 1 }} texture ImageTexture {{ url {url} }} }}"
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

    polygons, laid = list(part.polygons), list(part.laid)
    if habits["degenerate"]:
        polygons.append((polygons[0][0], *polygons[0][:2]))
        laid.append((laid[0][0], *laid[0][:2]))
    points = np.vstack([part.points, [STRAY]]) if habits["stray"] else part.points
    coordinates = f"Coordinate {{ point [ {rows(points)} ] }}"
    match habits["used"]:
        case "DEF":
            coordinates = f"DEF points{number} {coordinates}"
        case "DEF outside":
            lines.append(
                f"Switch {{ whichChoice -1 choice [ Shape {{ geometry IndexedFaceSet {{ coord DEF points{number} {coordinates} }} }} ] }}"
            )
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


def write_gltf(folder: Path, parts: Sequence[Part], habits: Habits) -> str:
    return _Gltf(folder, habits).write(parts)


class _Gltf:
    """A glTF file as it is put together."""

    def __init__(self, folder: Path, habits: Habits) -> None:
        self._folder, self._habits = folder, habits
        self._body = bytearray()
        self.tree: Tree = {"asset": {"version": "2.0"}, "accessors": [], "bufferViews": [], "nodes": [], "meshes": []}
        self.tree |= {"materials": [], "textures": [], "images": []}

    def write(self, parts: Sequence[Part]) -> str:
        tree, habits = self.tree, self._habits
        chain = CHAINS[habits["nodes"]]
        locals_ = [within(part, chain).with_own_places() for part in parts]
        primitives = [self._primitive(part, number) for number, part in enumerate(locals_)]
        groups = [primitives] if habits["meshes"] == "one" else [[own] for own in primitives]
        tree["meshes"] = [{"primitives": own, "name": "part"} for own in groups]
        roots = [self._node(number, chain) for number in range(len(groups))]
        if habits["children"] and not chain:
            if roots[1:]:
                tree["nodes"][roots[0]]["children"] = roots[1:]
            roots = roots[:1]
        tree["scenes"] = [{"nodes": roots}]
        if habits["more"] in ("decoys", "second scene"):
            decoy = self._primitive(
                Part(
                    parts[0].points * 3, parts[0].polygons, parts[0].places, parts[0].laid, "none", parts[0].colors
                ).with_own_places(),
                9,
            )
            tree["meshes"].append({"primitives": [decoy]})
            tree["nodes"].append({"mesh": len(tree["meshes"]) - 1})
            if habits["more"] == "second scene":
                tree["scenes"] = [{"nodes": [len(tree["nodes"]) - 1]}, tree["scenes"][0]]
                tree["scene"] = 1
        if habits["more"] == "no scenes":
            del tree["scenes"]
        for name in ("materials", "textures", "images"):
            if not tree[name]:
                del tree[name]
        return self._packed()

    def _node(self, mesh: int, chain: Sequence[Matrix]) -> int:
        """The number of the outermost of the nodes that hold a mesh."""
        nodes = self.tree["nodes"]
        nodes.append({"mesh": mesh, "name": "part"})
        places = list(chain)
        if places:
            nodes[-1] |= self._place(places.pop())
        for matrix in reversed(places):
            nodes.append(self._place(matrix) | {"children": [len(nodes) - 1]})
        return len(nodes) - 1

    def _place(self, matrix: Matrix) -> Tree:
        from scipy.spatial.transform import Rotation

        if self._habits["nodes"] == "matrix":
            return {"matrix": matrix.T.ravel().tolist()}
        scale = np.linalg.norm(matrix[:3, :3], axis=0)
        if np.linalg.det(matrix[:3, :3]) < 0:
            scale = np.diag(matrix[:3, :3])
        own: Tree = {}
        if not np.allclose(matrix[:3, 3], 0):
            own["translation"] = matrix[:3, 3].tolist()
        if not np.allclose(scale, 1):
            own["scale"] = scale.tolist()
        rotation = matrix[:3, :3] / scale
        if not np.allclose(rotation, np.eye(3)):
            own["rotation"] = Rotation.from_matrix(rotation).as_quat().tolist()
        return own

    def _view(self, data: bytes, stride: int = 0) -> int:
        self._body += bytes(-len(self._body) % 4)
        view = {"buffer": 0, "byteOffset": len(self._body), "byteLength": len(data)}
        self.tree["bufferViews"].append(view | ({"byteStride": stride} if stride else {}))
        self._body += data
        return len(self.tree["bufferViews"]) - 1

    def _accessor(self, values: NDArray[Any], view: int | None, offset: int = 0, **more: Any) -> int:
        codes = {"f": 5126, "B": 5121, "H": 5123, "I": 5125}
        kind = "SCALAR" if values.ndim == 1 else f"VEC{values.shape[1]}"
        own: Tree = {"componentType": codes[values.dtype.char], "count": len(values), "type": kind}
        if view is not None:
            own |= {"bufferView": view, "byteOffset": offset}
        self.tree["accessors"].append(own | more)
        return len(self.tree["accessors"]) - 1

    def _primitive(self, part: Part, number: int) -> Tree:
        habits = self._habits
        triangles = np.array(part.in_triangles().polygons)
        if habits["degenerate"]:
            triangles = np.vstack([triangles, triangles[0][[0, 0, 1]]])
        points, places, colors = part.points, part.places, shown_by_points(part)
        if habits["stray"]:
            points, places = np.vstack([points, [STRAY]]), np.vstack([places, [(0, 0)]])
            colors = np.vstack([colors, [(0, 0, 0)]]).astype(np.uint8)
        corners, mode = _gltf_corners(triangles, habits["mode"])
        if habits["indices"] == "none":
            points, places, colors = points[corners], places[corners], colors[corners]
        arrays: dict[str, NDArray[Any]] = {"POSITION": points.astype(np.float32)}
        if part.look == "picture":
            if habits["coordinates"]:
                arrays["TEXCOORD_0"] = np.zeros((len(places), 2), np.float32)
            arrays[f"TEXCOORD_{habits['coordinates']}"] = _as_kind(
                np.column_stack([places[:, 0], 1 - places[:, 1]]), habits["places"]
            )
        if part.look == "vertex":
            shares = np.column_stack([colors / 255, np.ones(len(colors))]) if habits["alpha"] else colors / 255
            arrays["COLOR_0"] = _as_kind(shares, habits["colors"])
        if habits["more"] == "attributes":
            arrays["NORMAL"] = np.tile(np.float32([0, 0, 1]), (len(points), 1))
            arrays["TEXCOORD_2"] = np.zeros((len(points), 2), np.float32)
            arrays["_WEIGHT"] = np.zeros(len(points), np.float32)
        primitive: Tree = {"attributes": self._attributes(arrays)}
        if mode != 4:
            primitive["mode"] = mode
        if habits["indices"] != "none":
            narrow = corners.astype(habits["indices"])
            assert (narrow == corners).all()
            primitive["indices"] = self._accessor(narrow, self._view(narrow.tobytes()))
        if habits["more"] == "targets":
            away = np.full(points.shape, 7, np.float32)
            primitive["targets"] = [{"POSITION": self._accessor(away, self._view(away.tobytes()))}]
        material = self._material(part, number)
        if material is not None:
            primitive["material"] = len(self.tree["materials"])
            self.tree["materials"].append(material)
        return primitive

    def _attributes(self, arrays: dict[str, NDArray[Any]]) -> dict[str, int]:
        padded = {
            name: np.frombuffer(
                b"".join(
                    row.tobytes() + bytes(-row.nbytes % 4) for row in np.atleast_2d(values.reshape(len(values), -1))
                ),
                np.uint8,
            ).reshape(len(values), -1)
            for name, values in arrays.items()
        }
        if self._habits["arrays"] == "interleaved":
            rows = np.concatenate(list(padded.values()), axis=1)
            view = self._view(rows.tobytes(), stride=rows.shape[1])
            offsets = np.cumsum([0, *(own.shape[1] for own in padded.values())]).tolist()
            found = {name: (view, offset) for name, offset in zip(padded, offsets, strict=False)}
        elif self._habits["arrays"] == "one view" and len({own.shape[1] for own in padded.values()}) == 1:
            view = self._view(
                b"".join(own.tobytes() for own in padded.values()), stride=next(iter(padded.values())).shape[1]
            )
            offsets = np.cumsum([0, *(own.size for own in padded.values())]).tolist()
            found = {name: (view, offset) for name, offset in zip(padded, offsets, strict=False)}
        else:
            found = {}
            for name, own in padded.items():
                tight = arrays[name].nbytes == own.size
                found[name] = self._view(own.tobytes(), 0 if tight else own.shape[1]), 0
        return {
            name: self._accessor(values, *found[name], **({"normalized": True} if values.dtype.kind == "u" else {}))
            for name, values in arrays.items()
        }

    def _material(self, part: Part, number: int) -> Tree | None:
        tree, habits = self.tree, self._habits
        if part.look == "material":
            encoded_color = part.colors[0] / 255
            linear = np.where(encoded_color <= 0.04045, encoded_color / 12.92, ((encoded_color + 0.055) / 1.055) ** 2.4)
            return {"pbrMetallicRoughness": {"baseColorFactor": [*linear.tolist(), 1.0]}}
        if part.look != "picture":
            return None
        data = encoded(part.colors, habits["suffix"])
        mime = {"png": "image/png", "jpg": "image/jpeg"}[habits["suffix"]]
        match habits["image"]:
            case "inside":
                tree["images"].append({"bufferView": self._view(data), "mimeType": mime})
            case "inline":
                tree["images"].append({"uri": f"data:{mime};base64,{base64.b64encode(data).decode()}"})
            case _:
                tree["images"].append({"uri": quote(save_picture(self._folder, part.colors, habits, number))})
        texture: Tree = {"source": len(tree["images"]) - 1}
        modes = {"repeat": 10497, "clamp": 33071, "mirror": 33648}
        if habits["sampler"] in modes:
            mode = modes[habits["sampler"]]
            tree.setdefault("samplers", []).append({"wrapS": mode, "wrapT": mode})
            texture["sampler"] = len(tree["samplers"]) - 1
        tree["textures"].append(texture)
        place = {"index": len(tree["textures"]) - 1, "texCoord": habits["coordinates"]}
        match habits["material"]:
            case "emissive":
                black = {"pbrMetallicRoughness": {"baseColorFactor": [0, 0, 0, 1]}}
                return {"emissiveTexture": place, "emissiveFactor": [1, 1, 1]} | black
            case "gloss":
                return {"extensions": {"KHR_materials_pbrSpecularGlossiness": {"diffuseTexture": place}}}
            case "rich":
                tree["images"].append({"uri": "gone.png"})
                tree["textures"].append({"source": len(tree["images"]) - 1})
                return {
                    "alphaMode": "OPAQUE",
                    "doubleSided": True,
                    "extensions": {"KHR_materials_unlit": {}},
                    "pbrMetallicRoughness": {
                        "baseColorTexture": place,
                        "baseColorFactor": [1, 1, 1, 0],
                        "metallicFactor": 0,
                    },
                }
        return {"name": "look", "pbrMetallicRoughness": {"baseColorTexture": place}}

    def _packed(self) -> str:
        self._body += bytes(-len(self._body) % 4)
        body, tree, container = bytes(self._body), self.tree, self._habits["container"]
        tree["buffers"] = [{"byteLength": len(body)}]
        if container == "glb":
            text = json.dumps(tree).encode()
            text += b" " * (-len(text) % 4)
            head = struct.pack("<4sIII4s", b"glTF", 2, 28 + len(text) + len(body), len(text), b"JSON")
            (self._folder / "head.glb").write_bytes(head + text + struct.pack("<I4s", len(body), b"BIN\0") + body)
            return "head.glb"
        if container == "gltf":
            name = f"{self._habits['name'].format('')}.bin"
            (self._folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self._folder / name).write_bytes(body)
            tree["buffers"][0]["uri"] = quote(name)
        else:
            tree["buffers"][0]["uri"] = "data:application/octet-stream;base64," + base64.b64encode(body).decode()
        (self._folder / "head.gltf").write_text(json.dumps(tree))
        return "head.gltf"


def _gltf_corners(triangles: NDArray[np.int64], mode: str) -> tuple[NDArray[np.int64], int]:
    """The corners as triangles are listed, or as one strip, in which each triangle begins at an even place."""
    if mode != "strip":
        return triangles.ravel(), 4
    # The last of each and the next one's first stand there twice more: what lies between the two has no area.
    after = np.roll(triangles, -1, axis=0)
    stitched = np.column_stack([triangles, triangles[:, 2], after[:, 0], after[:, 0]])
    return stitched.ravel()[:-3], 5


def _as_kind(shares: Points, kind: str) -> NDArray[Any]:
    return np.round(shares * np.iinfo(kind).max).astype(kind) if kind.startswith("u") else shares.astype(kind)


WRITERS: dict[str, Callable[[Path, Sequence[Part], Habits], str]] = {
    ".obj": write_obj,
    ".ply": write_ply,
    ".off": write_off,
    ".stl": write_stl,
    ".wrl": write_wrl,
    ".glb": write_gltf,
}
