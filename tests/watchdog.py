"""Ends what tests have started once their process is gone: python watchdog.py VARIABLE VALUE.

However a test run ends, by Ctrl-C, SIGTERM or kill -9, the pipe to here is closed. What it had started may have gone
to sessions of its own, as Ray's processes do, and is known by a variable that all of it has inherited, or by its
parent: Ray's agents write their titles over the variables that they were started with.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import suppress

import psutil


def having(variable: str, value: str) -> Iterator[psutil.Process]:
    """The processes that were started with this variable, but not this one, each behind those that it has started."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.pid != os.getpid() and process.environ().get(variable) == value:
                yield from process.children(recursive=True)
                yield process


def main(variable: str, value: str) -> None:
    """Wait for the end of the tests; then kill until nothing is left, for what is killed may just have started more."""
    sys.stdin.read()
    while left := list(having(variable, value)):
        for process in left:
            with suppress(psutil.Error):
                process.kill()
        time.sleep(0.1)


if __name__ == "__main__":
    main(*sys.argv[1:])
