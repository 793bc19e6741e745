from __future__ import annotations

import numpy as np
import pytest

from polyview.corpus.mesh import Mesh
from polyview.recipe import Rendering
from polyview.rendering import opengl
from polyview.rendering.cameras import Camera
from polyview.rendering.renderer import make_renderer
from polyview.rendering.scene import BACKGROUND

pytestmark = pytest.mark.skipif(
    opengl.platform() is None, reason="no OpenGL without a window here: neither an EGL device nor OSMesa"
)
RIG = (Camera(-35, 0), Camera(0, 10), Camera(50, -5))


@pytest.mark.parametrize(
    "settings",
    [
        {"size": 64},
        {"size": 200, "framing": "whole"},
        {"size": 97, "shading": "color"},
        {"size": 64, "albedo": "grey", "framing": "whole"},
    ],
    ids=str,
)
def test_both_backends_draw_the_same_picture(head: Mesh, settings: dict[str, object]) -> None:
    by_hand, by_driver = (
        make_renderer(Rendering.model_validate({**settings, "backend": backend})).render(head, RIG).astype(int)
        for backend in ("raster", "opengl")
    )
    inside = [(pictures != BACKGROUND).any(axis=-1) for pictures in (by_hand, by_driver)]
    assert (inside[0] & inside[1]).sum() / (inside[0] | inside[1]).sum() >= 0.999
    difference = np.abs(by_hand - by_driver)[inside[0] & inside[1]]
    assert difference.mean() < 0.1
    assert (difference > 2).mean() < 0.001


def test_a_second_mesh_leaves_nothing_of_the_first(head: Mesh) -> None:
    renderer = make_renderer(Rendering(backend="opengl"))
    other = Mesh(head.vertices * np.float32(0.5), head.faces)
    before = renderer.render(head, RIG)
    renderer.render(other, RIG[:1])
    np.testing.assert_array_equal(renderer.render(head, RIG), before)
