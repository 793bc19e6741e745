"""glTF: what trimesh leaves out though it changes the picture is put so that trimesh reads it, or is refused."""

from __future__ import annotations

import json
import struct
from typing import Any
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

from polyview.corpus.formats import joints
from polyview.corpus.mesh import MeshError

Tree = dict[str, Any]

PLACED = "KHR_texture_transform"
_GLOSS = "KHR_materials_pbrSpecularGlossiness"
_GLOSSY_NAMES = {"diffuseTexture": "baseColorTexture", "diffuseFactor": "baseColorFactor"}
OWN = "POLYVIEW_left_out"
"""An extension of this program's own: it tells trimesh's reader what to do to the arrays of a primitive.

What comes of a primitive has in its metadata by this name the number of its material.
"""
UV, COLOR = "_UV", "_COLOR"
"""Its attributes that have the coordinates of its picture, counted downward, and the colours of its vertices."""
_FAN = 6
_MOST_MOVES = 100_000
"""Joints of all parts together: many times those of a face."""


def tree_of(data: bytes, suffix: str) -> Tree:
    """The JSON of a .gltf file, or of a .glb."""
    tree: Tree = json.loads(data[20 : 20 + struct.unpack_from("<I", data, 12)[0]] if suffix == ".glb" else data)
    return tree


def spellings(uri: str) -> tuple[str, ...]:
    """The names of files that a URI can stand for, the likeliest first: decoded, and as it is."""
    return tuple(dict.fromkeys((unquote(uri), uri)))


def material_of(tree: Tree, number: int | None) -> Tree:
    """The material of this number; the plain one where a primitive has none."""
    material: Tree = {} if number is None else tree["materials"][number]
    return material


def picture_of(material: Tree) -> Tree | None:
    """What a material says of the picture of its colours, where it has one."""
    picture: Tree | None = material.get("pbrMetallicRoughness", {}).get("baseColorTexture")
    return picture


def without_coordinates(number: int) -> MeshError:
    """The error that tells which coordinates a picture lacks."""
    return MeshError(f"its picture lies by TEXCOORD_{number}, which the mesh does not have; export it with that UV map")


def heed(tree: Tree) -> None:
    """Makes a tree one that trimesh reads as the standard says: expressions, joints and fans that it leaves out.

    Raises `MeshError` at a mesh that is shown in several expressions.
    """
    for look in tree.get("materials", []):
        if _GLOSS in look.get("extensions", {}):
            _make_metallic(look)
        _make_reflecting(look)
    _leave_out_pictures(tree)
    if not tree.get("scenes"):
        nodes = tree.get("nodes", [])
        below = {child for node in nodes for child in node.get("children", [])}
        tree["scenes"] = [{"nodes": [number for number in range(len(nodes)) if number not in below]}]
    expressions = _expressions(tree)
    skins = _skins(tree, expressions)
    for number, mesh in enumerate(tree.get("meshes", [])):
        weights, skin = expressions.get(number, ([], None))
        for part in mesh["primitives"]:
            own = _order(tree, part, weights, None if skin is None else skins[skin])
            part.setdefault("extensions", {})[OWN] = own
    _take_off_nodes(tree)


def register() -> None:
    """Makes trimesh follow the orders that `heed` leaves in a tree."""
    from trimesh.exchange.gltf.extensions import register_handler  # takes a second, as trimesh does

    register_handler(OWN, "primitive_preprocess")(_follow)
    register_handler(OWN, "primitive")(_tell_material)


def packed(tree: Tree, data: bytes, suffix: str) -> bytes:
    """The file with this tree in place of its own."""
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


def _make_reflecting(look: Tree) -> None:
    """The picture of a material that glows, as programs write one that needs no light, where any other's picture is."""
    own = look.get("pbrMetallicRoughness", {})
    has_color = "baseColorTexture" in own or any(own.get("baseColorFactor", (0, 0, 0))[:3])
    if not has_color and "emissiveTexture" in look and any(look.get("emissiveFactor", ())):
        look["pbrMetallicRoughness"] = {"baseColorTexture": look["emissiveTexture"]}


