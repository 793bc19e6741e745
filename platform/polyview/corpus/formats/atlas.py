"""Several pictures, and colours, as one: a face has one texture, whatever number of materials its file gives it."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from polyview.corpus.formats.cuts import END
from polyview.corpus.formats.limits import LARGEST_TEXTURE
from polyview.corpus.mesh import Mesh

Picture = NDArray[np.uint8]

_MIDDLES = np.array([(0.5, 0.5), (1.5, 0.5), (1.5, 1.5)])
"""Where the corners of a triangle lie in its own 2 x 2 pixels, to the right and downwards."""
_MARGIN = 1
"""Pixels of its own edge around each tile, so that no tile's colour runs into its neighbour's."""


def joined(
    tiles: list[Picture], places: NDArray[np.float64], corners: NDArray[np.int32], of_corner: NDArray[np.int64]
) -> tuple[Picture, NDArray[np.float64], NDArray[np.int32]]:
    """One picture of all tiles; the texture coordinates in it, and each corner's index of them.

    places (n, 2): the texture coordinates of each corner in its own tile; corners (n,): `END` after each polygon;
    of_corner (n,): the number of the corner's tile. A tile that repeats is repeated polygon by polygon.
    """
    tiles = _small_enough(tiles)
    origins, height, width = _packed([tile.shape[:2] for tile in tiles])
    atlas = np.zeros((height, width, 3), np.uint8)
    for tile, (top, left) in zip(tiles, origins.tolist(), strict=True):
        framed = np.pad(tile, ((_MARGIN, _MARGIN), (_MARGIN, _MARGIN), (0, 0)), mode="edge")
        atlas[top : top + framed.shape[0], left : left + framed.shape[1]] = framed
    inner = _within_one_tile(places, corners)
    sizes = np.array([tile.shape[:2] for tile in tiles])[of_corner]
    down = origins[of_corner, 0] + _MARGIN + (1 - inner[:, 1]) * sizes[:, 0]
    right = origins[of_corner, 1] + _MARGIN + inner[:, 0] * sizes[:, 1]
    found, index = np.unique(right / width + 1j * (1 - down / height), return_inverse=True)
    return atlas, np.column_stack([found.real, found.imag]), np.where(corners == END, END, index).astype(np.int32)


def with_colors_of_faces(mesh: Mesh, faces: NDArray[np.bool_]) -> Mesh:
    """The mesh with the colours of some faces (F,) in its picture, which shows them from then on.

    Its texture coordinates must be in [0, 1]. Each of these faces has vertices of its own then.
    """
    if mesh.uv is None or mesh.texture is None or mesh.colors is None or not faces.any():
        return mesh
    height, width = mesh.texture.shape[:2]
    patches, places = patches_of(mesh.colors[mesh.faces[faces]], width)
    picture = np.concatenate([np.pad(mesh.texture, ((0, 0), (0, patches.shape[1] - width), (0, 0))), patches])
    former = np.column_stack([mesh.uv[:, 0] * width, (1 - mesh.uv[:, 1]) * height])
    right, down = np.concatenate([former, places + np.array([0, height])]).T
    corners = mesh.faces.copy()
    corners[faces] = len(mesh.vertices) + np.arange(len(places)).reshape(-1, 3)
    return replace(
        mesh,
        vertices=np.concatenate([mesh.vertices, mesh.vertices[mesh.faces[faces].ravel()]]),
        faces=corners,
        colors=None,
        uv=np.column_stack([right / picture.shape[1], 1 - down / picture.shape[0]]).astype(np.float32),
        texture=picture,
    )


def patches_of(colors: NDArray[np.uint8], width: int = 1) -> tuple[Picture, NDArray[np.float64]]:
    """A picture of triangles whose corners have the colours (T, 3, 3), and where they lie in it (3 T, 2), in pixels.

    It is at least `width` wide. Each triangle has 2 x 2 pixels, between whose middles colours run evenly.
    """
    count = len(colors)
    columns = max(-(-width // 2), math.isqrt(count - 1) + 1)
    rows = -(-count // columns)
    pixels = np.zeros((rows * columns, 2, 2, 3), np.uint8)
    first, second, third = colors.astype(np.int16).swapaxes(0, 1)
    fourth = (first + third - second).clip(0, 255)  # in one plane with the others, where there is such a colour
    pixels[:count] = np.stack([first, second, fourth, third], axis=1).reshape(-1, 2, 2, 3)
    patches = pixels.reshape(rows, columns, 2, 2, 3).swapaxes(1, 2).reshape(2 * rows, 2 * columns, 3)
    row, column = np.divmod(np.arange(count), columns)
    places = 2 * np.column_stack([column, row])[:, np.newaxis] + _MIDDLES
    return patches, places.reshape(-1, 2)


def _within_one_tile(places: NDArray[np.float64], corners: NDArray[np.int32]) -> NDArray[np.float64]:
    """Coordinates in [0, 1], each polygon moved as a whole to the tile that most of it lies in."""
    places = np.nan_to_num(places)
    if places.min() >= 0 and places.max() <= 1:
        return places
    ends = np.flatnonzero(corners == END)
    starts = np.concatenate([[0], ends[:-1] + 1])
    own = places * (corners != END)[:, np.newaxis]
    middles = np.add.reduceat(own, starts) / np.maximum(ends - starts, 1)[:, np.newaxis]
    moved: NDArray[np.float64] = places - np.floor(middles).repeat(ends - starts + 1, axis=0)
    return moved.clip(0, 1)


def _small_enough(tiles: list[Picture]) -> list[Picture]:
    while sum(tile.shape[0] * tile.shape[1] for tile in tiles) > LARGEST_TEXTURE // 2:
        tiles = [tile[::2, ::2] for tile in tiles]
    return tiles


def _packed(sizes: list[tuple[int, ...]]) -> tuple[NDArray[np.int64], int, int]:
    """Where each framed tile begins (row, column), and the height and width of all: shelves, the tallest first."""
    framed = np.array(sizes) + 2 * _MARGIN
    width = max(int(framed[:, 1].max()), math.isqrt(int(framed.prod(axis=1).sum())))
    origins, top, left, shelf = np.zeros_like(framed), 0, 0, 0
    for number in np.argsort(-framed[:, 0], kind="stable"):
        tall, wide = (int(side) for side in framed[number])
        if left + wide > width:
            top, left, shelf = top + shelf, 0, 0
        origins[number] = top, left
        left, shelf = left + wide, max(shelf, tall)
    return origins, top + shelf, width
