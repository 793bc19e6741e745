from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from tests.corpus.on_disk import write_bnd

from polyview.corpus.formats.landmarks import Landmarks, find_landmarks, read_bnd, read_lm3
from polyview.corpus.geometry import prepared
from polyview.corpus.manifest import Manifest
from polyview.corpus.mesh import Mesh, MeshError
from polyview.corpus.scan import scan
from polyview.recipe import Corpus, Generator, Geometry

BALL = trimesh.creation.icosphere(subdivisions=3, radius=80)
HEAD = Mesh(np.asarray(BALL.vertices, np.float32), np.asarray(BALL.faces, np.int32))
MARKS = {"right_eye": (-30, 30, 70), "left_eye": (30, 30, 70), "mouth": (0, -40, 70), "nose": (0, 0, 80)}


def marks(rotation: Rotation, shift: tuple[float, float, float]) -> Landmarks:
    return Landmarks(**{name: (rotation.apply(place) + shift).astype(np.float32) for name, place in MARKS.items()})


def surface(mesh: Mesh) -> trimesh.Trimesh:
    welded = trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)
    welded.merge_vertices()
    return welded


def test_by_default_nothing_is_done() -> None:
    mesh = prepared(HEAD, None, Geometry())
    assert mesh.vertices is HEAD.vertices
    assert mesh.faces is HEAD.faces


@settings(deadline=None)
@given(
    turn=st.tuples(*[st.floats(-180, 180)] * 3),
    shift=st.tuples(*[st.floats(-500, 500)] * 3),
    unit=st.sampled_from([1, 1000]),
)
def test_alignment_undoes_any_pose(
    turn: tuple[float, float, float], shift: tuple[float, float, float], unit: float
) -> None:
    rotation = Rotation.from_euler("xyz", turn, degrees=True)
    moved = replace(HEAD, vertices=((rotation.apply(HEAD.vertices) + shift) / unit).astype(np.float32))
    found = marks(rotation, shift)
    scaled = Landmarks(**{name: getattr(found, name) / np.float32(unit) for name in MARKS})
    mesh = prepared(moved, scaled, Geometry(align="landmarks", unit=unit))
    assert np.allclose(mesh.vertices, HEAD.vertices - [0, 0, 80], atol=0.02)
    assert mesh.nose is not None
    assert mesh.nose.tolist() == [0, 0, 0]


def test_alignment_by_the_nose_moves_alone() -> None:
    nose = np.array([1, 2, 3], np.float32)
    mesh = prepared(replace(HEAD, nose=nose), None, Geometry(align="nose"))
    assert np.allclose(mesh.vertices, HEAD.vertices - nose)
    guessed = prepared(HEAD, None, Geometry(align="nose"))
    assert np.allclose(guessed.vertices, HEAD.vertices - [0, 0, 80], atol=1e-4)


def test_landmarks_that_would_turn_a_face_inside_out_are_refused() -> None:
    mirrored = marks(Rotation.identity(), (0, 0, 0))
    mirrored = replace(mirrored, left_eye=mirrored.right_eye, right_eye=mirrored.left_eye)
    with pytest.raises(MeshError, match="left and right are swapped"):
        prepared(HEAD, mirrored, Geometry(align="landmarks"))


def test_alignment_without_landmarks_is_refused() -> None:
    with pytest.raises(MeshError, match="needs both eyes and the mouth"):
        prepared(HEAD, None, Geometry(align="landmarks"))


@settings(deadline=None)
@given(radius=st.floats(20, 170))
def test_a_crop_keeps_what_is_near_the_nose(radius: float) -> None:
    mesh = prepared(HEAD, None, Geometry(crop=radius))
    distances = np.linalg.norm(HEAD.vertices - [0, 0, 80], axis=1)
    assert np.linalg.norm(mesh.vertices - [0, 0, 80], axis=1).max() <= radius + 1e-3
    assert len(mesh.faces) == (distances[HEAD.faces] <= radius).all(axis=1).sum()
    assert len(np.unique(mesh.faces)) == len(mesh.vertices)


def test_a_crop_that_leaves_nothing_is_refused() -> None:
    with pytest.raises(MeshError, match="leaves nothing of the mesh"):
        prepared(HEAD, None, Geometry(crop=0.5))


