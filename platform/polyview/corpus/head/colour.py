"""The colour of every vertex: skin, lips, brows, hair, eyes, teeth, and the shadows in folds and openings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polyview.corpus.complexion import Complexion
from polyview.corpus.head import landmarks as at
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

_MOUTH = {TOOTH: (232, 224, 206), GAP: (190, 176, 158), GUM: (140, 62, 64), THROAT: (48, 14, 16)}
_MILLIMETRES_PER_DEGREE = 1.3


@dataclass(frozen=True, eq=False)
class Palette:
    """Per-vertex masks (V,), made once: where each colour goes on the average head."""

    lips: Array
    brow_core: Array
    flush: Array
    shadow: Array
    lashes: Array
    hair_height: Array
    beside_face: Array
    height: Array
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
    strands = np.sin(surface.azimuth * 1.7 + 0.4 * np.sin(face.y * 0.21)) * np.sin(
        surface.azimuth * 0.61 + face.y * 0.05
    )
    return Palette(
        lips=face.red_of_lips,
        brow_core=_brow(face),
        flush=face.at(40, 6, 15, 12) + 0.7 * face.at(0, -1, 10, 8) + 0.8 * (surface.part == EAR),
        shadow=_shadow(face) * skin,
        lashes=1.0 * (edge & near_eye & (surface.side > 0)) + 0.35 * (edge & near_eye & (surface.side < 0)),
        hair_height=np.where(skin, _over_hairline(surface.azimuth, face.y), -500.0),
        beside_face=np.where(skin | (surface.part == EAR), (surface.azimuth - 70.0) * _MILLIMETRES_PER_DEGREE, -500.0),
        height=face.y,
        strands=strands,
        eye_code=np.where(surface.part == EYEBALL, surface.shade, -1).astype(np.int8),
        mouth_rows=mouth_rows,
        mouth_colours=np.array([_MOUTH[int(code)] for code in surface.shade[mouth_rows]], dtype=float),
    )


def over_hairline(palette: Palette, person: Complexion) -> Array:
    """(V,) distance from the hair's edge in millimetres, positive where hair grows."""
    short = palette.hair_height + person.hairline
    if not person.hair_length:
        return short
    return np.maximum(short, np.minimum(palette.beside_face, palette.height + 130.0 * person.hair_length - 20.0))


def paint(palette: Palette, person: Complexion) -> Array:
    """(V, 3) RGB from 0 to 255, of a face without folds."""
    hair = smoothstep(-3.5, 3.5, over_hairline(palette, person))
    brows = smoothstep(0.0, 1.0, palette.brow_core * 2.2 - 1.35 + 1.1 * (person.brows - 1.0)) * 0.85
    colours = np.repeat(person.skin[None], len(hair), axis=0)
    colours *= 1 + person.flush * palette.flush[:, None] * np.array([0.03, -0.12, -0.10])
    colours = _over(colours, person.lips, palette.lips * 0.9)
    colours *= (1 - palette.shadow)[:, None]
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
    return np.clip(colours, 0, 255)


def _over(below: Array, colour: Array, opacity: Array) -> Array:
    mixed: Array = below + opacity[:, None] * (colour - below)
    return mixed


def _over_hairline(azimuth: Array, y: Array) -> Array:
    """Distance over the hair's edge in millimetres, across the edge."""
    steep = np.gradient(np.interp(np.arange(181), *at.HAIRLINE)) / _MILLIMETRES_PER_DEGREE
    slope = np.interp(azimuth, np.arange(181), steep)
    distance: Array = (y - np.interp(azimuth, *at.HAIRLINE)) / np.hypot(1.0, slope)
    return distance


def _brow(face: Face) -> Array:
    """Height of a hump along the brow's arch; its contour lines are brows from thin to thick."""
    t = np.clip((face.x - 13.0) / 34.0, 0.0, 1.0)
    arch = at.BROW_Y - 1.5 + 6.0 * np.sin(np.pi * (0.10 + 0.72 * t)) - 3.0 * t
    beyond = np.maximum(np.maximum(13.0 - face.x, face.x - 47.0), 0.0)
    thickness = 3.6 * (1 - 0.55 * t**2)
    return np.exp(-0.5 * ((face.y - arch) / thickness) ** 2 - 0.5 * (beyond / 2.0) ** 2) * face.front


def _shadow(face: Face) -> Array:
    nostrils = 0.65 * face.at(*at.NOSTRIL, 2.8, 1.7)
    mouth_line = 0.45 * ((face.surface.side != 0) & (np.abs(face.y - at.MOUTH_Y) < 2))
    sockets = 0.16 * face.at(17, 37, 5, 7) + 0.10 * face.at(31, 43, 12, 3) + 0.08 * face.at(30, 25, 11, 4)
    under_lip = 0.10 * face.at(0, -46, 12, 3)
    wings = 0.15 * face.line((16.5, 3), (17.5, -5), 1.6)
    neck = 0.25 * smoothstep(-82.0, -92.0, face.y)
    return np.clip(nostrils + mouth_line + sockets + under_lip + wings + neck, 0, 0.85)
