"""STL and glTF: read by trimesh, after a look at what the file would make it do."""

from __future__ import annotations

import io
import json
import logging
import math
import re
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polyview.corpus.formats import gltf
from polyview.corpus.formats.limits import (
    LARGEST_FILE,
    Companions,
    check_face_count,
    read_bytes,
)
from polyview.corpus.formats.looks import parts_of
from polyview.corpus.formats.materials import Material
from polyview.corpus.formats.parts import as_one
from polyview.corpus.formats.polygons import as_polygons, with_polygon_colors
from polyview.corpus.formats.skin import color_of
from polyview.corpus.mesh import Mesh, MeshError

# What it has to say of a broken file, the error says.
logging.getLogger("trimesh").setLevel(logging.CRITICAL)

_TRIANGLES = 4
_HARMLESS = (
    gltf.PLACED,
    "KHR_materials_",
    "KHR_lights_",
    "KHR_mesh_quantization",
    "EXT_texture_webp",
    "KHR_xmp",
    "MSFT_lod",
)
"""How extensions begin that change nothing of a surface, or that are heeded here."""
_MOST_NODES = 1_000
_MAGICS = re.compile(rb"COLOR=(.{3})", re.DOTALL)
_COMPONENTS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT2": 4, "MAT3": 9, "MAT4": 16}


def read(data: bytes, companions: Companions, suffix: str) -> Mesh:
    """The mesh of a file whose format is `suffix`; raises `MeshError`."""
    resolver = _Resolver(companions)
    try:
        _LOOKS[suffix](data)
        return _read_stl(data, companions) if suffix == ".stl" else _read_gltf(data, suffix, companions, resolver)
    except MeshError:
        raise
    except Exception as error:  # trimesh's readers raise whatever a broken file leads them to
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise MeshError(f"not readable as {suffix}: {resolver.refused or reason}") from None


def _read_stl(data: bytes, companions: Companions) -> Mesh:
    import trimesh  # takes a second, and most datasets need none of it

    with np.errstate(all="ignore"):  # the mesh's own check tells what is not finite
        loaded = trimesh.load_mesh(io.BytesIO(data), file_type="stl", process=False)
    if not isinstance(loaded, trimesh.Trimesh):
        raise MeshError("the file holds no triangles")
    check_face_count(len(loaded.faces))
    mesh = Mesh(
        vertices=np.asarray(loaded.vertices, dtype=np.float32),
        faces=np.asarray(loaded.faces, dtype=np.int32),
        texture=companions.picture(None),
    )
    painted = _painted(data, loaded)
    return mesh if painted is None else with_polygon_colors(mesh, as_polygons(mesh.faces), painted)


def _read_gltf(data: bytes, suffix: str, companions: Companions, resolver: _Resolver) -> Mesh:
    import trimesh  # takes a second, and most datasets need none of it

    gltf.register()
    tree = gltf.tree_of(data, suffix)
    gltf.heed(tree)
    file = io.BytesIO(gltf.packed(tree, data, suffix))
    with np.errstate(all="ignore"):  # the mesh's own check tells what is not finite
        scene = trimesh.load_scene(file, file_type=suffix.removeprefix("."), resolver=resolver, process=False)
        if resolver.refused and not companions.texture:
            raise MeshError(resolver.refused)
        parts, colored = parts_of(scene, tree, pictured=companions.texture is not None)
        if not parts:
            raise MeshError("the file holds no triangles")
        check_face_count(sum(len(part.faces) for part in parts))
        return as_one(parts, companions.picture(None), colored)


class _Resolver:
    """Gives trimesh the files that a mesh names, of the dataset alone; remembers the first that it refused."""

    def __init__(self, companions: Companions) -> None:
        self._companions = companions
        self.refused: str | None = None

    def get(self, name: str) -> bytes:
        try:
            places = (self._companions.beside(spelling) for spelling in gltf.spellings(name))
            return read_bytes(next(filter(None, places), None) or self._companions.find(name))
        except MeshError as error:
            self.refused = self.refused or (str(error) if repr(name) in str(error) else f"{name}: {error}")
            raise

    def __getitem__(self, name: str) -> bytes:
        return self.get(name)


def _look_at_stl(data: bytes) -> None:
    """A binary file whose count no face has, or that does not have as many."""
    count = struct.unpack_from("<I", data, 80)[0] if len(data) >= 84 else 0
    if data[:100].lstrip()[:5].lower() == b"solid" and len(data) != 84 + 50 * count:
        if b"endsolid" not in data.lower():
            raise MeshError("has no endsolid: the file is cut")
        return
    check_face_count(count)
    if len(data) != 84 + 50 * count:
        raise MeshError(f"declares {count} faces and holds {(len(data) - 84) / 50:g}: the file is cut or broken")