def _leave_out_pictures(tree: Tree) -> None:
    """Takes from the tree all pictures but those of colours: a map of normals need not be there."""
    pictures = [picture_of(look) for look in tree.get("materials", [])]
    shown = {picture.get("index") for picture in pictures if picture}
    textures = [texture for number, texture in enumerate(tree.get("textures", [])) if number in shown]
    ways = [way for texture in textures for way in (texture, *texture.get("extensions", {}).values())]
    needed = {way.get("source") for way in ways}
    tree["images"] = [image if number in needed else {} for number, image in enumerate(tree.get("images", []))]


def _expressions(tree: Tree) -> dict[int, tuple[list[float], int | None]]:
    """Of each mesh how strong its morph targets are, as its node says or else the mesh, and the skin that bends it."""
    found: dict[int, tuple[list[float], int | None]] = {}
    for node in tree.get("nodes", []):
        if "mesh" in node:
            weights = node.get("weights", tree["meshes"][node["mesh"]].get("weights", []))
            own = weights, node.get("skin")
            if found.setdefault(node["mesh"], own) != own:
                raise MeshError(
                    "shows one mesh in several expressions (weights of morph targets, joints); export one alone"
                )
    return found


def _skins(tree: Tree, expressions: dict[int, tuple[list[float], int | None]]) -> list[Tree]:
    """Of each skin where its joints are, and the array that says how a vertex lies to them."""
    skins = tree.get("skins", [])
    bent = [(skins[skin], tree["meshes"][mesh]) for mesh, (_, skin) in expressions.items() if skin is not None]
    moves = sum(len(skin["joints"]) * len(mesh["primitives"]) for skin, mesh in bent)
    if moves > _MOST_MOVES:
        raise MeshError(f"{moves} joints of its parts, more than the {_MOST_MOVES} that a face may have")
    places = joints.places(tree.get("nodes", [])) if bent else {}
    return [
        {
            "places": [places[joint].tolist() for joint in skin["joints"]] if bent else [],
            "inverse": skin.get("inverseBindMatrices"),
        }
        for skin in skins
    ]


def _take_off_nodes(tree: Tree) -> None:
    """Meshes that joints bend become roots of the scene: by the standard, where their own node lies does not count."""
    nodes, scenes = tree.get("nodes", []), tree.get("scenes", [])
    if not scenes or not any("skin" in node for node in nodes):
        return
    roots = scenes[tree.get("scene", 0)].setdefault("nodes", [])
    for number in _below(nodes, roots):
        if "mesh" in nodes[number] and "skin" in nodes[number]:
            roots.append(len(nodes))
            nodes.append({"mesh": nodes[number].pop("mesh")})


def _below(nodes: list[Tree], roots: list[int]) -> list[int]:
    """The roots and all that hangs on them, each once."""
    found: dict[int, None] = {}
    waiting = list(roots)
    while waiting:
        number = waiting.pop()
        if number not in found:
            found[number] = None
            waiting += nodes[number].get("children", [])
    return list(found)


def _order(tree: Tree, part: Tree, weights: list[float], skin: Tree | None) -> Tree:
    """What is to be done to the arrays of a primitive: which are fractions, and what moves its vertices."""
    arrays, attributes = tree["accessors"], part["attributes"]
    targets = [
        (weight, target["POSITION"])
        for weight, target in zip(weights, part.get("targets", []), strict=False)
        if weight and "POSITION" in target
    ]
    picture = picture_of(material_of(tree, part.get("material"))) or {}
    order: Tree = {"targets": targets, "uv": _coordinates(picture, attributes), "fan": part.get("mode") == _FAN}
    if skin is not None:
        order["skin"] = skin
        order["sets"] = [
            (index, attributes[f"WEIGHTS_{name.removeprefix('JOINTS_')}"])
            for name, index in attributes.items()
            if name.startswith("JOINTS_")
        ]
    named = [part.get("indices"), *(index for _, index in targets), *attributes.values(), (skin or {}).get("inverse")]
    used = [index for index in named if index is not None]
    order["fractions"] = [index for index in used if arrays[index].get("normalized")]
    order["sparse"] = [(index, *_changes(arrays, index)) for index in dict.fromkeys(used) if "sparse" in arrays[index]]
    return order


