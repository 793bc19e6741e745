"""The cases of a folder that POLYVIEW_CASES names: each is drawn, or refused in one clear line."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import pytest

from polyview.corpus.formats.limits import FORMATS
from polyview.corpus.load import load_mesh
from polyview.corpus.mesh import MeshError
from polyview.recipe import Geometry, Rendering
from polyview.rendering.cameras import cameras
from polyview.rendering.doubts import doubt_of
from polyview.rendering.renderer import make_renderer

FOLDER = Path(os.environ.get("POLYVIEW_CASES", "nowhere"))
REFUSED = {
    "glb_draco": "KHR_draco_mesh_compression",
    "ply_points": "no triangles",
    "glb_cut": "the file is cut",
}


def cases() -> list[tuple[str, Path]]:
    table = FOLDER / "cases.csv"
    names = [row["case"] for row in csv.DictReader(table.open())] if table.is_file() else []
    files = {
        name: sorted(file for file in (FOLDER / name).rglob("*") if file.suffix.lower() in FORMATS) for name in names
    }
    return [(name, found[0]) for name, found in files.items() if found]


@pytest.mark.skipif(not cases(), reason="POLYVIEW_CASES names no folder with cases.csv and the cases beside it")
@pytest.mark.parametrize(("name", "file"), cases())
def test_a_case_is_drawn_without_doubt_or_refused_in_words(name: str, file: Path) -> None:
    rendering, told = Rendering(), Geometry(unit="auto", axes="auto")
    if name in REFUSED:
        with pytest.raises(MeshError, match=REFUSED[name]):
            load_mesh(file.name, None, str(file.parent), told)
        return
    mesh = load_mesh(file.name, None, str(file.parent), told)
    rig = cameras(rendering.views)
    assert doubt_of(make_renderer(rendering).render(mesh, rig), mesh, rig, rendering) is None