def _look_at_glb(data: bytes) -> None:
    try:
        magic, version, whole, length, kind = struct.unpack_from("<4sIII4s", data)
    except struct.error:
        raise MeshError("not readable as .glb: too short for a header") from None
    if magic == b"glTF" and whole > len(data):
        raise MeshError(f"declares {whole} bytes and holds {len(data)}: the file is cut")
    if magic != b"glTF" or version != 2 or kind != b"JSON" or 20 + length > len(data):
        raise MeshError("not readable as .glb: not a binary glTF 2 file")
    _look_at_gltf(data[20 : 20 + length])


def _look_at_gltf(data: bytes) -> None:
    """Arrays that are larger than a file may be, or a tree of nodes that is not a tree, or has no end."""
    try:
        tree = json.loads(data)
    except json.JSONDecodeError as error:
        raise MeshError(f"not readable as glTF: {error}: the file is cut or broken") from None
    _check_extensions(tree)
    total = 0
    for accessor in tree.get("accessors", []):
        count = accessor["count"]
        if type(count) is not int or count < 0:
            raise MeshError(f"not readable as glTF: an accessor of {count!r} items")
        changed = accessor.get("sparse", {}).get("count", 0)
        if type(changed) is not int or not 0 <= changed <= count:
            raise MeshError(f"not readable as glTF: a sparse array of {count} items that changes {changed!r} of them")
        total += (count + changed) * 4 * _COMPONENTS.get(accessor["type"], 16)
    if total > LARGEST_FILE:
        raise MeshError(f"its arrays take {total >> 20} MiB, more than the {LARGEST_FILE >> 20} MiB of a mesh")
    nodes = tree.get("nodes", [])
    children = [child for node in nodes for child in node.get("children", [])]
    if len(nodes) > _MOST_NODES or len(children) != len(set(children)):
        raise MeshError(f"its {len(nodes)} nodes are not a tree of at most {_MOST_NODES}")
    triangles = [_triangles(tree, mesh) for mesh in tree.get("meshes", [])]
    check_face_count(sum(triangles[node["mesh"]] for node in nodes if "mesh" in node))


def _check_extensions(tree: dict[str, Any]) -> None:
    """Raises `MeshError` at an extension without which the surface or its picture cannot be read."""
    primitives = [part for mesh in tree.get("meshes", []) for part in mesh.get("primitives", [])]
    needed = [
        *tree.get("extensionsRequired", []),
        *(name for part in primitives for name in part.get("extensions", {})),
    ]
    unknown = [name for name in dict.fromkeys(needed) if not str(name).startswith(_HARMLESS)]
    if unknown:
        raise MeshError(
            f"needs the glTF extension {', '.join(map(str, unknown))[:200]}, which is not read here; save it without"
        )
    if primitives and all(part.get("mode", _TRIANGLES) < _TRIANGLES for part in primitives):
        raise MeshError("points or lines and no triangles")


def _triangles(tree: dict[str, Any], mesh: dict[str, Any]) -> int:
    """At most how many triangles a mesh of a glTF file has."""
    accessors = tree["accessors"]
    counts = [
        (accessors[part.get("indices", part["attributes"]["POSITION"])]["count"], part) for part in mesh["primitives"]
    ]
    return sum(count if part.get("mode", _TRIANGLES) > _TRIANGLES else math.ceil(count / 3) for count, part in counts)


_LOOKS = {
    ".stl": _look_at_stl,
    ".glb": _look_at_glb,
    ".gltf": _look_at_gltf,
}


def _painted(data: bytes, loaded: Any) -> NDArray[np.uint8] | None:
    """(F, 3) the faces' colours, which two dialects of binary STL keep in 15 bits; None where it has none.

    The 16th bit says in VisCAM's dialect that a face has a colour of its own, and in that of Magics that it has the
    one in the header. MeshLab sets it in either for all faces, which all have their own.
    """
    words = loaded.face_attributes.get("stl")
    if words is None:
        return None
    words = np.asarray(words, np.uint16).ravel()
    header = _MAGICS.search(data[:80])
    own = words >> 15 > 0
    if header and not own.all():
        own = ~own & words.any()
    elif header:
        own = words & 0x7FFF > 0
    common = np.frombuffer(header[1], np.uint8) if header else color_of(Material())
    if not own.any() and len(set(common.tolist())) == 1:
        return None
    shifts = (0, 5, 10) if header else (10, 5, 0)
    levels = np.stack([(words >> shift) & 31 for shift in shifts], axis=1)
    return np.where(own[:, np.newaxis], np.round(levels * (255 / 31)), common).astype(np.uint8)
