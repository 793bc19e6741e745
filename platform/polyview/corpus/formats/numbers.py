"""Numbers in text, read at the speed of memory: a compiled scanner, since a face is a hundred thousand of them."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from polyview.corpus.mesh import MeshError

_POWERS = 10.0 ** np.arange(23)
_MOST_DIGITS = 10**17
_MINUS, _PLUS, _POINT, _COMMA, _HASH, _CLOSING = (np.uint8(ord(sign)) for sign in "-+.,#]")
_SPACE, _NEWLINE, _RETURN, _ZERO, _NINE = (np.uint8(ord(sign)) for sign in " \n\r09")


def read_numbers(text: NDArray[np.uint8], start: int = 0) -> tuple[NDArray[np.float64], int]:
    """The numbers from `start` to the next `]` or the end, and the place after it.

    Spaces and commas separate, in any mixture; `#` opens a comment to the end of its line. Values are within one
    unit in the last place of a double. Raises `MeshError` that quotes what is not a number.
    """
    values = np.empty((len(text) - start) // 2 + 1)
    count, stop, sound = _fill(text, start, values)
    if not sound:
        raise not_a_number(text, stop)
    return values[:count].copy(), stop


def as_indices(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Whole numbers as int64; raises `MeshError` at one that is not whole, or that no mesh can have."""
    odd = ~(np.abs(values) < np.iinfo(np.int32).max)
    if odd.any():
        raise MeshError(f"face index {values[odd.argmax()]:g} is more than a mesh can have")
    whole = values.astype(np.int64)
    if (whole != values).any():
        raise MeshError(f"face index {values[(whole != values).argmax()]:g} is not a whole number")
    return whole


def as_colors(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Colours that some programs write from 0 to 1 and some to 255."""
    values = np.nan_to_num(values)
    scale = 255.0 if values.size and values.max() <= 1 else 1.0
    return (values * scale).round().clip(0, 255).astype(np.uint8)


def not_a_number(text: NDArray[np.uint8], place: int) -> MeshError:
    """The error that quotes the word at `place`."""
    word = bytes(text[place : place + 24]).decode("latin-1").split()
    return MeshError(f"{word[0] if word else 'the end'!r} at byte {place} is not a number")


@njit(cache=True, nogil=True)
def scan_number(text, at, end):  # type: ignore[no-untyped-def]
    """The number that starts at `at`, and the place after it: `at` itself where no number starts there."""
    i, negative, point, seen = at, False, 0, False
    digits, exponent = np.int64(0), 0
    if i < end and (text[i] == _MINUS or text[i] == _PLUS):
        negative = text[i] == _MINUS
        i += 1
    while i < end:
        sign = text[i]
        if _ZERO <= sign <= _NINE:
            seen = True
            if digits < _MOST_DIGITS:
                digits = digits * 10 + (np.int64(sign) - 48)
                exponent -= point
            else:
                exponent += 1 - point
        elif sign == _POINT and point == 0:
            point = 1
        else:
            break
        i += 1
    if not seen:
        return 0.0, at
    if i + 1 < end and (text[i] == 101 or text[i] == 69):  # e, E
        shift, after = _scan_exponent(text, i + 1, end)
        if after > i + 1:
            exponent += shift
            i = after
    value = _scaled(float(digits), exponent)
    return (-value if negative else value), i


@njit(cache=True, nogil=True)
def _scan_exponent(text, at, end):  # type: ignore[no-untyped-def]
    i, negative, shift, first = at, False, np.int64(0), at
    if text[i] == _MINUS or text[i] == _PLUS:
        negative = text[i] == _MINUS
        i += 1
        first = i
    while i < end and _ZERO <= text[i] <= _NINE:
        shift = min(shift * 10 + (np.int64(text[i]) - 48), np.int64(9999))
        i += 1
    return (-shift if negative else shift), (i if i > first else at)


@njit(cache=True, nogil=True)
def _scaled(digits, exponent):  # type: ignore[no-untyped-def]
    """digits x 10^exponent; correctly rounded where both fit a double, as any coordinate's do."""
    if -23 < exponent < 0:
        return digits / _POWERS[-exponent]
    if 0 <= exponent < 23:
        return digits * _POWERS[exponent]
    return digits * 10.0**exponent


@njit(cache=True, nogil=True)
def _fill(text, start, values):  # type: ignore[no-untyped-def]
    """How many numbers were found, where the scan stopped, and whether all that stood there were numbers."""
    i, end, count = start, len(text), 0
    while i < end:
        sign = text[i]
        if sign <= _SPACE or sign == _COMMA:
            i += 1
        elif sign == _CLOSING:
            return count, i + 1, True
        elif sign == _HASH:
            while i < end and text[i] != _NEWLINE and text[i] != _RETURN:
                i += 1
        else:
            value, after = scan_number(text, i, end)
            closed = after == end or text[after] <= _SPACE or text[after] in (_COMMA, _CLOSING, _HASH)
            if after == i or not closed:
                return count, i, False
            values[count] = value
            count += 1
            i = after
    return count, i, True
