"""VRML 2.0 (.wrl), ISO/IEC 14772-1: face sets with their pictures and colours, joined to one mesh.

BU-3DFE and BU-4DFE write one face set with one picture; programs for modelling write one for each material.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from polyview.corpus.formats.limits import LARGEST_FACES, Companions, check_face_count
from polyview.corpus.formats.materials import Material, text_of
from polyview.corpus.formats.nodes import Node, parse
from polyview.corpus.formats.numbers import as_indices
from polyview.corpus.formats.polygons import as_polygons, ended, polygon_of_corner, surface, with_corner_colors
from polyview.corpus.formats.skin import Skin, color_of, dressed, painted, seen
from polyview.corpus.mesh import Mesh, MeshError
from polyview.wording import counted

_MOST_VISITS = 100_000
"""Of nodes, each as often as it is used."""
_UNREAD_PICTURES = (b"PixelTexture", b"MovieTexture")
_MOST_VERTICES = 3 * LARGEST_FACES


class _Shape(NamedTuple):
    """A face set, the nodes that say what it looks like, and the (4, 4) transform that places it."""

    face_set: Node
    appearance: Sequence[Node]
    matrix: NDArray[np.float64]


def read(data: bytes, companions: Companions) -> Mesh:
    """The mesh of all face sets of a .wrl file, placed as the Transforms around them say; raises `MeshError`.

    Several materials become one texture. Colours of vertices or of faces serve where there is no picture. Face sets of
    a material that is nearly clear are left out, unless all are of such.
    """
    if not data.lstrip().startswith(b"#VRML V2.0"):
        raise MeshError("not a VRML 2.0 file: it does not begin with #VRML V2.0")
    nodes = parse(data)
    if not companions.texture and any(node.kind in _UNREAD_PICTURES for node in nodes):
        raise MeshError(
            "has a picture within the file or a film, which are not read here; export it with an ImageTexture"
        )
    shapes = list(_shapes(nodes[0]))
    if not shapes:
        raise _nothing(nodes)
    if len(shapes) == 1 and _look(shapes[0].appearance).picture is None:
        # The only picture of a file belongs to its only surface, wherever it stands.
        shapes = [shapes[0]._replace(appearance=nodes)]
    looks = [_look(shape.appearance) for shape in shapes]
    shown = np.flatnonzero(seen(looks, np.arange(len(looks)))).tolist()
    meshes = list(_meshes([shapes[number] for number in shown]))
    return _joined_and_dressed(meshes, [looks[number] for number in shown], companions)


def _shapes(scene: Node) -> Iterator[_Shape]:
    """All face sets that have faces; what stands outside of any Shape belongs to the scene as a whole."""
    waiting = [(scene, scene, np.eye(4))]
    for _ in range(_MOST_VISITS):
        if not waiting:
            return
        node, shape, matrix = waiting.pop()
        if node.kind == b"IndexedFaceSet" and _array(node, b"Coordinate", b"point") is not None:
            if node.array(b"coordIndex") is not None:
                yield _Shape(node, shape.nodes, matrix)
        elif node.kind == b"Transform":
            matrix = matrix @ _placement(node.numbers)
        elif node.kind == b"Shape":
            shape = node
        waiting += [(child, shape, matrix) for child in reversed(_shown(node))]
    raise MeshError(f"uses its nodes more than {_MOST_VISITS} times: not a face's mesh")


def _shown(node: Node) -> list[Node]:
    """The nodes in a node that are drawn: of levels of detail the first, of a switch the one that it chooses."""
    if node.kind == b"LOD":
        return node.nodes[:1]
    if node.kind == b"Switch":
        chosen = node.array(b"whichChoice")
        return [] if chosen is None else [child for place, child in enumerate(node.nodes) if place == chosen[0]]
    return node.nodes


def _nothing(nodes: Sequence[Node]) -> MeshError:
    """Why a file has no mesh: points alone, or no face set at all."""
    points = [node.array(b"point") for node in nodes if node.kind == b"Coordinate"]
    count = sum(len(values) // 3 for values in points if values is not None)
    if count and not any(node.array(b"coordIndex") is not None for node in nodes):
        return MeshError(f"a point cloud: {counted(count, 'point')} and no triangles")
    return MeshError("holds no IndexedFaceSet with both point and coordIndex")


def _look(appearance: Sequence[Node]) -> Material:
    """What the first picture and the first material say, of these nodes and of those in them."""
    nodes = list(_with_contents(appearance))
    names = [node.words[b"url"] for node in nodes if node.kind == b"ImageTexture" and b"url" in node.words]
    material = next((node for node in nodes if node.kind == b"Material"), Node())
    look = Material(text_of(names[0]) if names else None)
    color, transparency = material.array(b"diffuseColor"), material.array(b"transparency")
    if color is not None:
        red, green, blue = color.clip(0, 1).tolist()
        look = replace(look, colour=(red, green, blue))
    return look if transparency is None else replace(look, opacity=1.0 - float(transparency[0]))


def _with_contents(appearance: Sequence[Node]) -> Iterator[Node]:
    """These nodes, and then those in them that make up what a surface looks like."""
    yield from appearance
    yield from (child for node in appearance if node.kind == b"Appearance" for child in node.nodes)


def _moved(uv: NDArray[np.float64], appearance: Sequence[Node]) -> NDArray[np.float64]:
    """Texture coordinates where a TextureTransform puts them: -C S R C T, of which T comes first."""
    fields = next((node.numbers for node in _with_contents(appearance) if node.kind == b"TextureTransform"), {})
    if not fields:
        return uv
    centre, (angle,) = fields.get(b"center", np.zeros(2)), fields.get(b"rotation", np.zeros(1))
    with np.errstate(all="ignore"):  # a place that is not finite is that of no pixel
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        turned = (uv + fields.get(b"translation", np.zeros(2)) + centre) @ turn.T
        moved: NDArray[np.float64] = turned * fields.get(b"scale", np.ones(2)) - centre
    return moved


def _meshes(shapes: Sequence[_Shape]) -> Iterator[Mesh]:
    """The triangles of each shape, as long as they are no more than a mesh may have; raises `MeshError`."""
    faces, vertices = 0, 0
    for shape in shapes:
        mesh = _mesh(shape)
        faces, vertices = faces + len(mesh.faces), vertices + len(mesh.vertices)
        check_face_count(faces)
        if len(shapes) > 1 and vertices > _MOST_VERTICES:
            raise MeshError(f"{vertices} vertices in its surfaces, more than the {_MOST_VERTICES} that a mesh may have")
        yield mesh


def _mesh(shape: _Shape) -> Mesh:
    """The triangles of a face set where its matrix places them, with their coordinates and colours."""
    face_set, matrix = shape.face_set, shape.matrix
    points, uv = _array(face_set, b"Coordinate", b"point"), _array(face_set, b"TextureCoordinate", b"point")
    indices, uv_indices = face_set.array(b"coordIndex"), face_set.array(b"texCoordIndex")
    vertices = _rows(np.empty(0) if points is None else points, 3, "point")
    corners = ended(as_indices(np.empty(0) if indices is None else indices))
    colors = _colors(face_set)
    shared = _shares_colors(face_set) and colors is not None and len(colors) == len(vertices)
    with np.errstate(invalid="ignore"):  # what is not finite, the mesh's own check tells
        placed = vertices if (matrix == np.eye(4)).all() else vertices @ matrix[:3, :3].T + matrix[:3, 3]
    mesh = surface(
        placed,
        corners,
        None if uv is None else _moved(_rows(uv, 2, "texture point"), shape.appearance),
        None if uv_indices is None else as_indices(uv_indices),
        colors if shared else None,
    )
    if colors is not None and not shared:
        mesh = with_corner_colors(mesh, corners, _color_corners(face_set, corners), colors)
    clockwise, mirrored = face_set.words.get(b"ccw") == b"FALSE", bool(np.linalg.det(matrix[:3, :3]) < 0)
    return replace(mesh, faces=np.ascontiguousarray(mesh.faces[:, ::-1])) if clockwise != mirrored else mesh


def _array(face_set: Node, kind: bytes, name: bytes) -> NDArray[np.float64] | None:
    node = face_set.child(kind)
    return None if node is None else node.array(name)


def _rows(values: NDArray[np.float64], columns: int, name: str) -> NDArray[np.float64]:
    if len(values) % columns:
        raise MeshError(f"{len(values)} numbers are no whole count of {name}s of {columns}: the file is cut or broken")
    return values.reshape(-1, columns)


def _colors(face_set: Node) -> NDArray[np.uint8] | None:
    """(C, 3) the colours that vertices, corners or faces have."""
    colors = _array(face_set, b"Color", b"color")
    if colors is None:
        return None
    return (np.nan_to_num(_rows(colors, 3, "colour")).clip(0, 1) * 255).round().astype(np.uint8)


def _shares_colors(face_set: Node) -> bool:
    """Whether the colours are the vertices' own."""
    return face_set.words.get(b"colorPerVertex") != b"FALSE" and face_set.array(b"colorIndex") is None


