from __future__ import annotations

from pathlib import Path

import pytest
import trimesh

from polyview.corpus.load import load_mesh
from polyview.corpus.scan import scan
from polyview.recipe import Experiment, Study, with_overrides
from polyview.trials.design import REFERENCES


@pytest.fixture(scope="session")
def tiny_study(tiny: Experiment) -> Study:
    """Two variants under two seeds, one epoch each, with the references: eight trials."""
    once = tiny.model_copy(update={"training": tiny.training.model_copy(update={"epochs": 1})})
    return Study(name="study", experiment=once, seeds=(0, 1), remove={"no alignment": "objective.alignment"})


@pytest.fixture
def raw(tiny: Experiment) -> Experiment:
    """Probes on pixels: a trial of it takes no training."""
    return with_overrides(tiny, {**REFERENCES["raw pixels"], "evaluation.probes": ["linear", "knn"]})


@pytest.fixture
def scans(tiny: Experiment, tmp_path: Path) -> Path:
    """The tiny recipe's generated heads as files."""
    manifest = scan(tiny.corpus).manifest
    for row in manifest.frame.iter_rows(named=True):
        mesh = load_mesh(row["path"], None, "")
        file = tmp_path / "faces" / row["subject"] / f"{row['expression']}.obj"
        file.parent.mkdir(parents=True, exist_ok=True)
        trimesh.Trimesh(mesh.vertices, mesh.faces, process=False).export(file)
    return tmp_path / "faces"
