"""The meshes of one folder are turned together or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import trimesh
from scipy.spatial.transform import Rotation
from tests.corpus.test_orientation import lying, shell

from polyview.corpus.geometry import shown_axes
from polyview.corpus.load import load_mesh
from polyview.corpus.mesh import Mesh
from polyview.corpus.orientation import UPRIGHT, Way
from polyview.corpus.scan import scan
from polyview.corpus.tidy import tidied
from polyview.recipe import Axes, Corpus, Generator

BLENDER = (Way.named("z"), Way.named("-y"))


def folder_of(meshes: Sequence[Mesh], folder: Path) -> Corpus:
    """A dataset of people, each with one face."""
    for number, mesh in enumerate(meshes):
        file = folder / f"p{number:02}_{('neutral', 'anger')[number % 2]}.ply"
        trimesh.Trimesh(mesh.vertices, mesh.faces, process=False).export(file)
    own = {"dataset": "folder", "root": str(folder), "pattern": "{subject}_{expression}.ply"}
    return Corpus.model_validate(own)


def scans(count: int) -> list[Mesh]:
    face = shell()
    sizes = np.linspace(0.9, 1.1, count, dtype=np.float32)
    return [Mesh(face.vertices * size, face.faces) for size in sizes]


def test_a_folder_whose_meshes_all_lie_alike_is_turned(tmp_path: Path) -> None:
    found = scan(folder_of([lying(mesh, *BLENDER) for mesh in scans(6)], tmp_path))
    assert found.manifest.geometry.axes == Axes(up="z", front="-y")
    (told,) = (line for line in found.remarks if "turned" in line)
    assert told.startswith("6 of 6 meshes looked at are not upright")
    row = found.manifest.frame.row(0, named=True)
    mesh = load_mesh(row["path"], None, found.manifest.root, found.manifest.geometry)
    np.testing.assert_allclose(mesh.vertices, scans(6)[0].vertices, atol=0.01)


def test_a_few_meshes_that_seem_to_lie_otherwise_turn_none_and_are_said(tmp_path: Path) -> None:
    upright, turned = scans(9)[:6], [lying(mesh, *BLENDER) for mesh in scans(9)[6:]]
    found = scan(folder_of([*upright, *turned], tmp_path))
    assert found.manifest.geometry.axes is None
    (told,) = (line for line in found.remarks if "corpus.geometry.axes" in line)
    assert told.startswith("3 of 9 meshes looked at may not be upright, but too few agree")


@pytest.mark.parametrize(("pose", "misread"), [(8, False), (15, True)])
def test_no_head_of_a_folder_is_turned_that_one_look_would_turn_upside_down(
    pose: float, misread: bool, tmp_path: Path
) -> None:
    heads = scan(Corpus(generator=Generator(subjects=4, pose=pose))).manifest.frame["path"].to_list()[:16]
    meshes = [load_mesh(path, None, "") for path in heads]
    found = scan(folder_of(meshes, tmp_path))
    alone = [shown_axes(Mesh(mesh.vertices, mesh.faces), None, None) for mesh in meshes]
    assert any(ways not in (None, UPRIGHT) for ways in alone) == misread
    assert found.manifest.geometry.axes is None


def test_axes_that_the_recipe_tells_are_taken_unseen(tmp_path: Path) -> None:
    corpus = folder_of(scans(2), tmp_path)
    told = corpus.geometry.model_copy(update={"axes": Axes(up="x", front="y")})
    assert scan(corpus.model_copy(update={"geometry": told})).manifest.geometry.axes == told.axes


def test_a_folder_that_does_not_show_which_way_it_lies_says_so(tmp_path: Path) -> None:
    ball = trimesh.creation.icosphere(subdivisions=3, radius=100)
    mesh = Mesh(np.asarray(ball.vertices, np.float32), np.asarray(ball.faces, np.int32))
    found = scan(folder_of([mesh] * 3, tmp_path))
    assert found.manifest.geometry.axes is None
    (told,) = (line for line in found.remarks if "corpus.geometry.axes" in line)
    assert told.startswith("of 3 of 3 meshes looked at it does not show which way they lie")


@pytest.mark.parametrize("axes", [{}, {"up": "y", "front": "z"}])
def test_one_file_in_another_unit_than_the_others_is_named(tmp_path: Path, axes: dict[str, str]) -> None:
    meshes = scans(8)
    meshes[5] = Mesh(meshes[5].vertices / np.float32(1000), meshes[5].faces)
    corpus = folder_of(meshes, tmp_path)
    geometry = corpus.geometry.model_copy(update={"axes": Axes.model_validate(axes) if axes else None})
    (told,) = (line for line in scan(corpus.model_copy(update={"geometry": geometry})).remarks if "unit" in line)
    assert "7 to be in millimetres, as p00_neutral.ply, 1 to be in metres, as p05_anger.ply" in told


@pytest.mark.parametrize("alike", [True, False])
def test_files_of_one_unit_or_of_units_that_are_told_are_not_doubted(tmp_path: Path, alike: bool) -> None:
    sizes = [1000.0, 1000.0, 1000.0 if alike else 1.0]
    meshes = [Mesh(mesh.vertices / np.float32(size), mesh.faces) for mesh, size in zip(scans(3), sizes, strict=True)]
    corpus = folder_of(meshes, tmp_path)
    rows = "".join(
        f"{file.name},{file.name},fear,{'' if alike else size}\n"
        for file, size in zip(sorted(tmp_path.iterdir()), sizes, strict=True)
    )
    (tmp_path / "faces.csv").write_text("path,subject,expression,unit\n" + rows)
    found = scan(corpus.model_copy(update={"pattern": None, "table": "faces.csv"}))
    assert not [line for line in found.remarks if "unit" in line]


@pytest.mark.parametrize("looking", [0, 10])
def test_wide_crops_of_upright_faces_do_not_seem_to_lie_on_their_side(tmp_path: Path, looking: float) -> None:
    """A box around a face with its ears is as wide as it is tall."""
    heads = scan(Corpus(generator=Generator(subjects=16, sequences=1, pose=5))).manifest.frame["path"].to_list()[::7]
    aside = Rotation.from_euler("y", looking, degrees=True).as_matrix().astype(np.float32)
    crops = []
    for mesh in (load_mesh(path, None, "") for path in heads):
        assert mesh.nose is not None
        near = np.abs(mesh.vertices[:, 1] - mesh.nose[1]) < 70
        crops.append(Mesh(mesh.vertices @ aside.T, mesh.faces[near[mesh.faces].all(axis=1)]))
    ways = [shown_axes(tidied(mesh), None, None) for mesh in crops]
    assert sum(way is not None and way[0].axis == 0 for way in ways) <= 2
    assert scan(folder_of(crops, tmp_path)).manifest.geometry.axes is None


@pytest.mark.parametrize("front", ["y", "-z"])
def test_a_folder_of_faces_that_lie_on_their_side_is_turned_all_the_same(tmp_path: Path, front: str) -> None:
    found = scan(folder_of([lying(mesh, Way.named("x"), Way.named(front)) for mesh in scans(6)], tmp_path))
    assert found.manifest.geometry.axes == Axes(up="x", front=front)
