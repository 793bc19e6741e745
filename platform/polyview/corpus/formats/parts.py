"""The parts of a scene, each with a picture or colours of its own, as one mesh with one picture or with colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from polyview.corpus.formats.atlas import Picture, joined, patches_of
from polyview.corpus.formats.polygons import as_polygons, check_range, surface
from polyview.corpus.mesh import Mesh, MeshError


class Part(NamedTuple):
    """vertices (V, 3); faces (F, 3); colors (V, 3), which its picture hides; uv (V, 2), origin at the lower left."""

    vertices: NDArray[np.float64]
    faces: NDArray[np.int32]
    colors: NDArray[np.uint8]
    uv: NDArray[np.float64] | None = None
    picture: Picture | None = None


def as_one(parts: Sequence[Part], given: Picture | None, colored: bool) -> Mesh:
    """All parts as one mesh, with the picture given or with their own as one.

    given: the picture that hides all that the parts show, where they say how it lies; colored: whether the colours of
    parts without pictures are seen. Raises `MeshError`.
    """
    for part in parts:
        _check(part)
    vertices = np.concatenate([part.vertices for part in parts])
    starts = np.cumsum([0, *(len(part.vertices) for part in parts[:-1])])
    faces = np.concatenate([part.faces + start for part, start in zip(parts, starts, strict=True)]).astype(np.int32)
    if given is not None and any(part.uv is not None for part in parts):
        # A part that does not say where its picture lies shows what else it has.
        parts = [part._replace(picture=None if part.uv is None else given) for part in parts]
    texture = parts[0].picture if given is None else given
    if any(part.picture is not parts[0].picture for part in parts):
        return _with_pictures_joined(parts, vertices, faces)
    uv = None if all(part.uv is None for part in parts) else np.concatenate([_places(part) for part in parts])
    colors = np.concatenate([part.colors for part in parts]) if colored and (texture is None or uv is None) else None
    return Mesh(
        vertices=vertices.astype(np.float32),
        faces=faces,
        colors=colors,
        uv=None if uv is None else uv.astype(np.float32),
        texture=texture,
    )


def _check(part: Part) -> None:
    check_range(part.faces, len(part.vertices), "face index {} of {} vertices")
    for name, values in (("colours", part.colors), ("texture coordinates", part.uv)):
        if values is not None and len(values) != len(part.vertices):
            raise MeshError(f"{len(values)} {name} for {len(part.vertices)} vertices")


def _places(part: Part) -> NDArray[np.float64]:
    return np.zeros((len(part.vertices), 2)) if part.uv is None else part.uv


def _with_pictures_joined(parts: Sequence[Part], vertices: NDArray[np.float64], faces: NDArray[np.int32]) -> Mesh:
    pictures: dict[int, tuple[int, Picture]] = {}
    numbers, places = [], []
    for part in parts:
        picture, own = _of_colors(part) if part.picture is None else (part.picture, _places(part)[part.faces])
        number, _ = pictures.setdefault(id(picture), (len(pictures), picture))
        numbers.append(np.full(4 * len(part.faces), number))
        places.append(np.concatenate([own, np.zeros((len(own), 1, 2))], axis=1).reshape(-1, 2))
    corners = as_polygons(faces)
    tiles = [picture for _, picture in pictures.values()]
    texture, uv, uv_corners = joined(tiles, np.concatenate(places), corners, np.concatenate(numbers))
    return replace(surface(vertices, corners, uv, uv_corners), texture=texture)


def _of_colors(part: Part) -> tuple[Picture, NDArray[np.float64]]:
    """A picture of the part's colours, as they run over each face; (F, 3, 2) where the corners lie in it."""
    if len(part.colors) and (part.colors == part.colors[0]).all():
        return part.colors[:1].reshape(1, 1, 3), np.full((len(part.faces), 3, 2), 0.5)
    picture, places = patches_of(part.colors[part.faces])
    height, width = picture.shape[:2]
    return picture, np.column_stack([places[:, 0] / width, 1 - places[:, 1] / height]).reshape(-1, 3, 2)
