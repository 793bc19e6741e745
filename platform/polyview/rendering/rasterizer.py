"""The rasteriser: draws triangles on a CPU, with no graphics library.

For each view, `fragments` finds the triangle that each pixel shows; then each output colours the pixels, once
each, whatever lies behind. Attributes are interpolated with perspective.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from polyview.rendering.depth import encode
from polyview.rendering.fragments import EMPTY, compiled, find_fragments
from polyview.rendering.scene import Depths, Normals, Scene, Textured, Tinted

NO_DIRECTION = (np.uint8(128), np.uint8(128), np.uint8(128))


def draw(scene: Scene, size: int) -> NDArray[np.uint8]:
    """Draw the scene's layers in all its views.

    Both sides of a triangle are drawn unless the scene culls. Releases the GIL.

    Returns (L x V, size, size, 3) uint8 RGB, all views of the first layer, then of the next; the same bytes for the
    same scene.
    """
    pictures = np.empty((len(scene.layers), len(scene.views), size, size, 3), np.uint8)
    # One view's fragments at a time: they stay in the processor's cache until the last layer has read them.
    for view, (owner, weights) in enumerate(fragments(scene, size)):
        for layer, picture in zip(scene.layers, pictures[:, view], strict=True):
            match layer:
                case Tinted(colors):
                    _tint(scene.faces, owner, weights, colors[view % len(colors)], scene.background, picture)
                case Textured(uv, texture, light):
                    lit = light[view % len(light)]
                    _lay_texture(scene.faces, owner, weights, uv, texture, lit, scene.background, picture)
                case Normals(normals):
                    turn = scene.views[view, :3, :3].astype(np.float32)
                    _show_normals(scene.faces, owner, weights, normals, turn, picture)
                case Depths(centre, radius):
                    picture[:] = encode(depths(weights), centre, radius)[..., np.newaxis]
    return pictures.reshape(-1, size, size, 3)


def fragments(scene: Scene, size: int) -> Iterator[tuple[NDArray[np.int32], NDArray[np.float32]]]:
    """For each view, which triangle each pixel shows, (size, size), and the weights of its corners, (size, size, 3).

    The arrays of one view are those of the next: read them before asking for it.
    """
    owner, weights = np.empty((size, size), np.int32), np.empty((size, size, 3), np.float32)
    snapped, closeness = np.empty((len(scene.vertices), 2), np.int32), np.empty(len(scene.vertices), np.float32)
    lens = scene.focal(size), scene.near, scene.culling
    for view in scene.views:
        find_fragments(scene.vertices, scene.faces, view, *lens, snapped, closeness, owner, weights)
        yield owner, weights


def depths(weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Distance from the camera's plane of what each pixel shows, millimetres; 0 where it shows nothing."""
    closeness = weights[..., 2]
    return np.divide(np.float32(1), closeness, out=np.zeros_like(closeness), where=closeness > 0)


@compiled
def _shares(weights, j, i):  # type: ignore[no-untyped-def]
    """The parts of the three corners in a pixel; they sum to 1."""
    depth = np.float32(1.0) / weights[j, i, 2]
    a, b = weights[j, i, 0] * depth, weights[j, i, 1] * depth
    return a, b, np.float32(1.0) - a - b


@compiled
def _corners(faces, face):  # type: ignore[no-untyped-def]
    """The rows of a face's corners; unsigned, or every access would first look whether it counts from the end."""
    row = np.uint32(face)
    return np.uint32(faces[row, 0]), np.uint32(faces[row, 1]), np.uint32(faces[row, 2])


@compiled
def _level(value):  # type: ignore[no-untyped-def]
    return np.uint8(min(max(value + np.float32(0.5), np.float32(0.0)), np.float32(255.0)))


@compiled
def _tint(faces, owner, weights, tints, background, picture):  # type: ignore[no-untyped-def]
    for j in range(picture.shape[0]):
        for i in range(picture.shape[1]):
            face = owner[j, i]
            if face == EMPTY:
                _leave(picture, j, i, background)
                continue
            a, b, c = _corners(faces, face)
            part_a, part_b, part_c = _shares(weights, j, i)
            for channel in range(3):
                value = part_a * tints[a, channel] + part_b * tints[b, channel] + part_c * tints[c, channel]
                picture[j, i, channel] = _level(value)


@compiled
def _leave(picture, j, i, background):  # type: ignore[no-untyped-def]
    for channel in range(3):
        picture[j, i, channel] = background[channel]


@compiled
def _lay_texture(faces, owner, weights, uv, texture, light, background, picture):  # type: ignore[no-untyped-def]
    for j in range(picture.shape[0]):
        for i in range(picture.shape[1]):
            face = owner[j, i]
            if face == EMPTY:
                _leave(picture, j, i, background)
                continue
            a, b, c = _corners(faces, face)
            part_a, part_b, part_c = _shares(weights, j, i)
            u = part_a * uv[a, 0] + part_b * uv[b, 0] + part_c * uv[c, 0]
            v = part_a * uv[a, 1] + part_b * uv[b, 1] + part_c * uv[c, 1]
            _sample(texture, u, v, part_a * light[a] + part_b * light[b] + part_c * light[c], picture, j, i)


@compiled
def _sample(texture, u, v, light, picture, j, i):  # type: ignore[no-untyped-def]
    """Bilinear, between the centres of four texels; the texture repeats, as OpenGL's does by default."""
    height, width = texture.shape[0], texture.shape[1]
    x = (u - np.floor(u)) * np.float32(width) - np.float32(0.5)
    y = (np.float32(1.0) - (v - np.floor(v))) * np.float32(height) - np.float32(0.5)
    left, right, across = _between(x, width)
    above, below, down = _between(y, height)
    for channel in range(3):
        upper = texture[above, left, channel] * (np.float32(1.0) - across) + texture[above, right, channel] * across
        lower = texture[below, left, channel] * (np.float32(1.0) - across) + texture[below, right, channel] * across
        picture[j, i, channel] = _level((upper + (lower - upper) * down) * light)


@compiled
def _between(position, length):  # type: ignore[no-untyped-def]
    """The texels on both sides of a position from -0.5 to length - 0.5, and how far it is towards the second.

    Both are within the texture whatever the position, even if it is not a number.
    """
    floor = np.floor(position)
    first = min(max(np.int32(floor), -1), length - 1)
    second = first + 1
    return first if first >= 0 else length - 1, second if second < length else 0, position - floor


@compiled
def _show_normals(faces, owner, weights, normals, turn, picture):  # type: ignore[no-untyped-def]
    """Red is right, green up, blue towards the camera: 1 is 255, 0 is 128, -1 is 1. turn: (3, 3), to the camera."""
    for j in range(picture.shape[0]):
        for i in range(picture.shape[1]):
            face = owner[j, i]
            if face == EMPTY:
                _leave(picture, j, i, NO_DIRECTION)
                continue
            a, b, c = _corners(faces, face)
            part_a, part_b, part_c = _shares(weights, j, i)
            x = part_a * normals[a, 0] + part_b * normals[b, 0] + part_c * normals[c, 0]
            y = part_a * normals[a, 1] + part_b * normals[b, 1] + part_c * normals[c, 1]
            z = part_a * normals[a, 2] + part_b * normals[b, 2] + part_c * normals[c, 2]
            length = max(np.sqrt(x * x + y * y + z * z), np.float32(1e-12))
            for channel in range(3):
                seen = (turn[channel, 0] * x + turn[channel, 1] * y + turn[channel, 2] * z) / length
                picture[j, i, channel] = _level(np.float32(128.0) + np.float32(127.0) * seen)
