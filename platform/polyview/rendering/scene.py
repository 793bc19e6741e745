"""A mesh made ready to be drawn: framed, lit, with a colour for each vertex in each view.

Light is worked out here, for both backends, so that they have nothing left to disagree about.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polyview.corpus.mesh import Mesh
from polyview.recipe import Rendering
from polyview.rendering.cameras import FIELD_OF_VIEW, Camera, frame
from polyview.rendering.shading import bake, vertex_normals

BACKGROUND = np.array([64, 64, 64], np.uint8)
GREY = 200
AMBIENT = 0.25
LIGHT_PITCH = 25.0
"""Degrees by which the light stands above the camera."""


@dataclass(frozen=True, eq=False)
class Scene:
    """One mesh under all its cameras.

    vertices (N, 3) float32 millimetres; faces (F, 3) int32; colors (V, N, 3) float32, 0 to 255, lit;
    views (V, 4, 4) float64, from the world to each camera; near and far millimetres.
    """

    vertices: NDArray[np.float32]
    faces: NDArray[np.int32]
    colors: NDArray[np.float32]
    views: NDArray[np.float64]
    near: float
    far: float

    def focal(self, size: int) -> float:
        """Pixels on the picture for one millimetre across at a depth of one millimetre."""
        return size / 2 / math.tan(math.radians(FIELD_OF_VIEW / 2))


def compose(mesh: Mesh, cameras: Sequence[Camera], rendering: Rendering) -> Scene:
    """Frame and light the mesh as the recipe says.

    `color` shading is the albedo itself. `shaded` is albedo x (ambient + (1 - ambient) |n.l|), n the vertex's
    normal, l the direction to a light that stands still above the camera: the absolute value, because scans
    are open surfaces and some are wound the other way round.
    """
    framing = frame(mesh, rendering.framing, rendering.radius)
    views = np.stack([framing.view(camera) for camera in cameras])
    albedo = _albedo(mesh, grey=rendering.shading == "shaded" and rendering.albedo == "grey")
    if rendering.shading == "shaded":
        pitch = math.radians(LIGHT_PITCH)
        to_light = views[:, :3, :3].transpose(0, 2, 1) @ [0.0, math.sin(pitch), math.cos(pitch)]
        colors = bake(albedo, vertex_normals(mesh.vertices, mesh.faces), to_light.astype(np.float32), AMBIENT)
    else:
        colors = np.repeat(albedo[np.newaxis].astype(np.float32), len(views), axis=0)
    return Scene(mesh.vertices, mesh.faces, colors, views, framing.near, framing.far)


@dataclass(frozen=True)
class SceneRenderer:
    """Composes a scene from each mesh, then lets a backend draw it."""

    rendering: Rendering
    draw: Callable[[Scene, int], NDArray[np.uint8]]

    def render(self, mesh: Mesh, cameras: Sequence[Camera]) -> NDArray[np.uint8]:
        """The views of the mesh, (V, size, size, 3) uint8 RGB, in the order of the cameras."""
        return self.draw(compose(mesh, cameras, self.rendering), self.rendering.size)


def _albedo(mesh: Mesh, grey: bool) -> NDArray[np.uint8]:
    """The colour of each vertex in white light, (N, 3): its own, its texture's, or grey."""
    if not grey and mesh.colors is not None:
        return mesh.colors
    if not grey and mesh.texture is not None and mesh.uv is not None:
        height, width = mesh.texture.shape[:2]
        across, up = (mesh.uv % 1.0).T
        sampled: NDArray[np.uint8] = mesh.texture[
            ((1.0 - up) * height).astype(int).clip(0, height - 1), (across * width).astype(int).clip(0, width - 1)
        ]
        return sampled
    return np.full(mesh.vertices.shape, GREY, np.uint8)
