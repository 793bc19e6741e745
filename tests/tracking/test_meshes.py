"""A model that MLflow serves looks at a mesh as its training did."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from PIL import Image

from polyview.corpus.load import load_mesh
from polyview.corpus.mesh import MeshError
from polyview.corpus.scan import scan
from polyview.recipe import Corpus, Experiment, Geometry
from polyview.tracking.meshes import MeshSource

SQUARE = "v 0 0 0\nv 200 0 0\nv 200 250 0\nv 0 250 40\nvt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\nf 1/1 2/2 3/3 4/4\n"


def write_obj(file: Path, vertices: NDArray[np.floating[Any]], faces: NDArray[np.int32]) -> None:
    """A mesh as a file of another program, without colours."""
    rows = [("v", vertices), ("f", faces + 1)]
    file.write_text("".join(f"{kind} {' '.join(map(str, row))}\n" for kind, table in rows for row in table.tolist()))


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Two meshes that name no picture; a table names those of both, and that one is in centimetres."""
    folder = tmp_path / "faces"
    (folder / "skin").mkdir(parents=True)
    rows = []
    for number, shade in enumerate((40, 200)):
        (folder / f"{number}.obj").write_text(SQUARE)
        Image.new("RGB", (8, 8), (shade, 0, 0)).save(folder / "skin" / f"{number}.png")
        expression = ("neutral", "happiness")[number]
        rows.append((f"{number}.obj", f"p{number}", expression, f"skin/{number}.png", 10.0 if number else 1.0))
    schema = ["path", "subject", "expression", "texture", "unit"]
    pl.DataFrame(rows, schema=schema, orient="row").write_csv(folder / "faces.csv")
    return folder


@pytest.fixture
def source(dataset: Path) -> MeshSource:
    corpus = {
        "dataset": "folder",
        "root": str(dataset),
        "table": str(dataset / "faces.csv"),
        "expressions": ["neutral", "happiness"],
    }
    return MeshSource.of(scan(Corpus.model_validate_json(json.dumps(corpus))).manifest)


@pytest.mark.parametrize("absolute", [False, True])
def test_a_mesh_of_the_dataset_has_the_picture_and_the_unit_that_its_table_tells(
    source: MeshSource, dataset: Path, absolute: bool
) -> None:
    kept = MeshSource.model_validate_json(source.model_dump_json())
    for number, (shade, height) in enumerate(((40, 250), (200, 2500))):
        name = f"{number}.obj"
        mesh = kept.load(str(dataset / name) if absolute else name)
        assert mesh.texture is not None
        assert mesh.texture[0, 0, 0] == shade
        assert mesh.sides[1] == pytest.approx(height)


def test_a_mesh_from_elsewhere_has_the_picture_beside_it(source: MeshSource, tmp_path: Path) -> None:
    (tmp_path / "mine.obj").write_text(SQUARE)
    assert source.load(str(tmp_path / "mine.obj")).texture is None
    Image.new("RGB", (8, 8), (90, 0, 0)).save(tmp_path / "mine.png")
    mesh = source.load(str(tmp_path / "mine.obj"))
    assert mesh.texture is not None
    assert mesh.texture[0, 0, 0] == 90


def test_a_mesh_from_elsewhere_may_be_in_another_unit_than_the_trainings(tiny: Experiment, tmp_path: Path) -> None:
    manifest = scan(tiny.corpus).manifest
    source = MeshSource.of(manifest)
    head = source.load(manifest.frame["path"][0])
    write_obj(tmp_path / "metres.obj", head.vertices / 1000, head.faces)
    mesh = source.load(str(tmp_path / "metres.obj"))
    np.testing.assert_allclose(mesh.sides, head.sides, rtol=1e-3)
    assert mesh.guesses[0].startswith("taken to be in m")
    told = source.model_copy(update={"geometry": Geometry(unit=1.0)})
    assert told.load(str(tmp_path / "metres.obj")).sides.max() < 1


def test_a_mesh_that_lies_upside_down_is_told_and_left_so(tiny: Experiment, tmp_path: Path) -> None:
    manifest = scan(tiny.corpus).manifest
    source = MeshSource.of(manifest)
    head = source.load(manifest.frame["path"][0])
    for name, turn in (("upright", [1, 1, 1]), ("turned", [1, -1, -1])):
        write_obj(tmp_path / f"{name}.obj", head.vertices * turn, head.faces)
    assert not any("upright" in guess for guess in source.load(str(tmp_path / "upright.obj")).guesses)
    turned = source.load(str(tmp_path / "turned.obj"))
    assert any(guess.startswith("may not be upright: up seems to be -y") for guess in turned.guesses)
    np.testing.assert_allclose(turned.sides, head.sides, rtol=1e-3)


def test_a_mesh_that_cannot_be_read_is_named(source: MeshSource, tmp_path: Path) -> None:
    (tmp_path / "cut.ply").write_text("ply")
    with pytest.raises(MeshError, match=r"^\S+cut\.ply: not readable as \.ply"):
        source.load(str(tmp_path / "cut.ply"))
    with pytest.raises(MeshError, match=r"^nowhere\.ply: no such file"):
        source.load("nowhere.ply")


def test_a_mesh_that_is_not_there_is_said(source: MeshSource, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.obj"):
        source.load(str(tmp_path / "nowhere.obj"))


def test_a_relative_folder_leaves_a_mesh_its_picture(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    mesh = load_mesh("0.obj", "skin/0.png", dataset.name)
    np.testing.assert_array_equal(np.unique(np.asarray(mesh.texture)), [0, 40])
