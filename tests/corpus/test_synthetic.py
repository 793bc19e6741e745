from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from polyview.corpus.datasets import synthetic
from polyview.corpus.expressions import ACTION_UNITS
from polyview.corpus.head.head import moved, shape_count, shaped
from polyview.corpus.head.identity import draw_person
from polyview.corpus.head.surface import EAR, EYEBALL, FACE, LOWER_MOUTH, UPPER_MOUTH, average_surface
from polyview.corpus.load import load_mesh
from polyview.corpus.mesh import Mesh, MeshError
from polyview.corpus.scan import scan
from polyview.recipe import Corpus, Generator

EVEN = replace(draw_person(0, 0, shape_count()), shape=np.zeros(shape_count()), gains=np.ones((2, len(ACTION_UNITS))))


def path(units: str = "", person: int = 3, **numbers: float) -> str:
    values = {"yaw": 0, "pitch": 0, "noise": 0, "holes": 0, **numbers}
    version = synthetic.VERSION_OF_VARIETY if "variety" in numbers else synthetic.VERSION
    return (
        f"synthetic:version={version}&seed=0&person={person}"
        + "".join(f"&{name}={value}" for name, value in values.items())
        + (f"&{units}" if units else "")
    )


def head(units: str = "", person: int = 3, **numbers: float) -> Mesh:
    return load_mesh(path(units, person, **numbers), None, "")


def weights(**units: float) -> NDArray[np.float64]:
    return np.array([units.get(f"au{unit}", 0.0) for unit in ACTION_UNITS])


def region(x: float, y: float, radius: float) -> NDArray[np.bool_]:
    """Rows of the face's skin around a place on the average head; both edges of a cut are in."""
    surface = average_surface()
    near = np.hypot(surface.vertices[:, 0] - x, surface.vertices[:, 1] - y) < radius
    inside: NDArray[np.bool_] = near & (surface.vertices[:, 2] > 0) & (surface.part == FACE)
    return inside


def rise(units: str, where: NDArray[np.bool_]) -> float:
    """How far a place goes up with these units, millimetres."""
    return float((head(units).vertices - head().vertices)[where, 1].mean())


def test_every_scanned_path_is_a_mesh_and_the_same_one_twice() -> None:
    found = scan(Corpus(generator=Generator(subjects=2, sequences=1, frames=2, noise=0.3, holes=2)))
    assert found.skipped.is_empty()
    assert len(found.manifest) == 2 * 7 * 2
    for face in found.manifest.frame["path"]:
        mesh, again = load_mesh(face, None, found.manifest.root), load_mesh(face, None, found.manifest.root)
        assert np.array_equal(mesh.vertices, again.vertices)
        assert np.array_equal(mesh.faces, again.faces)
        assert mesh.colors is not None
        assert np.array_equal(mesh.colors, again.colors if again.colors is not None else 0)


def test_a_head_has_a_head_s_size_and_its_nose_in_front() -> None:
    for person in range(20):
        mesh = head(person=person)
        surface = average_surface()
        width, _, depth = np.ptp(mesh.vertices[surface.part == FACE], axis=0)
        assert 130 < width < 190
        assert 170 < depth < 230
        assert mesh.nose is not None
        assert np.abs(mesh.nose[:2]).max() < 12
        assert mesh.nose[2] > mesh.vertices[:, 2].max() - 3


def test_faces_look_outwards() -> None:
    mesh, surface = head(), average_surface()
    a, b, c = (mesh.vertices[mesh.faces[:, k]] for k in range(3))
    normals = np.cross(b - a, c - a)
    part = surface.part[mesh.faces[:, 0]]
    outwards = np.einsum("ij,ij->i", normals, a - [0, 0, -20])
    assert (outwards[part == FACE] > 0).mean() > 0.95
    assert (normals[np.isin(part, (EYEBALL, UPPER_MOUTH, LOWER_MOUTH)), 2] > 0).mean() > 0.95
    assert (normals[part == EAR, 0] * a[part == EAR, 0] > 0).mean() > 0.7


def test_weight_zero_is_rest() -> None:
    for unit in ACTION_UNITS:
        assert np.array_equal(head(f"au{unit}=0").vertices, head().vertices)


