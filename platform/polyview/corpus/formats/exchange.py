"""PLY, STL, OFF, glTF: read by trimesh, after a look at what the file would make it do."""

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
from PIL import Image

from polyview.corpus.formats.limits import (
    LARGEST_FILE,
    Companions,
    check_face_count,
    pixels,
    read_bytes,
)
from polyview.corpus.mesh import Mesh, MeshError

# What it has to say of a broken file, the error says.
logging.getLogger("trimesh").setLevel(logging.CRITICAL)

_HEADER = 1 << 16
_MOST_NODES = 1_000
_COMPONENTS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT2": 4, "MAT3": 9, "MAT4": 16}


def read(data: bytes, companions: Companions, suffix: str) -> Mesh:
    """The mesh of a file whose format is `suffix`; raises `MeshError`."""
    import trimesh  # takes a second, and most datasets need none of it

    resolver = _Resolver(companions)
    try:
        _LOOKS[suffix](data)
        with np.errstate(all="ignore"):  # the mesh's own check tells what is not finite
            loaded = trimesh.load(
                io.BytesIO(data), file_type=suffix.removeprefix("."), resolver=resolver, process=False, force="mesh"
            )
    except MeshError:
        raise
    except Exception as error:  # trimesh's readers raise whatever a broken file leads them to
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise MeshError(f"not readable as {suffix}: {resolver.refused or reason}") from None
    if resolver.refused and not companions.texture:
        raise MeshError(resolver.refused)
    if not isinstance(loaded, trimesh.Trimesh):
        raise MeshError("the file holds no triangles")
    check_face_count(len(loaded.faces))
    return Mesh(
        vertices=np.asarray(loaded.vertices, dtype=np.float32),
        faces=_faces(loaded),
        colors=_colors(loaded),
        uv=_uv(loaded),
        texture=companions.picture(None) if companions.texture else _own_texture(loaded),
    )


class _Resolver:
    """Gives trimesh the files that a mesh names, of the dataset alone; remembers the first that it refused."""

    def __init__(self, companions: Companions) -> None:
        self._companions = companions
        self.refused: str | None = None

    def get(self, name: str) -> bytes:
        try:
            return read_bytes(self._companions.find(name))
        except MeshError as error:
            self.refused = self.refused or (str(error) if repr(name) in str(error) else f"{name}: {error}")
            raise

    def __getitem__(self, name: str) -> bytes:
        return self.get(name)


def _look_at_ply(data: bytes) -> None:
    """Counts that the file is too short for, or that no face has."""
    end = data.find(b"end_header", 0, _HEADER)
    if end < 0:
        raise MeshError("not readable as .ply: the header has no end")
    body = len(data) - end
    for name, digits in re.findall(rb"^\s*element\s+(\S+)\s+(\S+)", data[:end], re.MULTILINE):
        count = _whole(digits)
        if name == b"face":
            check_face_count(count)
        if count > body:
            raise MeshError(f"declares {count} of {name.decode('latin-1')!r} in {body} bytes: the file is cut")


def _look_at_stl(data: bytes) -> None:
    """A binary file whose count no face has, or that does not have as many."""
    if data[:100].lstrip()[:5].lower() == b"solid" or len(data) < 84:
        return
    (count,) = struct.unpack_from("<I", data, 80)
    check_face_count(count)
    if len(data) != 84 + 50 * count:
        raise MeshError(f"declares {count} faces and holds {(len(data) - 84) / 50:g}: the file is cut or broken")


def _look_at_off(data: bytes) -> None:
    """Counts that the file is too short for, or that no face has."""
    counts = re.search(rb"OFF\s+(?:#[^\n]*\n\s*)*(\d+)[ \t]+(\d+)", data[:_HEADER])
    if counts is None:
        raise MeshError("not readable as .off: no counts of vertices and faces")
    vertices, faces = _whole(counts[1]), _whole(counts[2])
    check_face_count(faces)
    if vertices * 6 + faces * 4 > len(data) + 8:
        raise MeshError(f"declares {vertices} vertices and {faces} faces in {len(data)} bytes: the file is cut")


