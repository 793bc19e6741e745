"""The same faces in a folder look alike in whatever unit and way their files lie, or it is said that they may not."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from tests.corpus.formats.faces import Face, face, pose
from tests.corpus.formats.test_truth import as_mesh
from tests.corpus.formats.writers import gltf, obj, off, ply, vrml
from tests.corpus.formats.writers.habits import Matrix, scaled

from polyview.corpus.load import load_mesh
from polyview.corpus.mesh import Mesh
from polyview.corpus.orientation import Way, turn_to
from polyview.corpus.scan import scan
from polyview.recipe import Corpus, Rendering
from polyview.rendering.cameras import Camera
from polyview.rendering.renderer import make_renderer

CASES = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
WAYS = [Way(axis, sign) for axis in range(3) for sign in (1, -1)]
TURNS = [(up, front) for up, front in itertools.product(WAYS, WAYS) if up.axis != front.axis]
UNITS = (1.0, 10.0, 1000.0)
FORMATS = {".ply": ply, ".obj": obj, ".off": off, ".wrl": vrml, ".glb": gltf}
RENDERER = make_renderer(Rendering(size=48, shading="color"))
TOLERANCE = 5.0
"""Levels by which views may differ on average: by a file's digits, another corner may be foremost, 4 mm beside."""


def lying(up: Way, front: Way) -> Matrix:
    matrix = np.eye(4)
    matrix[:3, :3] = turn_to(up, front)
    return matrix


def drawn(mesh: Mesh) -> NDArray[Any]:
    return RENDERER.render(mesh, [Camera(0, 0), Camera(35, 10)]).astype(int)


def read(folder: Path, faces: list[Face], suffix: str = ".ply") -> tuple[list[Mesh], list[str]]:
    """The meshes of a folder of these faces, as a scan of it has them loaded, and all that is said of them."""
    shutil.rmtree(folder, ignore_errors=True)
    writer = FORMATS[suffix]
    plain = {name: values[0] for name, values in writer.HABITS.items()}
    for number, shown in enumerate(faces):
        own = folder / f"p{number}"
        own.mkdir(parents=True)
        (own / writer.write(own, [shown.part], plain)).rename(own / f"neutral{suffix}")
    given = {"dataset": "folder", "root": str(folder), "pattern": "{subject}/{expression}" + suffix}
    found = scan(Corpus.model_validate(given))
    rows = found.manifest.frame.sort("path").iter_rows(named=True)
    meshes = [load_mesh(row["path"], None, found.manifest.root, found.manifest.geometry) for row in rows]
    return meshes, [*found.remarks, *(guess for mesh in meshes for guess in mesh.guesses)]


@CASES
@given(data=st.data())
def test_faces_are_drawn_alike_in_any_unit_and_any_way(tmp_path: Path, data: st.DataObject) -> None:
    angles = [st.floats(-10, 10), st.floats(-1, 1), st.floats(-4, 4)]
    lean = Rotation.from_euler("xyz", data.draw(st.tuples(*angles), label="lean"), degrees=True)
    upright = [face().moved(pose(lean, (0, 0, 0), 1) @ scaled(*[size] * 3)) for size in (0.92, 1.0, 1.08)]
    turn = lying(*data.draw(st.sampled_from(TURNS), label="up and front"))
    units = data.draw(st.tuples(*[st.sampled_from(UNITS)] * 3), label="units")
    shift = data.draw(st.tuples(*[st.floats(-500, 500)] * 3), label="shift")
    moves = [scaled(*[1 / unit] * 3) @ turn @ pose(Rotation.identity(), shift, 1) for unit in units]
    written = [shown.moved(move) for shown, move in zip(upright, moves, strict=True)]
    meshes, said = read(tmp_path / "faces", written, data.draw(st.sampled_from([*FORMATS]), label="format"))
    for mesh, shown in zip(meshes, upright, strict=True):
        off = np.abs(drawn(mesh) - drawn(as_mesh(shown.part))).mean()
        assert off < TOLERANCE or any("so all are drawn as they lie" in line for line in said)


@pytest.mark.parametrize("axis", range(3))
def test_mirrored_faces_whose_triangles_were_not_turned_are_told(tmp_path: Path, axis: int) -> None:
    mirrored = face().moved(scaled(*np.where(np.arange(3) == axis, -1.0, 1.0)))
    wound = Face(mirrored.part.turned_inside_out(), mirrored.marks)
    _, said = read(tmp_path / "faces", [wound] * 3)
    assert any("mirrored" in line for line in said)
