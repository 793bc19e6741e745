"""MLflow's own database lies in the home, whatever signs the home's path has."""

from __future__ import annotations

from pathlib import Path

import pytest

from polyview.storage.home import Home
from polyview.tracking.store import connect


@pytest.mark.parametrize("name", ["home?x=1", "job%2Fmain", "50% é #2", "a+b&c", "plain"])
def test_the_database_lies_in_the_home(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    home = Home(tmp_path / "homes" / name)
    home.root.mkdir(parents=True)
    experiment = connect(home.tracking_uri).create_experiment("study", artifact_location=home.artifacts.as_uri())
    assert [path.name for path in home.root.parent.iterdir()] == [name]
    assert (home.root / "mlflow.db").is_file()
    client = connect(home.tracking_uri)
    run = client.create_run(experiment)
    client.log_text(run.info.run_id, "here", "note.txt")
    assert [path.read_text() for path in home.artifacts.rglob("note.txt")] == ["here"]
    assert [path.name for path in tmp_path.iterdir()] == ["homes"]
