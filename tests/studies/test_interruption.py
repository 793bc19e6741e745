"""How a run ends early, in processes of its own: by SIGTERM, by one Ctrl-C and two, and by kill -9."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest
from mlflow.tracking import MlflowClient

from polyview.recipe import Study, load_study, to_yaml
from polyview.storage.home import Home
from polyview.studies.outcome import load_outcome, study_folder
from polyview.trials.design import plan

EPOCHS = 40
SILENCE = 120.0  # a line comes every 20 seconds where processors are free, which nothing here may depend on
SECONDS = 540.0

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


class Run:
    """`polyview ablate` on a study, whose output goes through a pipe to another process, as to `tee`."""

    def __init__(self, study_file: Path, home: Home) -> None:
        others = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "RAY_ADDRESS"))}
        given = {"POLYVIEW_HOME": str(home.root), "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
        self.tee = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "polyview", "ablate", str(study_file)],
            env=others | given,
            stdout=self.tee.stdin,
            stderr=subprocess.STDOUT,
        )
        assert self.tee.stdin
        self.tee.stdin.close()  # of this process, so that the driver alone writes to it
        self.lines: list[tuple[float, str]] = []
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.started = time.monotonic()
        self.reader.start()

    def _read(self) -> None:
        assert self.tee.stdout
        for line in self.tee.stdout:
            self.lines.append((time.monotonic(), line.rstrip()))

    def end(self) -> int:
        """Wait for its end; returns the exit code."""
        code = self.process.wait(timeout=SECONDS)
        self.reader.join(timeout=10)
        return code

    @property
    def longest_silence(self) -> float:
        times = [self.started, *(at for at, _ in self.lines)]
        return max((later - earlier for earlier, later in pairwise(times)), default=0.0)

    @property
    def text(self) -> str:
        return "\n".join(line for _, line in self.lines)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return Home(tmp_path / "home")


@pytest.fixture
def study_file(tiny_study: Study, tmp_path: Path) -> Path:
    """Two trials of many epochs."""
    (tmp_path / "tiny.yaml").write_text(to_yaml(tiny_study.experiment))
    path = tmp_path / "study.yaml"
    path.write_text(
        "name: study\nexperiment: tiny.yaml\nseeds: [0]\nreferences: false\nbaseline: one\n"
        f"variants: {{one: {{training.epochs: {EPOCHS}}}, two: {{training.epochs: {EPOCHS + 1}}}}}\n"
        "resources: {checkpoint_minutes: 0}\n"
    )
    return path


@pytest.fixture
def start(home: Home, study_file: Path) -> Iterator[Callable[[], Run]]:
    runs: list[Run] = []

    def run() -> Run:
        runs.append(Run(study_file, home))
        return runs[-1]

    yield run
    for process in processes_of(home):
        process.kill()


def processes_of(home: Home) -> list[psutil.Process]:
    """Every process that works for this home: what a driver starts inherits its environment."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.pid != os.getpid() and process.environ().get("POLYVIEW_HOME") == str(home.root):
                found.append(process)
    return found


def epochs_of(home: Home) -> int:
    """The epochs that the trials have checkpointed, all together."""
    return sum(int(path.name[6:10]) for path in home.trials.glob("*/epoch-*"))


def statuses(home: Home) -> list[str]:
    client = MlflowClient(home.tracking_uri)
    found = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    return sorted(run.info.status for run in found)


def family(run: Run) -> list[psutil.Process]:
    """A run's process and all that it has started, Ray's agents included, whose environment cannot be read."""
    driver = psutil.Process(run.process.pid)
    return [driver, *driver.children(recursive=True)]


def assert_ended(processes: list[psutil.Process]) -> None:
    _, alive = psutil.wait_procs(processes, timeout=60)
    assert [process.name() for process in alive if process.status() != psutil.STATUS_ZOMBIE] == []


def test_whatever_ends_a_run_the_next_one_goes_on(
    start: Callable[[], Run], home: Home, study_file: Path, wait_for: Any
) -> None:
    study = load_study(study_file)
    trained = 0
    for ending in ([signal.SIGTERM], [signal.SIGINT], [signal.SIGINT, signal.SIGINT], [signal.SIGKILL]):
        run = start()
        wait_for(lambda before=trained: epochs_of(home) > before, run.process)
        started = family(run)
        assert any("raylet" in process.name() for process in started)
        for number, signal_number in enumerate(ending):
            if number:
                time.sleep(1)  # as a person who loses patience
            with contextlib.suppress(ProcessLookupError):
                run.process.send_signal(signal_number)
        code = run.end()
        assert_ended([*started[1:], *processes_of(home)])
        assert epochs_of(home) > trained, run.text
        trained = epochs_of(home)
        assert load_outcome(study, home).records == {}
        assert run.longest_silence < SILENCE
        if ending == [signal.SIGKILL]:
            assert code == -signal.SIGKILL
            continue
        assert code == 128 + ending[0], run.text
        assert set(statuses(home)) == {"KILLED"}
        assert "Traceback" not in run.text
        assert "SIGABRT" not in run.text
        if len(ending) == 1:
            name = signal.Signals(ending[0]).name
            assert f"polyview: ended by {name}; what is finished is kept, and the same command goes on" in run.text
            page = study_folder(study, home) / "report" / "report.md"
            assert "**2 of 2 trials have no result**" in page.read_text()
            page.unlink()

    last = start()
    assert last.end() == 0, last.text
    assert last.longest_silence < SILENCE
    records = load_outcome(study, home).records
    assert records.keys() == {trial.id for trial in plan(study)}
    for record in records.values():
        epochs = record.experiment.training.epochs
        assert [epoch.epoch for epoch in record.history] == list(range(1, epochs + 1))
    assert statuses(home) == ["FINISHED"] * 5  # the study, two variants, two trials
    assert_ended(processes_of(home))


def test_a_run_whose_output_is_read_by_nobody_any_more_ends_in_order(
    home: Home, study_file: Path, wait_for: Any, start: Callable[[], Run]
) -> None:
    """As Ctrl-C in `polyview ablate … | tee log` does, which ends `tee` as well."""
    study, run = load_study(study_file), start()
    wait_for(lambda: epochs_of(home), run.process)
    started = family(run)
    run.tee.kill()
    run.tee.wait()
    run.process.send_signal(signal.SIGINT)
    assert run.process.wait(timeout=SECONDS) == 128 + signal.SIGINT
    assert_ended([*started[1:], *processes_of(home)])
    assert set(statuses(home)) == {"KILLED"}
    assert (study_folder(study, home) / "report" / "report.md").is_file()
