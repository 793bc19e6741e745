from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
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
    sign = str(tmp_path / "up")

    def left() -> list[str]:
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.environ().get("ENDLESS") == sign:
                    found.append(process.name())
        return found

    command = [sys.executable, "-m", "pytest", "--numprocesses", "1", str(Path(__file__).with_name("endless.py"))]
    with (tmp_path / "log.txt").open("w") as log:
        tests = subprocess.Popen(
            command, cwd=REPOSITORY, env=os.environ | {"ENDLESS": sign}, stdout=log, stderr=log, start_new_session=True
        )
    wait_for(Path(sign).exists)
    assert "gcs_server" in left()
    interrupt(tests.pid)
    tests.wait(timeout=300)
    wait_for(lambda: not left())
