from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
from ray.cluster_utils import Cluster
from ray.util import get_node_ip_address
from tests.ports import free_port

from polyview.parallel import LATE, STARTS
from polyview.recipe import Experiment, load_study
from polyview.storage.home import REPOSITORY, Home
from polyview.studies.outcome import load_outcome
from polyview.trials.design import plan

# What tests/conftest.py sets for every Ray of theirs.
FOR_TESTS = ("RAY_worker_niceness", "RAY_enable_worker_prestart", "RAY_prestart_worker_first_driver")
AFTER_EVERY_EPOCH = {"checkpoint_minutes": 0}
# A node is taken for dead after two seconds, not after fifteen.
WATCHFUL = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500, "health_check_failure_threshold": 4}


@dataclass(frozen=True)
class Head:
    """A Ray of its own: where its dashboard answers, its token, and what programs on its machine find set."""

    address: str
    token: str
    environment: dict[str, str]

    @property
    def home(self) -> Path:
        return Path(self.environment["POLYVIEW_HOME"])


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture(scope="package")
def start_head() -> Iterator[Callable[..., Head]]:
    """Starts heads as `cluster.yaml` does, with a dashboard on this machine alone that asks for a token."""
    folders: list[Path] = []
    heads: list[subprocess.Popen[bytes]] = []

    def start(*options: str, cluster: dict[str, Any] | None = None) -> Head:
        """Ray gives its own processes half a minute to start, which a busy machine exceeds: then it is started anew."""
        for _ in range(STARTS):
            if head := launch(*options, cluster=cluster):
                return head
        raise AssertionError(f"Ray did not start in {STARTS} attempts: {(folders[-1] / 'log.txt').read_text()[-2000:]}")

    def launch(*options: str, cluster: dict[str, Any] | None) -> Head | None:
        folder = Path(tempfile.mkdtemp(prefix="head"))  # Ray's sockets allow no long path, as pytest's are
        folders.append(folder)
        port, ray_port, token = free_port(), free_port(), secrets.token_hex(16)
        ray_address = f"{get_node_ip_address()}:{ray_port}"
        given = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token, "POLYVIEW_HOME": str(folder / "home")}
        given |= {name: os.environ[name] for name in FOR_TESTS}
        given |= {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "HOME": str(folder)}
        others = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "MLFLOW_"))}
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--disable-usage-stats"]
        command += [f"--port={ray_port}", f"--temp-dir={folder / 'ray'}", "--object-store-memory=100000000"]
        command += ["--dashboard-host=127.0.0.1", f"--dashboard-port={port}", "--dashboard-agent-listen-port=0"]
        if cluster is not None:
            file = folder / "ray_bootstrap_config.yaml"  # in the user's own folder, as Ray's launcher leaves it
            provider = cluster["provider"] | {"gcs_address": ray_address}
            file.write_text(json.dumps(cluster | {"provider": provider}))
            command += [f"--autoscaling-config={file}"]
            given |= {"AUTOSCALER_UPDATE_INTERVAL_S": "1", "RAY_FAKE_CLUSTER": "1"}
        with (folder / "log.txt").open("w") as log:
            # Its own session: Ctrl-C is for the tests, which then end it.
            streams = {"stdout": log, "stderr": log}
            head = subprocess.Popen([*command, *options], env=others | given, start_new_session=True, **streams)
        heads.append(head)
        address = f"http://127.0.0.1:{port}"
        if not has_started(address, head, folder / "log.txt"):
            return None
        return Head(address, token, others | given | {"RAY_ADDRESS": ray_address})

    try:
        yield start
    finally:
        for head in heads:
            head.terminate()
            try:
                head.wait(3)
            except subprocess.TimeoutExpired:
                os.killpg(head.pid, signal.SIGKILL)
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)


