from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import trimesh
from tests.corpus.on_disk import write_picture

from polyview.corpus.formats.reader import read_mesh
from polyview.corpus.mesh import Mesh, MeshError

SQUARE = "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\n"


def read(folder: Path, text: str) -> Mesh:
    (folder / "face.obj").write_text(text)
    return read_mesh("face.obj", None, str(folder))


def test_it_reads_what_trimesh_reads(tmp_path: Path) -> None:
    ball = trimesh.creation.icosphere(subdivisions=3)
    ball.export(tmp_path / "ball.obj")
    mesh = read_mesh("ball.obj", None, str(tmp_path))
    assert (mesh.vertices == ball.vertices.round(8).astype(np.float32)).all()
    assert (mesh.faces == ball.faces).all()


@pytest.mark.parametrize(
    "faces",
    [
        "f 1 2 3 4",
        "f 1 2 \\\n3 4",
        "f 1 \\\r\n2 \\\r\n 3 4",
        "f -4 -3 -2 -1",
        "f 1// 2// 3// 4//",
        "f 1//1 2//1 3//1 4//1",
        "  f\t1 2 3 4   # a square\r",
    ],
)
def test_corners_in_every_spelling(tmp_path: Path, faces: str) -> None:
    mesh = read(tmp_path, f"# a square\no it\n{SQUARE}vn 0 0 1\ns off\n{faces}\n")
    assert mesh.faces.tolist() == [[0, 1, 2], [0, 2, 3]]
    assert mesh.uv is None


def test_a_comment_that_ends_in_a_backslash_ends_with_its_line(tmp_path: Path) -> None:
    mesh = read(tmp_path, f"# C:\\scans\\\n{SQUARE}f 1 \\\n2 3\n")
    assert (len(mesh.vertices), mesh.faces.tolist()) == (4, [[0, 1, 2]])


@pytest.mark.parametrize("ending", ["", "\n", " # cut\n", "\nf 2 3 4\n"])
@pytest.mark.parametrize("face", ["f", "f 1", "f 1 2", "f 1/1 2/1", "f 1 \\\n2"])
def test_a_face_of_fewer_than_three_corners_is_refused_by_its_line(tmp_path: Path, face: str, ending: str) -> None:
    with pytest.raises(MeshError, match=r"^line 6, 'f.*', is a face of fewer than 3 corners: the file is cut"):
        read(tmp_path, f"{SQUARE}f 1 2 3\n{face}{ending}")


def test_negative_indices_count_back_from_where_they_stand(tmp_path: Path) -> None:
    mesh = read(tmp_path, SQUARE + "f -4 -3 -2\nv 9 9 9\nf -5 -4 -1\n")
    assert mesh.faces.tolist() == [[0, 1, 2], [0, 1, 4]]


def test_seams_split_vertices(tmp_path: Path) -> None:
    mesh = read(tmp_path, SQUARE + "vt 0 0\nvt 1 0\nvt 1 1 0\nvt 0.5 0.5\nf 1/1 2/2 3/3\nf 1/4 3/3 4\n")
    assert mesh.uv is not None
    assert mesh.uv[mesh.faces].tolist() == [[[0, 0], [1, 0], [1, 1]], [[0.5, 0.5], [1, 1], [0, 0]]]
    assert (mesh.vertices[mesh.faces[1]] == np.float32([[0, 0, 0], [1, 1, 0], [0, 1, 0]])).all()


@pytest.mark.parametrize("colour", ["1 0 0.5", "255 0 127.6"])
def test_vertex_colours_of_both_scales(tmp_path: Path, colour: str) -> None:
    mesh = read(tmp_path, f"v 0 0 0 {colour}\nv 1 0 0 {colour}\nv 1 1 0 {colour}\nf 1 2 3\n")
    assert mesh.colors is not None
    assert mesh.colors.tolist() == [[255, 0, 128]] * 3


@pytest.mark.parametrize("colour", ["1.0 0 0.5 1", "1 0 127.6 255", "0 0.5 1 0.9"])
def test_vertex_colours_behind_a_weight_or_before_an_alpha(tmp_path: Path, colour: str) -> None:
    mesh = read(tmp_path, f"v 0 0 0 {colour}\nv 1 0 0 {colour}\nv 1 1 0 {colour}\nf 1 2 3\n")
    assert mesh.colors is not None
    assert mesh.colors.tolist() == [[0, 128, 255]] * 3


