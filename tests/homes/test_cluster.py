"""A study on a cluster whose machines have nothing in common but a bucket."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ray.cluster_utils import Cluster

pytestmark = pytest.mark.slow
SECONDS = 240
MEMORY = 100_000_000


@pytest.fixture
def cluster(store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Path]]:
    """A head that works on nothing, and a machine that does; gives the address, and the other's disk."""
    disk = tmp_path / "disk of another machine"
    monkeypatch.setenv("XDG_CACHE_HOME", str(disk))
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": MEMORY})
    try:
        made.add_node(num_cpus=2, object_store_memory=MEMORY)
        assert store
        yield made.address, disk
    finally:
        made.shutdown()


def test_renders_and_trials_land_on_a_machine_that_has_its_own_disk(
    cluster: tuple[str, Path],
    polyview: Any,
    new_url: Callable[[], str],
    study_file: Path,
    tmp_path: Path,
    objects: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    address, disk = cluster
    url = new_url()
    monkeypatch.setenv("RAY_ADDRESS", address)
    folder = tmp_path / "disk of this machine"
    driver = polyview(folder, url, "ablate", str(study_file))
    said, errors = driver.communicate(timeout=SECONDS)
    assert driver.returncode == 0, errors
    assert f"report    {url}/studies/study-" in said
    names = objects(url)
    assert len([name for name in names if name.endswith("record.json")]) == 2
    theirs = {path.name for path in disk.rglob("*")}
    ours = {path.name for path in folder.rglob("*")}
    assert {"shard-00000.arrow", "epoch-0012"} <= theirs
    assert not [name for name in ours if name.startswith("epoch-")]
    assert "report.html" in ours - theirs
