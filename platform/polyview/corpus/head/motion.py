"""Action units as displacement fields on the average head: how far each vertex moves at full strength.

What a unit does is after the Facial Action Coding System (Ekman, Friesen and Hager, 2002); sizes are those of
strong expressions of adults, in millimetres.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from polyview.corpus.expressions import ACTION_UNITS
from polyview.corpus.head import landmarks as at
from polyview.corpus.head.surface import (
    EYEBALL,
    FACE,
    LOWER_MOUTH,
    THROAT,
    Array,
    Surface,
    bump,
    smoothstep,
)

_JAW_ANGLE = np.radians(14.0)


@dataclass(frozen=True)
class Muscle:
    """What an action unit does on one person's face, compared with the average one's.

    shift: millimetres that its patches lie further from the middle, and higher; size: factor of their extent
    pull: factors of how far it moves the skin away from the middle, up and forward
    """

    shift: tuple[float, float] = (0.0, 0.0)
    size: float = 1.0
    pull: tuple[float, float, float] = (1.0, 1.0, 1.0)


AVERAGE = (Muscle(),) * len(ACTION_UNITS)


class Face:
    """Coordinates and masks on the average face that fields are written in.

    x is the distance from the middle of the face, so that every field is symmetric; `sign` restores the side.
    """

    muscle = Muscle()

    def __init__(self, surface: Surface) -> None:
        self.surface = surface
        self.x = np.abs(surface.anchors[:, 0])
        self.y = surface.anchors[:, 1]
        self.sign = np.sign(surface.anchors[:, 0])
        self.front = surface.front
        self.skin = (surface.part == FACE) * self.front

    def pulled_by(self, muscle: Muscle) -> Face:
        """The same face, on which the patches, lines and movements of a field are this muscle's."""
        face = copy.copy(self)
        face.muscle = muscle
        return face

    def at(self, cx: float, cy: float, sx: float, sy: float) -> Array:
        """A Gaussian patch of the face, on both sides."""
        (outward, upward), size = self.muscle.shift, self.muscle.size
        return bump(self.x, self.y, (cx + outward, cy + upward), (sx * size, sy * size)) * self.front

    def moved(self, out: Array | float = 0.0, up: Array | float = 0.0, forward: Array | float = 0.0) -> Array:
        """The field that moves the skin away from the middle, up and forward, (V, 3)."""
        zero = np.zeros(len(self.x))
        # Skin in the middle belongs to both sides: it cannot be drawn across.
        field = np.stack([(zero + out) * self.sign * smoothstep(0.0, 10.0, self.x), zero + up, zero + forward], axis=1)
        moved: Array = field * self.muscle.pull * self.skin[:, None]
        return moved

    def line(self, start: tuple[float, float], end: tuple[float, float], width: float) -> Array:
        """A crease from `start` to `end`: 1 on the segment, Gaussian across it."""
        direction, (outward, upward) = np.subtract(end, start), self.muscle.shift
        relative = np.stack([self.x - start[0] - outward, self.y - start[1] - upward], axis=1)
        along = np.clip(relative @ direction / (direction @ direction), 0.0, 1.0)
        distance = np.linalg.norm(relative - along[:, None] * direction, axis=1)
        return np.exp(-0.5 * (distance / (width * self.muscle.size)) ** 2) * self.front

    def _above(self, height: float) -> Array:
        distance = self.y - height
        # The two edges of a cut lie in one place, just above and just under the line.
        return np.where((self.surface.side != 0) & (np.abs(distance) < 1.0), 1e-6 * self.surface.side, distance)

    @cached_property
    def above_eye(self) -> Array:
        """Distance over the line where the lids meet; negative under it."""
        return self._above(at.EYE_Y)

    @cached_property
    def above_mouth(self) -> Array:
        """Distance over the line where the lips meet; negative under it."""
        return self._above(at.MOUTH_Y)

    @cached_property
    def across_eye(self) -> Array:
        """Position along the eye: -1 at the inner, 1 at the outer corner."""
        return (self.x - at.EYE_X) / at.EYE_HALF_WIDTH

    @cached_property
    def upper_lid(self) -> Array:
        """How far a vertex follows the upper lid: 1 in the middle of its edge, 0 at the corners and the brow."""
        arch = np.clip(1 - self.across_eye**2, 0, None) ** 0.7 * (1 - 0.12 * self.across_eye)
        return arch * (self.above_eye > 0) * np.clip(1 - self.above_eye / 15.0, 0, 1) * self.skin

    @cached_property
    def lower_lid(self) -> Array:
        """How far a vertex follows the lower lid."""
        arch = np.clip(1 - self.across_eye**2, 0, None) ** 0.7 * (1 + 0.15 * self.across_eye)
        return arch * (self.above_eye < 0) * np.clip(1 + self.above_eye / 14.0, 0, 1) * self.skin

    @cached_property
    def lip_arch(self) -> Array:
        """1 in the middle of the mouth, 0 at its corners and beside it."""
        return np.clip(1 - (self.x / (at.MOUTH_HALF_WIDTH + 0.5)) ** 2, 0, None) ** 0.6

    @cached_property
    def upper_lip(self) -> Array:
        """How far a vertex follows the edge of the upper lip."""
        return self.lip_arch * (self.above_mouth > 0) * smoothstep(20.0, 2.0, self.above_mouth) * self.skin

    @cached_property
    def lower_lip(self) -> Array:
        """How far a vertex follows the edge of the lower lip."""
        return self.lip_arch * (self.above_mouth < 0) * smoothstep(-20.0, -4.0, self.above_mouth) * self.skin

    @cached_property
    def red_of_lips(self) -> Array:
        """1 on the vermilion of both lips."""
        bow = 1.0 - 0.22 * bump(self.x, 0 * self.x, (0, 0), (2.6, 1))
        top = 7.6 * bow * np.clip(1 - (self.x / 24.5) ** 2, 0, None) ** 0.7
        low = 9.2 * np.clip(1 - (self.x / 23.0) ** 2, 0, None) ** 0.6
        edge = np.where(self.above_mouth > 0, top - self.above_mouth, low + self.above_mouth)
        return smoothstep(-0.7, 0.9, edge) * (np.minimum(top, low) > 0) * self.skin

    @cached_property
    def jaw(self) -> Array:
        """How far a vertex turns with the jaw bone, (V,): 1 on the chin and the lower teeth."""
        plain = smoothstep(-6.0, -66.0, self.y)
        below = plain + (0.97 - plain) * self.lip_arch * (self.above_mouth > -34)
        above = plain * (1 - self.lip_arch * smoothstep(16.0, 0.0, self.above_mouth))
        depth = self.surface.anchors[:, 2]
        neck = smoothstep(-62.0, -92.0, self.y)
        throat = smoothstep(-118.0, -84.0, self.y) * smoothstep(30.0, 75.0, depth)
        skin = np.where(self.above_mouth < 0, below, above) * (1 - neck + neck * throat) * smoothstep(-5, 50, depth)
        teeth = 1.0 * (self.surface.part == LOWER_MOUTH)
        return np.where(self.surface.part == FACE, skin, np.where(self.surface.shade == THROAT, below, 1.0) * teeth)


