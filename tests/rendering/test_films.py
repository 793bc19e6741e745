from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import trimesh

from polyview.corpus.datasets import synthetic
from polyview.corpus.load import guess_film, load_mesh
from polyview.corpus.manifest import DRAWING, SCHEMA, Manifest, fingerprint_of
from polyview.corpus.mesh import Mesh, nose_tip
from polyview.recipe import Corpus, Generator, Geometry, Rendering
from polyview.rendering.cameras import Camera
from polyview.rendering.pipeline import RenderSummary, render
from polyview.rendering.store import ViewStore
from polyview.storage.home import Home

pytestmark = pytest.mark.usefixtures("local_ray")

RECIPE = Rendering(size=32)
RIG = (Camera(-30, 0), Camera(0, 0))
FRAMES = 12
HIDDEN = {2, 3, 7}
"""Frames in which something is before the chin."""


def with_hand(mesh: Mesh) -> Mesh:
    """The mesh with something small 50 mm before it, at the height of a chin."""
    foremost = mesh.vertices[mesh.vertices[:, 2].argmax()]
    corners = foremost + np.array([[0, -35, 50], [4, -35, 50], [0, -31, 50]], np.float32)
    first = len(mesh.vertices)
    return replace(
        mesh,
        vertices=np.concatenate([mesh.vertices, corners]),
        faces=np.concatenate([mesh.faces, [[first, first + 1, first + 2]]]).astype(np.int32),
        colors=None,
    )


def write(mesh: Mesh, file: Path) -> None:
    trimesh.Trimesh(mesh.vertices, mesh.faces, process=False).export(file)


def manifest_of(root: Path, paths: list[str], frames: list[int]) -> Manifest:
    rows = pl.DataFrame({"sample_id": [f"{i:03d}" for i in range(len(paths))], "path": paths, "frame": frames})
    blank = {"intensity": 1.0, "texture": None}
    rows = rows.with_columns(pl.lit(blank.get(c, "x")).alias(c) for c in SCHEMA if c not in rows)
    return Manifest.build(rows, str(root))


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory, head: Mesh) -> Manifest:
    """A head that keeps still, and has a hand before it in some frames."""
    root = tmp_path_factory.mktemp("film")
    for number in range(FRAMES):
        write(with_hand(head) if number in HIDDEN else head, root / f"{number:02d}.ply")
    return manifest_of(root, [f"{number:02d}.ply" for number in range(FRAMES)], list(range(FRAMES)))


@pytest.fixture(scope="module")
def summary(film: Manifest, tmp_path_factory: pytest.TempPathFactory) -> RenderSummary:
    return render(film, RECIPE, RIG, Home(tmp_path_factory.mktemp("home")), max_rejected=0.0)


def test_what_keeps_still_keeps_still_in_the_pictures_of_a_film(summary: RenderSummary) -> None:
    views = ViewStore.open(summary.store).gather(np.arange(FRAMES), RIG).astype(int)
    for number in range(FRAMES):
        changed = (np.abs(views[number] - views[0]) > 8).any(axis=-1).mean()
        assert changed < 0.05, number


def test_frames_that_show_a_nose_elsewhere_are_told(summary: RenderSummary) -> None:
    assert any(
        f"{len(HIDDEN)} of {FRAMES} meshes with what looks like a nose more than" in one for one in summary.doubts
    )


def test_still_meshes_are_framed_one_by_one(film: Manifest, tmp_path: Path) -> None:
    stills = manifest_of(Path(film.root), [*film.frame["path"]], [0] * FRAMES)
    summary = render(stills, RECIPE, RIG, Home(tmp_path), max_rejected=0.0)
    views = ViewStore.open(summary.store).gather(np.arange(FRAMES), RIG).astype(int)
    assert (np.abs(views[min(HIDDEN)] - views[0]) > 8).any(axis=-1).mean() > 0.05
    assert not summary.doubts


