"""Polygons cut into triangles that cover each and nothing else, also where one is not convex."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

END = -1
"""What ends a polygon in a flat list of corners."""
_FEW_CORNERS = 64
"""Of a polygon whose first ear is always looked for from its first corner; of others, from where the last one was."""
_MOST_TESTS = 300_000_000
"""Of corners against triangles, in all polygons of a mesh, which takes seconds: what is left then becomes a fan."""


def cut(corners: NDArray[np.int32], vertices: NDArray[np.floating]) -> NDArray[np.int32]:
    """(T, 3) the places in the list of corners where the corners of triangles stand, polygon by polygon.

    corners (n,): indices into vertices (V, 3), `END` after each polygon. A polygon of n corners makes n - 2 triangles,
    all with its first corner, unless it is not convex there. Of fewer than three corners it makes none. Vertices are
    compared as a mesh has them, so that the same polygons are always cut the same way.
    """
    triangles = np.empty((max(len(corners) - 1, 0), 3), np.int32)
    with np.errstate(over="ignore"):  # what does not fit becomes infinite, which the mesh's own check tells
        points = np.ascontiguousarray(vertices, np.float32)
    return triangles[: _fill(corners, points, triangles)]


@njit(cache=True, nogil=True)
def _fill(corners, points, triangles):  # type: ignore[no-untyped-def]
    """Fill in the triangles; returns how many they are."""
    count, first = 0, 0
    largest = _largest(corners)
    left, flat, tests = np.empty(largest, np.int64), np.empty((largest, 2)), np.zeros(1, np.int64)
    for place in range(len(corners)):
        if corners[place] != END:
            continue
        size = place - first
        if size > 3 and _is_bent(corners, points, first, size):
            _lay_flat(corners, points, first, size, flat)
            count = _clip_ears(flat, first, size, left, triangles, count, tests)
        else:
            for second in range(first + 1, place - 1):
                triangles[count] = first, second, second + 1
                count += 1
        first = place + 1
    return count


@njit(cache=True, nogil=True)
def _largest(corners):  # type: ignore[no-untyped-def]
    """How many corners the largest polygon has."""
    largest, first = 0, 0
    for place in range(len(corners)):
        if corners[place] == END:
            largest, first = max(largest, place - first), place + 1
    return largest


@njit(cache=True, nogil=True)
def _is_bent(corners, points, first, size):  # type: ignore[no-untyped-def]
    """Whether a triangle of the fan is turned against the whole; not of corners that are no vertices."""
    for place in range(first, first + size):
        if not 0 <= corners[place] < len(points):
            return False
    across, up, forward = _normal(corners, points, first, size)
    for place in range(first + 1, first + size - 1):
        x, y, z = _cross(points, corners[first], corners[place], corners[place + 1])
        if x * across + y * up + z * forward < 0:
            return True
    return False


@njit(cache=True, nogil=True)
def _normal(corners, points, first, size):  # type: ignore[no-untyped-def]
    """The normal of a polygon, as long as twice its area."""
    across, up, forward = 0.0, 0.0, 0.0
    for place in range(first + 1, first + size - 1):
        x, y, z = _cross(points, corners[first], corners[place], corners[place + 1])
        across, up, forward = across + x, up + y, forward + z
    return across, up, forward


@njit(cache=True, nogil=True)
def _cross(points, a, b, c):  # type: ignore[no-untyped-def]
    """The normal of the triangle of three vertices, as long as twice its area."""
    x, y, z = np.float64(points[a, 0]), np.float64(points[a, 1]), np.float64(points[a, 2])
    p, q, r = points[b, 0] - x, points[b, 1] - y, points[b, 2] - z
    s, t, u = points[c, 0] - x, points[c, 1] - y, points[c, 2] - z
    return q * u - r * t, r * s - p * u, p * t - q * s


@njit(cache=True, nogil=True)
def _lay_flat(corners, points, first, size, flat):  # type: ignore[no-untyped-def]
    """Fill in where the corners lie in a plane, seen along the axis that their normal is nearest to, from outside."""
    across, up, forward = _normal(corners, points, first, size)
    if abs(forward) >= abs(across) and abs(forward) >= abs(up):
        right, over, faces_away = 0, 1, forward < 0
    elif abs(up) >= abs(across):
        right, over, faces_away = 2, 0, up < 0
    else:
        right, over, faces_away = 1, 2, across < 0
    if faces_away:
        right, over = over, right
    for number in range(size):
        flat[number, 0] = points[corners[first + number], right]
        flat[number, 1] = points[corners[first + number], over]


@njit(cache=True, nogil=True)
def _clip_ears(flat, first, size, left, triangles, count, tests):  # type: ignore[no-untyped-def]
    """Fill in triangles that no other corner lies in, one after the other; returns how many there are then.

    left: room for the numbers of the corners that no triangle has cut off; tests: how many were made so far.
    """
    for number in range(size):
        left[number] = number
    start, has_few = 0, size <= _FEW_CORNERS
    while size > 3:
        ear = 1
        for step in range(size if tests[0] < _MOST_TESTS else 0):
            candidate = (start + step) % size
            if _is_ear(flat, left, size, candidate, tests):
                ear = candidate
                break
        start = 0 if has_few else max(ear - 1, 0)
        before, after = left[(ear - 1) % size], left[(ear + 1) % size]
        triangles[count] = first + before, first + left[ear], first + after
        count += 1
        for number in range(ear, size - 1):
            left[number] = left[number + 1]
        size -= 1
    triangles[count] = first + left[0], first + left[1], first + left[2]
    return count + 1


@njit(cache=True, nogil=True)
def _is_ear(flat, left, size, candidate, tests):  # type: ignore[no-untyped-def]
    """Whether a corner and its neighbours are a triangle in the polygon that no other corner lies in."""
    a, b, c = flat[left[(candidate - 1) % size]], flat[left[candidate]], flat[left[(candidate + 1) % size]]
    if _side(a, b, c) <= 0:
        return False
    for other in range(size):
        tests[0] += 1
        if other in (candidate, (candidate - 1) % size, (candidate + 1) % size):
            continue
        point = flat[left[other]]
        if _is_at(point, a) or _is_at(point, b) or _is_at(point, c):
            continue  # a hole is joined to the rim by a way there and back, whose corners are there twice
        if _side(a, b, point) >= 0 and _side(b, c, point) >= 0 and _side(c, a, point) >= 0:
            return False
    return True


@njit(cache=True, nogil=True)
def _is_at(point, other):  # type: ignore[no-untyped-def]
    """Whether two points are one place."""
    return point[0] == other[0] and point[1] == other[1]


@njit(cache=True, nogil=True)
def _side(a, b, point):  # type: ignore[no-untyped-def]
    """Above zero where a point is to the left of the way from a to b."""
    return (b[0] - a[0]) * (point[1] - a[1]) - (b[1] - a[1]) * (point[0] - a[0])
