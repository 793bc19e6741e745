"""Bytes of a text, read at the speed of memory: compiled functions that take the text's address.

An array as an argument of a small compiled function is counted in and out at each call, which takes longer than to
read a number. An address is not, so whoever calls these holds the text, and `end` bounds every read.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.cpython.unsafe.numbers import trailing_zeros
from numba.extending import intrinsic

_MINUS, _PLUS, _POINT, _HASH = (np.uint8(ord(sign)) for sign in "-+.#")
_SPACE, _TAB, _NEWLINE, _RETURN, _ZERO, _NINE = (np.uint8(ord(sign)) for sign in " \t\n\r09")
_SMALL_E, _LARGE_E = np.uint8(ord("e")), np.uint8(ord("E"))
_POWERS = 10.0 ** np.arange(23)
_WHOLE_POWERS = 10 ** np.arange(19)
_MOST_DIGITS = 10**17
_FURTHEST = 40
"""Bytes that the quick way of reading a number may look at, beyond where the number starts."""

_ZEROS, _BEYOND_NINE = np.uint64(0x3030303030303030), np.uint64(0x7676767676767676)
_HIGH_BITS = np.uint64(0x8080808080808080)
_BYTES, _PAIRS, _FOURS = (np.uint64(mask) for mask in (0x0F0F0F0F0F0F0F0F, 0x00FF00FF00FF00FF, 0x0000FFFF0000FFFF))
_JOIN_BYTES, _JOIN_PAIRS, _JOIN_FOURS = (np.uint64(factor) for factor in (2561, 6553601, 42949672960001))
_3, _8, _16, _32, _64 = (np.uint64(count) for count in (3, 8, 16, 32, 64))


def _load(bits: int) -> Any:
    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        place = builder.inttoptr(builder.add(*arguments), ir.IntType(bits).as_pointer())
        loaded = builder.load(place)
        loaded.align = 1
        return loaded if bits == 8 or sys.byteorder == "little" else builder.bswap(loaded)

    return generate


@intrinsic
def byte_at(_context, _text, _place):  # type: ignore[no-untyped-def]
    """The byte at a place of the text that begins at an address."""
    return types.uint8(types.int64, types.int64), _load(8)


@intrinsic
def _eight_at(_context, _text, _place):  # type: ignore[no-untyped-def]
    """Eight bytes at once, the first of them the lowest."""
    return types.uint64(types.int64, types.int64), _load(64)


@njit(cache=True, nogil=True)
def next_line(text, i, end):  # type: ignore[no-untyped-def]
    """Where the line after that of `i` begins."""
    while i < end and byte_at(text, i) != _NEWLINE and byte_at(text, i) != _RETURN:
        i += 1
    return i + 1


@njit(cache=True, nogil=True)
def next_word(text, i, end):  # type: ignore[no-untyped-def]
    """The place of the next word of this line; of its end, where there is none."""
    while i < end and (byte_at(text, i) == _SPACE or byte_at(text, i) == _TAB):
        i += 1
    return i


@njit(cache=True, nogil=True)
def ends_line(text, i, end):  # type: ignore[no-untyped-def]
    """Whether what a line says ends at `i`: with the line, or with a comment."""
    return i >= end or byte_at(text, i) == _NEWLINE or byte_at(text, i) == _RETURN or byte_at(text, i) == _HASH


@njit(cache=True, nogil=True)
def scan_whole(text, at, end):  # type: ignore[no-untyped-def]
    """The whole number of at most 7 digits that starts at `at`, and the place after it; `at` where there is none."""
    if at + _FURTHEST > end:
        return np.int64(0), at
    negative = byte_at(text, at) == _MINUS
    i = at + 1 if negative else at
    value, count = _digits_at(text, i)
    if count == 0 or count == 8:
        return np.int64(0), at
    return (-value if negative else value), i + count


@njit(cache=True, nogil=True)
def scan_number(text, at, end):  # type: ignore[no-untyped-def]
    """The number that starts at `at`, and the place after it: `at` itself where no number starts there."""
    if at + _FURTHEST > end:
        return _scan_digits(text, at, end)
    negative = byte_at(text, at) == _MINUS
    i = at + 1 if negative or byte_at(text, at) == _PLUS else at
    digits, whole = _digits_at(text, i)
    i += whole
    decimals = np.int64(0)
    if byte_at(text, i) == _POINT:
        fraction, decimals = _digits_at(text, i + 1)
        digits = digits * _WHOLE_POWERS[decimals] + fraction
        if decimals == 8:
            fraction, further = _digits_at(text, i + 9)
            digits = digits * _WHOLE_POWERS[further] + fraction
            decimals += further
        i += 1 + decimals
    if whole + decimals == 0:
        return 0.0, at
    follows = byte_at(text, i)
    if whole == 8 or decimals == 16 or whole + decimals > 17 or follows in (_SMALL_E, _LARGE_E):
        return _scan_digits(text, at, end)
    value = float(digits) / _POWERS[decimals]
    return (-value if negative else value), i


@njit(cache=True, nogil=True)
def _digits_at(text, i):  # type: ignore[no-untyped-def]
    """The value of the digits at `i`, up to eight of them, and how many they are."""
    x = _eight_at(text, i) ^ _ZEROS
    others = ((x + _BEYOND_NINE) | x) & _HIGH_BITS
    count = _8
    if others:
        count = np.uint64(trailing_zeros(others)) >> _3
    if count == 0:
        return np.int64(0), np.int64(0)
    # What is no digit is shifted out and zeros come before the first; then neighbours are joined, ever wider.
    x = x << (_64 - (count << _3))
    x = ((x & _BYTES) * _JOIN_BYTES) >> _8
    x = ((x & _PAIRS) * _JOIN_PAIRS) >> _16
    x = ((x & _FOURS) * _JOIN_FOURS) >> _32
    return np.int64(x), np.int64(count)


@njit(cache=True, nogil=True)
def _scan_digits(text, at, end):  # type: ignore[no-untyped-def]
    """As `scan_number`, digit by digit: for numbers of any length, with an exponent, and at the end of the text."""
    i, negative, point, found = at, False, 0, False
    digits, exponent = np.int64(0), np.int64(0)
    if i < end and (byte_at(text, i) == _MINUS or byte_at(text, i) == _PLUS):
        negative = byte_at(text, i) == _MINUS
        i += 1
    while i < end:
        sign = byte_at(text, i)
        if _ZERO <= sign <= _NINE:
            found = True
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
    if not found:
        return 0.0, at
    if i + 1 < end and (byte_at(text, i) == _SMALL_E or byte_at(text, i) == _LARGE_E):
        shift, after = _scan_exponent(text, i + 1, end)
        if after > i + 1:
            exponent += shift
            i = after
    value = _scaled(float(digits), exponent)
    return (-value if negative else value), i


@njit(cache=True, nogil=True)
def _scan_exponent(text, at, end):  # type: ignore[no-untyped-def]
    i, negative, shift, first = at, False, np.int64(0), at
    if byte_at(text, i) == _MINUS or byte_at(text, i) == _PLUS:
        negative = byte_at(text, i) == _MINUS
        i += 1
        first = i
    while i < end and _ZERO <= byte_at(text, i) <= _NINE:
        shift = min(shift * 10 + (np.int64(byte_at(text, i)) - 48), np.int64(9999))
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