@pytest.mark.parametrize("lines", ["v 0 0 0 1 0 0\nv 1 0 0\nv 1 1 0 1 0 0\n", "v 0 0 0 1\nv 1 0 0 1\nv 1 1 0 1\n"])
def test_colours_that_not_all_vertices_have_are_none(tmp_path: Path, lines: str) -> None:
    assert read(tmp_path, f"{lines}f 1 2 3\n").colors is None


ZBRUSH = (
    "#The following MRGB block contains ZBrush Vertex Color (Polypaint) and masking output as 4 hexadecimal values\n"
)


@pytest.mark.parametrize(
    "lines", ["#MRGB ffc8785aff0A141E\n#MRGB 00ff00ff{end}\n", "#MRGB ffc8785aff0a141e00ff00ff{end}\r\n"]
)
def test_colours_that_zbrush_writes_in_comments(tmp_path: Path, lines: str) -> None:
    corners = "v 0 0 0\nv 1 0 0\nv 1 1 0\n"
    mesh = read(tmp_path, f"{corners}{ZBRUSH}{lines.format(end='')}# End of MRGB block\nf 1 2 3\n")
    assert mesh.colors is not None
    assert mesh.colors.tolist() == [[200, 120, 90], [10, 20, 30], [255, 0, 255]]
    assert read(tmp_path, f"{corners}{lines.format(end='ff000000')}f 1 2 3\n").colors is None


def test_the_picture_of_the_material_in_use(tmp_path: Path) -> None:
    write_picture(tmp_path / "maps" / "my skin.png")
    (tmp_path / "face.mtl").write_text("newmtl hair\nmap_Kd gone.png\nnewmtl skin\nKd 1 1 1\nmap_Kd maps/my skin.png\n")
    text = "mtllib face.mtl\n" + SQUARE + "vt 0 0\nvt 1 0\nvt 1 1\nusemtl {}\nf 1/1 2/2 3/3\n"
    mesh = read(tmp_path, text.format("skin"))
    assert mesh.texture is not None
    assert mesh.texture.shape == (8, 8, 3)
    with pytest.raises(MeshError, match=r"texture gone\.png is missing"):
        read(tmp_path, text.format("hair"))
    assert read(tmp_path, text.format("hair\nusemtl skin")).texture is not None


def test_a_missing_material_library_is_no_picture(tmp_path: Path) -> None:
    assert read(tmp_path, "mtllib gone.mtl\nusemtl skin\n" + SQUARE + "f 1 2 3\n").texture is None


def test_nothing_is_read_outside_of_the_root(tmp_path: Path) -> None:
    inner = tmp_path / "faces"
    inner.mkdir()
    outside = write_picture(tmp_path / "secret.png")
    (tmp_path / "secret.mtl").write_text("newmtl skin\nKd 1 0 0\n")
    for library in ("../secret.mtl", str(tmp_path / "secret.mtl"), "..\\secret.mtl"):
        assert read(inner, f"mtllib {library}\nusemtl skin\n{SQUARE}f 1 2 3\n").texture is None
    for name in ("../secret.png", str(outside)):
        (inner / "face.mtl").write_text(f"newmtl skin\nmap_Kd {name}\n")
        with pytest.raises(MeshError, match=r"secret\.png' lies outside of the dataset's folder"):
            read(inner, f"mtllib face.mtl\nusemtl skin\n{SQUARE}f 1 2 3\n")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("v 0 0\nv 1 0 0\nf 1 2 1\n", "is not a number"),
        (SQUARE + "f 1 2 x\n", "'x' at byte"),
        (SQUARE + "f 1 2 3junk\n", "'3junk' at byte"),
        (SQUARE + "f 1 2 0\n", "a face index is 0"),
        (SQUARE + "f 1 2 -9\n", "a face index is 0"),
        (SQUARE + "f 1 2 1e400\n", "is not a whole number"),
        (SQUARE + "f 1 2 2.5\n", "is not a whole number"),
        (SQUARE + "vt 0 0\nf 1/1 2/1 3/7\n", "texture index 6 of 1"),
        ("mtllib two.mtl\n" + SQUARE + "vt 0 0\nusemtl a\nf 1/1 2/1 3/1\nusemtl b\nf 1/1 3/1 4/7\n", "texture index 6"),
    ],
)
def test_a_bad_file_is_refused_in_words(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "two.mtl").write_text("newmtl a\nKd 1 0 0\nnewmtl b\nKd 0 1 0\n")
    with pytest.raises(MeshError) as error:
        read(tmp_path, text)
    assert reason in str(error.value)
