"""A head as glTF, in one file or in several."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray
from tests.corpus.formats.heads import Part, Points
from tests.corpus.formats.writers.habits import (
    CHAINS,
    NAMES,
    STRAY,
    Habits,
    Matrix,
    encoded,
    save_picture,
    shown_by_points,
    taken_apart,
    within,
)

Tree = dict[str, Any]

TRIMESH = "https://github.com/mikedh/trimesh"
"""Writes colours of vertices as pictures have them, which by the standard are linear."""
HABITS: dict[str, list[Any]] = {
    "cut": ["triangles"],
    "stray": [False, True],
    "degenerate": [False, True],
    "name": list(NAMES),
    "suffix": ["png", "jpg"],
    "mode": ["RGB", "RGBA"],
    "container": ["glb", "gltf inline", "gltf"],
    "image": ["inside", "inline", "beside"],
    "indices": ["uint32", "uint16", "uint8", "none"],
    "arrays": ["apart", "interleaved", "one view"],
    "places": ["float32", "uint16", "uint8"],
    "colors": ["float32", "uint8", "uint16"],
    "program": ["", "Khronos glTF Blender I/O v4.2.57", TRIMESH],
    "alpha": [False, True],
    "drawn": ["triangles", "strip"],
    "coordinates": [0, 1],
    "material": ["plain", "rich", "emissive", "gloss"],
    "children": [False, True],
    "nodes": ["flat", "moved", "scaled", "turned", "mirrored", "matrix", "nested"],
    "meshes": ["each part", "one"],
    "more": ["nothing", "attributes", "decoys", "targets", "second scene", "no scenes"],
    "far": [False, True],
    "given": [False, True],
    "sampler": ["none", "repeat", "clamp", "mirror"],
}


def write(folder: Path, parts: Sequence[Part], habits: Habits) -> str:
    return _Gltf(folder, habits).write(parts)


class _Gltf:
    """A glTF file as it is put together."""

    def __init__(self, folder: Path, habits: Habits) -> None:
        self._folder, self._habits = folder, habits
        self._body = bytearray()
        self.tree: Tree = {"asset": {"version": "2.0"}, "accessors": [], "bufferViews": [], "nodes": [], "meshes": []}
        self.tree["asset"] |= {"generator": habits["program"]} if habits["program"] else {}
        self.tree |= {"materials": [], "textures": [], "images": []}

    def write(self, parts: Sequence[Part]) -> str:
        tree, habits = self.tree, self._habits
        chain = CHAINS[habits["nodes"]]
        local = [within(part, chain).with_own_places() for part in parts]
        primitives = [self._primitive(part, number) for number, part in enumerate(local)]
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
        if self._habits["nodes"] == "matrix":
            return {"matrix": matrix.T.ravel().tolist()}
        own = taken_apart(matrix)
        half = np.linalg.norm(own["rotation"]) / 2
        own["rotation"] = np.append(own["rotation"] * np.sinc(half / np.pi) / 2, np.cos(half))
        plain = {"translation": [0, 0, 0], "scale": [1, 1, 1], "rotation": [0, 0, 0, 1]}
        return {name: value.tolist() for name, value in own.items() if not np.allclose(value, plain[name])}

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
        corners, mode = _gltf_corners(triangles, habits["drawn"])
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
            is_linear = habits["program"] != TRIMESH
            shares = linear(colors / 255) if is_linear else colors / 255
            shares = np.column_stack([shares, np.ones(len(colors))]) if habits["alpha"] else shares
            # A byte has too few levels for what is dark and linear; Blender writes none either.
            kind = "uint16" if is_linear and habits["colors"] == "uint8" else habits["colors"]
            arrays["COLOR_0"] = _as_kind(shares, kind)
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
        padded = {name: _in_fours(values) for name, values in arrays.items()}
        widths = [own.shape[1] for own in padded.values()]
        if self._habits["arrays"] == "interleaved":
            rows = np.concatenate(list(padded.values()), axis=1)
            view, offsets = self._view(rows.tobytes(), sum(widths)), np.cumsum([0, *widths]).tolist()
            found = {name: (view, offset) for name, offset in zip(padded, offsets, strict=False)}
        elif self._habits["arrays"] == "one view" and len(set(widths)) == 1:
            view = self._view(b"".join(own.tobytes() for own in padded.values()), widths[0])
            found = {name: (view, place * own.size) for place, (name, own) in enumerate(padded.items())}
        else:
            strides = [0 if arrays[name].nbytes == own.size else own.shape[1] for name, own in padded.items()]
            views = [self._view(own.tobytes(), stride) for own, stride in zip(padded.values(), strides, strict=True)]
            found = {name: (view, 0) for name, view in zip(padded, views, strict=True)}
        return {
            name: self._accessor(values, *found[name], **({"normalized": True} if values.dtype.kind == "u" else {}))
            for name, values in arrays.items()
        }

    def _material(self, part: Part, number: int) -> Tree | None:
        tree, habits = self.tree, self._habits
        if part.look == "material":
            return {"pbrMetallicRoughness": {"baseColorFactor": [*linear(part.colors[0] / 255).tolist(), 1.0]}}
        if part.look != "picture":
            return None
        data = encoded(part.colors, habits["suffix"], habits["mode"])
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


def _in_fours(values: NDArray[Any]) -> NDArray[np.uint8]:
    """The bytes of each row, (n, b), where b is a whole count of fours."""
    own = np.ascontiguousarray(values).reshape(len(values), -1).view(np.uint8)
    return np.pad(own, ((0, 0), (0, -own.shape[1] % 4)))


def linear(shares: Points) -> Points:
    """Colours of a picture, from 0 to 1, as they are before they are encoded for it."""
    shown: Points = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
    return shown


def _as_kind(shares: Points, kind: str) -> NDArray[Any]:
    return np.round(shares * np.iinfo(kind).max).astype(kind) if kind.startswith("u") else shares.astype(kind)
