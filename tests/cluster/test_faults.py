"""Machines that are lost, stall or never come, on several of Ray's nodes on this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from ray.cluster_utils import Cluster as Nodes

from polyview.cluster.parcel import pack
from polyview.cluster.submit import ADDRESS_VARIABLE, Cluster, Log
from polyview.paths import REPOSITORY, Home
from polyview.recipe import Experiment, load_study
from polyview.studies.conduct import known
from polyview.studies.design import plan

pytestmark = pytest.mark.slow
Driver = subprocess.Popen[str]
SECONDS = 240
# A node is taken for dead after two seconds, not after fifteen.
WATCHFUL = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500, "health_check_failure_threshold": 4}


class Machines:
    """Ray's nodes: a head that runs no trial, and others of one CPU that come and go."""

    def __init__(self) -> None:
        head = {"num_cpus": 0, "include_dashboard": False, "_system_config": WATCHFUL}
        self.nodes = Nodes(initialize_head=True, head_node_args=head)

    @property
    def address(self) -> str:
        return str(self.nodes.address)

    def add(self, count: int = 1) -> list[Any]:
        """More of them, once they are known to the head."""
        return [self.nodes.add_node(num_cpus=1) for _ in range(count)]

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


@pytest.fixture(scope="module")
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
def start(machines: Machines, tmp_path: Path) -> Iterator[Callable[..., Driver]]:
    """Starts polyview on the head, where `user` is the user's own folder."""
    drivers: list[Driver] = []

    def polyview(*words: str, home: Home, user: Path = tmp_path) -> Driver:
        given = {"RAY_ADDRESS": machines.address, "POLYVIEW_HOME": str(home.root), "HOME": str(user)}
        given |= {"PYTHONPATH": str(REPOSITORY / "platform"), "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
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


def finish(driver: Driver) -> str:
    """What a driver says that ends well."""
    said, errors = driver.communicate(timeout=SECONDS)
    assert driver.returncode == 0, said + errors[-2000:]
    return said


def write_study(experiment: Experiment, folder: Path, training: dict[str, Any], **content: Any) -> Path:
    recipe = experiment.model_dump(mode="json")
    recipe["training"] |= training
    path = folder / "study.yaml"
    path.write_text(json.dumps({"name": "faulty", "experiment": recipe, "references": False} | content))
    return path


@pytest.fixture
def assert_whole(runs_of: Any) -> Callable[[Path, Home], None]:
    """Every trial has one record of all its epochs, each once, and one run in MLflow that has ended well."""

    def check(study_file: Path, home: Home) -> None:
        study = load_study(study_file)
        records = known(study, home).records
        assert records.keys() == {trial.id for trial in plan(study)}
        epochs = list(range(1, study.experiment.training.epochs + 1))
        assert all([epoch.epoch for epoch in record.history] == epochs for record in records.values())
        parent, runs = runs_of(home)
        assert sorted(run.data.tags["polyview.trial"] for run in runs) == sorted(records)
        assert {run.info.status for run in (parent, *runs)} == {"FINISHED"}

    return check


def records(home: Home) -> list[str]:
    return sorted(path.parent.name for path in home.trials.glob("*/record.json"))


@pytest.fixture
def at_work(holder_of: Any) -> Callable[[Home], int | None]:
    """A process that has trained an epoch of a trial and not all of them."""

    def find(home: Home) -> int | None:
        begun = {path.parent for path in home.trials.glob("*/epoch-*")}
        holders = (holder_of(folder / "lock") for folder in begun if not (folder / "record.json").exists())
        return next((pid for pid in holders if pid), None)

    return find


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_a_lost_machine_was_drawing_is_drawn_on_another_to_the_same_bytes(
    start: Any, machines: Machines, home: Home, tiny: Experiment, tmp_path: Path, wait_for: Any
) -> None:
    recipe = tiny.model_dump(mode="json")
    recipe["corpus"]["generator"]["subjects"] = 100
    (tmp_path / "many.yaml").write_text(json.dumps(recipe))
    lost, _ = machines.add(2)
    driver = start("render", "many.yaml", home=home)
    (part,) = {shard.parent for shard in wait_for(lambda: list(home.stores.glob("*/*-views-*/shard-*")), driver)}
    machines.lose(lost)
    assert not (part / "store.json").exists()
    finish(driver)

    undisturbed = Home(tmp_path / "undisturbed")
    finish(start("render", "many.yaml", home=undisturbed))
    assert contents(home.stores) == contents(undisturbed.stores)


def test_trials_of_a_lost_machine_go_on_elsewhere_from_their_checkpoints(
    start: Any,
    machines: Machines,
    home: Home,
    tiny: Experiment,
    tmp_path: Path,
    wait_for: Any,
    at_work: Any,
    assert_whole: Any,
    times_of: Any,
) -> None:
    study_file = write_study(tiny, tmp_path, {"epochs": 15}, seeds=[0, 1, 2])
    machines.add(2)
    driver = start("ablate", "study.yaml", home=home)
    pid = wait_for(lambda: at_work(home), driver)
    lost, before = time.time(), times_of(home)
    machines.lose(machines.with_process(pid))
    finish(driver)
    assert_whole(study_file, home)
    assert times_of(home).items() >= before.items()
    histories = [record.history for record in known(load_study(study_file), home).records.values()]
    assert any(history[0].ended < lost < history[-1].ended for history in histories)


def test_a_trial_of_several_workers_goes_on_once_another_machine_has_come(
    start: Any, machines: Machines, home: Home, tiny: Experiment, tmp_path: Path, wait_for: Any, assert_whole: Any
) -> None:
    study_file = write_study(tiny, tmp_path, {"epochs": 12, "workers": 2}, seeds=[0])
    lost, _ = machines.add(2)
    driver = start("ablate", "study.yaml", home=home)
    wait_for(lambda: list(home.trials.glob("*/epoch-*")), driver)
    machines.lose(lost)
    assert records(home) == []
    machines.add()
    finish(driver)
    assert_whole(study_file, home)


def test_a_machine_that_is_taken_back_after_notice_costs_a_trial_no_retry(
    start: Any,
    machines: Machines,
    home: Home,
    tiny: Experiment,
    tmp_path: Path,
    wait_for: Any,
    at_work: Any,
    assert_whole: Any,
) -> None:
    study_file = write_study(tiny, tmp_path, {"epochs": 20}, seeds=[0], retries=0)
    machines.add(2)
    driver = start("ablate", "study.yaml", home=home)
    node = machines.with_process(wait_for(lambda: at_work(home), driver))
    command = [sys.executable, "-m", "ray.scripts.scripts", "drain-node", "--address", machines.address]
    command += ["--node-id", node.node_id, "--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "spot"]
    subprocess.run([*command, "--deadline-remaining-seconds", "0"], check=True, capture_output=True, timeout=60)
    machines.lose(node)
    assert records(home) == []
    finish(driver)
    assert_whole(study_file, home)


def test_others_take_the_work_of_a_machine_that_stalls(
    start: Any,
    machines: Machines,
    home: Home,
    tiny: Experiment,
    tmp_path: Path,
    wait_for: Any,
    at_work: Any,
    assert_whole: Any,
) -> None:
    study_file = write_study(tiny, tmp_path, {"epochs": 3}, seeds=[0, 1, 2, 3], retries=0)
    machines.add(2)
    driver = start("ablate", "study.yaml", home=home)
    stalled = psutil.Process(wait_for(lambda: at_work(home), driver))
    stalled.suspend()
    wait_for(lambda: len(records(home)) == 3, driver)
    stalled.resume()
    finish(driver)
    assert_whole(study_file, home)


def test_a_study_runs_on_the_machines_that_come_where_fewer_come_than_were_asked_for(
    start: Any, machines: Machines, home: Home, tiny: Experiment, tmp_path: Path, assert_whole: Any
) -> None:
    cluster = yaml.safe_load((REPOSITORY / "cluster.yaml").read_text())
    cluster["available_node_types"] = {"head": {"resources": {"CPU": 0}}, "train": {"resources": {"CPU": 1}}}
    (tmp_path / "ray_bootstrap_config.yaml").write_text(json.dumps(cluster))
    study_file = write_study(tiny, tmp_path, {"epochs": 1, "workers": 2}, seeds=[0, 1])
    machines.add(2)
    finish(start("ablate", "study.yaml", home=home))
    assert_whole(study_file, home)


def test_a_job_whose_driver_is_killed_goes_on_where_it_stood_once_it_is_sent_again(
    head: Any,
    tiny: Experiment,
    tmp_path: Path,
    wait_for: Any,
    monkeypatch: pytest.MonkeyPatch,
    assert_whole: Any,
    times_of: Any,
) -> None:
    monkeypatch.setenv(ADDRESS_VARIABLE, head.address)
    monkeypatch.setenv("RAY_AUTH_TOKEN", head.token)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    home = Home(head.home)
    study_file = write_study(tiny, tmp_path, {"epochs": 8}, seeds=[0, 1])
    parcel, cluster = pack(["ablate", "study.yaml"], tmp_path), Cluster()
    said: list[str] = []

    killed = cluster.submit(parcel, columns=200)
    wait_for(lambda: records(home))
    driver = driver_at(home)
    assert driver is not None
    driver.kill()
    assert cluster.follow(killed, Log(print), print).status == "FAILED"
    before = times_of(home)

    again = cluster.submit(parcel, columns=200)
    assert cluster.follow(again, Log(said.append), print).status == "SUCCEEDED"
    assert "1 done before, 1 to run" in "".join(said)
    assert times_of(home).items() >= before.items()
    assert_whole(study_file, home)


def driver_at(home: Home) -> psutil.Process | None:
    """The process that conducts a study of this home."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            words = process.cmdline()[1:4]
            if words == ["-m", "polyview", "ablate"] and process.environ().get("POLYVIEW_HOME") == str(home.root):
                return process
    return None