def _look_at_glb(data: bytes) -> None:
    try:
        magic, version, _, length, kind = struct.unpack_from("<4sIII4s", data)
    except struct.error:
        raise MeshError("not readable as .glb: too short for a header") from None
    if magic != b"glTF" or version != 2 or kind != b"JSON" or 20 + length > len(data):
        raise MeshError("not readable as .glb: not a binary glTF 2 file")
    _look_at_gltf(data[20 : 20 + length])


def _look_at_gltf(data: bytes) -> None:
    """Arrays that are larger than a file may be, or a tree of nodes that is not a tree, or has no end."""
    tree = json.loads(data)
    total = 0
    for accessor in tree.get("accessors", []):
        count = accessor["count"]
        if type(count) is not int or count < 0:
            raise MeshError(f"not readable as glTF: an accessor of {count!r} items")
        total += count * 4 * _COMPONENTS.get(accessor["type"], 16)
    if total > LARGEST_FILE:
        raise MeshError(f"its arrays take {total >> 20} MiB, more than the {LARGEST_FILE >> 20} MiB of a mesh")
    nodes = tree.get("nodes", [])
    children = [child for node in nodes for child in node.get("children", [])]
    if len(nodes) > _MOST_NODES or len(children) != len(set(children)):
        raise MeshError(f"its {len(nodes)} nodes are not a tree of at most {_MOST_NODES}")
    triangles = [_triangles(tree, mesh) for mesh in tree.get("meshes", [])]
    check_face_count(sum(triangles[node["mesh"]] for node in nodes if "mesh" in node))


def _triangles(tree: dict[str, Any], mesh: dict[str, Any]) -> int:
    """At most how many triangles a mesh of a glTF file has."""
    primitives = mesh["primitives"]
    counts = [tree["accessors"][part.get("indices", part["attributes"]["POSITION"])]["count"] for part in primitives]
    return math.ceil(sum(counts) / 3)


def _whole(digits: bytes) -> int:
    if not digits.isdigit() or len(digits) > 18:
        raise MeshError(f"{digits[:24].decode('latin-1')!r} is not a count")
    return int(digits)


_LOOKS = {
    ".ply": _look_at_ply,
    ".stl": _look_at_stl,
    ".off": _look_at_off,
    ".glb": _look_at_glb,
    ".gltf": _look_at_gltf,
}


def _faces(loaded: Any) -> NDArray[np.int32]:
    faces = np.asarray(loaded.faces)
    # Checked before the narrowing cast, which would wrap an absurd index into a plausible one.
    if faces.size and int(np.abs(faces).max()) > np.iinfo(np.int32).max:
        raise MeshError(f"face index {int(np.abs(faces).max())} of {len(loaded.vertices)} vertices")
    return faces.astype(np.int32)


def _colors(loaded: Any) -> NDArray[np.uint8] | None:
    if loaded.visual.kind != "vertex":
        return None
    return np.asarray(loaded.visual.vertex_colors, dtype=np.uint8)[:, :3]


def _uv(loaded: Any) -> NDArray[np.float32] | None:
    uv = getattr(loaded.visual, "uv", None)
    return None if uv is None else np.asarray(uv, dtype=np.float32)


def _own_texture(loaded: Any) -> NDArray[np.uint8] | None:
    material = getattr(loaded.visual, "material", None)
    image = getattr(material, "image", None) or getattr(material, "baseColorTexture", None)
    if not isinstance(image, Image.Image):
        return None
    try:
        return pixels(image, "inside the file")
    except MeshError:
        raise
    except Exception as error:  # Pillow decodes here, and raises whatever a broken picture leads it to
        raise MeshError(f"its texture is not readable: {' '.join(str(error).split())[:200]}") from None
