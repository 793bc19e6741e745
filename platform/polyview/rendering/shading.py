"""Vertex normals, light and smoothing, compiled; light is worked out per vertex, whatever the number of faces."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray


def vertex_normals(vertices: NDArray[np.float32], faces: NDArray[np.int32]) -> NDArray[np.float32]:
    """Unit normals (N, 3): the mean over a vertex's faces, weighted by area; zero where there is no face."""
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
    normals = np.zeros(vertices.shape, np.float32)
    for face in range(len(faces)):
        a, b, c = faces[face, 0], faces[face, 1], faces[face, 2]
        px, py, pz = vertices[b, 0] - vertices[a, 0], vertices[b, 1] - vertices[a, 1], vertices[b, 2] - vertices[a, 2]
        qx, qy, qz = vertices[c, 0] - vertices[a, 0], vertices[c, 1] - vertices[a, 1], vertices[c, 2] - vertices[a, 2]
        # The cross product is as long as twice the area: the weight comes by itself.
        x, y, z = py * qz - pz * qy, pz * qx - px * qz, px * qy - py * qx
        for corner in (a, b, c):
            normals[corner, 0] += x
            normals[corner, 1] += y
            normals[corner, 2] += z
    for i in range(len(normals)):
        x, y, z = normals[i, 0], normals[i, 1], normals[i, 2]
        length = np.sqrt(x * x + y * y + z * z)
        if length > 0:
            normals[i, 0] = x / length
            normals[i, 1] = y / length
            normals[i, 2] = z / length
    return normals


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