def test_a_spike_goes_and_its_hole_is_closed() -> None:
    spiked = HEAD.vertices.copy()
    spiked[100] *= 5
    mesh = prepared(replace(HEAD, vertices=spiked), None, Geometry(spikes=4.0))
    assert np.linalg.norm(mesh.vertices, axis=1).max() < 81
    assert 5 <= len(HEAD.faces) - len(mesh.faces) <= 6
    assert not surface(mesh).is_watertight
    closed = surface(prepared(replace(HEAD, vertices=spiked), None, Geometry(spikes=4.0, holes=6)))
    assert closed.is_watertight
    assert closed.is_winding_consistent


def test_only_small_holes_are_closed() -> None:
    bowl = prepared(HEAD, None, Geometry(crop=100))
    rim = len(surface(bowl).outline().entities[0].points) - 1
    assert len(prepared(bowl, None, Geometry(holes=rim - 1)).faces) == len(bowl.faces)
    assert surface(prepared(bowl, None, Geometry(holes=rim))).is_watertight


def test_a_seam_of_the_texture_is_no_hole() -> None:
    split = Mesh(HEAD.vertices[HEAD.faces].reshape(-1, 3), np.arange(HEAD.faces.size, dtype=np.int32).reshape(-1, 3))
    assert prepared(split, None, Geometry(holes=100)).faces is split.faces


def test_what_a_closed_hole_gets_is_the_mean_of_its_rim() -> None:
    colors = np.full(HEAD.vertices.shape, 90, np.uint8)
    mesh = prepared(
        replace(HEAD, faces=HEAD.faces[1:], colors=colors, uv=np.full((len(colors), 2), 0.25, np.float32)),
        None,
        Geometry(holes=3),
    )
    mesh.check()
    assert mesh.colors is not None
    assert mesh.uv is not None
    assert mesh.colors[-1].tolist() == [90, 90, 90]
    assert mesh.uv[-1].tolist() == [0.25, 0.25]


def test_geometry_is_part_of_a_manifest(tmp_path: Path) -> None:
    plain = scan(Corpus(generator=Generator(subjects=2))).manifest
    cropped = scan(Corpus(generator=Generator(subjects=2), geometry=Geometry(crop=90))).manifest
    assert plain.fingerprint != cropped.fingerprint
    cropped.save(tmp_path / "faces.parquet")
    assert Manifest.load(tmp_path / "faces.parquet").geometry == Geometry(crop=90)


@pytest.mark.parametrize("mesh", ["face.obj", "face.obj.gz", "face.WRL"])
@pytest.mark.parametrize("suffix", [".bnd", ".BND", ".bnd.gz"])
def test_landmarks_are_found_however_they_and_the_mesh_are_spelt_or_packed(
    tmp_path: Path, mesh: str, suffix: str
) -> None:
    write_bnd(tmp_path / "own.bnd")
    held = (tmp_path / "own.bnd").read_bytes()
    (tmp_path / f"face{suffix}").write_bytes(gzip.compress(held) if suffix.endswith(".gz") else held)
    found = find_landmarks(mesh, str(tmp_path))
    assert found is not None
    assert found.right_eye is not None


def test_landmarks_are_found_beside_a_mesh(tmp_path: Path) -> None:
    write_bnd(tmp_path / "one" / "face.bnd")
    found = find_landmarks("one/face.wrl", str(tmp_path))
    assert found is not None
    assert found.right_eye is not None
    assert found.right_eye.round(4).tolist() == [-30, 30, 80]
    assert find_landmarks("one/other.wrl", str(tmp_path)) is None


def test_landmarks_of_bosphorus() -> None:
    text = (
        "3D landmarks\n5 landmarks:\nOuter left eye corner\n-40 30 70\nInner left eye corner\n-20 30 70\n"
        "Left mouth corner\n-20 -40 70\nRight mouth corner\n20 -40 70\nInner right eye corner\n20 30 70\n"
    )
    found = read_lm3(text.encode())
    # The viewer's left is the subject's right.
    assert found.right_eye is not None
    assert found.right_eye.tolist() == [-30, 30, 70]
    assert found.mouth is not None
    assert found.mouth.tolist() == [0, -40, 70]
    # One corner is no middle of an eye.
    assert found.left_eye is None
    assert found.nose is None


@pytest.mark.parametrize("data", [b"", b"1 2 3", b"landmarks:", b"9 landmarks:\na\n1 2 3\n", b"1 landmarks:\na\n1 2\n"])
def test_broken_landmarks_are_refused(data: bytes) -> None:
    with pytest.raises(MeshError, match="landmarks: "):
        read_lm3(data)
    with pytest.raises(MeshError):
        read_bnd(data)
