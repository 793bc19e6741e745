from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from polyview.recipe import Experiment, Study
from polyview.storage.home import Home
from polyview.trials.design import plan
from polyview.trials.ledger import Ledger

HERE = Path(__file__).parent
pytestmark = pytest.mark.slow


def write_study(experiment: Experiment, folder: Path, **content: Any) -> Path:
    recipe = experiment.model_dump(mode="json")
    recipe["training"] |= {"epochs": 1} | content.pop("training", {})
    asked = {"name": "scheduled", "experiment": recipe, "seeds": [0], "references": False} | content
    path = folder / "study.json"
    path.write_text(json.dumps(asked))
    return path


def start(cpus: int, folder: Path, study: Path) -> subprocess.Popen[str]:
    """A driver in a process group of its own."""
    command = [sys.executable, str(HERE / "on_logical_cpus.py"), str(cpus), str(folder / "home"), str(study)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


def finish(driver: subprocess.Popen[str], seconds: float = 560) -> str:
    try:
        out, err = driver.communicate(timeout=seconds)
    finally:
        if driver.poll() is None:
            os.killpg(driver.pid, signal.SIGKILL)
    assert driver.returncode == 0, err[-2000:]
    return out


def test_trials_of_two_workers_run_beside_each_other_where_there_are_cpus(tiny: Experiment, tmp_path: Path) -> None:
    study = write_study(tiny, tmp_path, seeds=[0, 1], training={"workers": 2})
    assert "finished 2 failed 0" in finish(start(8, tmp_path, study))


def test_a_trial_whose_process_is_killed_is_tried_again(
    tiny: Experiment, tmp_path: Path, wait_for: Any, holder_of: Any
) -> None:
    path = write_study(tiny, tmp_path, training={"epochs": 40})
    (trial,) = plan(Study.model_validate_json(path.read_text()))
    folder = tmp_path / "home" / "trials" / trial.id
    driver = start(2, tmp_path, path)
    pid = wait_for(lambda: holder_of(folder / "lock"), driver)
    os.kill(pid, signal.SIGKILL)
    assert "finished 1 failed 0" in finish(driver)
    record = Ledger(Home(tmp_path / "home").trials).read(trial.id)
    assert record is not None
    assert [epoch.epoch for epoch in record.history] == list(range(1, 41))