def _color_corners(face_set: Node, corners: NDArray[np.int32]) -> NDArray[np.int32]:
    """(n,) the index of each corner's colour: the corner's own, its face's or its vertex's; raises `MeshError`."""
    values = face_set.array(b"colorIndex")
    indices = None if values is None else as_indices(values)
    if face_set.words.get(b"colorPerVertex") != b"FALSE":
        indices = corners if indices is None else ended(indices)
        if len(indices) != len(corners) or ((indices < 0) != (corners < 0)).any():
            raise MeshError("the colours' polygons are not those of the faces")
        return indices
    faces = polygon_of_corner(corners)
    if indices is None:
        return faces
    if len(indices) < faces[-1]:
        raise MeshError(f"{len(indices)} indices of colours for {faces[-1]} faces")
    return np.append(indices, np.int32(0))[faces.clip(max=len(indices))]


def _placement(fields: dict[bytes, NDArray[np.float64]]) -> NDArray[np.float64]:
    """The (4, 4) transform of what is in a Transform: T C R SR S SR^-1 C^-1."""
    centre = fields.get(b"center", np.zeros(3))
    turn, tilt = (_turn(fields.get(name)) for name in (b"rotation", b"scaleOrientation"))
    matrix = np.eye(4)
    matrix[:3, :3] = turn @ tilt @ np.diag(fields.get(b"scale", np.ones(3))) @ tilt.T
    matrix[:3, 3] = fields.get(b"translation", np.zeros(3)) + centre - matrix[:3, :3] @ centre
    return matrix


