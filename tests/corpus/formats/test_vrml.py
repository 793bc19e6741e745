from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from polyview.corpus.formats.reader import read_mesh
from polyview.corpus.mesh import Mesh, MeshError

HEAD = "#VRML V2.0 utf8\n"
TRIANGLE = "geometry IndexedFaceSet { coord Coordinate { point [0 0 0, 1 0 0, 0 1 0] } coordIndex [0 1 2 -1] }"


def read(folder: Path, text: str) -> Mesh:
    (folder / "face.wrl").write_text(HEAD + text)
    return read_mesh("face.wrl", None, str(folder))


@pytest.mark.parametrize("quads", [False, True])
@pytest.mark.parametrize("separator", [", ", " ", ",", "  ,\t"])
def test_one_face_in_every_habit_of_writing(
    tmp_path: Path, wrl: Callable[..., Path], picture: Callable[..., Path], quads: bool, separator: str
) -> None:
    picture(tmp_path / "face.bmp")
    wrl(tmp_path / "face.wrl", "face.bmp", quads=quads, separator=separator)
    mesh = read_mesh("face.wrl", None, str(tmp_path))
    mesh.check()
    assert (len(mesh.vertices), len(mesh.faces)) == (12 * 16, 2 * 11 * 15)
    a, b, c = (mesh.vertices[mesh.faces[:, corner]] for corner in range(3))
    assert (np.cross(b - a, c - a)[:, 2] > 0).all()
    assert mesh.uv is not None
    assert np.allclose(mesh.uv, mesh.vertices[:, :2] / 120 + 0.5, atol=1e-4)
    assert mesh.texture is not None
    assert mesh.texture.shape == (8, 8, 3)


def test_numbers_in_every_spelling(tmp_path: Path) -> None:
    mesh = read(
        tmp_path,
        "Shape { geometry IndexedFaceSet { coordIndex [0,1,2,-1] # a ] in a comment\n"
        "coord Coordinate { point [ -1.5e1 +2. .25 # 9 9 9\n 1E+02,-0.0,3,\n\n0000.1 123456.789012 -7e-3, ] } } }",
    )
    assert mesh.vertices.tolist() == np.float32([[-15, 2, 0.25], [100, 0, 3], [0.1, 123456.789012, -0.007]]).tolist()


def test_numbers_are_those_of_python(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(0, 100, (999, 3)) * 10.0 ** rng.integers(-6, 4, (999, 3))
    rows = ",".join(" ".join(map(repr, row)) for row in points.tolist())
    mesh = read(tmp_path, f"IndexedFaceSet {{ coord Coordinate {{ point [{rows}] }} coordIndex [0 1 2 -1] }}")
    assert (mesh.vertices == points.astype(np.float32)).all()


def test_polygons_are_cut_into_triangles(tmp_path: Path) -> None:
    mesh = read(
        tmp_path,
        "IndexedFaceSet { coord Coordinate { point [0 0 0 2 0 0 3 1 0 1 3 0 -1 1 0] } "
        "coordIndex [0 1 2 3 4 -1, 0 1 -1, 2 3 4] }",
    )
    assert mesh.faces.tolist() == [[0, 1, 2], [0, 2, 3], [0, 3, 4], [2, 3, 4]]


def test_a_vertex_with_two_texture_places_is_split(tmp_path: Path) -> None:
    mesh = read(
        tmp_path,
        "IndexedFaceSet { coord Coordinate { point [0 0 0 1 0 0 0 1 0 1 1 0] } coordIndex [0 1 2 -1 1 3 2 -1] "
        "texCoord TextureCoordinate { point [0 0, 0.5 0, 0 0.5, 1 1, 0.75 0.25] } texCoordIndex [0 1 2 -1 4 3 2 -1] }",
    )
    corners = mesh.uv[mesh.faces].tolist()
    assert corners == [[[0, 0], [0.5, 0], [0, 0.5]], [[0.75, 0.25], [1, 1], [0, 0.5]]]
    assert mesh.vertices[mesh.faces][:, :, :2].tolist() == [
        [[0, 0], [1, 0], [0, 1]],
        [[1, 0], [1, 1], [0, 1]],
    ]
    assert len(mesh.vertices) == 5


def test_clockwise_faces_and_vertex_colours(tmp_path: Path) -> None:
    mesh = read(
        tmp_path,
        "IndexedFaceSet { ccw FALSE color Color { color [1 0 0 0 1 0 0 0 0.5] } "
        "coord Coordinate { point [0 0 0 1 0 0 0 1 0] } coordIndex [0 2 1 -1] }",
    )
    assert mesh.faces.tolist() == [[1, 2, 0]]
    assert mesh.colors.tolist() == [[255, 0, 0], [0, 255, 0], [0, 0, 128]]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no IndexedFaceSet"),
        (TRIANGLE.replace("2 -1", "3 -1"), "face index 3 of 3 vertices"),
        (TRIANGLE.replace("2 -1", "-7 -1"), "face index -7 of 3 vertices"),
        (TRIANGLE.replace("2 -1", "99999999999 -1"), "face index 1e+11 is more than a mesh can have"),
        (TRIANGLE.replace("2 -1", "1.5 -1"), "face index 1.5 is not a whole number"),
        (TRIANGLE.replace("1 0 0", "1 0 zero"), "'zero,' at byte"),
        (TRIANGLE.replace("1 0 0", "1 0"), "8 numbers are no whole count of points of 3"),
        (TRIANGLE * 2, "several surfaces"),
        ("{ " * 200_000, "words outside of its arrays"),
        (
            TRIANGLE.replace(
                "coordIndex", "texCoord TextureCoordinate { point [0 0] } texCoordIndex [0 0 -1] coordIndex"
            ),
            "the texture coordinates' polygons are not those of the faces",
        ),
        ('ImageTexture { url "../secret.png" } ' + TRIANGLE, "'../secret.png' lies outside of the dataset's folder"),
        ('ImageTexture { url ["/etc/secret.png"] } ' + TRIANGLE, "'/etc/secret.png' lies outside"),
        ('ImageTexture { url "gone.png" } ' + TRIANGLE, "texture gone.png is missing"),
    ],
)
def test_a_bad_file_is_refused_in_words(tmp_path: Path, text: str, reason: str) -> None:
    folder = tmp_path / "faces"
    folder.mkdir()
    with pytest.raises(MeshError) as error:
        read(folder, text)
    assert reason in str(error.value)


