"""Machines that are lost, stall or never come, on several of Ray's nodes on this machine."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from polyview.cluster.package import pack
from polyview.cluster.submit import ADDRESS_VARIABLE, Cluster, Log
from polyview.recipe import Experiment, load_study
from polyview.storage.home import REPOSITORY, Home
from polyview.studies.outcome import load_outcome
from polyview.trials.design import plan

pytestmark = pytest.mark.slow
Driver = subprocess.Popen[str]
SECONDS = 540  # below the limit of a whole test


def finish(driver: Driver) -> str:
    """What a driver says that ends well."""
    said, errors = driver.communicate(timeout=SECONDS)
    assert driver.returncode == 0, said + errors[-2000:]
    return said


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_a_lost_machine_was_drawing_is_drawn_on_another_to_the_same_bytes(
    start: Any, machines: Any, home: Home, tiny: Experiment, tmp_path: Path, wait_for: Any
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
    machines: Any,
    home: Home,
    write_study: Any,
    wait_for: Any,
    at_work: Any,
    times_of: Any,
    assert_whole: Any,
    prepare: Any,
    tiny: Experiment,
) -> None:
    prepare(home, tiny)
    study_file = write_study({"epochs": 30}, seeds=[0, 1, 2])
    machines.add(2)
    driver = start("ablate", "study.yaml", home=home)
    pid = wait_for(lambda: at_work(home), driver)
    lost, before = time.time(), times_of(home)
    machines.lose(machines.with_process(pid))
    finish(driver)
    assert_whole(study_file, home)
    assert times_of(home).items() >= before.items()
    histories = [record.history for record in load_outcome(load_study(study_file), home).records.values()]
    assert any(history[0].ended < lost < history[-1].ended for history in histories)


def test_a_trial_of_several_workers_goes_on_once_another_machine_has_come(
    start: Any,
    machines: Any,
    home: Home,
    write_study: Any,
    wait_for: Any,
    times_of: Any,
    assert_whole: Any,
    prepare: Any,
    tiny: Experiment,
) -> None:
    prepare(home, tiny)
    study_file = write_study({"epochs": 20, "workers": 2}, seeds=[0])
    lost, _ = machines.add(2)
    driver = start("ablate", "study.yaml", home=home)
    wait_for(lambda: list(home.trials.glob("*/epoch-*")), driver)
    machines.lose(lost)
    assert times_of(home) == {}
    machines.add()
    finish(driver)
    assert_whole(study_file, home)


def test_a_machine_that_is_taken_back_after_notice_leaves_a_checkpoint_and_costs_a_trial_no_retry(
    start: Any,
    machines: Any,
    home: Home,
    write_study: Any,
    wait_for: Any,
    holder_of: Any,
    assert_whole: Any,
    prepare: Any,
) -> None:
    study_file = write_study({"epochs": 1, "batch_size": 4}, seeds=[0], retries=0)
    study = json.loads(study_file.read_text())
    study["experiment"]["corpus"]["generator"]["subjects"] = 30
    study["experiment"]["rendering"] |= {"size": 128, "views": {"count": 8}}  # so that the epoch takes a while
    study_file.write_text(json.dumps(study))
    (trial,) = plan(load_study(study_file))
    prepare(home, trial.experiment)
    machines.add(2)
    driver = start("ablate", "study.yaml", home=home)
    worker = psutil.Process(wait_for(lambda: holder_of(home.trials / trial.id / "lock"), driver))
    node = machines.with_process(worker.pid)
    worker.suspend()
    command = [sys.executable, "-m", "ray.scripts.scripts", "drain-node", "--address", machines.address]
    command += ["--node-id", node.node_id, "--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "spot"]
    subprocess.run([*command, "--deadline-remaining-seconds", "1"], check=True, capture_output=True, timeout=300)
    deadline = time.time() + 1
    worker.resume()
    wait_for(lambda: list(home.trials.glob("*/epoch-0000-step-*")), driver)
    worker.suspend()
    wait_for(lambda: time.time() > deadline, driver)
    machines.lose(node)
    assert [path.name[:15] for path in home.trials.glob("*/epoch-*")] == ["epoch-0000-step"]
    finish(driver)
    assert_whole(study_file, home)


def test_others_take_the_work_of_a_machine_that_stalls(
    start: Any,
    machines: Any,
    home: Home,
    write_study: Any,
    wait_for: Any,
    at_work: Any,
    times_of: Any,
    assert_whole: Any,
    prepare: Any,
    tiny: Experiment,
) -> None:
    prepare(home, tiny)
    study_file = write_study({"epochs": 10}, seeds=[0, 1, 2, 3], retries=0)
    machines.add(2)
    driver = start("ablate", "study.yaml", home=home)
    stalled = psutil.Process(wait_for(lambda: at_work(home), driver))
    stalled.suspend()
    wait_for(lambda: len(times_of(home)) == 3, driver)
    stalled.resume()
    finish(driver)
    assert_whole(study_file, home)


def test_a_study_runs_on_the_machines_that_come_where_fewer_come_than_were_asked_for(
    start: Any,
    machines: Any,
    home: Home,
    tmp_path: Path,
    write_study: Any,
    assert_whole: Any,
    prepare: Any,
    tiny: Experiment,
) -> None:
    prepare(home, tiny)
    cluster = yaml.safe_load((REPOSITORY / "cluster.yaml").read_text())
    cluster["available_node_types"] = {"head": {"resources": {"CPU": 0}}, "train": {"resources": {"CPU": 1}}}
    (tmp_path / "ray_bootstrap_config.yaml").write_text(json.dumps(cluster))
    study_file = write_study({"epochs": 1, "workers": 2}, seeds=[0, 1])
    machines.add(2)
    finish(start("ablate", "study.yaml", home=home))
    assert_whole(study_file, home)


def test_a_job_whose_driver_is_killed_goes_on_where_it_stood_once_it_is_sent_again(
    head: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    write_study: Any,
    wait_for: Any,
    times_of: Any,
    assert_whole: Any,
    prepare: Any,
    tiny: Experiment,
) -> None:
    monkeypatch.setenv(ADDRESS_VARIABLE, head.address)
    monkeypatch.setenv("RAY_AUTH_TOKEN", head.token)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    home = Home(head.home)
    prepare(home, tiny)
    study_file = write_study({"epochs": 40}, seeds=[0, 1])
    package, cluster = pack(["ablate", "study.yaml"], tmp_path), Cluster()
    said: list[str] = []

    killed = cluster.submit(package, columns=200)
    wait_for(lambda: times_of(home))
    driver = driver_at(home)
    assert driver is not None
    driver.kill()
    assert cluster.follow(killed, Log(print), print).status == "FAILED"
    before = times_of(home)

    again = cluster.submit(package, columns=200)
    assert cluster.follow(again, Log(said.append), print).status == "SUCCEEDED"
    assert "1 done before, 1 to run" in "".join(said)
    assert times_of(home).items() >= before.items()
    assert_whole(study_file, home)


def driver_at(home: Home) -> psutil.Process | None:
    """The process that runs a study of this home."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            words = process.cmdline()[1:4]
            if words == ["-m", "polyview", "ablate"] and process.environ().get("POLYVIEW_HOME") == str(home.root):
                return process
    return None
