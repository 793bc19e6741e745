"""A mesh made ready to be drawn: framed, lit, with all that each output needs at its vertices.

Light is worked out here, for both backends, so that they have nothing left to disagree about.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polyview.corpus.mesh import Mesh, MeshError
from polyview.recipe import Output, Rendering
from polyview.rendering.cameras import FIELD_OF_VIEW, Camera, Framing, frame
from polyview.rendering.shading import bake, halve, light_at, vertex_normals

GREY = 200
AMBIENT = 0.25
LIGHT_PITCH = 25.0
"""Degrees by which the light stands above the camera."""


@dataclass(frozen=True, eq=False)
class Tinted:
    """A colour at each vertex, lit already. colors: (V or 1, N, 3) float32, 0 to 255; 1 serves all views."""

    colors: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Textured:
    """A texture times light. uv (N, 2) float32; texture (H, W, 3) uint8; light (V or 1, N) float32, 1 is white."""

    uv: NDArray[np.float32]
    texture: NDArray[np.uint8]
    light: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Normals:
    """Directions of the surface as the camera sees them. normals: (N, 3) float32, in the world."""

    normals: NDArray[np.float32]


@dataclass(frozen=True)
class Depths:
    """Distances around `centre`, from `radius` in front of it to `radius` behind it, millimetres."""

    centre: float
    radius: float


Layer = Tinted | Textured | Normals | Depths


@dataclass(frozen=True, eq=False)
class Scene:
    """One mesh under all its cameras.

    vertices (N, 3) float32 millimetres; faces (F, 3) int32; views (V, 4, 4) float64, from the world to each camera;
    near and far millimetres; layers, what to draw in one pass; background (3,) uint8; culling, whether triangles
    seen from behind are left out.
    """

    vertices: NDArray[np.float32]
    faces: NDArray[np.int32]
    views: NDArray[np.float64]
    near: float
    far: float
    layers: tuple[Layer, ...]
    background: NDArray[np.uint8]
    culling: bool = False

    def focal(self, size: int) -> float:
        """Pixels on the picture for one millimetre across at a depth of one millimetre."""
        return size / 2 / math.tan(math.radians(FIELD_OF_VIEW / 2))


def compose(mesh: Mesh, cameras: Sequence[Camera], rendering: Rendering) -> Scene:
    """Frame and light the mesh as the recipe says, one layer for `shading` and one for each of `outputs`.

    `color` is the vertices' albedo, `texture` the texture's. `shaded` is albedo x (ambient + (1 - ambient) |n.l|),
    n the vertex's normal, l the direction to a light that stands above the camera, or above the front: the absolute
    value, because scans are open surfaces and some are wound the other way round.
    Raises `MeshError` where `texture` is asked of a mesh that has none.
    """
    framing = frame(mesh, rendering.framing, rendering.radius)
    views = np.stack([framing.view(camera) for camera in cameras])
    layers = tuple(
        _layer(output, mesh, views, framing, rendering) for output in (rendering.shading, *rendering.outputs)
    )
    background = np.array(rendering.background, np.uint8)
    return Scene(
        mesh.vertices, mesh.faces, views, framing.near, framing.far, layers, background, culling=rendering.culling
    )


@dataclass(frozen=True)
class SceneRenderer:
    """Composes a scene from each mesh, then lets a backend draw it."""

    rendering: Rendering
    draw: Callable[[Scene, int], NDArray[np.uint8]]

    def render(self, mesh: Mesh, cameras: Sequence[Camera]) -> NDArray[np.uint8]:
        """The views of the mesh, (C, size, size, 3) uint8 RGB: all cameras of the first output, then of the next."""
        scene = compose(mesh, cameras, self.rendering)
        if self.rendering.supersampling == 1:
            return self.draw(scene, self.rendering.size)
        fine = self.draw(scene, 2 * self.rendering.size)
        nearest = np.array([isinstance(layer, Depths) for layer in scene.layers]).repeat(len(cameras))
        return halve(fine, nearest)


def _layer(output: Output, mesh: Mesh, views: NDArray[np.float64], framing: Framing, rendering: Rendering) -> Layer:
    if output == "depth":
        return Depths(framing.distance, framing.radius)
    if output == "normal":
        return Normals(vertex_normals(mesh.vertices, mesh.faces))
    if output == "texture":
        if mesh.uv is None or mesh.texture is None:
            raise MeshError("has no texture; rendering.shading color and shaded do without")
        return Textured(mesh.uv, mesh.texture, np.ones((1, len(mesh.vertices)), np.float32))
    if output == "color":
        return Tinted(_albedo(mesh)[np.newaxis].astype(np.float32))
    normals, to_light = vertex_normals(mesh.vertices, mesh.faces), _to_light(views, rendering.light)
    if rendering.albedo == "grey":
        return Tinted(bake(np.full(mesh.vertices.shape, GREY, np.uint8), normals, to_light, AMBIENT))
    if mesh.colors is None and mesh.uv is not None and mesh.texture is not None:
        return Textured(mesh.uv, mesh.texture, light_at(normals, to_light, AMBIENT))
    return Tinted(bake(_albedo(mesh), normals, to_light, AMBIENT))


def _to_light(views: NDArray[np.float64], fixed_to: str) -> NDArray[np.float32]:
    """Unit vectors in the world towards the light, (V, 3), or (1, 3) where it is the same for all views."""
    pitch = math.radians(LIGHT_PITCH)
    above = np.array([0.0, math.sin(pitch), math.cos(pitch)])
    if fixed_to == "world":
        return above[np.newaxis].astype(np.float32)
    seen: NDArray[np.float64] = views[:, :3, :3].transpose(0, 2, 1) @ above
    return seen.astype(np.float32)


def _albedo(mesh: Mesh) -> NDArray[np.uint8]:
    """The colour of each vertex in white light, (N, 3): its own, its texture's, or grey."""
    if mesh.colors is not None:
        return mesh.colors
    if mesh.texture is not None and mesh.uv is not None:
        height, width = mesh.texture.shape[:2]
        across, up = (mesh.uv % 1.0).T
        sampled: NDArray[np.uint8] = mesh.texture[
            ((1.0 - up) * height).astype(int).clip(0, height - 1), (across * width).astype(int).clip(0, width - 1)
        ]
        return sampled
    return np.full(mesh.vertices.shape, GREY, np.uint8)
