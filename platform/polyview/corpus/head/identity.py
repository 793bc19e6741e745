"""Who a head belongs to: smooth modes of shape, colours, and how strongly the face moves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from polyview.corpus.complexion import Complexion, draw_complexion
from polyview.corpus.expressions import expressivity
from polyview.corpus.head import landmarks as at
from polyview.corpus.head.motion import Face
from polyview.corpus.head.surface import Array, bump, smoothstep


@dataclass(frozen=True, eq=False)
class Identity:
    """One person: shape coefficients (modes,), colours, and how strongly each action unit shows.

    gains: (2, units) factors for the left and the right half of the face
    """

    shape: Array
    complexion: Complexion
    gains: Array


def draw_person(seed: int, person: int, modes: int) -> Identity:
    """The person of this number; the same for ever."""
    rng = np.random.default_rng([seed, person, 0])
    return Identity(
        shape=np.clip(rng.normal(size=modes), -2.2, 2.2),
        complexion=draw_complexion(seed, person),
        gains=expressivity(seed, person),
    )


def shape_modes(face: Face) -> Array:
    """(modes, V, 3) displacements in millimetres at one standard deviation, in the anchors' coordinates."""
    x, y, front = face.x, face.y, face.front
    signed, z = face.surface.anchors[:, 0], face.surface.anchors[:, 2]
    zero = np.zeros(len(x))

    def mode(out: Array | float = 0.0, up: Array | float = 0.0, forward: Array | float = 0.0) -> Array:
        # As in motion: nothing is drawn across the middle.
        return np.stack([(zero + out) * face.sign * smoothstep(0.0, 10.0, x), zero + up, zero + forward], axis=1)

    jaw = smoothstep(-8.0, -55.0, y)
    nose = bump(x, y, (0, 12), (11, 26)) * front
    wings = face.at(12, -2, 6, 7)
    eye = face.at(at.EYE_X, at.EYE_Y, 19, 13)
    brow = face.at(25, at.BROW_Y, 22, 8)
    mouth = face.at(0, -32, 26, 11)
    lips = bump(0 * x, face.above_mouth, (0, 0), (1, 9)) * face.at(0, -32, 19, 40)
    lid = face.upper_lid * 1.0 - face.lower_lid * 0.7
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
        mode(up=2.0 * face.at(0, -25, 18, 6)),
    ]
    return np.stack([*symmetric, *_asymmetries(signed, y, z)])


def _asymmetries(x: Array, y: Array, z: Array) -> list[Array]:
    """Slow waves over the whole head that make no two halves alike."""
    waves = [(0.021, 0.013, 0.4), (0.034, -0.018, 1.7), (0.015, 0.031, 2.9), (-0.027, 0.024, 4.2)]
    return [
        np.stack([np.sin(y * b + z * a + c), np.sin(x * a + z * b + 2 * c), np.sin(x * a + y * b + c)], axis=1)
        for a, b, c in waves
    ]
