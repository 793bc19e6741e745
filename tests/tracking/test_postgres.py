"""Several drivers write to one PostgreSQL: a real server, of Debian's package."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.ports import free_port

pytestmark = pytest.mark.slow

DRIVERS, TRIALS = 3, 8
DRIVER = """
import dataclasses
import sys
from pathlib import Path
from polyview.storage.home import Home
from polyview.tracking.runs import Point, StudyRun, TrialRun, VariantRun
from polyview.tracking.tracker import Tracker

name, folder, trials = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
said = []
tracker = Tracker(Home(folder), name, said.append)
tracker.open(StudyRun(name, {"training": {"epochs": 2}}, variants=[VariantRun("full")], started=1.0))
for number in range(trials):
    trial = TrialRun(id=f"{name}{number}", name=f"full · seed {number}", variant="full", started=1.0, status="RUNNING")
    tracker.start(trial)
    for epoch in (1, 2):
        tracker.epoch(trial.id, Point(epoch, float(epoch), {"loss": 1 / epoch}))
    points = [Point(epoch, float(epoch), {"loss": 1 / epoch}) for epoch in (1, 2)]
    told = {"epochs": points, "scores": {"linear/accuracy": 0.5}, "artifacts": {"experiment.yaml": "name: x"}}
    tracker.log(dataclasses.replace(trial, status="FINISHED", ended=3.0, **told))
tracker.close({}, ended=3.0)
sys.exit("; ".join(said) or None)
"""


@pytest.fixture(scope="module")
def postgres(wait_for: Any) -> Iterator[str]:
    """The address of a server with a store that MLflow has not seen yet."""
    pytest.importorskip("psycopg", reason="psycopg is not installed here")
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not programs:
        pytest.skip("Debian's postgresql is not installed here")
    # PostgreSQL refuses to be run by root.
    user: dict[str, Any] = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
    folder = Path(tempfile.mkdtemp(prefix="pg"))  # its sockets allow no long path, as pytest's are
    if user:
        shutil.chown(folder, "postgres", "postgres")
    port = free_port()
    make = [str(programs[-1] / "initdb"), "-D", str(folder / "data"), "-U", "polyview", "-A", "trust", "-E", "UTF8"]
    subprocess.run(make, cwd=folder, check=True, capture_output=True, **user)
    run = [str(programs[-1] / "postgres"), "-D", str(folder / "data"), "-k", str(folder), "-p", str(port), "-F"]
    server = subprocess.Popen([*run, "-c", "listen_addresses=127.0.0.1"], cwd=folder, stderr=subprocess.DEVNULL, **user)
    ready = [str(programs[-1] / "pg_isready"), "-h", "127.0.0.1", "-p", str(port), "-q"]
    try:
        wait_for(lambda: server.poll() is not None or subprocess.run(ready, check=False).returncode == 0)
        assert server.poll() is None
        yield f"postgresql://polyview:hunter2@127.0.0.1:{port}/postgres"
    finally:
        server.send_signal(signal.SIGINT)  # at SIGTERM it would wait for its clients
        server.wait()
        shutil.rmtree(folder, ignore_errors=True)


def test_several_drivers_write_to_one_server_and_nothing_is_lost(postgres: str, tmp_path: Path) -> None:
    from mlflow.tracking import MlflowClient

    environment = os.environ | {"MLFLOW_TRACKING_URI": postgres}
    names = [f"study{number}" for number in range(DRIVERS)]

    def start(name: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", DRIVER, name, str(tmp_path / name), str(TRIALS)]
        return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)

    first = start(names[0])  # MLflow makes its tables here, of which two at once would get in each other's way
    said = [first.communicate()[1]]
    others = [start(name) for name in names[1:]]
    said += [other.communicate()[1] for other in others]
    assert [one.returncode for one in (first, *others)] == [0] * DRIVERS, said
    client = MlflowClient(postgres)
    for name in names:
        experiment = client.get_experiment_by_name(name)
        assert experiment is not None
        runs = client.search_runs([experiment.experiment_id])
        assert {run.info.status for run in runs} == {"FINISHED"}
        trials = [run for run in runs if "polyview.trial" in run.data.tags]
        assert len(trials) == TRIALS
        for run in trials:
            assert run.data.metrics == {"loss": 0.5, "linear/accuracy": 0.5}
            assert [point.step for point in client.get_metric_history(run.info.run_id, "loss")] == [1, 2]
            # As beside SQLite, files lie in the home, and not where the driver happened to be started.
            assert run.info.artifact_uri.startswith((tmp_path / name / "mlartifacts").as_uri())