def opened_eyes(face: Face) -> Array:
    """The field that opens the closed eyes of the average head to their rest."""
    slant = 1.6 * face.across_eye * face.at(at.EYE_X, at.EYE_Y, 14, 8)
    return face.moved(up=5.4 * face.upper_lid - 4.6 * face.lower_lid + slant)


def _jaw_drop(face: Face) -> Array:
    pivot_y, pivot_z = at.JAW_AXIS
    y, z = face.surface.vertices[:, 1] - pivot_y, face.surface.vertices[:, 2] - pivot_z
    cosine, sine = np.cos(_JAW_ANGLE), np.sin(_JAW_ANGLE)
    turned = np.stack([0 * y, y * cosine - z * sine - y, 0.6 * (y * sine + z * cosine - z)], axis=1)
    corners = face.moved(out=-2.5 * face.at(26, -34, 9, 12), forward=-1.5 * face.at(30, -30, 12, 14))
    return turned * face.jaw[:, None] + corners + face.moved(up=0.8 * face.upper_lip)


def _inner_brow_raiser(face: Face) -> Array:
    folds = face.at(10, 80, 16, 10) * np.sin(face.y * 2 * np.pi / 7.5)
    return face.moved(up=9 * face.at(11, 57, 11, 14), forward=0.6 * folds + 1.0 * face.at(11, 60, 9, 7))


def _outer_brow_raiser(face: Face) -> Array:
    folds = face.at(32, 80, 16, 10) * np.sin(face.y * 2 * np.pi / 7.5)
    return face.moved(up=9 * face.at(38, 56, 13, 14) + 1.0 * face.upper_lid, forward=0.6 * folds)


