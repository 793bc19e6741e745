"""The colour of every vertex: skin, lips, brows, hair, eyes, teeth, and the shadows in folds and openings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polyview.corpus.head import landmarks as at
from polyview.corpus.head.identity import Identity
from polyview.corpus.head.motion import Face
from polyview.corpus.head.surface import (
    EAR,
    EYEBALL,
    FACE,
    GAP,
    GUM,
    IRIS,
    LIMBUS,
    LOWER_MOUTH,
    PUPIL,
    THROAT,
    TOOTH,
    UPPER_MOUTH,
    WHITE,
    Array,
    smoothstep,
)

_MOUTH = {TOOTH: (232, 224, 206), GAP: (190, 176, 158), GUM: (150, 72, 72), THROAT: (48, 14, 16)}
_HAIRLINE = (  # azimuth in degrees, height of the hair's edge
    [0, 25, 42, 52, 60, 68, 74, 80, 92, 104, 112, 122, 135, 180],
    [101, 100, 92, 78, 58, 34, 8, -2, 30, 30, 0, -35, -55, -62],
)


@dataclass(frozen=True, eq=False)
class Palette:
    """Per-vertex masks (V,), made once: where each colour goes on the average head."""

    lips: Array
    brow_core: Array
    flush: Array
    shadow: Array
    lashes: Array
    hair_height: Array
    hair_sides: Array
    strands: Array
    eye_code: NDArray[np.int8]
    mouth_rows: NDArray[np.int64]
    mouth_colours: Array


def make_palette(face: Face) -> Palette:
    """The masks of the average head."""
    surface = face.surface
    skin = surface.part == FACE
    mouth_rows = np.flatnonzero(np.isin(surface.part, (UPPER_MOUTH, LOWER_MOUTH)))
    edge = surface.side != 0
    near_eye = np.abs(face.y - at.EYE_Y) < 10
    edge_height = np.interp(surface.azimuth, *_HAIRLINE)
    strands = np.sin(surface.azimuth * 1.7 + 0.4 * np.sin(face.y * 0.21)) * np.sin(
        surface.azimuth * 0.61 + face.y * 0.05
    )
    return Palette(
        lips=face.red_of_lips,
        brow_core=_brow(face),
        flush=face.at(40, 6, 15, 12) + 0.7 * face.at(0, -1, 10, 8) + 0.8 * (surface.part == EAR),
        shadow=_shadow(face) * skin,
        lashes=1.0 * (edge & near_eye & (surface.side > 0)) + 0.35 * (edge & near_eye & (surface.side < 0)),
        hair_height=np.where(skin, surface.vertices[:, 1] - edge_height, -500.0),
        hair_sides=smoothstep(62, 78, surface.azimuth) * skin,
        strands=strands,
        eye_code=np.where(surface.part == EYEBALL, surface.shade, -1).astype(np.int8),
        mouth_rows=mouth_rows,
        mouth_colours=np.array([_MOUTH[int(code)] for code in surface.shade[mouth_rows]], dtype=float),
    )


def hair_mask(palette: Palette, person: Identity) -> Array:
    """(V,) 1 where hair grows."""
    height = palette.hair_height + person.hairline * 1.0 + palette.hair_sides * person.hair_length * 160.0
    return smoothstep(-2.5, 2.5, height)


def paint(palette: Palette, person: Identity, folds: Array, hair: Array) -> NDArray[np.uint8]:
    """(V, 3) RGB; `folds` (V,) is how deep each vertex lies in a fold, 0 to 1."""
    brows = smoothstep(0.0, 1.0, palette.brow_core * 2.2 - 1.35 + 0.55 * (person.brows - 1.0) * 2) * 0.85
    colours = np.repeat(person.skin[None], len(hair), axis=0)
    colours *= 1 + person.flush * palette.flush[:, None] * np.array([0.03, -0.12, -0.10])
    colours = _over(colours, person.lips, palette.lips * 0.9)
    colours *= (1 - palette.shadow - 0.45 * np.clip(folds, 0, 1))[:, None]
    colours = _over(colours, person.hair * 0.8, brows)
    colours = _over(colours, np.array([30.0, 20, 18]), palette.lashes * 0.85)
    colours = _over(colours, person.hair, hair)
    colours *= (1 + 0.14 * hair * palette.strands)[:, None]
    eyes = {
        PUPIL: np.array([12.0, 10, 10]),
        IRIS: person.iris,
        LIMBUS: person.iris * 0.45,
        WHITE: np.array([238.0, 234, 230]),
    }
    for code, colour in eyes.items():
        colours[palette.eye_code == code] = colour
    colours[palette.mouth_rows] = palette.mouth_colours
    return np.clip(colours, 0, 255).astype(np.uint8)


def _over(below: Array, colour: Array, opacity: Array) -> Array:
    mixed: Array = below + opacity[:, None] * (colour - below)
    return mixed


def _brow(face: Face) -> Array:
    """Height of a hump along the brow's arch; its contour lines are brows from thin to thick."""
    t = np.clip((face.x - 13.0) / 34.0, 0.0, 1.0)
    arch = at.BROW_Y - 1.5 + 6.0 * np.sin(np.pi * (0.10 + 0.72 * t)) - 3.0 * t
    beyond = np.maximum(np.maximum(13.0 - face.x, face.x - 47.0), 0.0)
    thickness = 3.6 * (1 - 0.55 * t**2)
    return np.exp(-0.5 * ((face.y - arch) / thickness) ** 2 - 0.5 * (beyond / 2.0) ** 2) * face.front


def _shadow(face: Face) -> Array:
    nostrils = 0.75 * face.at(*at.NOSTRIL, 2.8, 1.7)
    mouth_line = 0.45 * ((face.surface.side != 0) & (np.abs(face.y - at.MOUTH_Y) < 2))
    sockets = 0.16 * face.at(17, 37, 5, 7) + 0.10 * face.at(31, 43, 12, 3) + 0.08 * face.at(30, 25, 11, 4)
    under_lip = 0.10 * face.at(0, -46, 12, 3)
    wings = 0.15 * face.line((16.5, 3), (17.5, -5), 1.6)
    neck = 0.25 * smoothstep(-82.0, -92.0, face.y)
    return np.clip(nostrils + mouth_line + sockets + under_lip + wings + neck, 0, 0.85)
