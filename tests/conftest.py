from __future__ import annotations

import itertools
import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, settings

from polyview.corpus.scan import scan
from polyview.parallel import start_ray
from polyview.recipe import Experiment
from polyview.rendering.cameras import cameras
from polyview.rendering.pipeline import ShardWriter, _store_name
from polyview.rendering.store import ViewStore, finish_part, part_path
from polyview.storage.home import Home
from polyview.tracking.store import reachable
from polyview.training.history import Epoch
from polyview.trials.design import Trial

# A terminal that exports its size would set that of every table that a test reads.
os.environ.pop("COLUMNS", None)
os.environ.pop("LINES", None)

# Threads of one small product wait for one another, and on a busy machine that takes a hundred times the work.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Ray lets its workers yield to all else that runs, and so to the test file beside, which would starve them.
os.environ.setdefault("RAY_worker_niceness", "0")
# Nor does it start a worker for each CPU ahead of need: most would end unused.
os.environ.setdefault("RAY_enable_worker_prestart", "0")
os.environ.setdefault("RAY_prestart_worker_first_driver", "0")

# A slow machine makes no law false. What fails is told at once: to look for the simplest example of it may take
# minutes, and is for whoever asks for it with --hypothesis-profile=shrink.
settings.register_profile("shrink", deadline=None)
settings.register_profile("polyview", deadline=None, phases=set(Phase) - {Phase.shrink, Phase.explain})
settings.load_profile("polyview")

STARTED_BY = "STARTED_BY_TESTS"
WATCHDOG = pytest.StashKey[subprocess.Popen[bytes]]()

RunsOf = Callable[[Home], tuple[Any, list[Any]]]
TimesOf = Callable[[Home], dict[str, int]]
RenderInto = Callable[[Home, Experiment], Path]
Prepare = Callable[[Home, Experiment], None]

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

    def advance(self, done: int, trial: Trial | None = None) -> None:  # noqa: ARG002
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


def pytest_configure(config: pytest.Config) -> None:
    """In each process that runs tests, start what ends all that they have started if it is itself ended."""
    if config.getoption("numprocesses", None) and not hasattr(config, "workerinput"):
        return  # xdist's workers run them
    os.environ[STARTED_BY] = f"{os.getpid()}-{secrets.token_hex(4)}"
    command = [sys.executable, str(Path(__file__).with_name("watchdog.py")), STARTED_BY, os.environ[STARTED_BY]]
    # Held until the end, and in a session of its own: Ctrl-C is not for it.
    config.stash[WATCHDOG] = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)


@pytest.fixture(scope="session")
def tiny() -> Experiment:
    """A whole recipe that trains in a second: twelve people, three expressions, three views of 32 pixels."""
    return Experiment.model_validate_json(TINY)


@pytest.fixture(scope="session")
def render_into() -> RenderInto:
    """Renders what an experiment trains on into a home, in this process and without Ray; returns the store."""

    def render(home: Home, experiment: Experiment) -> Path:
        manifest, rendering = scan(experiment.corpus).manifest, experiment.rendering
        rig = cameras(rendering.views)
        store = home.stores / _store_name(manifest, rendering)
        part = part_path(store, rig)
        manifest.save(part / "manifest.parquet")
        columns = manifest.frame.select("sample_id", "path", "texture").to_dict(as_series=False)
        write = ShardWriter(part, manifest.root, manifest.geometry, rendering, rig)
        assert write({"shard": 0, **columns})["error"] == ""
        finish_part(part, manifest, rendering, rig, 1)
        return store

    return render


@pytest.fixture(scope="session")
def store_of(tmp_path_factory: pytest.TempPathFactory, render_into: RenderInto) -> Callable[[Experiment], ViewStore]:
    """Renders what an experiment trains on, in this process."""

    def render(experiment: Experiment) -> ViewStore:
        (part,) = render_into(Home(tmp_path_factory.mktemp("views")), experiment).iterdir()
        return ViewStore.open(part)

    return render


@pytest.fixture(scope="session")
def tiny_store(tiny: Experiment, store_of: Callable[[Experiment], ViewStore]) -> ViewStore:
    """The views that `tiny` trains on."""
    return store_of(tiny)


@pytest.fixture(scope="session")
def empty_mlflow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite store as MLflow makes it, made once: the making takes longer than most tests."""
    folder = tmp_path_factory.mktemp("empty")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        assert reachable(Home(folder).tracking_uri) is None
    return folder / "mlflow.db"


@pytest.fixture(scope="session")
def prepare(render_into: RenderInto, empty_mlflow: Path) -> Prepare:
    """Puts into a home what every study makes first, and what no test of how a study goes on needs to wait for."""

    def put(home: Home, experiment: Experiment) -> None:
        render_into(home, experiment)
        shutil.copy(empty_mlflow, home.root)

    return put


@pytest.fixture(scope="session")
def local_ray() -> Iterator[None]:
    """Ray on this machine, started once for all tests that need it in this process."""
    import ray

    start_ray()
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def runs_of() -> RunsOf:
    """A home's study run in MLflow, which is the only one, and the runs of its trials, inside it and its variants'."""

    def runs(home: Home) -> tuple[Any, list[Any]]:
        from mlflow.tracking import MlflowClient

        client = MlflowClient(home.tracking_uri)
        found = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
        parents = [run for run in found if "mlflow.parentRunId" not in run.data.tags]
        assert len(parents) == 1
        trials = [run for run in found if "polyview.trial" in run.data.tags]
        variants = {run.info.run_id: run for run in found if "polyview.variant" in run.data.tags}
        above = {run.data.tags["mlflow.parentRunId"] for run in trials}
        assert above <= {*variants, parents[0].info.run_id}
        assert {run.data.tags["mlflow.parentRunId"] for run in variants.values()} <= {parents[0].info.run_id}
        asked = [run for run in variants.values() if run.data.tags["polyview.kind"] == "variant"]
        assert {run.info.status for run in asked} <= {parents[0].info.status}
        return parents[0], trials

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


@pytest.fixture(scope="session")
def add_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, dict[str, Any]], str]:
    """Makes a model of a config known to open_clip under a name, as somebody would who has one of their own."""
    from polyview.modeling.towers import load_open_clip  # and with it torch, which most tests do not need

    def add(name: str, config: dict[str, Any]) -> str:
        path = tmp_path_factory.mktemp("models") / f"{name}.json"
        path.write_text(json.dumps(config))
        load_open_clip().add_model_config(path)
        return name

    return add
