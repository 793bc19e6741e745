"""Who a head belongs to: smooth modes of shape and a draw of colours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from polyview.corpus.expressions import expressivity
from polyview.corpus.head import landmarks as at
from polyview.corpus.head.motion import Face
from polyview.corpus.head.surface import Array, bump, smoothstep

_SKIN = np.array(
    [(247, 214, 190), (236, 190, 158), (219, 166, 128), (190, 136, 98), (148, 98, 68), (110, 72, 50), (76, 50, 37)]
)
_HAIR = np.array(
    [(28, 22, 20), (46, 32, 24), (74, 48, 30), (112, 76, 44), (178, 140, 88), (132, 62, 32), (150, 148, 146)]
)
_IRIS = np.array([(70, 42, 24), (96, 62, 34), (110, 96, 52), (88, 112, 82), (92, 124, 152), (120, 130, 138)])


@dataclass(frozen=True, eq=False)
class Identity:
    """One person: shape coefficients (modes,), colours in RGB 0 to 255, and how strongly each unit shows.

    gains: (2, units) for the left and the right half of the face
    hairline: millimetres that the hair starts lower; hair_length: 0 short to 1 over the ears; brows: thickness around 1
    """

    shape: Array
    skin: Array
    lips: Array
    hair: Array
    iris: Array
    hairline: float
    hair_length: float
    hair_volume: float
    brows: float
    flush: float
    gains: Array


def average_person(modes: int, units: int) -> Identity:
    """The person whose shape is the average and whose face moves evenly on both sides."""
    return Identity(
        shape=np.zeros(modes),
        skin=_SKIN[2] * 1.0,
        lips=np.array([176.0, 92, 88]),
        hair=_HAIR[2] * 1.0,
        iris=_IRIS[1] * 1.0,
        hairline=0.0,
        hair_length=0.0,
        hair_volume=5.0,
        brows=1.0,
        flush=0.5,
        gains=np.ones((2, units)),
    )


def draw_person(seed: int, person: int, modes: int) -> Identity:
    """The person of this number; the same for ever."""
    rng = np.random.default_rng([seed, person, 0])
    tone = rng.uniform(0, len(_SKIN) - 1)
    skin = _mix(_SKIN, tone) * rng.uniform(0.94, 1.06, 3)
    red = np.array([178.0, 62, 72]) * rng.uniform(0.8, 1.05)
    return Identity(
        shape=np.clip(rng.normal(size=modes), -2.2, 2.2),
        skin=skin,
        lips=skin * 0.86 * (1 - (share := rng.uniform(0.3, 0.65))) + red * share * (0.45 + 0.55 * skin.mean() / 200),
        hair=_mix(_HAIR, rng.uniform(0, 2.0) if tone > 3 else rng.uniform(0, len(_HAIR) - 1)),
        iris=_mix(_IRIS, rng.uniform(0, 1.0) if tone > 3 else rng.uniform(0, len(_IRIS) - 1)),
        hairline=rng.uniform(-14, 8),
        hair_length=float(rng.random() < 0.45) * rng.uniform(0.5, 1),
        hair_volume=rng.uniform(2.0, 9.0),
        brows=rng.uniform(0.7, 1.35),
        flush=rng.uniform(0.2, 1.0),
        gains=expressivity(seed, person),
    )


def _mix(palette: Array, place: float) -> Array:
    first = min(int(place), len(palette) - 2)
    return palette[first] + (place - first) * (palette[first + 1] - palette[first])


def shape_modes(face: Face) -> Array:
    """(modes, V, 3) displacements in millimetres at one standard deviation, in the anchors' coordinates."""
    x, y, front = face.x, face.y, face.front
    signed, z = face.surface.anchors[:, 0], face.surface.anchors[:, 2]
    zero = np.zeros(len(x))

    def mode(out: Array | float = 0.0, up: Array | float = 0.0, forward: Array | float = 0.0) -> Array:
        return np.stack([(zero + out) * face.sign, zero + up, zero + forward], axis=1)

    jaw = smoothstep(-8.0, -55.0, y)
    nose = bump(x, y, (0, 12), (11, 26)) * front
    wings = face.at(12, -2, 6, 7)
    eye = face.at(at.EYE_X, at.EYE_Y, 19, 13)
    brow = face.at(25, at.BROW_Y, 22, 8)
    mouth = face.at(0, -32, 26, 11)
    lips = bump(0 * x, face.above_mouth, (0, 0), (1, 9)) * face.at(0, -32, 19, 40)
    lid = face.upper_lid * 1.4 - face.lower_lid * 0.9
    symmetric = [
        mode(out=0.04 * x),
        mode(up=0.05 * np.clip(20 - y, 0, None) * -1),
        mode(forward=0.035 * z * (1 - front)),
        mode(up=0.05 * np.clip(y - 60, 0, None)),
        mode(out=0.075 * x * jaw),
        mode(up=-4.0 * face.at(0, -68, 26, 16)),
        mode(forward=3.5 * face.at(0, -64, 16, 13)),
        mode(out=0.14 * x * face.at(0, -70, 28, 12)),
        mode(out=2.5 * face.at(52, 12, 14, 13), forward=2.8 * face.at(46, 12, 12, 10)),
        mode(out=2.5 * face.at(48, -22, 13, 17), forward=3.5 * face.at(38, -18, 13, 16)),
        mode(up=-2.6 * face.at(0, -4, 15, 11)),
        mode(forward=0.12 * np.clip(z - 84, 0, None) * nose * 1.8),
        mode(out=2.2 * wings, forward=-0.6 * wings),
        mode(forward=2.2 * face.at(0, 26, 7, 10)),
        mode(forward=1.6 * face.at(0, 16, 6, 6)),
        mode(up=2.4 * face.at(0, 1, 7, 5), forward=0.8 * face.at(0, 1, 7, 5)),
        mode(out=1.8 * face.at(0, 10, 30, 25) * smoothstep(3, 8, x) * np.exp(-0.5 * (x / 11) ** 2)),
        mode(out=1.8 * eye + 1.0 * brow),
        mode(up=1.6 * eye),
        mode(up=lid),
        mode(out=1.6 * face.across_eye * eye),
        mode(up=1.3 * face.across_eye * eye),
        mode(forward=-2.0 * eye),
        mode(up=2.0 * brow),
        mode(up=1.6 * (x - 25) / 14 * brow),
        mode(forward=2.0 * face.at(20, 54, 20, 6)),
        mode(forward=3.5 * face.at(0, 86, 40, 18)),
        mode(out=0.05 * x * smoothstep(45, 80, y)),
        mode(up=0.24 * face.above_mouth * lips),
        mode(out=0.11 * x * mouth),
        mode(up=2.0 * face.at(0, -33, 30, 14)),
        mode(forward=1.8 * face.at(0, -32, 18, 9)),
        mode(up=1.6 * face.upper_lip - 0.3 * mouth),
    ]
    return np.stack([*symmetric, *_asymmetries(signed, y, z)])


def _asymmetries(x: Array, y: Array, z: Array) -> list[Array]:
    """Slow waves over the whole head that make no two halves alike."""
    waves = [(0.021, 0.013, 0.4), (0.034, -0.018, 1.7), (0.015, 0.031, 2.9), (-0.027, 0.024, 4.2)]
    return [
        np.stack(
            [0.7 * np.sin(y * b + z * a + c), 0.7 * np.sin(x * a + z * b + 2 * c), np.sin(x * a + y * b + c)], axis=1
        )
        for a, b, c in waves
    ]
