"""Numbers in text: a face is a hundred thousand of them."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from polyview.corpus.formats.scanner import byte_at, scan_number
from polyview.corpus.mesh import MeshError

_COMMA, _HASH, _CLOSING = (np.uint8(ord(sign)) for sign in ",#]")
_SPACE, _NEWLINE, _RETURN = (np.uint8(ord(sign)) for sign in " \n\r")
_LARGEST_INDEX = np.iinfo(np.int32).max


def read_numbers(text: NDArray[np.uint8], start: int = 0) -> tuple[NDArray[np.float64], int]:
    """The numbers from `start` to the next `]` or the end, and the place after it.

    Spaces and commas separate, in any mixture; `#` opens a comment to the end of its line. Values are within one
    unit in the last place of a double. Raises `MeshError` that quotes what is not a number.
    """
    values = np.empty((len(text) - start) // 2 + 1)
    count, stop, sound = _fill(text.ctypes.data, start, len(text), values)
    if not sound:
        raise not_a_number(text, stop)
    return values[:count].copy(), stop


def as_indices(values: NDArray[np.float64]) -> NDArray[np.int32]:
    """Whole numbers as int32; raises `MeshError` at one that is not whole, or that no mesh can have."""
    indices = np.empty(len(values), np.int32)
    odd = _round(values, indices)
    if odd < 0:
        return indices
    if abs(values[odd]) < _LARGEST_INDEX:
        raise MeshError(f"face index {values[odd]:g} is not a whole number")
    raise MeshError(f"face index {values[odd]:g} is more than a mesh can have")


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
def _round(values, indices):  # type: ignore[no-untyped-def]
    """Fill in whole numbers; returns the place of the first that is none, or -1."""
    for i in range(len(values)):
        value = values[i]
        if not (abs(value) < _LARGEST_INDEX and value == np.floor(value)):
            return i
        indices[i] = np.int32(value)
    return -1


@njit(cache=True, nogil=True)
def _fill(text, start, end, values):  # type: ignore[no-untyped-def]
    """How many numbers were found, where the scan stopped, and whether all that stood there were numbers."""
    i, count = np.int64(start), np.int64(0)
    while i < end:
        sign = byte_at(text, i)
        if sign <= _SPACE or sign == _COMMA:
            i += 1
        elif sign == _CLOSING:
            return count, i + 1, True
        elif sign == _HASH:
            while i < end and byte_at(text, i) != _NEWLINE and byte_at(text, i) != _RETURN:
                i += 1
        else:
            value, after = scan_number(text, i, end)
            if after == i or not (after == end or _closes(byte_at(text, after))):
                return count, i, False
            values[count] = value
            count += 1
            i = after
    return count, i, True


@njit(cache=True, nogil=True)
def _closes(sign):  # type: ignore[no-untyped-def]
    return sign <= _SPACE or sign in (_COMMA, _CLOSING, _HASH)
