from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from polyview.corpus.mesh import Mesh
from polyview.recipe import Rendering, Views
from polyview.rendering.cameras import cameras
from polyview.rendering.renderer import make_renderer


@pytest.mark.parametrize("shading", ["shaded", "color", "depth"])
@pytest.mark.parametrize("views", [Views(count=1), Views(count=3), Views(rig="front_left_right"), Views(count=4)])
def test_a_mirrored_face_is_seen_mirrored_by_the_opposite_camera(head: Mesh, shading: str, views: Views) -> None:
    """What `training.flip` rests on: it makes of a face's views those of its mirror image, without rendering it."""
    rendering = Rendering.model_validate({"size": 64, "shading": shading, "backend": "raster", "views": views})
    mirrored = replace(head, vertices=head.vertices * np.float32([-1, 1, 1]), faces=head.faces[:, ::-1].copy())
    draw = make_renderer(rendering).render
    found, expected = draw(mirrored, cameras(views)), draw(head, cameras(views))[::-1, :, ::-1]
    far = np.abs(found.astype(int) - expected).max(axis=-1) > 16
    assert far.mean() < 0.02  # where an edge falls between two pixels
