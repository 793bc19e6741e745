"""A study whose driver is killed, in processes of its own.

`POLYVIEW_KILLS` says at how many random moments, 1 if it is not set: each costs the seconds that Ray takes to start.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from polyview.recipe import Study, load_study, to_yaml
from polyview.storage.home import Home
from polyview.studies.outcome import load_outcome
from polyview.trials.design import plan

Driver = subprocess.Popen[str]
Marks = dict[str, tuple[int, int]]
SECONDS = 540  # below the limit of a whole test
KILLS = int(os.environ.get("POLYVIEW_KILLS", "1"))


@pytest.fixture
def home(tmp_path: Path, tiny_study: Study, prepare: Any, monkeypatch: pytest.MonkeyPatch) -> Home:
    for name in ("MLFLOW_TRACKING_URI", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("POLYVIEW_HOME", str(tmp_path / "home"))
    made = Home(tmp_path / "home")
    prepare(made, tiny_study.experiment)
    return made


@pytest.fixture
def study_file(tiny_study: Study, tmp_path: Path) -> Path:
    """One variant that is done soon, beside one that is not."""
    (tmp_path / "tiny.yaml").write_text(to_yaml(tiny_study.experiment))
    path = tmp_path / "study.yaml"
    path.write_text(
        "name: study\nexperiment: tiny.yaml\nseeds: [0, 1]\nreferences: false\n"
        "variants: {long: {training.epochs: 60}}\nresources: {checkpoint_minutes: 0}\n"
    )
    return path


@pytest.fixture
def cheap_study_file(tiny_study: Study, tmp_path: Path) -> Path:
    """Many trials that ask one probe about the pixels: none takes a second."""
    (tmp_path / "tiny.yaml").write_text(to_yaml(tiny_study.experiment))
    path = tmp_path / "cheap.yaml"
    path.write_text(
        f"name: cheap\nexperiment: tiny.yaml\nseeds: {list(range(12 * KILLS))}\nreferences: false\n"
        "metric: knn/accuracy\nbaseline: pixels\nvariants:\n"
        "  pixels: {model.tower: pixels, training.epochs: 0, evaluation.probes: [knn]}\n"
    )
    return path


@pytest.fixture
def start(home: Home) -> Iterator[Any]:
    """Starts `polyview ablate` on a study; what is left of it in the end is killed."""

    def ablate(study_file: Path) -> Driver:
        command = [sys.executable, "-c", "from polyview.cli import main; main()", "ablate", str(study_file)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    yield ablate
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


def half_done(home: Home) -> set[str]:
    """The trials that have trained an epoch and have no record yet."""
    finished = {path.parent.name for path in home.trials.glob("*/record.json")}
    return {path.parent.name for path in home.trials.glob("*/epoch-*")} - finished


@pytest.mark.slow
def test_a_study_whose_driver_is_killed_goes_on_where_it_stood(
    start: Any, home: Home, study_file: Path, wait_for: Any, runs_of: Any, times_of: Any
) -> None:
    study = load_study(study_file)
    trials = plan(study)
    long = {trial.id for trial in trials if trial.variant == "long"}
    driver: Driver = start(study_file)
    wait_for(lambda: any(home.studies.glob("*/lock")), driver)
    # Refused while the first one starts Ray: it takes as long as its imports.
    second = start(study_file)
    _, refusal = second.communicate(timeout=SECONDS)
    assert second.returncode == 2
    assert refusal.count("\n") == 1
    assert "another polyview is running this study, or one of its name and recipe; wait for it" in refusal

    wait_for(lambda: times_of(home) and half_done(home) & long, driver)
    driver.send_signal(signal.SIGKILL)
    driver.wait(timeout=SECONDS)
    _, orphans = psutil.wait_procs(processes_of(home), timeout=120)
    assert [process.name() for process in orphans] == []
    killed = time.time()
    before, begun = times_of(home), half_done(home) & long
    assert 1 <= len(before) < len(trials)
    assert begun

    again = start(study_file)
    said, errors = again.communicate(timeout=SECONDS)
    assert again.returncode == 0, errors
    assert f"{len(before)} done before, {len(trials) - len(before)} to run" in said
    after = times_of(home)
    assert after.keys() == {trial.id for trial in trials}
    assert {trial_id: after[trial_id] for trial_id in before} == before
    for trial_id in begun:
        history = load_outcome(study, home).records[trial_id].history
        assert [epoch.epoch for epoch in history] == list(range(1, 61))
        assert history[0].ended < killed < history[-1].ended
    parent, runs = runs_of(home)
    assert parent.info.status == "FINISHED"
    assert sorted(run.data.tags["polyview.trial"] for run in runs) == sorted(after)
    assert {run.info.status for run in runs} == {"FINISHED"}


def marks(home: Home) -> Marks:
    """What would change if a record were written again: its inode, and when it was written."""
    found = {}
    for path in home.trials.glob("*/record.json"):
        stat = path.stat()
        found[path.parent.name] = (stat.st_ino, stat.st_mtime_ns)
    return found


def watch(driver: Driver, home: Home, seen: Marks, seconds: float, records: int | None = None) -> None:
    """Follow the records until there are so many, the time is over or the driver ends; hold that none changes."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and driver.poll() is None and (records is None or len(seen) < records):
        now = marks(home)
        assert {trial_id: now.get(trial_id) for trial_id in seen} == seen
        seen |= now
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.timeout(300 + 60 * KILLS)
def test_no_trial_is_lost_and_none_runs_twice_whenever_the_driver_is_killed(
    start: Any, home: Home, cheap_study_file: Path, runs_of: Any
) -> None:
    trials, seen, chance = plan(load_study(cheap_study_file)), Marks(), random.Random(0)
    stood = []
    for kill in range(KILLS):
        driver: Driver = start(cheap_study_file)
        if kill % 2:  # while it starts; the others among the trials
            watch(driver, home, seen, chance.uniform(1, 12))
        else:
            watch(driver, home, seen, SECONDS, records=len(seen) + 1)
            watch(driver, home, seen, chance.uniform(0, 1.5))
        driver.send_signal(signal.SIGKILL)
        assert driver.wait(timeout=SECONDS) == -signal.SIGKILL
        stood.append(len(seen))
    print("records at each kill:", *stood)

    last = start(cheap_study_file)
    watch(last, home, seen, SECONDS)
    said, errors = last.communicate(timeout=SECONDS)
    assert last.returncode == 0, errors
    assert f"{len(trials)} in the study" in said
    assert marks(home).keys() == {trial.id for trial in trials}
    parent, runs = runs_of(home)
    assert sorted(run.data.tags["polyview.trial"] for run in runs) == sorted(seen)
    assert {run.info.status for run in (parent, *runs)} == {"FINISHED"}
