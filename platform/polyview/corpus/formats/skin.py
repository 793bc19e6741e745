"""What a surface looks like: its texture coordinates, and the pictures and colours of its materials as one picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from polyview.corpus.formats.atlas import joined, with_colors_of_faces
from polyview.corpus.formats.cuts import END
from polyview.corpus.formats.limits import Companions
from polyview.corpus.formats.materials import Material
from polyview.corpus.formats.polygons import check_range, of_triangles, polygon_of_corner
from polyview.corpus.mesh import Mesh

_PLAIN = (0.78, 0.78, 0.78)
"""The colour of a material that has neither picture nor colour."""


class Skin(NamedTuple):
    """Texture coordinates, which of them each corner has, and the picture that they are in.

    uv_corners: none where the indices of the vertices serve; placed (n,): which corners are of faces that say where
    their picture lies, none where all do; unpictured (n,): which are of faces that show colours, beside others that
    have a picture.
    """

    uv: NDArray[np.float64] | None
    uv_corners: NDArray[np.int32] | None
    texture: NDArray[np.uint8] | None = None
    placed: NDArray[np.bool_] | None = None
    unpictured: NDArray[np.bool_] | None = None


def painted(
    bare: Skin,
    materials: Sequence[Material],
    corners: NDArray[np.int32],
    of_corner: NDArray[np.int64],
    companions: Companions,
    colored: bool,
) -> Skin:
    """The coordinates with the picture of the only material; with all materials as one picture, where they are several.

    corners (n,): `END` after each polygon; of_corner (n,): the number of each corner's material; colored: whether
    vertices or faces have colours, which hide those of the materials, and no picture. Nothing is added where those are
    all that is seen, or where the only look is plain. A face that does not say where its picture lies shows what else
    it has.
    """
    if bare.placed is not None:
        of_corner = of_corner + np.where(bare.placed, 0, len(materials))
        materials = [*materials, *(replace(material, picture=None) for material in materials)]
    looks, of_corner = _in_use(materials, of_corner)
    if len(looks) == 1 and looks[0].picture:
        uv = bare.uv if bare.uv is None or not looks[0].is_moved else bare.uv * looks[0].scale + looks[0].offset
        return bare._replace(uv=uv, texture=companions.picture(looks[0].picture))
    pictured = np.array([bool(look.picture) for look in looks])
    if colored and (bare.uv is None or not pictured.any()):
        return bare
    if len(looks) == 1 and looks[0].is_plain:
        return bare
    tiles = [_tile(look, companions) for look in looks]
    places = _places(bare, corners)
    if any(look.is_moved for look in looks):
        scales, offsets = np.array([look.scale for look in looks]), np.array([look.offset for look in looks])
        places = places * scales[of_corner] + offsets[of_corner]
    texture, uv, uv_corners = joined(tiles, places, corners, of_corner)
    unpictured = ~pictured[of_corner] if colored and not pictured.all() else None
    return Skin(uv, uv_corners, texture, unpictured=unpictured)


def _in_use(materials: Sequence[Material], of_corner: NDArray[np.int64]) -> tuple[list[Material], NDArray[np.int64]]:
    """What the materials that corners have look like, each look once, and the number of each corner's."""
    numbers: dict[Material, int] = {}
    of_material = np.array([numbers.setdefault(material.look, len(numbers)) for material in materials])
    of_corner = of_material[of_corner]
    used = np.bincount(of_corner, minlength=len(numbers)) > 0
    kept = [look for look, is_used in zip(numbers, used, strict=True) if is_used]
    return kept, (np.cumsum(used) - 1)[of_corner]


def of_whole_faces(corners: NDArray[np.int32], marked: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(n,) which corners are of polygons that have any corner marked, where `END` ends each polygon."""
    polygons = polygon_of_corner(corners)
    polygons = polygons - (corners == END)
    return np.bincount(polygons, marked & (corners != END))[polygons] > 0


def dressed(mesh: Mesh, corners: NDArray[np.int32], skin: Skin) -> Mesh:
    """The mesh that `surface` made of these polygons, with the picture, and in it the colours of unpictured faces."""
    mesh = replace(mesh, texture=skin.texture)
    if skin.unpictured is None:
        return mesh
    return with_colors_of_faces(mesh, of_triangles(corners, skin.unpictured))


def seen(looks: Sequence[Material], of_part: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(n,) which parts are seen, where of_part (n,) is the number of each part's look: those that are not nearly clear.

    What is drawn is opaque, and so a clear part would hide the face behind it. Where all are clear, all are seen: some
    programs write so of whatever they export.
    """
    opaque = ~np.array([look.is_clear for look in looks])[of_part]
    return opaque if opaque.any() else ~opaque


def are_telling(colors: NDArray[np.uint8] | None) -> bool:
    """Whether colours (V, 3) are any, and more than the one grey that programs write by default."""
    return colors is not None and bool((colors != colors[:1, :1]).any())


def _places(bare: Skin, corners: NDArray[np.int32]) -> NDArray[np.float64]:
    """(n, 2) the coordinates of each corner."""
    if bare.uv is None:
        return np.zeros((len(corners), 2))
    uv_corners = corners if bare.uv_corners is None else bare.uv_corners
    check_range(uv_corners[uv_corners != END], len(bare.uv), "texture index {} of {} texture coordinates")
    places: NDArray[np.float64] = bare.uv[uv_corners]
    return places


def color_of(look: Material) -> NDArray[np.uint8]:
    """(3,) the colour of a material without its picture."""
    colour = _PLAIN if look.colour is None else look.colour
    return np.round(np.array(colour) * 255).astype(np.uint8)


def _tile(look: Material, companions: Companions) -> NDArray[np.uint8]:
    picture = companions.picture(look.picture) if look.picture else None
    return color_of(look).reshape(1, 1, 3) if picture is None else picture
