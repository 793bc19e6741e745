"""The rasteriser's first half, compiled: which triangle each pixel shows, and where on it.

Coverage follows the rules of OpenGL: vertices are snapped to 1/256 of a pixel, a pixel belongs to the
triangle that holds its centre, and one on an edge that two triangles share belongs to one of them. So
meshes have no cracks, and pictures agree with a graphics card's. Edge functions after Pineda, "A parallel
algorithm for polygon rasterization", SIGGRAPH 1988.

A fragment is what one pixel shows: owner (S, S) int32, its triangle, or EMPTY; weights (S, S, 3) float32, the
shares of the triangle's corners a and b in the pixel, each times 1/depth of the corner, and 1/depth of the pixel.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

SUBPIXEL_BITS = 8
SUBPIXELS = 1 << SUBPIXEL_BITS
HALF = SUBPIXELS // 2
# Beyond this, in snapped units, products of coordinates would leave 64 bits.
GUARD = 1 << 28
OUTSIDE = np.int32(1 << 30)
EMPTY = np.int32(-1)
# No rule that lets the compiler take numbers for finite: a vertex may be far enough away to overflow.
FAST = {"contract", "reassoc", "arcp", "nsz"}
compiled = njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")


@compiled
def find_fragments(  # type: ignore[no-untyped-def]
    vertices, faces, view, focal, near, culling, snapped, closeness, owner, weights
):
    """Fill owner and weights for one view; snapped (N, 2) int32 and closeness (N,) float32 are working space.

    A triangle is clipped at the near plane; one that reaches further than a million pixels outside the picture
    is left out.
    """
    size = len(owner)
    for j in range(size):
        for i in range(size):
            owner[j, i] = EMPTY
            weights[j, i, 2] = np.float32(0.0)
    _project(vertices, view, focal, near, size, snapped, closeness)
    clipped = False
    for face in range(len(faces)):
        # Unsigned, or every access would first look whether it counts from the end.
        a, b, c = np.uint32(faces[face, 0]), np.uint32(faces[face, 1]), np.uint32(faces[face, 2])
        xa, ya = snapped[a, 0], snapped[a, 1]
        xb, yb = snapped[b, 0], snapped[b, 1]
        xc, yc = snapped[c, 0], snapped[c, 1]
        if xa == OUTSIDE or xb == OUTSIDE or xc == OUTSIDE:
            _cover_clipped(vertices, face, a, b, c, view, focal, near, culling, owner, weights)
            clipped = True
        else:
            za, zb, zc = closeness[a], closeness[b], closeness[c]
            _cover(face, xa, ya, za, xb, yb, zb, xc, yc, zc, culling, owner, weights)
    if clipped:
        _settle_clipped(vertices, faces, view, focal, owner, weights)


@compiled
def _project(vertices, view, focal, near, size, snapped, closeness):  # type: ignore[no-untyped-def]
    """Snapped pixel coordinates and 1/depth of every vertex; x is OUTSIDE where it has none."""
    for i in range(len(vertices)):
        x, y, depth = _to_camera(vertices, i, view)
        _snap(x, y, depth, focal, near, size, i, snapped, closeness)


@compiled
def _snap(x, y, depth, focal, near, size, i, snapped, closeness):  # type: ignore[no-untyped-def]
    """Project one point into row `i` of snapped and closeness."""
    snapped[i, 0] = OUTSIDE
    if depth < near:
        return
    nearness = 1.0 / depth
    scale = SUBPIXELS * focal * nearness
    across, down = SUBPIXELS * size / 2 + x * scale, SUBPIXELS * size / 2 - y * scale
    if abs(across) < GUARD and abs(down) < GUARD:
        snapped[i, 0] = math.floor(across + 0.5)
        snapped[i, 1] = math.floor(down + 0.5)
        closeness[i] = nearness


@compiled
def _to_camera(vertices, i, view):  # type: ignore[no-untyped-def]
    """Right, up and depth of vertex `i` as the camera sees it."""
    x, y, z = vertices[i, 0], vertices[i, 1], vertices[i, 2]
    return (
        view[0, 0] * x + view[0, 1] * y + view[0, 2] * z + view[0, 3],
        view[1, 0] * x + view[1, 1] * y + view[1, 2] * z + view[1, 3],
        -(view[2, 0] * x + view[2, 1] * y + view[2, 2] * z + view[2, 3]),
    )


@compiled
def _cover(face, xa, ya, za, xb, yb, zb, xc, yc, zc, culling, owner, weights):  # type: ignore[no-untyped-def]
    """Give the pixels of a triangle to `face` where it is the nearest so far. x, y: snapped; z: a corner's 1/depth."""
    # The bounding box first: that of most triangles of a dense scan holds no pixel's centre.
    last = len(owner) - 1
    left = max((min(xa, xb, xc) + HALF - 1) >> SUBPIXEL_BITS, 0)
    right = min((max(xa, xb, xc) - HALF) >> SUBPIXEL_BITS, last)
    if left > right:
        return
    top = max((min(ya, yb, yc) + HALF - 1) >> SUBPIXEL_BITS, 0)
    bottom = min((max(ya, yb, yc) - HALF) >> SUBPIXEL_BITS, last)
    if top > bottom:
        return
    xa, ya, xb, yb, xc, yc = np.int64(xa), np.int64(ya), np.int64(xb), np.int64(yb), np.int64(xc), np.int64(yc)
    # Sides opposite to each corner, turned round where the triangle is, so that inside is positive.
    across_a, down_a, across_b, down_b, across_c, down_c = xc - xb, yc - yb, xa - xc, ya - yc, xb - xa, yb - ya
    area = across_c * -down_b + across_b * down_c
    if area == 0 or (culling and area > 0):
        return
    if area < 0:
        area = -area
        across_a, down_a, across_b, down_b, across_c, down_c = (
            -across_a,
            -down_a,
            -across_b,
            -down_b,
            -across_c,
            -down_c,
        )
    x, y = left * SUBPIXELS + HALF, top * SUBPIXELS + HALF
    open_a, open_b, open_c = _is_open(across_a, down_a), _is_open(across_b, down_b), _is_open(across_c, down_c)
    row_a = across_a * (y - yb) - down_a * (x - xb) - open_a
    row_b = across_b * (y - yc) - down_b * (x - xc) - open_b
    row_c = across_c * (y - ya) - down_c * (x - xa) - open_c
    share = np.float32(1.0) / np.float32(area)
    share_a, share_b, share_c = share * za, share * zb, share * zc
    for j in range(np.uint32(top), np.uint32(bottom + 1)):
        a, b, c = row_a, row_b, row_c
        for i in range(np.uint32(left), np.uint32(right + 1)):
            if (a | b | c) >= 0:
                weight_a = np.float32(a + open_a) * share_a
                weight_b = np.float32(b + open_b) * share_b
                closeness = weight_a + weight_b + np.float32(c + open_c) * share_c
                if closeness > weights[j, i, 2]:
                    owner[j, i] = face
                    weights[j, i, 0] = weight_a
                    weights[j, i, 1] = weight_b
                    weights[j, i, 2] = closeness
            a -= down_a * SUBPIXELS
            b -= down_b * SUBPIXELS
            c -= down_c * SUBPIXELS
        row_a += across_a * SUBPIXELS
        row_b += across_b * SUBPIXELS
        row_c += across_c * SUBPIXELS


