"""What a surface looks like: its texture coordinates, and the pictures and colours of its materials as one picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from polyview.corpus.formats.atlas import joined
from polyview.corpus.formats.limits import Companions
from polyview.corpus.formats.materials import Material
from polyview.corpus.formats.polygons import END, check_range

_PLAIN = (0.78, 0.78, 0.78)
"""The colour of a material that has neither picture nor colour."""


class Skin(NamedTuple):
    """Texture coordinates, which of them each corner has, and the picture that they are in.

    uv_corners: none where the indices of the vertices serve.
    """

    uv: NDArray[np.float64] | None
    uv_corners: NDArray[np.int32] | None
    texture: NDArray[np.uint8] | None = None


def painted(
    bare: Skin,
    looks: Sequence[Material],
    corners: NDArray[np.int32],
    of_corner: NDArray[np.int64],
    companions: Companions,
) -> Skin:
    """The coordinates with the picture of the only material; with all materials as one picture, where they are several.

    looks: what the materials look like, each once; corners (n,): `END` after each polygon; of_corner (n,): the number
    of each corner's look. Nothing is added where the only look is plain.
    """
    if len(looks) == 1 and looks[0].picture:
        uv = bare.uv if bare.uv is None or not looks[0].is_moved else bare.uv * looks[0].scale + looks[0].offset
        return bare._replace(uv=uv, texture=companions.picture(looks[0].picture))
    if len(looks) == 1 and looks[0].is_plain:
        return bare
    tiles = [_tile(look, companions) for look in looks]
    places = _places(bare, corners)
    if any(look.is_moved for look in looks):
        scales, offsets = np.array([look.scale for look in looks]), np.array([look.offset for look in looks])
        places = places * scales[of_corner] + offsets[of_corner]
    texture, uv, uv_corners = joined(tiles, places, corners, of_corner)
    return Skin(uv, uv_corners, texture)


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
    picture = companions.picture(look.picture)
    return color_of(look).reshape(1, 1, 3) if picture is None else picture