def _brow_lowerer(face: Face) -> Array:
    frown = 2.0 * face.at(11, 52, 5, 6) - 1.2 * face.line((4.5, 47), (5.5, 60), 2.0)
    down = 8.0 * face.at(15, 54, 14, 9) + 3.5 * face.at(34, 53, 10, 9) + 1.5 * face.upper_lid
    return face.moved(out=-5.0 * face.at(15, 53, 11, 10), up=-down, forward=frown)


def _upper_lid_raiser(face: Face) -> Array:
    return face.moved(up=4.0 * face.upper_lid)


def _cheek_raiser(face: Face) -> Array:
    lift = 6.5 * face.at(36, 12, 16, 11) + 2.6 * face.lower_lid - 1.0 * face.upper_lid - 1.5 * face.at(46, 50, 8, 8)
    crow = face.line((50, 38), (58, 44), 1.5) + face.line((51, 34), (60, 34), 1.5) + face.line((50, 30), (57, 24), 1.5)
    return face.moved(
        up=lift, forward=4.5 * face.at(36, 14, 13, 8) - 0.8 * crow - 1.2 * face.line((20, 24), (40, 21), 2)
    )


def _lid_tightener(face: Face) -> Array:
    return face.moved(up=3.2 * face.lower_lid - 1.6 * face.upper_lid, forward=0.8 * face.at(31, 27, 10, 3))


def _nose_wrinkler(face: Face) -> Array:
    up = 6.0 * face.at(11, -2, 9, 9) + 4.0 * face.upper_lip + 2.0 * face.lower_lid + 3.0 * face.at(22, 8, 10, 10)
    down = 4.5 * face.at(10, 53, 11, 8) + 1.4 * face.upper_lid
    root = face.at(5, 32, 9, 9) * np.sin(face.y * 2 * np.pi / 6.0)
    crease = face.line((14, 3), (23, -14), 2.0)
    return face.moved(
        out=1.5 * face.at(13, -3, 5, 5) - 2.5 * face.at(12, 54, 9, 9),
        up=up - down,
        forward=1.0 * root + 2.5 * face.at(13, 16, 6, 8) - 2.0 * crease,
    )


def _upper_lip_raiser(face: Face) -> Array:
    up = 6.0 * face.upper_lip + 3.0 * face.at(19, -10, 9, 10)
    fold = 2.5 * face.at(21, -6, 6, 9) - 2.0 * face.line((15, -4), (27, -24), 2.0)
    return face.moved(up=up, forward=fold)


def _lip_corner_puller(face: Face) -> Array:
    corner = face.at(27, -31, 13, 11) * smoothstep(0.0, 22.0, face.x)
    cheek = 5.5 * face.at(37, -2, 11, 11) - 2.2 * face.line((18, -6), (36, -30), 2.4)
    stretch = 0.30 * np.clip(face.x, 0, 26) * face.at(0, -32, 20, 9)
    return face.moved(
        out=7.0 * corner + stretch,
        up=9.5 * corner - 1.0 * face.at(0, -30, 9, 8) + 4.0 * face.at(37, 4, 14, 12),
        forward=cheek - 5.5 * corner - 1.5 * face.at(0, -32, 14, 8),
    )


def _dimpler(face: Face) -> Array:
    corner = face.at(27, -32, 6, 6)
    return face.moved(out=4.0 * corner, forward=-4.0 * corner)


def _lip_corner_depressor(face: Face) -> Array:
    corner = face.at(25, -33, 8.5, 9)
    fold = 2.0 * face.at(31, -46, 6, 8) - 1.8 * face.line((27, -36), (32, -54), 2.0)
    return face.moved(out=1.5 * corner, up=-9.0 * corner + 1.0 * face.at(0, -32, 9, 8), forward=fold - 1.0 * corner)


def _lower_lip_depressor(face: Face) -> Array:
    return face.moved(up=-6.5 * face.lower_lip - 2.0 * face.at(20, -46, 10, 8), forward=-1.0 * face.lower_lip)


def _chin_raiser(face: Face) -> Array:
    push = face.at(0, -34, 13, 9)
    pits = 0.6 * face.at(0, -62, 12, 8) * np.sin(face.x * 1.1) * np.sin(face.y * 1.1)
    return face.moved(
        up=6.0 * face.at(0, -60, 15, 9) + 4.0 * push, forward=3.0 * face.at(0, -57, 12, 7) + 2.0 * push + pits
    )


