"""The rasteriser: draws lit triangles on a CPU, with no graphics library.

Coverage follows the rules of OpenGL: vertices are snapped to 1/256 of a pixel, a pixel belongs to the
triangle that holds its centre, and one on an edge that two triangles share belongs to one of them. So
meshes have no cracks, and pictures agree with a graphics card's. Edge functions after Pineda, "A parallel
algorithm for polygon rasterization", SIGGRAPH 1988.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from polyview.rendering.scene import BACKGROUND, Scene

SUBPIXEL_BITS = 8
SUBPIXELS = 1 << SUBPIXEL_BITS
HALF = SUBPIXELS // 2
# Beyond this, in snapped units, products of coordinates would leave 64 bits.
GUARD = 1 << 28
OUTSIDE = np.int32(1 << 30)


def draw(scene: Scene, size: int) -> NDArray[np.uint8]:
    """Draw the scene in all its views.

    Colours are interpolated with perspective, both sides of a triangle are drawn, triangles are clipped at
    the near plane, and one that reaches further than a million pixels outside the picture is left out.
    Releases the GIL.

    Returns (V, size, size, 3) uint8 RGB, the same bytes for the same scene.
    """
    pictures = np.empty((len(scene.views), size, size, 3), np.uint8)
    _draw_views(
        scene.vertices, scene.faces, scene.colors, scene.views, scene.focal(size), scene.near, BACKGROUND, pictures
    )
    return pictures


@njit(cache=True, nogil=True)
def _draw_views(vertices, faces, colors, views, focal, near, background, pictures):  # type: ignore[no-untyped-def]
    size = pictures.shape[1]
    snapped = np.empty((len(vertices), 2), np.int32)
    closeness = np.empty(len(vertices), np.float32)
    nearest = np.empty((size, size), np.float32)
    for view in range(len(views)):
        picture, tints = pictures[view], colors[view]
        _clear(picture, nearest, background)
        _project(vertices, views[view], focal, near, size, snapped, closeness)
        for face in range(len(faces)):
            a, b, c = faces[face, 0], faces[face, 1], faces[face, 2]
            xa, ya = snapped[a, 0], snapped[a, 1]
            xb, yb = snapped[b, 0], snapped[b, 1]
            xc, yc = snapped[c, 0], snapped[c, 1]
            if xa == OUTSIDE or xb == OUTSIDE or xc == OUTSIDE:
                _fill_clipped(vertices, a, b, c, tints, views[view], focal, near, picture, nearest)
            elif _covers_a_centre(xa, ya, xb, yb, xc, yc, size):
                za, zb, zc = closeness[a], closeness[b], closeness[c]
                _fill(xa, ya, za, a, xb, yb, zb, b, xc, yc, zc, c, tints, picture, nearest)


@njit(cache=True, nogil=True)
def _clear(picture, nearest, background):  # type: ignore[no-untyped-def]
    for j in range(len(picture)):
        for i in range(len(picture)):
            nearest[j, i] = 0.0
            for channel in range(3):
                picture[j, i, channel] = background[channel]


@njit(cache=True, nogil=True)
def _project(vertices, view, focal, near, size, snapped, closeness):  # type: ignore[no-untyped-def]
    """Snapped pixel coordinates and 1/depth of every vertex; x is OUTSIDE where it has none."""
    for i in range(len(vertices)):
        x, y, depth = _to_camera(vertices, i, view)
        _snap(x, y, depth, focal, near, size, i, snapped, closeness)


@njit(cache=True, nogil=True)
def _snap(x, y, depth, focal, near, size, i, snapped, closeness):  # type: ignore[no-untyped-def]
    """Project one point into row `i` of snapped and closeness."""
    snapped[i, 0] = OUTSIDE
    if depth < near:
        return
    scale = SUBPIXELS * focal / depth
    across, down = SUBPIXELS * size / 2 + x * scale, SUBPIXELS * size / 2 - y * scale
    if abs(across) < GUARD and abs(down) < GUARD:
        snapped[i, 0] = math.floor(across + 0.5)
        snapped[i, 1] = math.floor(down + 0.5)
        closeness[i] = 1.0 / depth


@njit(cache=True, nogil=True)
def _to_camera(vertices, i, view):  # type: ignore[no-untyped-def]
    """Right, up and depth of vertex `i` as the camera sees it."""
    x, y, z = vertices[i, 0], vertices[i, 1], vertices[i, 2]
    return (
        view[0, 0] * x + view[0, 1] * y + view[0, 2] * z + view[0, 3],
        view[1, 0] * x + view[1, 1] * y + view[1, 2] * z + view[1, 3],
        -(view[2, 0] * x + view[2, 1] * y + view[2, 2] * z + view[2, 3]),
    )


@njit(cache=True, nogil=True)
def _covers_a_centre(xa, ya, xb, yb, xc, yc, size):  # type: ignore[no-untyped-def]
    """Whether the triangle's bounding box holds a pixel's centre: most triangles of a dense scan do not."""
    left, right = _centres(min(xa, xb, xc), max(xa, xb, xc), size)
    top, bottom = _centres(min(ya, yb, yc), max(ya, yb, yc), size)
    return left <= right and top <= bottom


@njit(cache=True, nogil=True)
def _centres(low, high, size):  # type: ignore[no-untyped-def]
    """The first and last pixel whose centre is between two snapped coordinates."""
    return max((low + HALF - 1) >> SUBPIXEL_BITS, 0), min((high - HALF) >> SUBPIXEL_BITS, size - 1)


@njit(cache=True, nogil=True)
def _fill(xa, ya, za, ia, xb, yb, zb, ib, xc, yc, zc, ic, tints, picture, nearest):  # type: ignore[no-untyped-def]
    """Draw one triangle of snapped corners.

    z is a corner's 1/depth, i its row in tints, nearest the largest 1/depth that each pixel has seen so far.
    """
    xa, ya, xb, yb, xc, yc = np.int64(xa), np.int64(ya), np.int64(xb), np.int64(yb), np.int64(xc), np.int64(yc)
    area = (xb - xa) * (yc - ya) - (xc - xa) * (yb - ya)
    if area == 0:
        return
    if area < 0:
        area = -area
        xb, yb, zb, ib, xc, yc, zc, ic = xc, yc, zc, ic, xb, yb, zb, ib
    left, right = _centres(min(xa, xb, xc), max(xa, xb, xc), len(picture))
    top, bottom = _centres(min(ya, yb, yc), max(ya, yb, yc), len(picture))
    x, y = left * SUBPIXELS + HALF, top * SUBPIXELS + HALF
    # The edge function opposite to each corner, where it is zero counted as outside for one of the edge's two sides.
    open_a, open_b, open_c = _is_open(xb, yb, xc, yc), _is_open(xc, yc, xa, ya), _is_open(xa, ya, xb, yb)
    row_a = (xc - xb) * (y - yb) - (yc - yb) * (x - xb) - open_a
    row_b = (xa - xc) * (y - yc) - (ya - yc) * (x - xc) - open_b
    row_c = (xb - xa) * (y - ya) - (yb - ya) * (x - xa) - open_c
    share = np.float32(1.0 / area)
    for j in range(top, bottom + 1):
        a, b, c = row_a, row_b, row_c
        for i in range(left, right + 1):
            if (a | b | c) >= 0:
                weight_a = np.float32(a + open_a) * share * za
                weight_b = np.float32(b + open_b) * share * zb
                weight_c = np.float32(c + open_c) * share * zc
                closeness = weight_a + weight_b + weight_c
                if closeness > nearest[j, i]:
                    nearest[j, i] = closeness
                    depth = np.float32(1.0) / closeness
                    for channel in range(3):
                        a_part, b_part = weight_a * tints[ia, channel], weight_b * tints[ib, channel]
                        value = a_part + b_part + weight_c * tints[ic, channel]
                        picture[j, i, channel] = np.uint8(min(value * depth + np.float32(0.5), np.float32(255.0)))
            a -= (yc - yb) * SUBPIXELS
            b -= (ya - yc) * SUBPIXELS
            c -= (yb - ya) * SUBPIXELS
        row_a += (xc - xb) * SUBPIXELS
        row_b += (xa - xc) * SUBPIXELS
        row_c += (xb - xa) * SUBPIXELS


@njit(cache=True, nogil=True)
def _is_open(xa, ya, xb, yb):  # type: ignore[no-untyped-def]
    """1 where a pixel's centre on the edge from a to b is not the triangle's: the edge is not a top or left one."""
    return np.int64(not (yb < ya or (yb == ya and xb > xa)))


@njit(cache=True, nogil=True)
def _fill_clipped(vertices, a, b, c, tints, view, focal, near, picture, nearest):  # type: ignore[no-untyped-def]
    """Draw the part of a triangle that is in front of the near plane: none, a triangle, or two."""
    snapped = np.empty((4, 2), np.int32)
    closeness = np.empty(4, np.float32)
    shades = np.empty((4, 3), np.float32)
    corners = 0
    for i, j in ((a, b), (b, c), (c, a)):
        x, y, depth = _to_camera(vertices, i, view)
        next_x, next_y, next_depth = _to_camera(vertices, j, view)
        if depth >= near:
            _snap(x, y, depth, focal, near, len(picture), corners, snapped, closeness)
            for channel in range(3):
                shades[corners, channel] = tints[i, channel]
            corners += 1
        if (depth >= near) != (next_depth >= near):
            t = (near - depth) / (next_depth - depth)
            x, y = x + t * (next_x - x), y + t * (next_y - y)
            _snap(x, y, near, focal, near, len(picture), corners, snapped, closeness)
            for channel in range(3):
                shades[corners, channel] = tints[i, channel] + t * (tints[j, channel] - tints[i, channel])
            corners += 1
    for k in range(1, corners - 1):
        xa, ya, xb, yb = snapped[0, 0], snapped[0, 1], snapped[k, 0], snapped[k, 1]
        xc, yc = snapped[k + 1, 0], snapped[k + 1, 1]
        if xa != OUTSIDE and xb != OUTSIDE and xc != OUTSIDE:
            za, zb, zc = closeness[0], closeness[k], closeness[k + 1]
            _fill(xa, ya, za, 0, xb, yb, zb, k, xc, yc, zc, k + 1, shades, picture, nearest)
