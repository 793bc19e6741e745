"""The cases of a folder that POLYVIEW_CASES names: each is drawn as its right one is, or refused in one clear line."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from polyview.corpus.formats.limits import FORMATS
from polyview.corpus.load import load_mesh
from polyview.corpus.mesh import MeshError
from polyview.corpus.scan import Scan, scan
from polyview.recipe import Corpus, Geometry, Rendering
from polyview.rendering.cameras import cameras
from polyview.rendering.doubts import doubt_of
from polyview.rendering.renderer import make_renderer

FOLDER = Path(os.environ.get("POLYVIEW_CASES", "nowhere"))
REFUSED = {
    "glb_draco": "KHR_draco_mesh_compression",
    "ply_points": "no triangles",
    "glb_cut": "the file is cut",
}
DATASETS: dict[str, dict[str, Any]] = {
    "bu3dfe": {"dataset": "bu3dfe"},
    "bosphorus": {"dataset": "bosphorus", "geometry": {"align": "landmarks"}},
    "bp4d": {"dataset": "bp4d"},
    "bp4d_flat": {"dataset": "bp4d"},
}
LIKE_THE_FIRST = (
    *("unit_m", "unit_cm", "axes_z_up", "axes_back", "wrl_transform", "mtl_tab", "mtl_lib_windows"),
    *("mtl_windows_abs", "mtl_lib_unix_abs", "mtl_case", "mtl_options_space", "obj_bom", "wrl_bom"),
)
"""Cases whose pictures are those of mtl_ok."""


def cases() -> list[str]:
    table = FOLDER / "cases.csv"
    return [row["case"] for row in csv.DictReader(table.open())] if table.is_file() else []


def meshes() -> list[str]:
    return [name for name in cases() if name not in DATASETS and name != "tables"]


pytestmark = pytest.mark.skipif(
    not cases(), reason="POLYVIEW_CASES names no folder with cases.csv and the cases beside it"
)


def views(name: str) -> np.ndarray[Any, Any]:
    """Of the first mesh in the case's folder, without doubt about them; raises `MeshError`."""
    file = next(file for file in sorted((FOLDER / name).rglob("*")) if file.suffix.lower() in FORMATS)
    mesh = load_mesh(file.name, None, str(file.parent), Geometry(unit="auto", axes="auto"))
    rendering = Rendering(size=96)
    rig = cameras(rendering.views)
    drawn = make_renderer(rendering).render(mesh, rig)
    assert doubt_of(drawn, mesh, rig, rendering) is None
    return drawn


def of_dataset(name: str) -> Scan:
    return scan(Corpus.model_validate({"root": str(FOLDER / name), **DATASETS[name]}))


@pytest.mark.parametrize("name", meshes())
def test_a_case_is_drawn_without_doubt_or_refused_in_words(name: str) -> None:
    if name in REFUSED:
        with pytest.raises(MeshError, match=REFUSED[name]):
            views(name)
        return
    drawn = views(name).astype(int)
    if name in LIKE_THE_FIRST:
        assert np.abs(drawn - views("mtl_ok")).mean() < 2


@pytest.mark.parametrize("name", [name for name in cases() if name in DATASETS])
def test_a_dataset_is_scanned_and_its_faces_look_forward(name: str) -> None:
    found = of_dataset(name)
    manifest = found.manifest
    assert not len(found.skipped)
    for row in manifest.frame.iter_rows(named=True):
        mesh = load_mesh(row["path"], row["texture"], manifest.root, manifest.geometry)
        assert mesh.vertices[mesh.vertices[:, 2].argmax(), 2] > np.median(mesh.vertices[:, 2])
        assert not any("backs of their triangles" in guess for guess in mesh.guesses)


@pytest.mark.skipif("bu3dfe" not in cases(), reason="no such case")
def test_the_texture_of_bu3dfe_is_the_one_that_the_wrl_names() -> None:
    manifest = of_dataset("bu3dfe").manifest
    assert all(name is None or "_F3D" in name for name in manifest.frame["texture"])


@pytest.mark.parametrize("name", [name for name in cases() if name.startswith("bp4d")])
def test_the_intensities_of_bp4d_are_those_of_its_codes(name: str) -> None:
    assert not any("guessed" in remark for remark in of_dataset(name).remarks)


@pytest.mark.parametrize("table", sorted((FOLDER / "tables").glob("*.csv")), ids=lambda file: file.stem)
def test_a_table_is_read_and_what_is_not_there_is_named(table: Path) -> None:
    found = scan(Corpus(dataset="folder", root=str(table.parent), table=table.name))
    assert len(found.manifest)
    missing = [path for path in found.manifest.frame["path"] if not (table.parent / path).is_file()]
    assert all(any(path in remark for remark in found.remarks) for path in missing)
