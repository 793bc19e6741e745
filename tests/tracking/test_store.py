"""Where MLflow's store is: in the home, whatever signs its path has, or at an address that can be one."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.ports import free_port

from polyview.errors import UserError
from polyview.storage.home import Home
from polyview.tracking.store import check_address, connect, reachable


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


@pytest.mark.parametrize(
    ("uri", "told"),
    [
        ("127.0.0.1:5000", "a server is written http://127.0.0.1:5000"),
        ("mlflow.example.org:80/", "a server is written http://mlflow.example.org:80/"),
        ("https://", "a server is written https://HOST:PORT"),
        ("./mlruns", "is './mlruns', where MLflow keeps no runs: give a server"),
        ("file:///data/mlruns", "or a database such as sqlite:///FILE"),
        (" ", "MLFLOW_TRACKING_URI is ' '"),
        ("ftp://me:secret@host", "is 'ftp://host'"),
        ("mysql://me:secret@host/runs", "install what mysql:// needs"),
        ("postgresql+nothing://me:secret@host/runs", "is no address of a database"),
        ("postgresql://me:secret@host:port/runs", "is no address of a database"),
    ],
)
def test_an_address_where_no_store_can_be_is_refused_and_tells_no_password(uri: str, told: str) -> None:
    with pytest.raises(UserError) as error:
        check_address(uri)
    assert told in str(error.value)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    "uri", ["http://host:5000", "https://me:secret@host/mlflow", "sqlite:///runs.db", "databricks"]
)
def test_an_address_where_a_store_can_be_is_not_asked_whether_it_answers(uri: str) -> None:
    check_address(uri)


def test_a_database_that_is_down_is_told_at_once() -> None:
    pytest.importorskip("psycopg", reason="psycopg is not installed here")
    assert "refused" in (reachable(f"postgresql://me:pw@127.0.0.1:{free_port()}/runs") or "")