def _changes(arrays: list[Tree], index: int) -> tuple[int, int]:
    """The arrays that say which items of a sparse array are others than it has, and what they are.

    As arrays of their own, after all others, they are read like any.
    """
    whole = arrays[index]
    if "changes" not in whole["sparse"]:
        own: Tree = {"count": whole["sparse"]["count"]}
        places = own | {"type": "SCALAR"} | whole["sparse"]["indices"]
        values = own | {"type": whole["type"], "componentType": whole["componentType"]} | whole["sparse"]["values"]
        whole["sparse"]["changes"] = len(arrays)
        arrays += [places, values]
    first = whole["sparse"]["changes"]
    return first, first + 1


def _coordinates(picture: Tree, attributes: dict[str, int]) -> int | None:
    """The array of the coordinates that the picture lies by."""
    number = picture.get("extensions", {}).get(PLACED, {}).get("texCoord", picture.get("texCoord", 0))
    if number and f"TEXCOORD_{number}" not in attributes:
        raise without_coordinates(number)
    return attributes.get(f"TEXCOORD_{number}")


def _follow(context: Any) -> None:
    """Do to the arrays of a primitive what its order says."""
    order, part, arrays = context["data"], context["primitive"], context["accessors"]
    attributes, fractions = part["attributes"], set(order["fractions"])
    # trimesh only logs what fails here; without its attributes the primitive is then refused.
    part["attributes"] = {}
    for index, places, values in order["sparse"]:
        arrays[index] = arrays[index].copy()
        arrays[index][arrays[places].ravel()] = arrays[values]
    own = {"POSITION": _as_floats(arrays[attributes["POSITION"]], attributes["POSITION"] in fractions)}
    for weight, index in order["targets"]:
        own["POSITION"] = own["POSITION"] + weight * _as_floats(arrays[index], index in fractions)
    if order.get("sets"):
        own["POSITION"] = _bent(own["POSITION"], order, arrays)
    if order["uv"] is not None:
        own[UV] = _as_floats(arrays[order["uv"]], order["uv"] in fractions)
    if "COLOR_0" in attributes:
        own[COLOR] = _as_floats(arrays[attributes["COLOR_0"]], True)[:, :3]
    if order["fan"]:
        corners = arrays[part["indices"]].ravel() if "indices" in part else np.arange(len(own["POSITION"]))
        part["mode"], part["indices"] = 4, len(arrays)
        arrays.append(np.column_stack([corners[1:-1], corners[2:], np.full(max(len(corners) - 2, 0), corners[0])]))
    part["attributes"] = {name: len(arrays) + place for place, name in enumerate(own)}
    arrays.extend(own.values())


def _bent(positions: NDArray[np.float64], order: Tree, arrays: list[NDArray[Any]]) -> NDArray[np.float64]:
    moves = np.array(order["skin"]["places"])
    if order["skin"]["inverse"] is not None:
        moves = moves @ arrays[order["skin"]["inverse"]][: len(moves)].transpose(0, 2, 1)
    sets = [(arrays[joints_of], _as_floats(arrays[weights], True)) for joints_of, weights in order["sets"]]
    return joints.bent(positions, moves, sets)


def _tell_material(context: Any) -> Tree:
    return {"metadata": {OWN: context["primitive"].get("material")}}


def _as_floats(values: NDArray[Any], fraction: bool) -> NDArray[np.float64]:
    floats = values.astype(np.float64)
    if fraction and values.dtype.kind in "iu":
        floats = np.maximum(floats / np.iinfo(values.dtype).max, -1.0)
    return floats
