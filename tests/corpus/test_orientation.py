"""Which unit and which axes a mesh is taken to have, by itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trimesh
from scipy.spatial.transform import Rotation

from polyview.corpus.formats.landmarks import Landmarks
from polyview.corpus.geometry import prepared
from polyview.corpus.load import load_mesh
from polyview.corpus.mesh import Mesh, MeshError, nose_tip
from polyview.corpus.orientation import Way, guess_axes, guess_unit, turn_to
from polyview.corpus.scan import scan
from polyview.errors import UserError
from polyview.recipe import Axes, Corpus, Experiment, Generator, Geometry, build_corpus, with_overrides

WAYS = [Way(axis, sign) for axis in range(3) for sign in (1, -1)]
TURNS = [(up, front) for up in WAYS for front in WAYS if up.axis != front.axis]
AUTO = Geometry(unit="auto", axes="auto")


def shell() -> Mesh:
    """A face as a scan shows it: 140 x 180 mm, open behind, its nose steep below the tip and gentle above."""
    x, y = np.meshgrid(np.linspace(-70, 70, 41), np.linspace(-90, 90, 51))
    above = np.where(y > -5, 34, 9)
    z = 60 - (x / 12) ** 2 * 1.2 - (y / 14) ** 2 + 28 * np.exp(-((x / 11) ** 2) - ((y + 5) / above) ** 2)
    index = np.arange(x.size).reshape(x.shape)
    corners = [index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]]
    a, b, c, d = (part.ravel() for part in corners)
    faces = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])
    return Mesh(np.stack([x, y, z], -1).reshape(-1, 3).astype(np.float32), faces.astype(np.int32))


def head() -> Mesh:
    """A whole head of the generator, whose nose is its foremost point."""
    manifest = scan(Corpus(generator=Generator(subjects=1, sequences=1, pose=0))).manifest
    mesh = load_mesh(manifest.frame["path"][1], None, "")
    return replace(mesh, nose=None)


def lying(mesh: Mesh, up: Way, front: Way) -> Mesh:
    return replace(mesh, vertices=mesh.vertices @ turn_to(up, front).T)


@pytest.mark.parametrize(
    ("unit", "name"), [(1000, "metres"), (10, "centimetres"), (1, "millimetres"), (0.001, "micrometres")]
)
@pytest.mark.parametrize("size", [0.7, 1.0, 1.6])
def test_the_unit_that_makes_it_a_head(unit: float, name: str, size: float) -> None:
    face = shell()
    assert guess_unit(replace(face, vertices=face.vertices * np.float32(size / unit))) == (unit, name)


@pytest.mark.parametrize("longest", [1.0, 2.0])
def test_a_unit_cube_becomes_as_large_as_a_head(longest: float) -> None:
    face = shell()
    unit, name = guess_unit(replace(face, vertices=face.vertices * np.float32(longest / 180)))
    assert name == "a unit cube"
    assert unit * longest == pytest.approx(220, rel=1e-3)


@pytest.mark.parametrize("unit", [1000.0, 10.0, 1.0])
def test_a_person_is_not_taken_for_a_head_in_another_unit(unit: float) -> None:
    body = trimesh.creation.capsule(height=1400, radius=170)
    mesh = Mesh(np.asarray(body.vertices / unit, np.float32), np.asarray(body.faces, np.int32))
    assert guess_unit(mesh)[0] == unit


@pytest.mark.parametrize("sides", [(1.7, 1.72, 0.3), (0.85, 1.75, 0.37), (1.1, 1.7, 0.36), (0.6, 1.2, 0.27)])
def test_a_person_is_one_wherever_the_arms_are(sides: tuple[float, float, float]) -> None:
    body = trimesh.creation.box(sides)
    assert guess_unit(Mesh(np.asarray(body.vertices, np.float32), np.asarray(body.faces, np.int32)))[0] == 1000


def test_a_mask_of_a_face_in_millimetres_is_no_person_in_centimetres() -> None:
    mask = trimesh.creation.box((117, 220, 62))
    assert guess_unit(Mesh(np.asarray(mask.vertices, np.float32), np.asarray(mask.faces, np.int32)))[0] == 1


def test_what_no_unit_makes_a_head_is_refused_with_the_key() -> None:
    face = shell()
    with pytest.raises(MeshError, match=r"3\.89 x 5 x .* units large.*set corpus\.geometry\.unit"):
        prepared(replace(face, vertices=face.vertices / np.float32(36)), None, AUTO)


@pytest.mark.parametrize(("up", "front"), TURNS)
def test_a_scan_is_turned_upright_and_to_the_front(up: Way, front: Way) -> None:
    face = shell()
    assert guess_axes(lying(face, up, front)) == (up, front)
    turned = prepared(lying(face, up, front), None, AUTO)
    np.testing.assert_allclose(turned.vertices, face.vertices, atol=1e-3)
    said = f"turned upright (corpus.geometry.axes: {{up: {up}, front: {front}}})"
    assert turned.guesses == (() if (str(up), str(front)) == ("y", "z") else (said,))


@pytest.mark.parametrize(("up", "front"), TURNS)
def test_a_whole_head_is_turned_by_its_nose(up: Way, front: Way) -> None:
    assert guess_axes(lying(head(), up, front)) == (up, front)


@pytest.mark.parametrize("degrees", [-12, -8, 8, 12])
def test_a_face_that_looks_up_or_down_is_not_turned_upside_down(degrees: float) -> None:
    face, lean = shell(), Rotation.from_euler("x", degrees, degrees=True).as_matrix().astype(np.float32)
    leaning = replace(face, vertices=face.vertices @ lean.T)
    assert [guess_axes(lying(leaning, *turn)) for turn in TURNS] == TURNS


def test_a_scan_wound_the_other_way_round_looks_where_it_bulges() -> None:
    face = shell()
    assert guess_axes(replace(face, faces=face.faces[:, ::-1])) == (Way.named("y"), Way.named("z"))


def test_what_shows_no_face_is_left_as_it_lies() -> None:
    ball = trimesh.creation.icosphere(subdivisions=3, radius=100)
    assert guess_axes(Mesh(np.asarray(ball.vertices, np.float32), np.asarray(ball.faces, np.int32))) is None


def test_axes_that_are_told_are_taken_and_not_said() -> None:
    face = shell()
    mesh = lying(face, Way.named("-x"), Way.named("y"))
    turned = prepared(mesh, None, Geometry(axes=Axes(up="-x", front="y")))
    np.testing.assert_allclose(turned.vertices, face.vertices, atol=1e-3)
    assert turned.guesses == ()
    with pytest.raises(UserError, match=r"geometry\.axes: up is y and front -y: two ways along one axis"):
        build_corpus("synthetic", None, ["geometry.axes={up: y, front: -y}"])


def test_landmarks_are_turned_and_scaled_with_the_mesh() -> None:
    face, up, front = shell(), Way.named("z"), Way.named("-y")
    back = turn_to(up, front).T / np.float32(10)
    points = {"right_eye": (-30, 40, 50), "left_eye": (30, 40, 50), "mouth": (0, -40, 50), "nose": (0, -5, 88)}
    marked = Landmarks(**{name: np.float32(point) @ back for name, point in points.items()})
    told = Geometry(unit=10.0, axes=Axes(up="z", front="-y"))
    mesh = prepared(replace(face, vertices=face.vertices @ back), marked, told)
    assert mesh.nose is not None
    np.testing.assert_allclose(mesh.nose, points["nose"], atol=1e-3)


def test_the_nose_of_a_person_is_looked_for_in_the_head() -> None:
    belly = trimesh.creation.icosphere(subdivisions=3, radius=400)
    belly.apply_translation([0, -900, -150])
    face = shell()
    body = Mesh(
        np.concatenate([face.vertices, np.asarray(belly.vertices, np.float32)]),
        np.concatenate([face.faces, np.asarray(belly.faces, np.int32) + np.int32(len(face.vertices))]),
    )
    found = prepared(body, None, AUTO)
    np.testing.assert_allclose(nose_tip(found), nose_tip(face), atol=8)
    assert "mm tall, its face looked for at the top" in found.guesses[0]
    assert "rendering.framing: whole" in found.guesses[0]


def test_a_folder_s_meshes_are_looked_at_and_those_of_other_datasets_are_not(tmp_path: Path) -> None:
    trimesh.creation.box().export(tmp_path / "a_neutral.obj")
    trimesh.creation.box().export(tmp_path / "b_anger.obj")
    own = {"pattern": "{subject}_{expression}.obj", "root": str(tmp_path), "dataset": "folder"}
    assert scan(Corpus.model_validate(own)).manifest.geometry == Geometry(unit="auto")  # a box shows no axes
    told = Corpus.model_validate(own | {"geometry": {"unit": 10.0, "axes": {"up": "z", "front": "-y"}}})
    assert scan(told).manifest.geometry == told.geometry
    assert scan(Corpus(generator=Generator(subjects=1))).manifest.geometry == Geometry()


def test_a_key_that_came_later_leaves_ids_as_they_were() -> None:
    plain = Experiment.model_validate({"name": "a", "revision": 1, "objective": {"alignment": {}}})
    content = plain.model_dump(mode="json")
    assert "axes" not in content["corpus"]["geometry"]
    other = with_overrides(plain, {"corpus.geometry.axes": "auto"})
    assert other.digest != plain.digest
    assert plain.digest == "c839a72fe5a5ed3d"


@pytest.mark.filterwarnings("error")
def test_a_surface_without_a_middle_is_looked_at_without_a_warning() -> None:
    corners = np.array([[0, 0, 0], [200, 0, 0], [200, 250, 0], [0, 250, 40]], np.float32)
    guess_axes(Mesh(corners, np.array([[0, 1, 2], [0, 2, 3]], np.int32)))