def test_the_manifest_s_texture_stands_in_for_a_name_that_leads_nowhere(
    tmp_path: Path, picture: Callable[..., Path]
) -> None:
    picture(tmp_path / "skin.png")
    (tmp_path / "face.wrl").write_text(HEAD + 'ImageTexture { url "C:\\\\scans\\\\F0001.bmp" } ' + TRIANGLE)
    assert read_mesh("face.wrl", "skin.png", str(tmp_path)).texture is not None


def test_another_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "face.wrl").write_text("#VRML V1.0 ascii\n")
    with pytest.raises(MeshError, match=r"not a VRML 2\.0 file"):
        read_mesh("face.wrl", None, str(tmp_path))


@pytest.mark.parametrize(
    ("fields", "seen"),
    [
        ("translation 1 2 3", [[1, 2, 3], [2, 2, 3], [1, 3, 3]]),
        ("scale 2 3 4", [[0, 0, 0], [2, 0, 0], [0, 3, 0]]),
        ("rotation 0 0 2 1.5707963267948966", [[0, 0, 0], [0, 1, 0], [-1, 0, 0]]),
        ("center 1 0 0 rotation 0 0 1 1.5707963267948966", [[1, -1, 0], [1, 0, 0], [0, -1, 0]]),
        ("scale 2 1 1 scaleOrientation 0 0 1 1.5707963267948966", [[0, 0, 0], [1, 0, 0], [0, 2, 0]]),
        ("translation 5 0 0 scale 2 2 2", [[5, 0, 0], [7, 0, 0], [5, 2, 0]]),
    ],
)
@pytest.mark.parametrize("behind", [False, True])
def test_a_transform_is_applied_wherever_its_fields_stand(
    tmp_path: Path, fields: str, seen: list[list[float]], behind: bool
) -> None:
    shape = f"children [ Shape {{ {TRIANGLE} }} ]"
    mesh = read(tmp_path, f"Transform {{ {f'{shape} {fields}' if behind else f'{fields} {shape}'} }}")
    assert np.allclose(mesh.vertices, seen, atol=1e-6)


def test_transforms_within_transforms(tmp_path: Path) -> None:
    inner = f"Transform {{ translation 1 0 0 children [ Group {{ children [ Shape {{ {TRIANGLE} }} ] }} ] }}"
    beside = "Transform { scale 9 9 9 children [] }"
    mesh = read(tmp_path, f"Transform {{ scale 10 10 10 children [ {beside} {inner} ] }}")
    assert mesh.vertices.tolist() == [[10, 0, 0], [20, 0, 0], [10, 10, 0]]


def test_a_mirroring_transform_turns_the_faces_about(tmp_path: Path) -> None:
    mesh = read(tmp_path, f"Transform {{ scale -1 1 1 children [ Shape {{ {TRIANGLE} }} ] }}")
    a, b, c = mesh.vertices[mesh.faces[0]]
    assert np.cross(b - a, c - a)[2] > 0
