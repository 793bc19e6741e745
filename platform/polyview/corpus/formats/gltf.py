"""glTF: what trimesh leaves out though it changes the picture is put so that trimesh reads it, or is refused."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polyview.corpus.mesh import MeshError

Tree = dict[str, Any]

PLACED = "KHR_texture_transform"
_GLOSS = "KHR_materials_pbrSpecularGlossiness"
_GLOSSY_NAMES = {"diffuseTexture": "baseColorTexture", "diffuseFactor": "baseColorFactor"}
_OWN = "POLYVIEW_left_out"
"""An extension of this program's own: it tells trimesh's reader what to do to the arrays of a primitive."""
_WHITE = (1.0, 1.0, 1.0)
_FLOAT = 5126


def tree_of(data: bytes, suffix: str) -> Tree:
    """The JSON of a .gltf file, or of a .glb."""
    tree: Tree = json.loads(data[20 : 20 + struct.unpack_from("<I", data, 12)[0]] if suffix == ".glb" else data)
    return tree


def with_all_heeded(data: bytes, suffix: str, pictured: bool) -> bytes:
    """A file that trimesh reads as the standard says: the coordinates, expressions and colours that it leaves out.

    pictured: whether the mesh has a picture that the file does not name. The colour of a material is not multiplied
    with its only picture: programs write a grey there by default.
    Raises `MeshError` at sparse arrays, and at a mesh that is shown in several expressions.
    """
    tree = tree_of(data, suffix)
    for look in tree.get("materials", []):
        if _GLOSS in look.get("extensions", {}):
            _make_metallic(look)
    expressions = _expressions(tree)
    parts = [(part, number) for number, mesh in enumerate(tree.get("meshes", [])) for part in mesh["primitives"]]
    colored = not pictured and _shows_colors(tree, [part for part, _ in parts])
    for part, number in parts:
        _choose_coordinates(_look(tree, part).get("baseColorTexture", {}), part["attributes"])
        part.setdefault("extensions", {})[_OWN] = _order(tree, part, expressions.get(number, []), colored)
    return _packed(tree, data, suffix)


def register() -> None:
    """Makes trimesh follow the orders that `with_all_heeded` leaves in a file."""
    from trimesh.exchange.gltf.extensions import register_handler  # takes a second, as trimesh does

    register_handler(_OWN, "primitive_preprocess")(_follow)


def _packed(tree: Tree, data: bytes, suffix: str) -> bytes:
    text = json.dumps(tree).encode()
    if suffix == ".gltf":
        return text
    rest = data[20 + struct.unpack_from("<I", data, 12)[0] :]
    return struct.pack("<4sIII4s", b"glTF", 2, 20 + len(text) + len(rest), len(text), b"JSON") + text + rest


def _make_metallic(look: Tree) -> None:
    """The picture and colour of a glossy material where those of any other are."""
    gloss = look["extensions"].pop(_GLOSS)
    own = {name: gloss[glossy] for glossy, name in _GLOSSY_NAMES.items() if glossy in gloss}
    look["pbrMetallicRoughness"] = look.get("pbrMetallicRoughness", {}) | own


def _expressions(tree: Tree) -> dict[int, list[float]]:
    """How strong the morph targets of each mesh are: as its node says, or else the mesh."""
    found: dict[int, list[float]] = {}
    for node in tree.get("nodes", []):
        if "mesh" in node:
            weights = node.get("weights", tree["meshes"][node["mesh"]].get("weights", []))
            if found.setdefault(node["mesh"], weights) != weights:
                raise MeshError("shows one mesh in several expressions (weights of morph targets); export one alone")
    return found


def _look(tree: Tree, part: Tree) -> Tree:
    look: Tree = tree["materials"][part["material"]].get("pbrMetallicRoughness", {}) if "material" in part else {}
    return look


def _color(tree: Tree, part: Tree) -> tuple[float, ...]:
    return tuple(_look(tree, part).get("baseColorFactor", _WHITE)[:3])


def _shows_colors(tree: Tree, parts: list[Tree]) -> bool:
    """Whether colours are what is seen: there is no picture, and more than the one grey that is written by default."""
    if any("baseColorTexture" in _look(tree, part) for part in parts):
        return False
    colors = {_color(tree, part) for part in parts}
    painted = any("COLOR_0" in part["attributes"] for part in parts)
    return painted or len(colors) > 1 or any(len(set(color)) > 1 for color in colors)


def _order(tree: Tree, part: Tree, weights: list[float], colored: bool) -> Tree:
    """What is to be done to the arrays of a primitive: which are whole numbers, what moves or colours its vertices."""
    arrays, attributes = tree["accessors"], part["attributes"]
    targets = [
        (weight, target["POSITION"])
        for weight, target in zip(weights, part.get("targets", []), strict=False)
        if weight and "POSITION" in target
    ]
    used = [part.get("indices"), *(index for _, index in targets), *attributes.values()]
    if any("sparse" in arrays[index] for index in used if index is not None):
        raise MeshError("has sparse arrays, which are not read here; export it without them (as .glb or .obj)")
    scaled = [name for name in ("POSITION", "TEXCOORD_0") if _is_whole(arrays, attributes.get(name))]
    order: Tree = {name: bool(arrays[attributes[name]].get("normalized")) for name in scaled}
    if targets:
        order["targets"] = [(weight, index, bool(arrays[index].get("normalized"))) for weight, index in targets]
    if colored:
        color = _color(tree, part)
        part.pop("material", None)
        if color != _WHITE or "COLOR_0" not in attributes:
            order["color"] = color
    return order


def _choose_coordinates(picture: Tree, attributes: dict[str, int]) -> None:
    """Those that the picture lies by are the first, which are the ones that trimesh reads."""
    number = picture.get("extensions", {}).get(PLACED, {}).get("texCoord", picture.get("texCoord", 0))
    if number == 0:
        return
    if f"TEXCOORD_{number}" not in attributes:
        raise MeshError(
            f"its picture lies by TEXCOORD_{number}, which the mesh does not have; export it with that UV map"
        )
    attributes["TEXCOORD_0"] = attributes[f"TEXCOORD_{number}"]


def _is_whole(arrays: list[Tree], index: int | None) -> bool:
    return index is not None and arrays[index]["componentType"] != _FLOAT


def _follow(context: Any) -> None:
    """Do to the arrays of a primitive what its order says."""
    order, part, arrays = context["data"], context["primitive"], context["accessors"]
    attributes = part["attributes"]
    # trimesh only logs what fails here; without its attributes the primitive is then refused.
    part["attributes"] = {}
    own = {
        name: _as_floats(arrays[attributes[name]], order[name]) for name in ("POSITION", "TEXCOORD_0") if name in order
    }
    if "targets" in order:
        moved = own.get("POSITION", arrays[attributes["POSITION"]].astype(np.float64))
        own["POSITION"] = moved + sum(
            weight * _as_floats(arrays[index], scaled) for weight, index, scaled in order["targets"]
        )
    if "color" in order:
        colors = _as_floats(arrays[attributes["COLOR_0"]], True) if "COLOR_0" in attributes else np.ones((1, 3))
        count = len(arrays[attributes["POSITION"]])
        own["COLOR_0"] = np.broadcast_to(colors[:, :3] * _encoded(order["color"]), (count, 3))
    for name, values in own.items():
        attributes[name] = len(arrays)
        arrays.append(values)
    part["attributes"] = attributes


def _as_floats(values: NDArray[Any], normalized: bool) -> NDArray[np.float64]:
    floats = values.astype(np.float64)
    if normalized and values.dtype.kind in "iu":
        floats = np.maximum(floats / np.iinfo(values.dtype).max, -1.0)
    return floats


def _encoded(color: tuple[float, ...]) -> NDArray[np.float64]:
    """The colour of a material, which is linear, as pictures have it."""
    linear = np.clip(color, 0.0, 1.0)
    encoded: NDArray[np.float64] = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return encoded