def _lip_stretcher(face: Face) -> Array:
    corner = face.at(27, -33, 12, 10)
    stretch = 0.3 * np.clip(face.x, 0, 26) * face.at(0, -32, 20, 9)
    return face.moved(
        out=8.0 * corner + stretch,
        up=-3.0 * corner - 2.5 * face.at(24, -48, 12, 9),
        forward=-5.0 * corner - 2.0 * face.at(0, -32, 16, 8) - 1.2 * face.line((31, -22), (35, -46), 2.0),
    )


def _lip_tightener(face: Face) -> Array:
    lips = face.at(0, -32, 20, 9)
    thinner = -0.6 * face.above_mouth * bump(0 * face.x, face.above_mouth, (0, 0), (1, 8)) * face.at(0, -32, 18, 40)
    bulge = 2.2 * face.at(0, -47, 14, 4) + 1.5 * face.at(0, -21, 14, 4)
    return face.moved(out=-0.16 * face.x * lips, up=thinner, forward=bulge - 3.5 * face.red_of_lips)


def _lips_part(face: Face) -> Array:
    return face.moved(up=2.6 * face.upper_lip - 4.2 * face.lower_lip)


_UNITS: dict[int, Callable[[Face], Array]] = {
    1: _inner_brow_raiser,
    2: _outer_brow_raiser,
    4: _brow_lowerer,
    5: _upper_lid_raiser,
    6: _cheek_raiser,
    7: _lid_tightener,
    9: _nose_wrinkler,
    10: _upper_lip_raiser,
    12: _lip_corner_puller,
    14: _dimpler,
    15: _lip_corner_depressor,
    16: _lower_lip_depressor,
    17: _chin_raiser,
    20: _lip_stretcher,
    23: _lip_tightener,
    25: _lips_part,
    26: _jaw_drop,
}


def action_unit_fields(face: Face, muscles: Sequence[Muscle] = AVERAGE) -> Array:
    """(units, V, 3) displacements in the order of `ACTION_UNITS`; eyeballs and ears stay where they are."""
    fields = np.stack(
        [_UNITS[unit](face.pulled_by(muscle)) for unit, muscle in zip(ACTION_UNITS, muscles, strict=True)]
    )
    fields[:, face.surface.part == EYEBALL] = 0.0
    return fields


def creases(face: Face, muscles: Sequence[Muscle] = AVERAGE) -> Array:
    """(units, V) how much darker the skin gets in the folds that a unit makes, 0 to 1."""
    folds = [_folds(face.pulled_by(muscle), unit) for unit, muscle in zip(ACTION_UNITS, muscles, strict=True)]
    return np.clip(np.stack(folds), 0, 1) * (face.surface.part == FACE)


def _folds(face: Face, unit: int) -> Array:
    furrows = 0.25 - 0.25 * np.sin(face.y * 2 * np.pi / 7.5)
    match unit:
        case 1:
            return face.at(10, 82, 16, 8) * furrows
        case 2:
            return face.at(32, 82, 16, 8) * furrows
        case 4:
            return 0.8 * face.line((5.5, 46), (6.5, 60), 1.8) + 0.4 * face.at(0, 41, 8, 2)
        case 6:
            crow = face.line((50, 38), (58, 44), 1.3) + face.line((51, 34), (60, 34), 1.3)
            return 0.5 * crow + 0.4 * face.at(31, 23, 9, 1.5)
        case 7:
            return 0.4 * face.at(31, 25, 9, 1.5)
        case 9:
            root = face.at(4, 32, 8, 8) * (0.3 - 0.3 * np.sin(face.y * 2 * np.pi / 6.0))
            return root + face.line((14, 3), (24, -14), 1.8)
        case 10:
            return 0.9 * face.line((15, -3), (27, -24), 1.8)
        case 12:
            return 0.9 * face.line((17, -5), (34, -27), 1.9)
        case 14:
            return 0.7 * face.at(29, -32, 1.6, 4)
        case 15:
            return 0.7 * face.line((28, -37), (32, -53), 1.8)
        case 17:
            return 0.5 * face.at(0, -48, 11, 2)
        case 20:
            return 0.5 * face.line((33, -22), (36, -46), 1.8)
        case 23:
            return 0.4 * face.at(0, -45, 14, 1.8)
        case _:
            return np.zeros(len(face.x))
