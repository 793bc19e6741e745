"""The same face with the same landmarks lies alike once it is aligned, however both are written; others are refused."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation
from tests.corpus.formats.faces import Face, face, pose
from tests.corpus.formats.heads import Points
from tests.corpus.formats.writers import gltf, obj, off, ply, stl, vrml
from tests.corpus.formats.writers.habits import Matrix, moved, scaled
from tests.corpus.formats.writers.landmarks import WRITERS

from polyview.corpus.formats import limits
from polyview.corpus.formats.landmarks import find_landmarks, read_lm3
from polyview.corpus.load import load_mesh
from polyview.corpus.mesh import Mesh, MeshError
from polyview.corpus.orientation import Way, turn_to
from polyview.corpus.scan import scan
from polyview.recipe import Corpus, Geometry

CASES = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
MESHES = {".obj": obj, ".ply": ply, ".off": off, ".stl": stl, ".wrl": vrml, ".glb": gltf}
FACE = face()


def habits_of(options: dict[str, list[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({name: st.sampled_from(values) for name, values in options.items()})


def plain(options: dict[str, list[Any]]) -> dict[str, Any]:
    return {name: values[0] for name, values in options.items()}


def written(folder: Path, shown: Face, suffix: str = ".ply") -> str:
    """The mesh of a face in a folder that is emptied; returns its name."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return str(MESHES[suffix].write(folder, [shown.part], plain(MESHES[suffix].HABITS)))


def apart(mesh: Mesh, points: Points) -> float:
    """How far the farthest corner of a mesh lies from where one should be, and the other way round."""
    corners = mesh.vertices.astype(np.float64)
    one, other = cKDTree(points).query(corners)[0], cKDTree(corners).query(points)[0]
    return float(max(one.max(), other.max()))


@pytest.mark.parametrize("suffix", WRITERS)
@CASES
@given(data=st.data())
def test_a_face_is_aligned_by_its_landmarks_from_any_pose(tmp_path: Path, suffix: str, data: st.DataObject) -> None:
    write, options = WRITERS[suffix]
    turned = Rotation.from_euler("xyz", data.draw(st.tuples(*[st.floats(-180, 180)] * 3), label="turn"), degrees=True)
    shift = data.draw(st.tuples(*[st.floats(-300, 300)] * 3), label="shift")
    unit = data.draw(st.sampled_from([1.0, 10.0, 1000.0, 2.5]), label="unit")
    posed = FACE.moved(pose(turned, shift, unit))
    name = written(tmp_path / "face", posed, data.draw(st.sampled_from([*MESHES]), label="format"))
    write(tmp_path / "face" / name, posed, data.draw(habits_of(options), label="habits"))
    mesh = load_mesh(name, None, str(tmp_path / "face"), Geometry(unit=unit, align="landmarks"))
    # A .bnd does not mark the tip of the nose, which is found among the corners, 4 mm apart.
    assert apart(mesh, FACE.upright()) < (0.05 if suffix == ".lm3" else 4)


@pytest.mark.parametrize("suffix", WRITERS)
def test_a_mirrored_face_with_its_landmarks_is_told(tmp_path: Path, suffix: str) -> None:
    write, options = WRITERS[suffix]
    mirrored = FACE.moved(scaled(-1, 1, 1))
    name = written(tmp_path / "face", mirrored)
    write(tmp_path / "face" / name, mirrored, plain(options))
    with pytest.raises(MeshError, match=r"^landmarks: .* left and right are swapped"):
        load_mesh(name, None, str(tmp_path / "face"))


def test_decimal_commas_are_not_read_as_other_places(tmp_path: Path) -> None:
    points = WRITERS[".bnd"][0](tmp_path / "face.ply", FACE, plain(WRITERS[".bnd"][1]))
    points.write_text(points.read_text().replace(".", ","))
    with pytest.raises(MeshError, match=r"^landmarks: not 83 lines of four numbers.*, in face\.bnd; mend it"):
        find_landmarks("face.ply", str(tmp_path))


