"""The colours of a generated person, over the human range."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Colour = NDArray[np.float64]

_SKIN = np.array(
    [(247, 214, 190), (236, 190, 158), (219, 166, 128), (190, 136, 98), (148, 98, 68), (114, 75, 53), (88, 59, 44)]
)
_HAIR = np.array(
    [(28, 22, 20), (46, 32, 24), (74, 48, 30), (112, 76, 44), (178, 140, 88), (132, 62, 32), (150, 148, 146)]
)
_IRIS = np.array([(70, 42, 24), (96, 62, 34), (110, 96, 52), (88, 112, 82), (92, 124, 152), (120, 130, 138)])
_LIPS = np.array([178.0, 62, 72])
_DARK_SKIN = 3.0


@dataclass(frozen=True, eq=False)
class Complexion:
    """RGB from 0 to 255, (3,) each; brows is their thickness and flush the redness of the cheeks, both around 1.

    hairline: millimetres that the hair starts lower; hair_length: 0 short to 1 over the ears;
    hair_volume: its thickness in millimetres
    """

    skin: Colour
    lips: Colour
    hair: Colour
    iris: Colour
    brows: float
    flush: float
    hairline: float
    hair_length: float
    hair_volume: float


def draw_complexion(seed: int, person: int) -> Complexion:
    """The colours of the person of this number; the same for ever."""
    rng = np.random.default_rng([seed, person, 2])
    tone = rng.uniform(0, len(_SKIN) - 1)
    skin = _along(_SKIN, tone) * rng.uniform(0.96, 1.04, 3)
    redness = rng.uniform(0.3, 0.65)
    red = _LIPS * rng.uniform(0.8, 1.05) * (0.45 + 0.55 * skin.mean() / 200)
    # Light eyes and hair come with light skin only.
    hair = rng.uniform(0, len(_HAIR) - 1 if tone < _DARK_SKIN else 2)
    iris = rng.uniform(0, len(_IRIS) - 1 if tone < _DARK_SKIN else 1)
    return Complexion(
        skin=skin,
        lips=skin * 0.86 * (1 - redness) + red * redness,
        hair=_along(_HAIR, hair),
        iris=_along(_IRIS, iris),
        brows=rng.uniform(0.7, 1.35),
        flush=rng.uniform(0.2, 1.0),
        hairline=rng.uniform(-14, 8),
        hair_length=rng.uniform(0.5, 1.0) if rng.random() < 0.45 else 0.0,
        hair_volume=rng.uniform(2.0, 9.0),
    )


def _along(palette: NDArray[np.int64], place: float) -> Colour:
    """The colour at `place` on the way through the palette."""
    steps = np.arange(len(palette))
    return np.array([np.interp(place, steps, palette[:, channel]) for channel in range(3)])
