"""A study on a cluster whose machines have nothing in common but a bucket."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ray.cluster_utils import Cluster

pytestmark = pytest.mark.slow
SECONDS = 540  # below the limit of a whole test
MEMORY = 100_000_000


@pytest.fixture
def address(store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A head that has no CPU to work with, and a machine that has; each has its own disk."""
    assert store
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "head"))
    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": MEMORY, "include_dashboard": False}
    )
    try:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "worker"))
        cluster.add_node(num_cpus=2, object_store_memory=MEMORY)
        yield cluster.address
    finally:
        cluster.shutdown()


@pytest.fixture
def study_file(recipe_file: Path, tmp_path: Path) -> Path:
    """A trial in one process, and one of two workers."""
    path = tmp_path / "study.yaml"
    path.write_text(
        f"name: study\nexperiment: {recipe_file}\nseeds: [0]\nmetric: knn/accuracy\nreferences: false\n"
        "variants: {two workers: {training.workers: 2, training.epochs: 2}}\n"
    )
    return path


def test_renders_trials_and_their_workers_need_no_disk_in_common(
    address: str,
    polyview: Any,
    new_url: Callable[[], str],
    study_file: Path,
    tmp_path: Path,
    objects: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url = new_url()
    monkeypatch.setenv("RAY_ADDRESS", address)
    driver = polyview(tmp_path / "driver", url, "ablate", str(study_file))
    said, errors = driver.communicate(timeout=SECONDS)
    assert driver.returncode == 0, errors
    assert f"report    {url}/studies/study-" in said
    names = objects(url)
    assert len([name for name in names if name.endswith("record.json")]) == 2
    drivers, workers = ({path.name for path in (tmp_path / disk).rglob("*")} for disk in ("driver", "worker"))
    assert {"shard-00000.arrow", "epoch-0001", "epoch-0002"} <= workers
    assert len({"epoch-0001", "epoch-0002"} & drivers) == 1  # the best trial's, for MLflow
    assert "report.html" in drivers - workers
