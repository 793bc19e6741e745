"""A study whose disk fills up while it trains."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from polyview.errors import UserError
from polyview.recipe import Study
from polyview.storage.home import Home
from polyview.studies.driver import run_stages
from polyview.trials.design import plan
from polyview.trials.ledger import Ledger

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("local_ray")]


def mount(*options: str) -> bool:
    return subprocess.run(["mount", *options], capture_output=True).returncode == 0


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    """A home whose trials lie on a disk of 8 MiB."""
    home = Home(tmp_path / "home")
    home.trials.mkdir(parents=True)
    if not mount("-t", "tmpfs", "-o", "size=8m", "tmpfs", str(home.trials)):
        pytest.skip("nobody may mount a disk here")
    yield home
    subprocess.run(["umount", "--lazy", str(home.trials)], check=True)


def test_a_full_disk_stops_the_study_and_counts_against_no_trial(tiny_study: Study, home: Home, listener: Any) -> None:
    study = tiny_study.model_copy(update={"seeds": (0,), "references": False})
    with pytest.raises(
        UserError, match=r"a checkpoint of \d+\.\d MiB does not fit on the disk, where \d\.\d MiB are left"
    ):
        run_stages(study, home, listener)
    assert not any(home.trials.rglob("*.safetensors"))
    assert Ledger(home.trials).read_failures(trial.id for trial in plan(study)) == {}
    assert mount("-o", "remount,size=1g", str(home.trials))
    outcome, failures = run_stages(study, home, listener)
    assert failures == []
    assert {trial.id for trial in outcome.trials} == set(outcome.records)