@pytest.mark.parametrize("unit", ACTION_UNITS)
def test_every_unit_moves_the_face_and_not_the_back_of_the_head(unit: int) -> None:
    shift = np.linalg.norm(head(f"au{unit}=1").vertices - head().vertices, axis=1)
    assert 2.0 < shift.max() < 35.0
    assert shift[average_surface().vertices[:, 2] < -10].max() < 0.01


def test_units_do_what_they_are_named_for() -> None:
    inner_brow, outer_brow = region(12, 54, 4), region(40, 55, 4)
    assert rise("au1=1", inner_brow) > 5 > rise("au1=1", outer_brow)
    assert rise("au2=1", outer_brow) > 5 > rise("au2=1", inner_brow)
    assert rise("au4=1", inner_brow) < -5
    corner = region(26, -32, 2.5)
    assert rise("au12=1", corner) > 5
    assert rise("au15=1", corner) < -5
    assert rise("au26=1", region(0, -66, 4)) < -10
    assert rise("au6=1", region(36, 12, 4)) > 4
    assert rise("au9=1", region(11, -2, 3)) > 3


def opening(units: str, x: float, y: float) -> float:
    """Height between the edges of a cut at x, millimetres."""
    surface = average_surface()
    near = (np.abs(surface.vertices[:, 0] - x) < 3) & (np.abs(surface.vertices[:, 1] - y) < 2)
    vertices = head(units).vertices
    upper, lower = (vertices[near & (surface.side == side), 1].mean() for side in (1, -1))
    return float(upper - lower)


def test_eyes_and_mouth_open_and_close() -> None:
    rest = opening("", 31.5, 35.5)
    assert 5 < rest < 14
    assert opening("au5=1", 31.5, 35.5) > rest + 2
    assert 0 < opening("au6=1&au7=1", 31.5, 35.5) < rest - 2
    assert opening("", 0, -32) == pytest.approx(0, abs=0.01)
    assert opening("au25=1", 0, -32) > 3
    assert opening("au26=1", 0, -32) > 10


def test_an_even_face_is_its_own_mirror_image_whatever_it_shows() -> None:
    person = shaped(EVEN)
    for units in (weights(), weights(au1=1, au4=0.5, au12=0.7, au26=1), weights(au9=1, au20=1, au6=1)):
        vertices = moved(person, units).vertices
        distance, _ = cKDTree(vertices).query(vertices * [-1, 1, 1])
        assert distance.max() < 0.01


def test_a_stronger_side_pulls_that_side() -> None:
    gains = np.ones((2, len(ACTION_UNITS)))
    gains[0] *= 1.2
    person = shaped(replace(EVEN, gains=gains))
    shift = moved(person, weights(au12=1)).vertices - moved(person, weights()).vertices
    left, right = region(26, -32, 2.5), region(-26, -32, 2.5)
    assert shift[left, 1].mean() == pytest.approx(1.2 * shift[right, 1].mean(), rel=0.02)


def test_people_differ_in_shape_and_colour() -> None:
    heads = [head(person=person) for person in range(12)]
    shapes = np.stack([mesh.vertices for mesh in heads])
    assert np.linalg.norm(shapes - shapes.mean(axis=0), axis=2).mean() > 1.5
    skin = np.array([mesh.colors[region(0, 75, 5)].mean() for mesh in heads if mesh.colors is not None])
    assert np.ptp(skin) > 60


def test_large_seeds_stay_apart() -> None:
    paths = [path().replace("seed=0", f"seed={seed}") for seed in (1234567, 1234568, 2**40, 2**40 + 1)]
    found = [scan(Corpus(generator=Generator(subjects=1, seed=seed))).manifest for seed in (1234567, 1234568)]
    assert found[0].frame["path"][0] != found[1].frame["path"][0]
    assert len({load_mesh(each, None, "").vertices.tobytes() for each in paths}) == len(paths)


def test_the_head_turns_as_one() -> None:
    straight, turned = head("au12=1"), head("au12=1", yaw=20, pitch=5)
    pairs = np.random.default_rng(0).integers(0, len(straight.vertices), (200, 2))
    before, after = (np.linalg.norm(np.subtract(*m.vertices[pairs.T]), axis=1) for m in (straight, turned))
    assert np.allclose(before, after, atol=0.01)
    assert straight.nose is not None
    assert turned.nose is not None
    assert turned.nose[0] > straight.nose[0] + 10
    assert turned.nose[1] > straight.nose[1] + 3


