from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from polyview.storage.home import REPOSITORY

Interrupt = Callable[[int], None]
INTERRUPTS: dict[str, Interrupt] = {
    "ctrl-c": lambda pid: os.killpg(pid, signal.SIGINT),  # the terminal sends it to all of the foreground
    "terminate": lambda pid: os.kill(pid, signal.SIGTERM),
}


@pytest.mark.slow
@pytest.mark.parametrize("interrupt", INTERRUPTS.values(), ids=INTERRUPTS)
def test_a_run_of_tests_that_is_interrupted_leaves_no_process(
    interrupt: Interrupt, tmp_path: Path, wait_for: Any
) -> None:
    sign = tmp_path / "up"
    command = [sys.executable, "-m", "pytest", "--numprocesses", "1", str(Path(__file__).with_name("endless.py"))]
    with (tmp_path / "log.txt").open("w") as log:
        tests = subprocess.Popen(
            command,
            cwd=REPOSITORY,
            env=os.environ | {"ENDLESS": str(sign)},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    wait_for(sign.exists)
    started = psutil.Process(tests.pid).children(recursive=True)
    assert "gcs_server" in [process.name() for process in started]
    interrupt(tests.pid)
    tests.wait(timeout=300)
    wait_for(lambda: not any(map(runs, started)))


def runs(process: psutil.Process) -> bool:
    """Whether it has not ended; a container may have nobody who takes note of its end."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
