from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from polyview.cluster.nodes import NodeReport, NodeReporter, problems, versions
from polyview.storage.home import REPOSITORY, Home


@pytest.mark.slow
def test_a_doctor_on_a_cluster_tells_of_every_machine_and_names_what_differs(
    start: Callable[..., Any], machines: Any, tmp_path: Path
) -> None:
    package = tmp_path / "other" / "torch-0.0.1.dist-info"
    package.mkdir(parents=True)
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 0.0.1\n")
    machines.add()
    machines.add(PYTHONPATH=os.pathsep.join([str(package.parent), str(REPOSITORY / "platform")]))
    home = Home(tmp_path / "home")
    said, errors = (driver := start("doctor", home=home)).communicate(timeout=240)
    assert driver.returncode == 0, errors
    lines = [line for line in said.splitlines() if " machine " in line]
    assert len(lines) == 3
    assert all(words in line for line in lines for words in ("home shared", "GPUs", "OpenGL by", "clock ", "/dev/shm"))
    (other,) = [line for line in lines if "torch 0.0.1" in line]
    assert f"torch is 0.0.1 there and {versions()['torch']} here" in other
    assert list(home.root.glob(".doctor-*")) == []


def test_a_home_that_is_another_folder_elsewhere_is_told(tmp_path: Path) -> None:
    seen = NodeReporter().report(tmp_path, tmp_path / "left-by-the-driver")
    assert seen.home == f"{tmp_path} is another folder there than here: mount one on all machines"


def test_what_does_not_go_together_has_a_line_each() -> None:
    here = {"python": "3.11.2", "ray": "2.60.0"}
    well = NodeReport(here, opengl=(), home="", shared_memory=4.0)
    assert list(problems(well, 0.2, here)) == []
    odd = NodeReport(here | {"ray": "2.9.0"}, opengl=(), home="/shared cannot be written there", shared_memory=0.06)
    assert list(problems(odd, -90.0, here)) == [
        "ray is 2.9.0 there and 2.60.0 here: install the same",
        "/shared cannot be written there",
        "its clock is -90.0 s from this one's: run an NTP client",
        "Ray needs more shared memory: mount -o remount,size=70% /dev/shm",
    ]
