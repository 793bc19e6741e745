"""What `polyview scan` says of the meshes themselves."""

from __future__ import annotations

from pathlib import Path

import pytest
import trimesh
from PIL import Image
from tests.corpus.test_orientation import shell

from polyview.corpus.inspection import inspect
from polyview.corpus.scan import scan
from polyview.recipe import Corpus, Generator

POINTS = "v -0.1 -0.1 0\nv 0.1 -0.1 0\nv 0.1 0.1 0\nv -0.1 0.1 0\nvt 0 0\nvt 1 0\nvt 1 1\n"


def test_extent_colour_and_guesses_of_a_few_meshes_are_said(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "skin.png")
    (tmp_path / "skin.mtl").write_text("newmtl skin\nmap_Kd skin.png\n")
    (tmp_path / "a_neutral.obj").write_text(f"mtllib skin.mtl\n{POINTS}usemtl skin\nf 1/1 2/2 3/3\n")
    (tmp_path / "b_anger.obj").write_text(f"mtllib gone.mtl\n{POINTS}usemtl skin\nf 1/1 2/2 3/3\n")
    (tmp_path / "c_fear.obj").write_text(POINTS)
    manifest = scan(Corpus(dataset="folder", root=str(tmp_path), pattern="{subject}_{expression}.obj")).manifest
    assert inspect(manifest) == [
        "200 to 200 mm large, of 2 meshes looked at",
        "1 of 2 with a texture, 0 with colours, 1 plain grey",
        "2 of 2 taken to be in metres (corpus.geometry.unit: 1000)",
        "cannot be used: c_fear.obj: a point cloud: 4 points and no triangles",
    ]


def test_a_mesh_is_counted_as_it_is_drawn(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "skin.png")
    (tmp_path / "skin.mtl").write_text("newmtl skin\nmap_Kd skin.png\nnewmtl eyes\nKd 1 1 1\nnewmtl lids\nKd 0 0 0\n")
    colored = "".join(f"v {x} {y} 0 0.{x} 0 0.{y}\n" for x, y in ((0, 0), (2, 0), (2, 2), (0, 2)))
    places = "vt 0 0\nvt 1 0\nvt 1 1\n"
    for name, points, faces in [
        ("a_neutral", POINTS, "usemtl skin\nf 1 2 3"),
        ("b_anger", colored, "usemtl skin\nf 1 2 3"),
        ("c_fear", colored, "usemtl eyes\nf 1 2 3\nusemtl lids\nf 1 3 4"),
        ("d_happiness", colored + places, "usemtl skin\nf 1/1 2/2 3/3"),
    ]:
        (tmp_path / f"{name}.obj").write_text(f"mtllib skin.mtl\n{points}{faces}\n")
    manifest = scan(Corpus(dataset="folder", root=str(tmp_path), pattern="{subject}_{expression}.obj")).manifest
    assert inspect(manifest)[1] == "1 of 4 with a texture, 2 with colours, 1 plain grey"


def test_a_picture_for_a_mesh_that_has_no_places_in_it_is_said(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "skin.png")
    (tmp_path / "a.obj").write_text(f"{POINTS}f 1 2 3 4\n")
    (tmp_path / "b.obj").write_text(f"{POINTS}f 1/1 2/2 3/3\n")
    rows = "path,subject,expression,texture\na.obj,a,neutral,skin.png\nb.obj,b,anger,skin.png\n"
    (tmp_path / "faces.csv").write_text(rows)
    lines = inspect(scan(Corpus(dataset="folder", root=str(tmp_path), table="faces.csv")).manifest)
    assert lines[1] == "1 of 2 with a texture, 0 with colours, 1 plain grey"
    assert "1 of 2 without texture coordinates, and so drawn without the picture that is named for them" in lines


def test_few_of_many_are_loaded() -> None:
    manifest = scan(Corpus(generator=Generator(subjects=20))).manifest
    assert "of 3 meshes looked at" in inspect(manifest, 3)[0]


@pytest.mark.parametrize(("corners", "backs"), [("f 1 2 3 4", False), ("f 4 3 2 1", True)])
def test_a_surface_that_shows_its_back_is_said(tmp_path: Path, corners: str, backs: bool) -> None:
    (tmp_path / "a_neutral.obj").write_text(f"{POINTS}{corners}\n")
    (tmp_path / "b_anger.obj").write_text(f"{POINTS}{corners}\n")
    lines = inspect(scan(Corpus(dataset="folder", root=str(tmp_path), pattern="{subject}_{expression}.obj")).manifest)
    assert any("2 of 2 turned with the backs of their triangles to the front camera" in line for line in lines) == backs


@pytest.mark.parametrize(
    ("kept", "is_half"), [((-70, 70), False), ((-6, 70), True), ((-70, 6), True), ((-70, 40), False)]
)
def test_half_of_a_face_is_said_to_be_one(tmp_path: Path, kept: tuple[float, float], is_half: bool) -> None:
    face = shell()
    inside = (face.vertices[:, 0] >= kept[0]) & (face.vertices[:, 0] <= kept[1])
    for name in ("a_neutral", "b_anger"):
        cut = trimesh.Trimesh(face.vertices, face.faces[inside[face.faces].all(axis=1)], process=False)
        cut.export(tmp_path / f"{name}.ply")
    lines = inspect(scan(Corpus(dataset="folder", root=str(tmp_path), pattern="{subject}_{expression}.ply")).manifest)
    told = "2 of 2 with what lies foremost at one side: half of a face, or one that looks sideways; look at the sheet"
    assert (told in lines) == is_half


def test_heads_that_look_about_are_no_halves() -> None:
    heads = scan(Corpus(generator=Generator(subjects=8, pose=10))).manifest
    assert not [line for line in inspect(heads, 16) if "half of a face" in line]
