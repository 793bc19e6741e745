"""A study whose MLflow server goes away while it runs."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.ports import free_port

from polyview.cli.studies import run_and_show
from polyview.recipe import Experiment, Study, with_overrides
from polyview.storage.home import Home, open_home
from polyview.studies.driver import run_stages
from polyview.tracking.store import reachable
from polyview.trials.design import Trial

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("local_ray")]
SECONDS_TO_START = 300


@dataclass
class Server:
    """MLflow's own server on a store of its own, that can be stopped and started."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        store = f"sqlite:///{self.folder}/mlflow.db"
        command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", store]
        command += ["--artifacts-destination", str(self.folder), "--port", str(self.port), "--workers", "1"]
        environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
        until = time.monotonic() + SECONDS_TO_START
        while reason := reachable(self.uri):
            assert time.monotonic() < until, reason
            time.sleep(0.2)

    def stop(self) -> None:
        """End it and all that it has started, at once."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None


@dataclass
class Meddler:
    """A watcher that stops the server once so many trials have ended, and starts it again later, or never."""

    server: Server
    stop_at: int
    start_at: int | None
    said: list[str] = field(default_factory=list)

    def stage(self, name: str, total: int) -> None: ...

    def advance(self, done: int, trial: Trial | None = None) -> None:  # noqa: ARG002
        if self.server.process is not None and done == self.stop_at:
            self.server.stop()
        elif done == self.start_at:
            self.server.start()

    def epoch(self, *_: Any) -> None: ...

    def say(self, message: str) -> None:
        self.said.append(message)


@pytest.fixture
def server(tmp_path: Path, empty_mlflow: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    shutil.copy(empty_mlflow, tmp_path)
    made = Server(tmp_path, free_port())
    monkeypatch.setenv("MLFLOW_TRACKING_URI", made.uri)
    made.start()
    yield made
    made.stop()


def test_a_server_that_is_away_for_a_while_or_until_the_end_is_told_everything_once(
    tiny_study: Study, server: Server, tmp_path: Path, runs_of: Any, times_of: Any, render_into: Any
) -> None:
    home = Home(tmp_path / "home")
    render_into(home, tiny_study.experiment)
    pixels = with_overrides(tiny_study.experiment, {"model.tower": "pixels", "training.epochs": 0})
    study = Study(name="pixels", experiment=pixels, seeds=tuple(range(5)), references=False)

    meddler = Meddler(server, stop_at=2, start_at=4)
    outcome, failures = run_stages(study, home, meddler)
    assert failures == []
    assert len(outcome.records) == 5
    assert sum("cannot be written" in line for line in meddler.said) == 1
    assert any("answers again" in line for line in meddler.said)
    parent, runs = runs_of(home)
    assert sorted(run.data.tags["polyview.trial"] for run in runs) == sorted(outcome.records)
    assert {run.info.status for run in (parent, *runs)} == {"FINISHED"}
    assert all(outcome.links[run.data.tags["polyview.trial"]].endswith(run.info.run_id) for run in runs)

    longer = study.model_copy(update={"seeds": tuple(range(8))})
    outcome, failures = run_stages(longer, home, Meddler(server, stop_at=1, start_at=None))
    assert failures == []
    assert len(outcome.records) == 8
    before = times_of(home)
    server.start()
    run_stages(longer, home, Meddler(server, stop_at=-1, start_at=None))
    assert times_of(home) == before
    parent, runs = runs_of(home)
    assert sorted(run.data.tags["polyview.trial"] for run in runs) == sorted(before)
    assert {run.info.status for run in (parent, *runs)} == {"FINISHED"}


def test_a_page_of_a_store_that_is_gone_is_not_offered(
    raw: Experiment, prepare: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        gone = f"http://127.0.0.1:{taken.getsockname()[1]}"
        monkeypatch.setenv("POLYVIEW_HOME", str(tmp_path))
        monkeypatch.setenv("MLFLOW_TRACKING_URI", gone)
        prepare(open_home(), raw)
        run_and_show(Study(name="alone", experiment=raw, seeds=(0,), references=False))
    (told,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("compare")]
    assert told == f"compare   MLflow at {gone} does not answer; run this again when it does, and it is told all"
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    run_and_show(Study(name="alone", experiment=raw, seeds=(0,), references=False))
    (told,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("compare")]
    assert told.startswith("compare   polyview ui, then open http://127.0.0.1:5000/#/experiments/")
