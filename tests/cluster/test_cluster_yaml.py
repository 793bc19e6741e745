from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

from polyview.recipe import load_study
from polyview.storage.home import REPOSITORY
from polyview.trials.capacity import Node, concurrent_trials, demand

Config = dict[str, Any]
COMMANDS = (
    "head_setup_commands",
    "worker_setup_commands",
    "head_start_ray_commands",
    "worker_start_ray_commands",
)


@pytest.fixture(scope="module")
def config() -> Config:
    """What Ray makes of the file: its own defaults filled in, the commands for every machine put before the others."""
    return prepare_config(yaml.safe_load((REPOSITORY / "cluster.yaml").read_text()))


@pytest.fixture(scope="module")
def workers(config: Config) -> Config:
    return {name: kind for name, kind in config["available_node_types"].items() if name != config["head_node_type"]}


def starts(config: Config, *parts: str) -> list[str]:
    """The commands that have all these parts."""
    return [command for name in COMMANDS for command in config[name] if all(part in command for part in parts)]


def test_rays_own_schema_accepts_it(config: Config) -> None:
    validate_config(config)


def test_the_head_runs_no_trial(config: Config) -> None:
    assert config["available_node_types"][config["head_node_type"]]["resources"] == {"CPU": 0, "GPU": 0}


def test_what_has_nothing_to_do_is_given_back(config: Config, workers: Config) -> None:
    assert [kind["min_workers"] for kind in workers.values()] == [0] * len(workers)
    assert 0 < config["idle_timeout_minutes"] <= 30


def test_renders_find_machines_without_gpus_and_trials_find_gpus(workers: Config) -> None:
    spot = {"MarketType": "spot"}
    render, train = workers["render"], workers["train"]
    assert "GPU" not in render["resources"]
    assert render["node_config"]["InstanceMarketOptions"] == spot
    node = Node(train["resources"]["CPU"], train["resources"]["GPU"])
    study = load_study(REPOSITORY / "ablations" / "components.yaml", [])
    assert concurrent_trials([node], [demand(study.experiment, study.resources)]) == 1


def test_ssh_is_the_only_way_in(config: Config) -> None:
    assert "IpPermissions" not in config["provider"]["security_group"]
    (head,) = starts(config, "ray start", "--head")
    (mlflow,) = starts(config, "mlflow server")
    assert "--dashboard-host=127.0.0.1" in head
    assert "--host 127.0.0.1" in mlflow


def test_machines_ask_for_a_token_before_they_tell_of_their_role(config: Config) -> None:
    for kind in config["available_node_types"].values():
        assert kind["node_config"]["MetadataOptions"]["HttpTokens"] == "required"


def test_all_machines_are_in_one_zone(config: Config) -> None:
    assert config["provider"]["availability_zone"] == config["provider"]["region"] + "a"


def test_torchs_build_is_that_of_the_machines_driver(config: Config) -> None:
    (install,) = set(starts(config, "polyview[az,gs,s3]"))
    assert "UV_TORCH_BACKEND=${UV_TORCH_BACKEND:-auto} ~/venv/bin/uv pip install" in install


@pytest.mark.parametrize(("failures", "ends_well"), [(0, True), (3, True), (60, False)])
def test_the_first_boots_lock_on_apts_lists_is_waited_for(
    config: Config, tmp_path: Path, failures: int, ends_well: bool
) -> None:
    (update,) = set(starts(config, "apt-get -qq update"))
    stubs = {"sudo": f"echo >> tries; test $(wc -l < tries) -gt {failures}", "sleep": "true"}
    for name, text in stubs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    ended = subprocess.run(["bash", "-c", update], cwd=tmp_path, env={**os.environ, "PATH": path})
    assert (ended.returncode == 0) == ends_well


def test_every_ray_asks_for_the_token_that_was_shipped(config: Config) -> None:
    token = "~/.ray/auth_token"  # where Ray looks for it
    assert config["file_mounts"][token] == token
    exports = [command for command in config["setup_commands"] if "export RAY_AUTH_MODE=token" in command]
    assert exports[0].endswith("> ~/polyview.sh")
    started = starts(config, "ray start")
    assert len(started) == 2
    assert all(command.startswith(". ~/polyview.sh;") for command in started)


def test_the_project_is_installed_with_its_constraints_from_files_that_are_there(config: Config) -> None:
    local = [Path(path) for path in config["file_mounts"].values() if not path.startswith("~")]
    assert all((REPOSITORY / path).exists() for path in local)
    assert {Path("platform"), Path("constraints.txt"), Path("pyproject.toml"), Path("README.md")} <= set(local)
    installs = starts(config, "pip install")
    assert installs
    assert all("--constraint ~/polyview/constraints.txt" in command for command in installs)


def test_every_machine_has_the_home_and_much_shared_memory(config: Config) -> None:
    assert len(starts(config, "remount,size=70% /dev/shm")) == 2
    assert any("POLYVIEW_HOME=/shared" in command for command in config["setup_commands"])
    assert starts(config, "mount -t nfs4", "lookupcache=pos", ":/shared /shared")
    assert starts(config, "/etc/exports", "/shared")


def test_every_command_is_bash(config: Config) -> None:
    for name in COMMANDS:
        for command in config[name]:
            subprocess.run(["bash", "-n", "-c", command], check=True)
