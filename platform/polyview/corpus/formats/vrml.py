"""VRML 2.0 (.wrl): one IndexedFaceSet with its picture, as BU-3DFE and BU-4DFE write it (ISO/IEC 14772-1)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from polyview.corpus.formats.limits import Companions
from polyview.corpus.formats.materials import text_of
from polyview.corpus.formats.numbers import as_indices, read_numbers
from polyview.corpus.formats.polygons import surface
from polyview.corpus.mesh import Mesh, MeshError

_WORD = re.compile(rb'"([^"]*)"|#[^\r\n]*|[{}\[\]]|[^\s,{}\[\]"#]+')
_ARRAYS = {
    (b"Coordinate", b"point"): "points",
    (b"TextureCoordinate", b"point"): "uv",
    (b"Color", b"color"): "colors",
    (b"IndexedFaceSet", b"coordIndex"): "corners",
    (b"IndexedFaceSet", b"texCoordIndex"): "uv_corners",
    (b"IndexedFaceSet", b"colorIndex"): "color_corners",
}
_TRANSFORM = {b"center": 3, b"rotation": 4, b"scale": 3, b"scaleOrientation": 4, b"translation": 3}
"""The fields of a Transform, and how many numbers each has."""
_MOST_WORDS = 100_000
"""Outside of the arrays that are read: a face's file has a few dozen."""


@dataclass
class _Node:
    """A node that is open: its kind, and the fields of it that place what is in it."""

    kind: bytes
    fields: dict[bytes, NDArray[np.float64]] = field(default_factory=dict)


@dataclass
class _Scene:
    """What a file holds: one face set's arrays and the nodes around it, its picture, whether faces are clockwise."""

    arrays: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    around: list[_Node] = field(default_factory=list)
    picture: str | None = None
    clockwise: bool = False


def read(data: bytes, companions: Companions) -> Mesh:
    """The mesh of a .wrl file, placed as the Transforms around it say; raises `MeshError`."""
    if not data.lstrip().startswith(b"#VRML V2.0"):
        raise MeshError("not a VRML 2.0 file: it does not begin with #VRML V2.0")
    scene = _parse(data)
    arrays = scene.arrays
    if "points" in arrays and arrays["points"].size and "corners" not in arrays:
        raise MeshError(f"a point cloud: {len(arrays['points']) // 3} points and no triangles")
    if "points" not in arrays or "corners" not in arrays:
        raise MeshError("holds no IndexedFaceSet with both point and coordIndex")
    matrix, points = _placement(scene.around), _rows(arrays["points"], 3, "point")
    with np.errstate(invalid="ignore"):  # what is not finite, the mesh's own check tells
        placed = points @ matrix[:3, :3].T + matrix[:3, 3] if scene.around else points
    mesh = surface(
        placed,
        as_indices(arrays["corners"]),
        _rows(arrays["uv"], 2, "texture point") if "uv" in arrays else None,
        as_indices(arrays["uv_corners"]) if arrays.get("uv_corners", np.empty(0)).size else None,
        _colors(arrays),
    )
    mirrored = bool(np.linalg.det(matrix[:3, :3]) < 0)
    return Mesh(
        vertices=mesh.vertices,
        faces=np.ascontiguousarray(mesh.faces[:, ::-1]) if scene.clockwise != mirrored else mesh.faces,
        colors=mesh.colors,
        uv=mesh.uv,
        texture=companions.picture(scene.picture),
    )


def _parse(data: bytes) -> _Scene:
    text = np.frombuffer(data, dtype=np.uint8)
    scene = _Scene()
    nodes: list[_Node] = []
    before, place = b"", 0
    for _ in range(_MOST_WORDS):
        match = _WORD.search(data, place)
        if match is None:
            if nodes:
                raise MeshError(f"ends within its {nodes[-1].kind.decode('latin-1')[:40]}: the file is cut")
            return scene
        word, place = match[0], match.end()
        kind = nodes[-1].kind if nodes else b""
        if word.startswith(b"#"):
            continue
        if word == b"{":
            nodes.append(_Node(before))
        elif word == b"}" and nodes:
            nodes.pop()
        elif word == b"[" and (kind, before) in _ARRAYS:
            place = _read_array(scene, nodes, _ARRAYS[kind, before], text, place)
        elif kind == b"Transform" and word in _TRANSFORM:
            nodes[-1].fields[word], place = _few_numbers(data, place, _TRANSFORM[word])
        elif word.startswith(b'"') and before == b"url" and kind == b"ImageTexture":
            scene.picture = scene.picture or text_of(match[1])
        elif before == b"ccw":
            scene.clockwise = word == b"FALSE"
        # A bracket leaves the field's name standing: url may be a list.
        before = before if word == b"[" else word
    raise MeshError(f"more than {_MOST_WORDS} words outside of its arrays: not a face's mesh")


def _read_array(scene: _Scene, nodes: list[_Node], name: str, text: NDArray[np.uint8], place: int) -> int:
    """Read an array of the face set; returns where it ends."""
    if name in scene.arrays:
        raise MeshError("holds several surfaces; a face must be one")
    scene.arrays[name], end = read_numbers(text, place)
    if name == "points":
        scene.around = [node for node in nodes if node.fields or node.kind == b"Transform"]
    return end


def _few_numbers(data: bytes, place: int, count: int) -> tuple[NDArray[np.float64], int]:
    """The next `count` numbers, and the place after them."""
    match = re.compile(rb"(?:[\s,]*[-+.\deE]+){%d}" % count).match(data, place)
    if match is None:
        raise MeshError(f"a Transform at byte {place} does not have {count} numbers where it needs them")
    return read_numbers(np.frombuffer(match[0], np.uint8))[0], match.end()


def _placement(around: list[_Node]) -> NDArray[np.float64]:
    """The (4, 4) transform from a shape to the world: T C R SR S SR^-1 C^-1 of each Transform around it."""
    matrix = np.eye(4)
    for fields in (node.fields for node in around):
        centre = fields.get(b"center", np.zeros(3))
        turn, tilt = (_turn(fields.get(name)) for name in (b"rotation", b"scaleOrientation"))
        own = np.eye(4)
        own[:3, :3] = turn @ tilt @ np.diag(fields.get(b"scale", np.ones(3))) @ tilt.T
        own[:3, 3] = fields.get(b"translation", np.zeros(3)) + centre - own[:3, :3] @ centre
        matrix = matrix @ own
    return matrix


def _turn(rotation: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """The (3, 3) rotation of an axis and an angle; none about an axis of no length."""
    if rotation is None or not (length := np.linalg.norm(rotation[:3])):
        return np.eye(3)
    turned: NDArray[np.float64] = Rotation.from_rotvec(rotation[:3] / length * rotation[3]).as_matrix()
    return turned


def _rows(values: NDArray[np.float64], columns: int, name: str) -> NDArray[np.float64]:
    if len(values) % columns:
        raise MeshError(f"{len(values)} numbers are no whole count of {name}s of {columns}: the file is cut or broken")
    return values.reshape(-1, columns)


def _colors(arrays: dict[str, NDArray[np.float64]]) -> NDArray[np.uint8] | None:
    """(V, 3) the vertices' colours, where there is one for each vertex."""
    if "colors" not in arrays or "color_corners" in arrays or arrays["colors"].size != arrays["points"].size:
        return None
    colors: NDArray[np.uint8] = (np.nan_to_num(arrays["colors"]).clip(0, 1) * 255).round().astype(np.uint8)
    return colors.reshape(-1, 3)
