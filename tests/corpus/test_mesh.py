from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from polyview.corpus.load import load_mesh
from polyview.corpus.mesh import Mesh, MeshError
from polyview.recipe import Geometry

TRIANGLE = Mesh(
    vertices=np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], dtype=np.float32),
    faces=np.array([[0, 1, 2]], dtype=np.int32),
)


def test_a_triangle_is_a_mesh() -> None:
    TRIANGLE.check()


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (replace(TRIANGLE, vertices=np.zeros((0, 3), np.float32)), "empty: 0 vertices, 1 face"),
        (replace(TRIANGLE, faces=np.zeros((0, 3), np.int32)), "a point cloud: 3 points and no triangles"),
        (replace(TRIANGLE, vertices=np.full((3, 3), np.nan, np.float32)), "3 of 3 vertices are not finite"),
        (replace(TRIANGLE, faces=np.array([[0, 1, 99]], np.int32)), "face index 99 of 3 vertices"),
        (replace(TRIANGLE, faces=np.array([[0, 1, -2]], np.int32)), "face index -2 of 3 vertices"),
        (replace(TRIANGLE, faces=np.array([[0, 1, 2, 0]], np.int32)), "faces have shape (1, 4)"),
        (replace(TRIANGLE, colors=np.zeros((2, 3), np.uint8)), "2 colors for 3 vertices"),
        (replace(TRIANGLE, uv=np.zeros((4, 2), np.float32)), "4 uv for 3 vertices"),
        (replace(TRIANGLE, vertices=np.ones((3, 3), np.float32)), "one point"),
    ],
)
def test_a_broken_mesh_says_what_is_wrong(broken: Mesh, reason: str) -> None:
    with pytest.raises(MeshError) as error:
        broken.check()
    assert reason in str(error.value)


def test_a_mesh_without_an_area_is_that_meshs_fault_alone(tmp_path: Path) -> None:
    line = "".join(f"v {place} 0 0\n" for place in range(4)) + "f 1 2 3\nf 2 3 4\n"
    (tmp_path / "line.obj").write_text(line)
    with pytest.raises(MeshError, match="no face can be found in it: ZeroDivisionError"):
        load_mesh("line.obj", None, str(tmp_path), Geometry(unit=1, axes="auto"))
