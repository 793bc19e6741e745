"""What the parts of a glTF scene look like: their own pictures, the colours of their materials and vertices."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from polyview.corpus.formats.atlas import Picture
from polyview.corpus.formats.gltf import COLOR, OWN, PLACED, UV, Tree, material_of, picture_of, without_coordinates
from polyview.corpus.formats.joints import Matrix
from polyview.corpus.formats.limits import pixels
from polyview.corpus.formats.materials import CLEAR
from polyview.corpus.formats.parts import Part
from polyview.corpus.mesh import MeshError

_Color = tuple[float, ...]

_WHITE = (1.0, 1.0, 1.0)
_ENCODING = ("mikedh/trimesh", "open3d", "assimp", "open asset import library")
"""Programs, as they name themselves, that write the colours of vertices as pictures have them.

By the standard they are linear, and so do others, such as Blender, write them.
"""
_CLAMPED, _MIRRORED = 33071, 33648
_TRANSMISSION = "KHR_materials_transmission"


def parts_of(scene: Any, tree: Tree, pictured: bool) -> tuple[list[Part], bool]:
    """The parts of what trimesh read, and whether they have more colours than the one grey that is written by default.

    Parts that are clear are left out, unless all are. pictured: whether a picture is given that hides their own.
    Raises `MeshError` where a picture of theirs cannot be read or has no coordinates.
    """
    import trimesh  # takes a second, and most datasets need none of it

    placed = [scene.graph[node] for node in scene.graph.nodes_geometry]
    bodies = [(scene.geometry[name], place) for place, name in placed]
    bodies = [(body, place) for body, place in bodies if isinstance(body, trimesh.Trimesh)]
    seen = [(body, place) for body, place in bodies if not _is_clear(_material(tree, body))] or bodies
    tinted = _are_colors({_color(_material(tree, body)) for body, _ in seen})
    pictures = _Pictures(tinted)
    parts = [_part(body, place, tree, None if pictured else pictures) for body, place in seen]
    return parts, tinted or any(COLOR in body.vertex_attributes for body, _ in seen)


class _Pictures:
    """The pictures of a file, each decoded once for each tint.

    tinted: whether the colours of materials count. A grey does not, which programs write by default beside a picture.
    """

    def __init__(self, tinted: bool) -> None:
        self._tinted = tinted
        self._decoded: dict[tuple[int, _Color], Picture] = {}

    def of(self, body: Any, color: _Color) -> Picture:
        image = body.visual.material.baseColorTexture
        tint = color if self._tinted and len(set(color)) > 1 else _WHITE
        if (id(image), tint) not in self._decoded:
            picture = _decoded(image)
            tinted = picture if tint == _WHITE else np.round(picture * _encoded(tint)).astype(np.uint8)
            self._decoded[id(image), tint] = tinted
        return self._decoded[id(image), tint]


def _part(body: Any, place: Matrix, tree: Tree, pictures: _Pictures | None) -> Part:
    """pictures: none where they are not needed."""
    material = _material(tree, body)
    picture, color = picture_of(material), _color(material)
    uv = body.vertex_attributes.get(UV)
    own = None
    if picture is not None and pictures is not None:
        if uv is None:
            raise without_coordinates(0)
        own = pictures.of(body, color)
    vertices = np.asarray(body.vertices) @ place[:3, :3].T + place[:3, 3]
    faces = _narrow(np.asarray(body.faces), len(vertices))
    if np.linalg.det(place[:3, :3]) < 0:
        faces = faces[:, ::-1]
    laid = None if uv is None else _laid(np.asarray(uv), picture or {}, tree)
    return Part(vertices, faces, _colors(body, color, _has_encoded_colors(tree)), laid, own)


def _material(tree: Tree, body: Any) -> Tree:
    return material_of(tree, body.metadata[OWN])


def _color(material: Tree) -> _Color:
    return tuple(material.get("pbrMetallicRoughness", {}).get("baseColorFactor", _WHITE)[:3])


def _are_colors(colors: set[_Color]) -> bool:
    """Whether these are more than the one grey that is written by default."""
    return len(colors) > 1 or any(len(set(color)) > 1 for color in colors)


def _is_clear(material: Tree) -> bool:
    color = material.get("pbrMetallicRoughness", {}).get("baseColorFactor", ())
    opacity = color[3] if len(color) > 3 else 1.0
    if material.get("alphaMode") == "MASK":
        return bool(opacity < material.get("alphaCutoff", 0.5))
    shown_through = material.get("extensions", {}).get(_TRANSMISSION, {}).get("transmissionFactor", 0.0)
    return bool(shown_through >= 1 - CLEAR) or (material.get("alphaMode") == "BLEND" and bool(opacity <= CLEAR))


def _narrow(faces: NDArray[Any], count: int) -> NDArray[np.int32]:
    # Checked before the narrowing cast, which would wrap an absurd index into a plausible one.
    if faces.size and int(np.abs(faces).max()) > np.iinfo(np.int32).max:
        raise MeshError(f"face index {int(np.abs(faces).max())} of {count} vertices")
    return faces.astype(np.int32)


def _colors(body: Any, color: _Color, encoded: bool) -> NDArray[np.uint8]:
    """(V, 3) the colours of vertices, which may be `encoded` already, times that of the material."""
    painted = np.nan_to_num(np.asarray(body.vertex_attributes.get(COLOR, np.ones((1, 3)))))
    mixed = painted * _encoded(color) if encoded else _encoded(painted * color)
    levels = np.round(mixed.clip(0, 1) * 255).astype(np.uint8)
    return levels if COLOR in body.vertex_attributes else levels.repeat(len(body.vertices), axis=0)


def _has_encoded_colors(tree: Tree) -> bool:
    generator = str(tree.get("asset", {}).get("generator", "")).casefold()
    return any(name in generator for name in _ENCODING)


def _encoded(color: _Color | NDArray[np.float64]) -> NDArray[np.float64]:
    """Linear colours, such as that of a material, as pictures have them."""
    linear = np.clip(color, 0.0, 1.0)
    encoded: NDArray[np.float64] = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return encoded


def _decoded(image: Any) -> Picture:
    if not isinstance(image, Image.Image):
        raise MeshError("its texture is not readable: a picture inside the file is broken, or not PNG, JPEG or WebP")
    try:
        return pixels(image, "inside the file")
    except MeshError:
        raise
    except Exception as error:  # Pillow decodes here, and raises whatever a broken picture leads it to
        raise MeshError(f"its texture is not readable: {' '.join(str(error).split())[:200]}") from None


def _laid(places: NDArray[np.float64], picture: Tree, tree: Tree) -> NDArray[np.float64]:
    """Coordinates, which glTF counts downward, where the picture is moved to, in it, and counted upward."""
    moved = picture.get("extensions", {}).get(PLACED)
    if moved:
        (across, down), (wide, tall) = moved.get("offset", (0, 0)), moved.get("scale", (1, 1))
        cos, sin = math.cos(moved.get("rotation", 0)), math.sin(moved.get("rotation", 0))
        places = places @ np.array([[cos * wide, sin * tall], [-sin * wide, cos * tall]]).T + (across, down)
    textures = dict(enumerate(tree.get("textures", [])))
    texture = textures.get(picture.get("index", -1), {})
    sampler = tree["samplers"][texture["sampler"]] if "sampler" in texture else {}
    right, below = _wrapped(places[:, 0], sampler.get("wrapS")), _wrapped(places[:, 1], sampler.get("wrapT"))
    return np.column_stack([right, 1 - below])


def _wrapped(places: NDArray[np.float64], mode: int | None) -> NDArray[np.float64]:
    """Coordinates outside of a picture that does not repeat, where they are in it; triangles over its edge are bent."""
    if mode == _CLAMPED:
        return places.clip(0, 1)
    return 1 - np.abs(1 - places % 2) if mode == _MIRRORED else places
