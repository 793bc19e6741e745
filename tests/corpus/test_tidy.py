"""Faces that are there twice, and vertices that no face uses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import trimesh

from polyview.corpus.load import load_mesh
from polyview.corpus.mesh import Mesh, nose_tip
from polyview.corpus.tidy import tidied
from polyview.recipe import Geometry, Rendering
from polyview.rendering.cameras import Camera
from polyview.rendering.renderer import make_renderer

BALL = trimesh.creation.icosphere(subdivisions=3, radius=90)
AUTO = Geometry(unit="auto")


def loaded(folder: Path, text: str, geometry: Geometry = AUTO) -> Mesh:
    (folder / "face.obj").write_text(text)
    return load_mesh("face.obj", None, str(folder), geometry)


def obj(turned_about: bool = False, order: tuple[int, int, int] = (2, 1, 0)) -> str:
    """A ball, all of whose faces may be there twice."""
    faces = [*BALL.faces, *(BALL.faces[:, order] if turned_about else [])]
    lines = [*(f"v {x} {y} {z}" for x, y, z in BALL.vertices), *(f"f {a + 1} {b + 1} {c + 1}" for a, b, c in faces)]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("order", [(2, 1, 0), (0, 2, 1), (1, 2, 0), (0, 1, 2)])
def test_faces_that_are_there_twice_are_drawn_as_once(tmp_path: Path, order: tuple[int, int, int]) -> None:
    once, twice = loaded(tmp_path, obj()), loaded(tmp_path, obj(turned_about=True, order=order))
    renderer = make_renderer(Rendering(shading="shaded", framing="whole"))
    views = [renderer.render(mesh, [Camera(0, 0)]) for mesh in (once, twice)]
    assert (views[0] == views[1]).all()
    assert (twice.faces == once.faces).all()


def test_a_face_whose_corners_are_other_vertices_at_the_same_places_is_there_twice() -> None:
    backs = len(BALL.vertices) + BALL.faces[:, ::-1]
    both = np.concatenate([BALL.vertices, BALL.vertices]).astype(np.float32)
    mesh = tidied(
        Mesh(both, np.concatenate([BALL.faces, backs]).astype(np.int32), colors=np.zeros((1284, 3), np.uint8))
    )
    mesh.check()
    assert (mesh.faces == BALL.faces).all()
    assert len(mesh.vertices) == len(BALL.vertices)


def test_a_mesh_that_has_nothing_to_spare_stays_as_it_is() -> None:
    mesh = Mesh(BALL.vertices.astype(np.float32), BALL.faces.astype(np.int32))
    assert tidied(mesh) is mesh


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("stray", ["0 0 400", "1e6 0 0", "-9000 -9000 -9000"])
def test_a_vertex_that_no_face_uses_is_no_part_of_the_face(tmp_path: Path, stray: str, first: bool) -> None:
    whole = obj().replace("f ", f"v {stray}\nf ", 1)
    if first:
        whole = f"v {stray}\n" + "".join(
            f"f {a + 2} {b + 2} {c + 2}\n" if line.startswith("f") else f"{line}\n"
            for line, (a, b, c) in zip(obj().splitlines(), [*BALL.vertices, *BALL.faces], strict=True)
        )
    mesh, expected = loaded(tmp_path, whole), loaded(tmp_path, obj())
    assert mesh.sides.tolist() == expected.sides.tolist()
    assert nose_tip(mesh).tolist() == nose_tip(expected).tolist()
    assert mesh.guesses == expected.guesses
