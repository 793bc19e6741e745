from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from polyview.corpus.datasets.facekit import model_version
from polyview.corpus.datasets.facekit_model import read_model
from polyview.corpus.expressions import ACTION_UNITS, expressivity
from polyview.corpus.load import load_mesh
from polyview.corpus.mesh import Mesh, MeshError
from polyview.corpus.scan import scan
from polyview.errors import UserError
from polyview.recipe import Corpus, Generator

SIDED = ["browInnerUp", "browOuterUp", "browDown", "eyeWide", "cheekSquint", "eyeSquint", "noseSneer", "mouthUpperUp"]
SIDED += ["mouthSmile", "mouthDimple", "mouthFrown", "mouthLowerDown", "mouthStretch", "mouthPress"]
WHOLE = ["mouthShrugLower", "mouthRollLower", "mouthRollUpper", "jawOpen"]
COUNT = 90


def write_obj(file: Path, vertices: NDArray[np.float64]) -> None:
    """A file in ICT-FaceKit's form: comment, vertices, texture coordinates, quads under a material."""
    quads = [(i, i + 1, i + 11, i + 10) for i in range(0, COUNT - 11)]
    lines = ["# ICT FaceKit", "# v 1 2 3 in a comment", "mtllib ICTFaceModelMaterial.mtl"]
    lines += [f"v {x:g} {y:g} {z:g}" for x, y, z in vertices]
    lines += ["vt 0.5 0.5", "vn 0 0 1", "usemtl M_Face"]
    lines += ["f " + " ".join(f"{corner + 1}/1" for corner in quad) for quad in quads]
    file.write_text("\n".join(lines) + "\n")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """ICT-FaceKit in miniature: 90 vertices, two identities, every shape that an action unit needs."""
    folder = tmp_path / "kit" / "FaceXModel"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    x, y = np.meshgrid(np.linspace(-6, 6, 10), np.linspace(8, -8, 9))
    neutral = np.stack([x.ravel(), y.ravel(), 12 - 0.1 * x.ravel() ** 2], axis=1).round(4)
    write_obj(folder / "generic_neutral_mesh.obj", neutral)
    for name in ["identity000", "identity001", *WHOLE, *(f"{shape}_{side}" for shape in SIDED for side in "LR")]:
        write_obj(folder / f"{name}.obj", (neutral + rng.normal(0, 0.1, neutral.shape)).round(4))
    (folder / "vertex_indices.json").write_text(json.dumps({"idx_to_landmark_verts": list(range(11, 79))}))
    return folder.parent


def face(root: Path, units: str = "", person: int = 0) -> Mesh:
    ending = f"&{units}" if units else ""
    who = f"facekit:version={model_version(str(root))}&seed=0&person={person}"
    path = f"{who}&yaw=0&pitch=0&noise=0&holes=0{ending}"
    return load_mesh(path, None, str(root))


def vertices_of(file: Path) -> NDArray[np.float64]:
    """The file's vertices in millimetres, read in the plainest way."""
    lines = [line.split() for line in file.read_text().splitlines() if line.startswith("v ")]
    return 10 * np.array([[float(value) for value in line[1:]] for line in lines])


def test_a_face_is_neutral_and_weighted_differences(root: Path) -> None:
    folder = root / "FaceXModel"
    neutral = vertices_of(folder / "generic_neutral_mesh.obj")
    gains = expressivity(0, 0)[:, ACTION_UNITS.index(12)]
    moved = face(root, "au12=0.5").vertices - face(root).vertices
    expected = sum(
        0.5 * gain * (vertices_of(folder / f"mouthSmile_{side}.obj") - neutral)
        for side, gain in zip("LR", gains, strict=True)
    )
    assert np.allclose(moved, expected, atol=1e-3)
    basis = [vertices_of(folder / f"identity00{i}.obj") - neutral for i in range(2)]
    offset = (face(root).vertices - neutral).ravel()
    weights, *_ = np.linalg.lstsq(np.stack([mode.ravel() for mode in basis], axis=1), offset, rcond=None)
    assert np.allclose(sum(w * mode for w, mode in zip(weights, basis, strict=True)).ravel(), offset, atol=1e-3)
    assert 0 < np.abs(weights).max() <= 2


@pytest.mark.parametrize("unit", ACTION_UNITS)
def test_every_action_unit_has_a_shape(root: Path, unit: int) -> None:
    assert np.abs(face(root, f"au{unit}=1").vertices - face(root).vertices).max() > 0.5


def test_quads_become_triangles_and_the_nose_is_its_landmark(root: Path) -> None:
    mesh = face(root)
    assert len(mesh.faces) == 2 * (COUNT - 11)
    assert mesh.nose is not None
    assert np.array_equal(mesh.nose, mesh.vertices[11 + 30])


def test_the_folder_above_and_the_folder_itself_are_the_same_faces(root: Path) -> None:
    above, itself = (
        scan(Corpus(dataset="facekit", root=str(folder), generator=Generator(subjects=2)))
        for folder in (root, root / "FaceXModel")
    )
    assert len(above.manifest) == 2 * 7 * 2
    assert above.manifest.frame.equals(itself.manifest.frame)
    for path in above.manifest.frame["path"][:7]:
        one, other = load_mesh(path, None, above.manifest.root), load_mesh(path, None, itself.manifest.root)
        assert np.array_equal(one.vertices, other.vertices)
        assert one.colors is not None
        assert np.array_equal(one.colors, other.colors if other.colors is not None else 0)


def test_a_wrong_root_says_what_was_expected_and_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"")
    with pytest.raises(UserError, match=r"expected FaceXModel/generic_neutral_mesh.obj, found holiday.jpg"):
        scan(Corpus(dataset="facekit", root=str(tmp_path)))
    with pytest.raises(UserError, match="is not a folder"):
        scan(Corpus(dataset="facekit", root=str(tmp_path / "nowhere")))


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("mouthFrown_R.obj", None, "mouthFrown_R.obj: No such file"),
        ("identity001.obj", "v 0 0 0\nv 1 1 1\n", "identity001.obj: 2 vertices, expected 90"),
        ("jawOpen.obj", "# v\nv 0 0 zero\n", "jawOpen.obj: its vertices are not readable"),
        ("vertex_indices.json", "{}", "no idx_to_landmark_verts"),
    ],
)
def test_a_broken_file_is_named(root: Path, name: str, content: str | None, reason: str) -> None:
    file = root / "FaceXModel" / name
    file.unlink()
    if content is not None:
        file.write_text(content)
    with pytest.raises(UserError, match=reason):
        read_model(root / "FaceXModel")
    with pytest.raises(MeshError, match=reason):
        face(root)


def test_an_empty_shape_is_refused(root: Path) -> None:
    (root / "FaceXModel" / "eyeWide_L.obj").write_text("")
    with pytest.raises(UserError, match=r"eyeWide_L.obj: 0 vertices, expected 90"):
        read_model(root / "FaceXModel")
