from __future__ import annotations

import itertools
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from polyview.corpus.scan import scan
from polyview.parallel import start_ray
from polyview.recipe import Experiment
from polyview.rendering.cameras import cameras
from polyview.rendering.pipeline import ShardWriter
from polyview.rendering.store import ViewStore, finish_part
from polyview.storage.home import Home
from polyview.training.history import Epoch
from polyview.trials.design import Trial

# A terminal that exports its size would set that of every table that a test reads.
os.environ.pop("COLUMNS", None)
os.environ.pop("LINES", None)

# Ray lets its workers yield to all else that runs, and so to the test file beside, which would starve them.
os.environ.setdefault("RAY_worker_niceness", "0")

# A slow machine makes no law false.
settings.register_profile("polyview", deadline=None)
settings.load_profile("polyview")

RunsOf = Callable[[Home], tuple[Any, list[Any]]]
TimesOf = Callable[[Home], dict[str, int]]

TINY = """{
    "name": "tiny",
    "corpus": {
        "expressions": ["neutral", "happiness", "surprise"],
        "generator": {"subjects": 12, "sequences": 1}
    },
    "rendering": {"size": 32, "views": {"count": 3}},
    "model": {"projector": [16, 16]},
    "language": {"ensemble": 2},
    "objective": {
        "decorrelation": {"weight": 0.02},
        "alignment": {},
        "redundancy": {"weight": 0.001}
    },
    "training": {"epochs": 2, "batch_size": 8, "precision": "fp32"},
    "evaluation": {"share": 0.34}
}"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole clusters come first: a process that has started Ray itself asks later clusters for its token."""
    items.sort(key=lambda item: item.path.parent.name not in ("cluster", "storage"))


class Listener:
    """A watcher that remembers what it is told."""

    def __init__(self) -> None:
        self.stages: list[tuple[str, int]] = []
        self.done: dict[str, int] = {}
        self.epochs: list[tuple[str, int]] = []
        self.said: list[str] = []

    def stage(self, name: str, total: int) -> None:
        """Note the stage."""
        self.stages.append((name, total))

    def advance(self, done: int) -> None:
        """Note how far the stage has come."""
        self.done[self.stages[-1][0]] = done

    def epoch(self, trial: Trial, epoch: Epoch) -> None:
        """Note the trial's epoch."""
        self.epochs.append((trial.name, epoch.epoch))

    def say(self, message: str) -> None:
        """Note the message."""
        self.said.append(message)


@pytest.fixture
def listener() -> Listener:
    return Listener()


@pytest.fixture(scope="session")
def tiny() -> Experiment:
    """A whole recipe that trains in a second: twelve people, three expressions, three views of 32 pixels."""
    return Experiment.model_validate_json(TINY)


@pytest.fixture(scope="session")
def store_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Experiment], ViewStore]:
    """Renders what an experiment trains on, in this process."""

    def render(experiment: Experiment) -> ViewStore:
        folder = tmp_path_factory.mktemp("views")
        manifest, rendering = scan(experiment.corpus).manifest, experiment.rendering
        rig = cameras(rendering.views)
        manifest.save(folder / "manifest.parquet")
        columns = manifest.frame.select("sample_id", "path", "texture").to_dict(as_series=False)
        write = ShardWriter(folder, manifest.root, manifest.geometry, rendering, rig)
        assert write({"shard": 0, **columns})["error"] == ""
        finish_part(folder, manifest, rendering, rig, 1)
        return ViewStore.open(folder)

    return render


@pytest.fixture(scope="session")
def tiny_store(tiny: Experiment, store_of: Callable[[Experiment], ViewStore]) -> ViewStore:
    """The views that `tiny` trains on."""
    return store_of(tiny)


@pytest.fixture(scope="session")
def local_ray() -> Iterator[None]:
    """Ray on this machine, started once for all tests that need it in this process."""
    import ray

    start_ray()
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def runs_of() -> RunsOf:
    """A home's parent run in MLflow, which is the only one, and the runs inside it."""

    def runs(home: Home) -> tuple[Any, list[Any]]:
        from mlflow.tracking import MlflowClient

        client = MlflowClient(home.tracking_uri)
        found = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
        parents = [run for run in found if "mlflow.parentRunId" not in run.data.tags]
        assert len(parents) == 1
        inside = [run for run in found if run not in parents]
        assert {run.data.tags["mlflow.parentRunId"] for run in inside} <= {parents[0].info.run_id}
        return parents[0], inside

    return runs


@pytest.fixture(scope="session")
def times_of() -> TimesOf:
    """When each of a home's records was written, by trial id."""

    def times(home: Home) -> dict[str, int]:
        return {path.parent.name: path.stat().st_mtime_ns for path in Path(home.trials).glob("*/record.json")}

    return times


@pytest.fixture(scope="session")
def holder_of() -> Callable[[Path], int | None]:
    """The process that holds a lock on a file, as Linux tells it."""

    def holder(lock: Path) -> int | None:
        if not lock.exists():
            return None
        inode = f":{lock.stat().st_ino} "
        lines = [line.split() for line in Path("/proc/locks").read_text().splitlines() if inode in line]
        return int(lines[0][4]) if lines else None

    return holder


@pytest.fixture(scope="session")
def killed_after() -> Callable[[int], Callable[[], bool]]:
    """Warns a training of its end after so many steps; it comes after one more."""

    def warning(step: int) -> Callable[[], bool]:
        steps = itertools.count(1)

        def warned() -> bool:
            done = next(steps)
            if done > step:
                raise RuntimeError("killed")
            return done == step

        return warned

    return warning


@pytest.fixture(scope="session")
def wait_for() -> Callable[..., Any]:
    """What a look sees once it sees something, as long as a driver lives."""

    def wait(look: Callable[[], Any], driver: subprocess.Popen[str] | None = None, seconds: float = 300) -> Any:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and (driver is None or driver.poll() is None):
            if found := look():
                return found
            time.sleep(0.05)
        if driver is None:
            raise AssertionError(f"nothing was seen in {seconds:g} s")
        driver.kill()
        raise AssertionError(f"nothing was seen; the driver said {driver.communicate(timeout=10)}")

    return wait