def has_started(address: str, head: subprocess.Popen[bytes], log: Path, seconds: float = 300) -> bool:
    """Wait until a head has started and its dashboard answers; False if Ray has given up, as it took too long."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and head.poll() is None:
        with suppress(requests.RequestException):
            requests.get(f"{address}/api/version", timeout=5)
            if "Ray runtime started" in log.read_text():
                return True
        time.sleep(0.2)
    if LATE in log.read_text():
        return False
    raise AssertionError(f"{address} does not answer: {log.read_text()[-2000:]}")


@pytest.fixture(scope="package")
def head(start_head: Callable[..., Head]) -> Head:
    """A cluster of this machine alone."""
    return start_head("--num-cpus=1")


@pytest.fixture
def write_study(tiny: Experiment, tmp_path: Path) -> Callable[..., Path]:
    """Writes `study.yaml`, a study of the tiny recipe: what its training has, and what else it says."""

    def write(training: dict[str, Any], **content: Any) -> Path:
        recipe = tiny.model_dump(mode="json")
        recipe["training"] |= training
        path = tmp_path / "study.yaml"
        whole = {"name": "faulty", "experiment": recipe, "references": False, "resources": AFTER_EVERY_EPOCH}
        path.write_text(json.dumps(whole | content))
        return path

    return write


@pytest.fixture
def assert_whole(runs_of: Any) -> Callable[[Path, Home], None]:
    """Every trial has one record of all its epochs, each once, and one run in MLflow that has ended well."""

    def check(study_file: Path, home: Home) -> None:
        study = load_study(study_file)
        records = load_outcome(study, home).records
        assert records.keys() == {trial.id for trial in plan(study)}
        epochs = list(range(1, study.experiment.training.epochs + 1))
        assert all([epoch.epoch for epoch in record.history] == epochs for record in records.values())
        parent, runs = runs_of(home)
        assert sorted(run.data.tags["polyview.trial"] for run in runs) == sorted(records)
        assert {run.info.status for run in (parent, *runs)} == {"FINISHED"}

    return check


@pytest.fixture
def at_work(holder_of: Any) -> Callable[[Home], int | None]:
    """A process that has trained an epoch of a trial and not all of them."""

    def find(home: Home) -> int | None:
        begun = {path.parent for path in home.trials.glob("*/epoch-*")}
        holders = (holder_of(folder / "lock") for folder in begun if not (folder / "record.json").exists())
        return next((pid for pid in holders if pid), None)

    return find


class Machines:
    """Ray's nodes: a head that runs no trial, and others of one CPU that come and go."""

    def __init__(self) -> None:
        # Ray Train asks the dashboard whether a lost trial's placement group is to be freed, and keeps it without one.
        head = {"num_cpus": 0, "include_dashboard": True, "dashboard_port": free_port(), "_system_config": WATCHFUL}
        self.nodes = Cluster(initialize_head=True, head_node_args=head)

    @property
    def address(self) -> str:
        return str(self.nodes.address)

    def add(self, count: int = 1, **environment: str) -> list[Any]:
        """More of them, once they are known to the head; what runs there has this environment."""
        return [self.nodes.add_node(num_cpus=1, env_vars=environment) for _ in range(count)]

    def with_process(self, pid: int) -> Any:
        """The one that a process runs on."""
        parents = {parent.pid for parent in psutil.Process(pid).parents()}
        return next(node for node in self.nodes.worker_nodes if raylet(node) in parents)

    def lose(self, node: Any) -> None:
        """End it and all that runs on it at once, as a machine does whose power fails."""
        gone = [psutil.Process(raylet(node)), *psutil.Process(raylet(node)).children(recursive=True)]
        for process in gone:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self.nodes.remove_node(node, allow_graceful=False)

    def clear(self) -> None:
        """Lose all but the head."""
        for node in list(self.nodes.worker_nodes):
            self.lose(node)


def raylet(node: Any) -> int:
    """The process of Ray's that starts all others on a node."""
    (started,) = node.all_processes["raylet"]
    return int(started.process.pid)


@pytest.fixture(scope="package")
def cluster() -> Iterator[Machines]:
    made = Machines()
    yield made
    made.nodes.shutdown()


@pytest.fixture
def machines(cluster: Machines) -> Iterator[Machines]:
    yield cluster
    cluster.clear()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return Home(tmp_path / "home")


@pytest.fixture
def start(machines: Machines, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts polyview on the head, where `user` is the user's own folder."""
    drivers: list[subprocess.Popen[str]] = []

    def polyview(*words: str, home: Home, user: Path = tmp_path) -> subprocess.Popen[str]:
        given = {"RAY_ADDRESS": machines.address, "POLYVIEW_HOME": str(home.root), "HOME": str(user)}
        given |= {"PYTHONPATH": str(REPOSITORY / "platform"), "OMP_NUM_THREADS": "1", "COLUMNS": "1000"}
        command = [sys.executable, "-m", "polyview", *words]
        driver = subprocess.Popen(
            command, cwd=tmp_path, env=os.environ | given, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        drivers.append(driver)
        return driver

    yield polyview
    for driver in drivers:
        driver.kill()
        driver.wait()