def test_more_cameras_of_a_film_are_framed_as_its_first(film: Manifest, tmp_path: Path) -> None:
    render(film, RECIPE, RIG[:1], Home(tmp_path), max_rejected=0.0)
    later = ViewStore.open(render(film, RECIPE, RIG, Home(tmp_path), max_rejected=0.0).store)
    at_once = ViewStore.open(render(film, RECIPE, RIG, Home(tmp_path / "other"), max_rejected=0.0).store)
    rows = np.arange(FRAMES)
    np.testing.assert_array_equal(later.gather(rows, RIG), at_once.gather(rows, RIG))


def test_a_film_in_a_unit_cube_has_one_size(head: Mesh, tmp_path: Path) -> None:
    scale = 1.0 / head.sides.max()
    for number in range(9):  # a mouth opens, and the mesh gets longer
        longer = head.vertices * scale * np.array([1, 1 + 0.02 * number, 1])
        write(replace(head, vertices=longer.astype(np.float32)), tmp_path / f"{number}.ply")
    auto = Geometry(unit="auto")
    guess = guess_film([(f"{number}.ply", None) for number in range(9)], str(tmp_path), auto)
    alone = [load_mesh(f"{number}.ply", None, str(tmp_path), auto).sides for number in (0, 8)]
    assert alone[0][0] > 1.1 * alone[1][0]
    together = [load_mesh(f"{number}.ply", None, str(tmp_path), auto, None, guess).sides for number in (0, 8)]
    np.testing.assert_allclose(together[0][[0, 2]], together[1][[0, 2]], rtol=1e-4)


def test_one_frame_of_another_unit_does_not_count(head: Mesh, tmp_path: Path) -> None:
    for number in range(5):
        size = 0.01 if number == 2 else 1.0
        write(replace(head, vertices=head.vertices * np.float32(size)), tmp_path / f"{number}.ply")
    guess = guess_film([(f"{number}.ply", None) for number in range(5)], str(tmp_path), Geometry(unit="auto"))
    assert guess.unit == (1.0, "millimetres")
    assert guess.nose == pytest.approx(nose_tip(head), abs=1e-3)


def test_what_cannot_be_read_of_a_film_does_not_count(head: Mesh, tmp_path: Path) -> None:
    write(head, tmp_path / "0.ply")
    (tmp_path / "1.ply").write_bytes(b"ply")
    frames = [("0.ply", None), ("1.ply", None), ("2.ply", None)]
    assert guess_film(frames, str(tmp_path), Geometry()).nose == pytest.approx(nose_tip(head), abs=1e-3)
    assert guess_film(frames[1:], str(tmp_path), Geometry()).nose is None


def test_only_films_that_are_guessed_of_have_another_fingerprint(film: Manifest, tmp_path: Path) -> None:
    def former(manifest: Manifest) -> str:
        return fingerprint_of(manifest.frame, manifest.geometry, manifest.contents, manifest.reading)

    stills = manifest_of(Path(film.root), [*film.frame["path"]], [0] * FRAMES)
    generated = Manifest.build(synthetic.scan(Corpus(generator=Generator(subjects=1, frames=3))).rows, "")
    for number in range(2):
        (tmp_path / f"{number}.ply").write_bytes(Path(film.root, "00.ply").read_bytes())
        (tmp_path / f"{number}.lm3").write_text("2 landmarks:\nNose tip\n0 0 0\n")
    marked = manifest_of(tmp_path, ["0.ply", "1.ply"], [0, 1])
    for manifest in (stills, generated, marked):
        assert manifest.fingerprint == former(manifest)
    assert film.drawing == DRAWING + 1
    assert film.fingerprint != former(film)
    assert film.is_of_faces(former(film))
    assert not film.is_called(former(film))
    (tmp_path / "1.lm3").unlink()
    assert manifest_of(tmp_path, ["0.ply", "1.ply"], [0, 1]).drawing == DRAWING + 1
