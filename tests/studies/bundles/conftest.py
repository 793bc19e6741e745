"""A study of faces in a folder that has run in its owner's home, and its bundle."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import trimesh
from tests.studies.bundles.helpers import PIXELS

from polyview.cli import main
from polyview.corpus.load import load_mesh
from polyview.corpus.scan import scan
from polyview.recipe import Experiment, to_yaml, with_overrides
from polyview.storage.home import Home

ASKED = """
name: asked
experiment: recipe.yaml
seeds: [0, 1]
metric: knn/accuracy
metrics: [linear/uar]
references: false
variants:
  trained: {model.tower: tiny-resnet, model.pretrained: polyview, training.epochs: 1}
"""


@pytest.fixture(autouse=True)
def _own_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture(scope="session")
def owner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("owner")


@pytest.fixture(scope="session")
def face_files(tiny: Experiment, owner: Path) -> Path:
    """The tiny recipe's generated heads as files."""
    for row in scan(tiny.corpus).manifest.frame.iter_rows(named=True):
        mesh = load_mesh(row["path"], None, "")
        file = owner / "faces" / row["subject"] / f"{row['expression']}.obj"
        file.parent.mkdir(parents=True, exist_ok=True)
        trimesh.Trimesh(mesh.vertices, mesh.faces, process=False).export(file)
    return owner / "faces"


@pytest.fixture(scope="session")
def asked_file(tiny: Experiment, face_files: Path, owner: Path) -> Path:
    """Probes on the pixels of those files, and on what a tower makes of them: two trials of four train an epoch."""
    corpus = {"dataset": "folder", "root": str(face_files), "pattern": "{subject}/{expression}.obj"}
    changes = {**PIXELS, **{f"corpus.{key}": value for key, value in corpus.items()}}
    (owner / "recipe.yaml").write_text(to_yaml(with_overrides(tiny, changes)))
    (owner / "study.yaml").write_text(ASKED)
    return owner / "study.yaml"


@pytest.fixture(scope="session")
def asked_home(asked_file: Path, owner: Path, empty_mlflow: Path, local_ray: None) -> Home:  # noqa: ARG001
    """Where the study has run."""
    (owner / "home").mkdir()
    shutil.copy(empty_mlflow, owner / "home")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.setenv("POLYVIEW_HOME", str(owner / "home"))
        with pytest.raises(SystemExit) as ended:
            main(["ablate", str(asked_file)])
    assert not ended.value.code
    return Home(owner / "home")


@pytest.fixture(scope="session")
def made(asked_home: Home, asked_file: Path, owner: Path) -> Path:
    """Its bundle."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POLYVIEW_HOME", str(asked_home.root))
        with pytest.raises(SystemExit) as ended:
            main(["bundle", str(asked_file), "-o", str(owner / "asked.zip")])
    assert not ended.value.code
    return owner / "asked.zip"


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Another person's folder, with an empty home."""
    monkeypatch.setenv("POLYVIEW_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path
