"""What draws a mesh: the rasteriser, or OpenGL. Both give the same picture of the same scene."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from polyview.corpus.mesh import Mesh
from polyview.recipe import Rendering
from polyview.rendering.cameras import Camera

Backend = Literal["raster", "opengl"]


class Renderer(Protocol):
    """Draws one mesh from all cameras in one call."""

    def render(self, mesh: Mesh, cameras: Sequence[Camera]) -> NDArray[np.uint8]:
        """The views of the mesh, (V, size, size, 3) uint8 RGB, in the order of the cameras."""
        ...


def make_renderer(rendering: Rendering) -> Renderer:
    """The renderer that the recipe asks for; raises `UserError` where it asks for OpenGL and there is none."""
    # Both bring compilers or drivers that take a second to import; what only reads a store should not wait for them.
    from polyview.rendering.scene import SceneRenderer

    if backend_of(rendering) == "opengl":
        from polyview.rendering import opengl

        return SceneRenderer(rendering, opengl.context().draw)
    from polyview.rendering import rasterizer

    return SceneRenderer(rendering, rasterizer.draw)


def backend_of(rendering: Rendering) -> Backend:
    """What `auto` stands for: the rasteriser, which works everywhere, and is faster on meshes of a face's size."""
    return "opengl" if rendering.backend == "opengl" else "raster"
