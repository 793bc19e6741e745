from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from ray.autoscaler._private.util import prepare_config

from polyview.recipe import Experiment, load_study
from polyview.storage.home import REPOSITORY
from polyview.trials.capacity import Node, concurrent_trials, demand, launchable

HEAD = "ray.head.default"  # as Ray's stand-in for a cloud calls it


def stand_in() -> dict[str, Any]:
    """cluster.yaml with Ray's stand-in for a cloud, whose machines are processes of this one, and small ones."""
    cluster = yaml.safe_load((REPOSITORY / "cluster.yaml").read_text())
    kinds = cluster["available_node_types"]
    kinds[HEAD] = kinds.pop("head") | {"node_config": {}, "max_workers": 0}
    kinds["render"] |= {"node_config": {}, "max_workers": 1, "resources": {"CPU": 1}}
    kinds["train"] |= {"node_config": {}, "max_workers": 1, "resources": {"CPU": 1, "GPU": 1}}
    provider = {"type": "fake_multinode", "use_node_id_as_ip": True}
    provider |= {"disable_node_updaters": True, "disable_launch_config_check": True}
    return prepare_config(cluster) | {"head_node_type": HEAD, "provider": provider, "file_mounts": {}, "auth": {}}


@pytest.mark.slow
def test_a_cluster_of_nothing_gets_the_machines_that_a_study_needs(
    start_head: Callable[..., Any], tiny: Experiment, tmp_path: Path
) -> None:
    head = start_head("--num-cpus=0", "--num-gpus=0", cluster=stand_in())
    recipe = tiny.model_dump(mode="json")
    recipe["training"]["epochs"] = 1
    study = {"name": "grown", "experiment": recipe, "seeds": [0], "references": False, "resources": {"gpus": 1}}
    (tmp_path / "study.yaml").write_text(json.dumps(study))
    # Not a job: machines that are processes of one share a folder, and each would unpack the job's files anew.
    command = [sys.executable, "-m", "polyview", "ablate", "study.yaml"]
    environment = head.environment | {"PYTHONPATH": str(REPOSITORY / "platform")}
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    (record,) = head.home.glob("trials/*/record.json")
    assert json.loads(record.read_text())["scores"]
    answer = requests.get(
        f"{head.address}/api/v0/nodes?detail=true", headers={"Authorization": f"Bearer {head.token}"}, timeout=30
    )
    machines = [node["resources_total"] for node in answer.json()["data"]["result"]["result"]]
    assert sorted((each.get("CPU", 0), each.get("GPU", 0)) for each in machines) == [(0, 0), (1, 0), (1, 1)]


def test_capacity_counts_the_machines_that_are_not_there_yet() -> None:
    cluster = yaml.safe_load((REPOSITORY / "cluster.yaml").read_text())
    machines = launchable(cluster)
    assert sorted(machines, key=lambda node: node.cpus) == [Node(0, 0), *[Node(8, 1)] * 4, *[Node(16, 0)] * 8]
    study = load_study(REPOSITORY / "ablations" / "components.yaml", [])
    assert concurrent_trials(machines, [demand(study.experiment, study.resources)]) == 4