def _turn(rotation: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """The (3, 3) rotation of an axis and an angle; none about an axis of no length."""
    if rotation is None or not (length := np.linalg.norm(rotation[:3])):
        return np.eye(3)
    turned: NDArray[np.float64] = Rotation.from_rotvec(rotation[:3] / length * rotation[3]).as_matrix()
    return turned


def _joined_and_dressed(meshes: Sequence[Mesh], looks: Sequence[Material], companions: Companions) -> Mesh:
    """One mesh of all, with the picture of their materials or with colours."""
    if companions.texture:
        looks = [replace(look, picture=companions.texture) for look in looks]
    placed = [mesh.uv is not None for mesh in meshes]
    if any(placed):  # a part that does not say where its picture lies shows what else it has
        looks = [look if has else replace(look, picture=None) for look, has in zip(looks, placed, strict=True)]
    colored = any(mesh.colors is not None for mesh in meshes)
    if colored:
        meshes = [replace(mesh, colors=_own_colors(mesh, look)) for mesh, look in zip(meshes, looks, strict=True)]
    mesh = _joined(meshes)
    if not len(mesh.faces):
        return mesh
    of_corner = np.repeat(np.arange(len(looks)), [4 * len(mesh.faces) for mesh in meshes])
    corners = as_polygons(mesh.faces)
    bare = Skin(None if mesh.uv is None else mesh.uv.astype(np.float64), corners)
    skin = painted(bare, looks, corners, of_corner, companions, colored)
    if skin.uv is bare.uv:
        return replace(mesh, texture=skin.texture)
    joined = surface(mesh.vertices.astype(np.float64), corners, skin.uv, skin.uv_corners, mesh.colors)
    return dressed(joined, corners, skin)


def _own_colors(mesh: Mesh, look: Material) -> NDArray[np.uint8]:
    return np.tile(color_of(look), (len(mesh.vertices), 1)) if mesh.colors is None else mesh.colors


def _joined(meshes: Sequence[Mesh]) -> Mesh:
    """One mesh of all; with colours where all have them, and coordinates, elsewhere (0, 0), where any has them."""
    if len(meshes) == 1:
        return meshes[0]
    starts = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes[:-1])])
    colors = [mesh.colors for mesh in meshes if mesh.colors is not None]
    placed = any(mesh.uv is not None for mesh in meshes)
    uv = [np.zeros((len(mesh.vertices), 2), np.float32) if mesh.uv is None else mesh.uv for mesh in meshes]
    return Mesh(
        vertices=np.concatenate([mesh.vertices for mesh in meshes]),
        faces=np.concatenate([mesh.faces + start for mesh, start in zip(meshes, starts, strict=True)]).astype(np.int32),
        colors=np.concatenate(colors) if len(colors) == len(meshes) else None,
        uv=np.concatenate(uv) if placed else None,
    )
