"""Factorial designs: which combinations of factors to try."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray


def fractional_factorial(factors: int) -> NDArray[np.int8]:
    """A two-level design (runs, factors) of -1 and 1 in which no main effect is aliased with a pair's.

    The smallest regular one of resolution IV or more (Box, Hunter and Hunter 2005, chapter 6): up to three factors
    are fully crossed; above, each further factor is the product of an odd number of the crossed ones, so that every
    word of the defining relation is even, and none is of length two.
    """
    if factors <= 3:
        return _crossed(factors)
    crossed = next(count for count in itertools.count(3) if factors <= 2 ** (count - 1))
    base = _crossed(crossed)
    odd = [word for length in range(3, crossed + 1, 2) for word in itertools.combinations(range(crossed), length)]
    # One factor more than are crossed: the product of all of them has the highest resolution.
    words = [tuple(range(crossed))] if factors == crossed + 1 else odd[: factors - crossed]
    return np.column_stack([base, *(base[:, list(word)].prod(axis=1) for word in words)]).astype(np.int8)


def _crossed(factors: int) -> NDArray[np.int8]:
    # The first factor changes fastest, as in the standard (Yates) order.
    rows = [signs[::-1] for signs in itertools.product((-1, 1), repeat=factors)]
    return np.array(rows, dtype=np.int8).reshape(2**factors, factors)
