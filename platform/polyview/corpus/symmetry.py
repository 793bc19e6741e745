"""Across which axis a face is alike on both sides of its nose, however the mesh around it was cut."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from polyview.corpus.mesh import middle_half

Points = NDArray[np.float64]

_REACH, _CELL = 60.0, 5.0
"""Millimetres around the tip of the nose that are looked at, and of one cell of their relief."""
_ENOUGH_POINTS, _ENOUGH_CELLS = 50, 20


def is_alike_across(points: Points, across: int, other: int, front: Points) -> bool:
    """Whether a face is more alike on both sides across one axis than across the other.

    points (N, 3), millimetres; front (3,): where the face looks, along the third axis. A nose is steep below and gentle
    above, and there are eyes and a mouth; left and right are the same. True also where too little of it is there.
    """
    relief = _around_nose(points[:, [across, other]], points @ front)
    if relief is None:
        return True
    unlike = [_unlikeness(relief), _unlikeness(relief.T)]
    return unlike[0] <= unlike[1]


def _around_nose(flat: Points, forward: Points) -> Points | None:
    """(2n+1, 2n+1) how far the surface comes forward around the tip of the nose, without its lean; nan where it is not.

    flat (N, 2): where each point lies across and along; forward (N,).
    """
    middle = middle_half(flat[:, 0]) & middle_half(flat[:, 1])
    if not middle.any():
        return None
    level = forward
    for _ in range(2):  # of a face that looks aside, the foremost point is not yet the nose
        tip = np.where(middle, level, -np.inf).argmax()
        near = np.hypot(np.linalg.norm(flat - flat[tip], axis=1), forward - forward[tip]) <= _REACH
        if np.count_nonzero(near) < _ENOUGH_POINTS:
            return None
        lean = np.linalg.lstsq(flat[near] - flat[near].mean(axis=0), forward[near] - forward[near].mean(), rcond=None)[
            0
        ]
        level, middle = forward - flat @ lean, middle & near
    tip = np.where(middle, level, -np.inf).argmax()
    cells, reach = np.round((flat - flat[tip]) / _CELL).astype(np.int64), int(_REACH / _CELL)
    inside = near & (np.abs(cells) <= reach).all(axis=1)
    relief = np.full((2 * reach + 1, 2 * reach + 1), -np.inf)
    np.maximum.at(relief, tuple((cells[inside] + reach).T), level[inside])
    return np.where(np.isfinite(relief), relief, np.nan)


def _unlikeness(relief: Points) -> float:
    """How much a relief differs from its mirror image, whose rows are in turned order, beyond what a lean explains."""
    difference = relief - relief[::-1]
    rows = np.arange(len(relief))[:, np.newaxis] - len(relief) // 2 + np.zeros_like(relief)
    both = np.isfinite(difference)
    if np.count_nonzero(both) < _ENOUGH_CELLS:
        return np.inf
    lean = float(difference[both] @ rows[both]) / max(float(rows[both] @ rows[both]), 1e-9)
    return float(np.abs(difference[both] - lean * rows[both]).mean())
