"""What is guessed of a film: once for all of its frames, so that nothing but the face moves in its pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import median_low

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

LOOKED_AT = 9
"""Frames of a film that tell its guess: few, since each is read twice for it, and an odd number, for the median."""


class FilmGuess(BaseModel):
    """What all frames of a film are taken to have in common, where nobody told it.

    unit: the millimetres per unit of their files, and its name; nose: the tip of the nose, millimetres, before any
    alignment.
    """

    model_config = ConfigDict(frozen=True)

    unit: tuple[float, str] | None = None
    nose: tuple[float, float, float] | None = None


def common_unit(guesses: Sequence[tuple[float, str]]) -> tuple[float, str] | None:
    """That of most frames; a unit cube is of another size in each, of which the one in the middle counts."""
    if not guesses:
        return None
    name = Counter(name for _, name in guesses).most_common(1)[0][0]
    return median_low(unit for unit, of in guesses if of == name), name


def common_nose(guesses: Sequence[NDArray[np.float32]]) -> tuple[float, float, float] | None:
    """The median along each axis: a hand or an open mouth in front of the nose in a few frames does not count."""
    if not guesses:
        return None
    x, y, z = np.median(np.array(guesses, dtype=np.float64), axis=0).tolist()
    return x, y, z
