"""The files for Google Cloud and for Kubernetes: as far as they can be checked without either."""

from __future__ import annotations

from typing import Any

import pytest
import ray
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

from polyview.recipe import load_study
from polyview.storage.home import REPOSITORY
from polyview.trials.capacity import Node, concurrent_trials, demand

HERE = REPOSITORY / "platform" / "polyview" / "cluster"


def test_rays_own_schema_accepts_the_file_for_google_cloud_in_place_of_awss_keys() -> None:
    aws, gcp = (yaml.safe_load(path.read_text()) for path in (REPOSITORY / "cluster.yaml", HERE / "gcp.yaml"))
    whole = aws | gcp
    validate_config(prepare_config(whole))
    assert "InstanceType" not in str(whole["available_node_types"])
    for name, kind in aws["available_node_types"].items():
        assert whole["available_node_types"][name]["resources"] == kind["resources"]


@pytest.fixture(scope="module")
def cluster() -> dict[str, Any]:
    documents = list(yaml.safe_load_all((HERE / "kuberay.yaml").read_text()))
    (found,) = (document for document in documents if document["kind"] == "RayCluster")
    return dict(found)


def pods(cluster: dict[str, Any]) -> list[dict[str, Any]]:
    groups = [cluster["spec"]["headGroupSpec"], *cluster["spec"]["workerGroupSpecs"]]
    return [group["template"]["spec"] for group in groups]


def test_kubernetes_runs_the_ray_that_the_project_is_installed_with(cluster: dict[str, Any]) -> None:
    assert cluster["spec"]["rayVersion"] == ray.__version__
    assert cluster["spec"]["authOptions"] == {"mode": "token"}


def test_every_pod_has_the_home_and_mounts_volumes_that_it_has(cluster: dict[str, Any]) -> None:
    for pod in pods(cluster):
        volumes = {volume["name"] for volume in pod["volumes"]}
        for container in pod["containers"]:
            mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
            assert mounts.keys() <= volumes
            assert mounts["home"] == "/shared"
        variables = {one["name"]: one["value"] for one in pod["containers"][0]["env"]}
        assert variables["POLYVIEW_HOME"] == "/shared"


def test_on_kubernetes_the_head_runs_no_trial_and_the_others_hold_four(cluster: dict[str, Any]) -> None:
    assert cluster["spec"]["headGroupSpec"]["rayStartParams"] == {"num-cpus": "0", "num-gpus": "0"}
    nodes = []
    for group in cluster["spec"]["workerGroupSpecs"]:
        limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
        nodes += [Node(float(limits["cpu"]), float(limits.get("nvidia.com/gpu", 0)))] * group["replicas"]
    study = load_study(REPOSITORY / "ablations" / "components.yaml", [])
    assert concurrent_trials(nodes, [demand(study.experiment, study.resources)]) == 4