def test_noise_has_the_size_asked_for_and_holes_take_faces_only() -> None:
    clean, noisy, torn = head(), head(noise=0.5), head(holes=3)
    assert (noisy.vertices - clean.vertices).std() == pytest.approx(0.5, rel=0.05)
    assert 0.8 * len(clean.faces) < len(torn.faces) < len(clean.faces)
    assert np.array_equal(torn.vertices, clean.vertices)


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ("synthetic:person=3", "not a path of a synthetic face"),
        (path("au99=1"), "99"),
        (path("smile=1"), "not a path"),
        (path().replace("version=", "version=9"), "scan anew"),
        (path(variety=1).replace(f"version={synthetic.VERSION_OF_VARIETY}", "version=1"), "scan anew"),
    ],
)
def test_a_path_that_means_nothing_is_refused(broken: str, reason: str) -> None:
    with pytest.raises(MeshError, match=reason):
        load_mesh(broken, None, "")


def test_variety_makes_other_heads_of_the_same_people_and_each_the_same_one_twice() -> None:
    plain, varied = (
        scan(Corpus(generator=Generator(subjects=3, sequences=1, variety=amount))).manifest for amount in (0.0, 1.0)
    )
    assert not plain.frame["path"].str.contains("variety").any()
    for usual, other in zip(plain.frame["path"][::7], varied.frame["path"][::7], strict=True):
        mesh, again = load_mesh(other, None, ""), load_mesh(other, None, "")
        assert np.array_equal(mesh.vertices, again.vertices)
        assert np.array_equal(mesh.faces, again.faces)
        assert mesh.colors is not None
        assert again.colors is not None
        assert np.array_equal(mesh.colors, again.colors)
        average = load_mesh(usual, None, "")
        moved = np.linalg.norm(mesh.vertices - average.vertices, axis=1)
        assert 1.0 < np.median(moved) < 30.0
        assert mesh.nose is not None
        assert average.nose is not None
        assert np.linalg.norm(mesh.nose - average.nose) < 25.0


def test_people_of_other_kinds_smile_by_other_amounts_and_some_rest_with_a_face_that_shows_something() -> None:
    corner, lips = region(26, -32, 6), region(0, -32, 12)

    def smiles_and_gaps(**variety: float) -> NDArray[np.float64]:
        measured = []
        for person in range(24):
            rest, smile = head(person=person, **variety).vertices, head("au12=1", person, **variety).vertices
            measured.append(((smile - rest)[corner, 1].mean(), np.ptp(rest[lips, 1])))
        return np.array(measured).T

    alike, kinds = smiles_and_gaps(), smiles_and_gaps(variety=1.0)
    for usual, varied in zip(alike, kinds, strict=True):
        assert varied.std() > 1.5 * usual.std()
    assert kinds[0].max() > 2.5 * kinds[0].min()


@pytest.mark.parametrize("unit", [1, 4, 12])
def test_people_of_other_kinds_move_elsewhere_and_otherwise_and_more_comes_along(unit: int) -> None:
    skin = average_surface().part == FACE

    def likeness(**variety: float) -> float:
        """The mean cosine of what the unit displaces in one person and in another, however strongly."""
        fields = []
        for person in range(8):
            rest, shown = head(person=person, **variety).vertices, head(f"au{unit}=1", person, **variety).vertices
            fields.append((shown - rest)[skin].ravel() / np.linalg.norm((shown - rest)[skin]))
        cosines = np.array(fields) @ np.array(fields).T
        return float(cosines[np.triu_indices(len(cosines), 1)].mean())

    assert likeness() > 0.98
    assert likeness(variety=1.0) < 0.93


def test_what_comes_along_with_a_unit_reaches_where_it_alone_does_not() -> None:
    lips = region(0, -32, 12)

    def parting(**variety: float) -> NDArray[np.float64]:
        """By how much the wrinkled nose (unit 9) parts each person's lips, millimetres."""
        pairs = [[head(units, person, **variety).vertices[lips, 1] for units in ("", "au9=1")] for person in range(8)]
        return np.array([np.ptp(shown) - np.ptp(rest) for rest, shown in pairs])

    assert parting().max() < 3.5
    assert parting(variety=1.0).max() > 5.0