@compiled
def _is_open(across, down):  # type: ignore[no-untyped-def]
    """1 where a pixel's centre on this side is not the triangle's: the side is not a top or left one."""
    return np.int64(not (down < 0 or (down == 0 and across > 0)))


@compiled
def _cover_clipped(vertices, face, a, b, c, view, focal, near, culling, owner, weights):  # type: ignore[no-untyped-def]
    """Cover the part of a triangle that is in front of the near plane: none, a triangle, or two.

    Their corners are not the face's, so owner is marked (EMPTY - 1 - face) and the weights are settled later.
    """
    snapped = np.empty((4, 2), np.int32)
    closeness = np.empty(4, np.float32)
    corners = 0
    for i, j in ((a, b), (b, c), (c, a)):
        x, y, depth = _to_camera(vertices, i, view)
        next_x, next_y, next_depth = _to_camera(vertices, j, view)
        if depth >= near:
            _snap(x, y, depth, focal, near, len(owner), corners, snapped, closeness)
            corners += 1
        if (depth >= near) != (next_depth >= near):
            t = (near - depth) / (next_depth - depth)
            x, y = x + t * (next_x - x), y + t * (next_y - y)
            _snap(x, y, near, focal, near, len(owner), corners, snapped, closeness)
            corners += 1
    marked = EMPTY - 1 - face
    for k in range(1, corners - 1):
        xa, ya, xb, yb = snapped[0, 0], snapped[0, 1], snapped[k, 0], snapped[k, 1]
        xc, yc = snapped[k + 1, 0], snapped[k + 1, 1]
        if xa != OUTSIDE and xb != OUTSIDE and xc != OUTSIDE:
            za, zb, zc = closeness[0], closeness[k], closeness[k + 1]
            _cover(marked, xa, ya, za, xb, yb, zb, xc, yc, zc, culling, owner, weights)


@compiled
def _settle_clipped(vertices, faces, view, focal, owner, weights):  # type: ignore[no-untyped-def]
    """Put the face's own corners in place of those of its clipped parts, pixel by pixel, by casting a ray.

    The ray r meets the plane of corners A, B, C where their shares are as r.(BxC) : r.(CxA) : r.(AxB).
    """
    size = len(owner)
    for j in range(size):
        for i in range(size):
            if owner[j, i] >= EMPTY:
                continue
            face = EMPTY - 1 - owner[j, i]
            x, y = (i + 0.5 - size / 2) / focal, (size / 2 - j - 0.5) / focal
            ax, ay, az = _to_camera(vertices, faces[face, 0], view)
            bx, by, bz = _to_camera(vertices, faces[face, 1], view)
            cx, cy, cz = _to_camera(vertices, faces[face, 2], view)
            a = x * (by * cz - bz * cy) + y * (bz * cx - bx * cz) + (bx * cy - by * cx)
            b = x * (cy * az - cz * ay) + y * (cz * ax - cx * az) + (cx * ay - cy * ax)
            c = x * (ay * bz - az * by) + y * (az * bx - ax * bz) + (ax * by - ay * bx)
            whole = a + b + c
            owner[j, i] = face
            if whole != 0:
                weights[j, i, 0] = min(max(a / whole, 0.0), 1.0) * weights[j, i, 2]
                weights[j, i, 1] = min(max(b / whole, 0.0), 1.0) * weights[j, i, 2]
