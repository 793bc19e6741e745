"""Vertex normals, light and smoothing, compiled; light is worked out per vertex, whatever the number of faces."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray


def vertex_normals(vertices: NDArray[np.float32], faces: NDArray[np.int32]) -> NDArray[np.float32]:
    """Unit normals (N, 3): the mean over the faces at a vertex's place, weighted by area; zero where there is none.

    Vertices at one place count as one, so that seams of the texture and triangle soups are as smooth as the surface.
    """
    normals: NDArray[np.float32] = _vertex_normals(vertices, faces)
    return normals


def light_at(normals: NDArray[np.float32], to_light: NDArray[np.float32], ambient: float) -> NDArray[np.float32]:
    """How bright each vertex is, (L, N): ambient + (1 - ambient) |normal . to_light|, to_light (L, 3)."""
    facing: NDArray[np.float32] = np.abs(to_light @ normals.T)
    return np.float32(ambient) + np.float32(1 - ambient) * facing


def bake(
    albedo: NDArray[np.uint8], normals: NDArray[np.float32], to_light: NDArray[np.float32], ambient: float
) -> NDArray[np.float32]:
    """Lit colours, (L, N, 3): albedo (N, 3) x (ambient + (1 - ambient) |normal . to_light|), to_light (L, 3)."""
    colors: NDArray[np.float32] = _bake(albedo, normals, to_light, np.float32(ambient))
    return colors


def halve(pictures: NDArray[np.uint8], nearest: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Pictures (C, 2S, 2S, 3) at half the size: the mean of each 2 x 2 pixels, or the greatest where `nearest` (C,).

    The mean of two distances is a place where nothing is, so depth takes the nearest.
    """
    half = pictures.shape[1] // 2
    smaller = np.empty((len(pictures), half, half, 3), np.uint8)
    _halve(pictures, nearest, smaller)
    return smaller


@njit(cache=True, nogil=True)
def _vertex_normals(vertices, faces):  # type: ignore[no-untyped-def]
    normals, first = np.zeros(vertices.shape, np.float32), _welded(vertices)
    for face in range(len(faces)):
        a, b, c = first[faces[face, 0]], first[faces[face, 1]], first[faces[face, 2]]
        px, py, pz = vertices[b, 0] - vertices[a, 0], vertices[b, 1] - vertices[a, 1], vertices[b, 2] - vertices[a, 2]
        qx, qy, qz = vertices[c, 0] - vertices[a, 0], vertices[c, 1] - vertices[a, 1], vertices[c, 2] - vertices[a, 2]
        # The cross product is as long as twice the area: the weight comes by itself.
        x, y, z = py * qz - pz * qy, pz * qx - px * qz, px * qy - py * qx
        for corner in (a, b, c):
            normals[corner, 0] += x
            normals[corner, 1] += y
            normals[corner, 2] += z
    for i in range(len(normals)):
        if first[i] != i:  # it comes later than the first at its place, whose normal is done
            normals[i] = normals[first[i]]
            continue
        x, y, z = normals[i, 0], normals[i, 1], normals[i, 2]
        length = np.sqrt(x * x + y * y + z * z)
        if length > 0:
            normals[i, 0] = x / length
            normals[i, 1] = y / length
            normals[i, 2] = z / length
    return normals


@njit(cache=True, nogil=True)
def _welded(vertices):  # type: ignore[no-untyped-def]
    """For each vertex the first one at its place: a table of places, found by their bits."""
    slots = 1
    while slots < 2 * len(vertices):
        slots *= 2
    table, first = np.full(slots, -1, np.int32), np.empty(len(vertices), np.int32)
    bits = (vertices + np.float32(0.0)).view(np.uint32)  # adding zero makes -0.0 the same place as 0.0
    for i in range(len(vertices)):
        x, y, z = bits[i, 0], bits[i, 1], bits[i, 2]
        key = (np.uint64(x) * np.uint64(73856093)) ^ (np.uint64(y) * np.uint64(19349663))
        key = (key ^ (np.uint64(z) * np.uint64(83492791))) * np.uint64(0x9E3779B97F4A7C15)
        slot = np.int64((key >> np.uint64(33)) & np.uint64(slots - 1))
        while True:
            other = table[slot]
            if other < 0:
                table[slot] = first[i] = i
                break
            if bits[other, 0] == x and bits[other, 1] == y and bits[other, 2] == z:
                first[i] = other
                break
            slot = (slot + 1) & (slots - 1)
    return first


@njit(cache=True, nogil=True)
def _bake(albedo, normals, to_light, ambient):  # type: ignore[no-untyped-def]
    colors = np.empty((len(to_light), len(normals), 3), np.float32)
    for view in range(len(to_light)):
        x, y, z = to_light[view, 0], to_light[view, 1], to_light[view, 2]
        for i in range(len(normals)):
            facing = abs(normals[i, 0] * x + normals[i, 1] * y + normals[i, 2] * z)
            light = ambient + (np.float32(1.0) - ambient) * facing
            for channel in range(3):
                colors[view, i, channel] = albedo[i, channel] * light
    return colors


@njit(cache=True, nogil=True)
def _halve(pictures, nearest, smaller):  # type: ignore[no-untyped-def]
    for index in range(len(smaller)):
        for j in range(smaller.shape[1]):
            for i in range(smaller.shape[2]):
                for channel in range(3):
                    a, b = pictures[index, 2 * j, 2 * i, channel], pictures[index, 2 * j, 2 * i + 1, channel]
                    c, d = pictures[index, 2 * j + 1, 2 * i, channel], pictures[index, 2 * j + 1, 2 * i + 1, channel]
                    if nearest[index]:
                        smaller[index, j, i, channel] = max(a, b, c, d)
                    else:
                        smaller[index, j, i, channel] = (np.int32(a) + b + c + d + 2) >> 2