def test_a_folder_is_listed_once_and_anew_where_it_has_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dataset may have all of its meshes in one folder, and each looks there for landmarks in any case."""
    monkeypatch.setattr(limits, "JUST_WRITTEN", 0)
    listed, listing = [], Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda folder: listed.append(folder) or listing(folder))
    assert [find_landmarks(f"{number}.ply", str(tmp_path)) for number in range(9)] == [None] * 9
    assert listed.count(tmp_path) <= 2  # the links in it are looked for once too
    written = WRITERS[".bnd"][0](tmp_path / "0.ply", FACE, plain(WRITERS[".bnd"][1]))
    written.rename(tmp_path / "0.Bnd")
    os.utime(tmp_path, (1e9, 1e9))
    assert find_landmarks("0.ply", str(tmp_path)) is not None


def test_what_comes_into_a_folder_within_one_tick_of_its_disk_s_clock_is_seen(tmp_path: Path) -> None:
    tick = tmp_path.stat().st_mtime_ns
    for number in range(3):
        assert find_landmarks(f"{number}.ply", str(tmp_path)) is None
        written = WRITERS[".bnd"][0](tmp_path / f"{number}.ply", FACE, plain(WRITERS[".bnd"][1]))
        written.rename(tmp_path / f"{number}.Bnd")
        os.utime(tmp_path, ns=(tick, tick))
        assert find_landmarks(f"{number}.ply", str(tmp_path)) is not None


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ("Nose tip\n1 2 3\nChin\n4 5 6\nNose Tip\n7 8 9\n", "a name is there twice"),
        ("Nose tip\n0 1 2 3\nChin\n1 4 5 6\nBrow\n2 7 8 9\n", "a place is not three numbers"),
    ],
)
def test_landmarks_that_may_be_other_places_are_refused(rows: str, reason: str) -> None:
    with pytest.raises(MeshError, match=f"^landmarks: {reason}"):
        read_lm3(f"3 landmarks:\n{rows}".encode())


@pytest.mark.parametrize("up", ["x", "-y", "z"])
def test_a_folder_s_faces_are_turned_upright_as_their_landmarks_tell(tmp_path: Path, up: str) -> None:
    way = Way.named(up)
    lying = np.eye(4)
    lying[:3, :3] = turn_to(way, Way((way.axis + 1) % 3, -1))
    for number in range(3):
        shown = FACE.moved(lying)
        folder = tmp_path / "faces" / f"p{number}"
        folder.parent.mkdir(exist_ok=True)
        write, options = WRITERS[".lm3"]
        write(folder / written(folder, shown), shown, plain(options))
    own = {"dataset": "folder", "root": str(tmp_path / "faces"), "pattern": "{subject}/{expression}.ply"}
    found = scan(Corpus.model_validate(own | {"expressions": ("head", "neutral")}))
    for row in found.manifest.frame.iter_rows(named=True):
        mesh = load_mesh(row["path"], None, found.manifest.root, found.manifest.geometry)
        assert apart(mesh, FACE.part.points) < 0.05


OTHERS: dict[str, Matrix] = {
    "in metres": scaled(*[0.001] * 3),
    "in centimetres": scaled(*[0.1] * 3),
    "in micrometres": scaled(*[1000.0] * 3),
    "elsewhere": moved(0, 120, 0),
    "in front": moved(0, 0, 90),
    "lying": pose(Rotation.from_euler("x", 90, degrees=True), (0, 0, 0), 1),
    "from behind": pose(Rotation.from_euler("y", 180, degrees=True), (0, 0, 0), 1),
    "mirrored": scaled(-1, 1, 1),
}


@pytest.mark.parametrize("suffix", WRITERS)
@pytest.mark.parametrize("place", OTHERS)
@pytest.mark.parametrize("align", ["none", "nose", "landmarks"])
def test_landmarks_of_another_mesh_are_refused(tmp_path: Path, suffix: str, place: str, align: str) -> None:
    write, options = WRITERS[suffix]
    name = written(tmp_path / "face", FACE)
    write(tmp_path / "face" / name, FACE.moved(OTHERS[place]), plain(options))
    with pytest.raises(MeshError, match=r"^landmarks: "):
        load_mesh(name, None, str(tmp_path / "face"), Geometry(align=align))


AT_ITS_NOSE = FACE.moved(moved(*-FACE.marks["nose tip"]))
"""What is in another unit lies on it too, near the tip of the nose."""


@pytest.mark.parametrize("suffix", WRITERS)
@pytest.mark.parametrize("unit", [1000.0, 10.0])
@pytest.mark.parametrize("told", [1.0, 1000.0, "auto"])
def test_landmarks_in_another_unit_are_refused_also_where_they_lie_on_the_mesh(
    tmp_path: Path, suffix: str, unit: float, told: float | str
) -> None:
    write, options = WRITERS[suffix]
    size = 1000.0 if told == 1000.0 else 1.0
    name = written(tmp_path / "face", AT_ITS_NOSE.moved(scaled(*[1 / size] * 3)))
    write(tmp_path / "face" / name, AT_ITS_NOSE.moved(scaled(*[1 / size / unit] * 3)), plain(options))
    with pytest.raises(MeshError, match=r"^landmarks: eyes and mouth lie within .* mm, so they are in another unit"):
        load_mesh(name, None, str(tmp_path / "face"), Geometry(unit=told))


def cut(shown: Face, kept: Callable[[Points], NDArray[np.bool_]]) -> Face:
    """Those of its polygons of which all corners are kept; its landmarks stay."""
    stays = kept(shown.part.points)
    index = [number for number, polygon in enumerate(shown.part.polygons) if stays[list(polygon)].all()]
    part = shown.part
    return Face(
        replace(part, polygons=[part.polygons[i] for i in index], laid=[part.laid[i] for i in index]),
        shown.marks,
    )


CUTS: dict[str, Callable[[Points], NDArray[np.bool_]]] = {
    "below the nose": lambda points: points[:, 1] > -20,
    "below the eyes": lambda points: points[:, 1] > 15,
    "above the nose": lambda points: points[:, 1] < 20,
    "left half": lambda points: points[:, 0] > -2,
    "cheek and brow": lambda points: points[:, 0] > 12,
}


@pytest.mark.parametrize("suffix", WRITERS)
@pytest.mark.parametrize("part", CUTS)
def test_a_mesh_that_is_cut_has_landmarks_of_what_is_cut_off(tmp_path: Path, suffix: str, part: str) -> None:
    write, options = WRITERS[suffix]
    shown = cut(FACE, CUTS[part])
    name = written(tmp_path / "face", shown)
    write(tmp_path / "face" / name, FACE, plain(options))
    mesh = load_mesh(name, None, str(tmp_path / "face"), Geometry(align="landmarks"))
    left = FACE.upright()[CUTS[part](FACE.part.points)]
    if suffix == ".lm3":
        assert cKDTree(left).query(mesh.vertices)[0].max() < 0.05


def test_a_spike_does_not_make_landmarks_those_of_another_mesh(tmp_path: Path) -> None:
    write, options = WRITERS[".lm3"]
    points = FACE.part.points.copy()
    points[-1] *= 60
    name = written(tmp_path / "face", Face(replace(FACE.part, points=points), FACE.marks))
    write(tmp_path / "face" / name, FACE, plain(options))
    assert load_mesh(name, None, str(tmp_path / "face"), Geometry(align="landmarks", spikes=20)).sides.max() < 200
