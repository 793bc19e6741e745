from __future__ import annotations

import numpy as np
import pytest

from polyview.corpus.mesh import Mesh
from polyview.recipe import Rendering
from polyview.rendering import opengl
from polyview.rendering.cameras import Camera
from polyview.rendering.renderer import make_renderer

pytestmark = pytest.mark.skipif(
    opengl.platform() is None, reason="no OpenGL without a window here: neither an EGL device nor OSMesa"
)
RIG = (Camera(-35, 0), Camera(0, 10), Camera(50, -5))


def test_a_second_mesh_leaves_nothing_of_the_first(head: Mesh) -> None:
    renderer = make_renderer(Rendering(backend="opengl"))
    other = Mesh(head.vertices * np.float32(0.5), head.faces)
    before = renderer.render(head, RIG)
    renderer.render(other, RIG[:1])
    np.testing.assert_array_equal(renderer.render(head, RIG), before)
