"""The CPUs of one machine, which the studies that a user runs there at once share trial by trial."""

from __future__ import annotations

import fcntl
import time
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from polyview.environment import is_own_folder, own_temporary_folder

POLL_SECONDS = 0.2


def shared_folder() -> Path:
    """Where the lock files of this user's trials are."""
    return own_temporary_folder() / "cpus"


class CpuShare:
    """So many of a machine's CPUs, of which each is one trial's at a time.

    They are lock files, so that a process which dies lets go of them. Trials take turns in waiting: the one whose turn
    it is keeps what it has until it has all that it asks for. Where no lock file can be made, or somebody else has made
    the folder, nothing is shared, and nobody waits.

    asked: how many; all of them where that is more than there are. total: how many the machine has.
    """

    def __init__(self, asked: int, total: int, folder: Path | None = None) -> None:
        self.folder = folder or shared_folder()
        self.asked, self.total = min(asked, total), total
        self.held: dict[int, TextIO] = {}
        self.turn: TextIO | None = None
        if not (is_own_folder(self.folder.parent) and is_own_folder(self.folder)):
            self.asked = 0

    def acquire(self, patience: float) -> bool:
        """Wait for the CPUs for so many seconds; returns whether all that were asked for are held now."""
        end = time.monotonic() + patience
        while not self._try():
            if time.monotonic() >= end:
                return False
            time.sleep(POLL_SECONDS)
        return True

    def release(self) -> None:
        """Let go of all, and of one's turn."""
        for lock in (*self.held.values(), *([self.turn] if self.turn else ())):
            lock.close()
        self.held, self.turn = {}, None

    def _try(self) -> bool:
        if len(self.held) < self.asked:
            self.turn = self.turn or self._lock("turn")
            free = (number for number in range(self.total) if number not in self.held) if self.turn else ()
            for number in free:
                if len(self.held) < self.asked and (lock := self._lock(str(number))):
                    self.held[number] = lock
        if len(self.held) < self.asked:
            return False
        if self.turn:
            self.turn.close()
            self.turn = None
        return True

    def _lock(self, name: str) -> TextIO | None:
        try:
            handle = (self.folder / name).open("w")
        except OSError:
            self.asked = 0
            return None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            handle.close()
            if not isinstance(error, BlockingIOError):  # a file system without locks
                self.asked = 0
            return None
        return handle


def count_held(folder: Path | None = None) -> int:
    """How many CPUs trials of this user hold now."""
    held = 0
    for path in (folder or shared_folder()).glob("[0-9]*"):
        with suppress(OSError), path.open("r") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                held += 1
    return held
