"""Leases: which of several processes, on whatever machine, works below a key of a bucket.

A lease is an object that its holder writes anew while it works. One that has not been written for as long as it
promises is its holder's no more, and the next takes it over; time is told by the store's clock alone. Every change
is conditional on the object that was seen before, so of two that want it exactly one gets it.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from polyview.errors import UserError
from polyview.storage.bucket import Bucket, Found

SECONDS = 30.0
"""For how long a lease is good once it was written; it is written anew three times in that time."""

_PAUSE = 0.5
_held: list[Lease] = []


class Lease:
    """One lease as its holder has it."""

    def __init__(self, bucket: Bucket, key: str) -> None:
        self.bucket, self.key = bucket, key
        self.owner = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._tag: str | None = None
        self._written = 0.0
        self._lost = False
        self._mutex = threading.Lock()

    def take(self, wait: bool) -> None:
        """Become the holder; waits for who holds it, or raises `BlockingIOError` once they are seen to be alive."""
        first: str | None = None
        while True:
            found = self.bucket.get(self.key)
            if found and self._is_mine(found):
                return
            if found and not _is_free(found):
                first = first or found.tag
                if not wait and found.tag != first:
                    raise BlockingIOError(self.bucket.address(self.key))
                time.sleep(_PAUSE)
                continue
            with suppress(FileExistsError):
                self._write(found.tag if found else None)
                return

    def check(self) -> None:
        """Raises `UserError` if another process has taken the lease over, as it may where this one slept."""
        with self._mutex:
            if not self._lost and time.monotonic() - self._written > SECONDS / 2:
                self._renew()
            if self._lost:
                raise UserError(
                    f"{self.bucket.address(self.key)}: this process was silent for {SECONDS:.0f} s, and another has "
                    "taken over its work"
                )

    def keep(self, over: threading.Event) -> None:
        """Renew the lease until it is `over`."""
        while not over.wait(SECONDS / 3):
            with self._mutex, suppress(UserError):  # a store that is away may come back in time
                if not self._lost:
                    self._renew()

    def release(self) -> None:
        """Let the next have it."""
        with self._mutex, suppress(FileExistsError, UserError):
            if not self._lost:
                self.bucket.put(self.key, b"", self._tag)

    def _renew(self) -> None:
        try:
            self._write(self._tag)
        except FileExistsError:
            found = self.bucket.get(self.key)
            self._lost = not (found and self._is_mine(found))

    def _is_mine(self, found: Found) -> bool:
        """Whether this holder wrote it: where an answer is lost on its way, the second attempt finds the first's."""
        mine = bool(found.body) and json.loads(found.body)["owner"] == self.owner
        if mine:
            self._tag, self._written = found.tag, time.monotonic() - found.age
        return mine

    def _write(self, over: str | None) -> None:
        promise = {"owner": self.owner, "seconds": SECONDS, "written": time.time()}
        self._tag = self.bucket.put(self.key, json.dumps(promise).encode(), over)
        self._written = time.monotonic()


@contextmanager
def leased(bucket: Bucket, key: str, wait: bool) -> Iterator[None]:
    """Hold the lease at `key` for this process; raises `BlockingIOError` if it is not to wait and another has it."""
    lease, over = Lease(bucket, key), threading.Event()
    lease.take(wait)
    keeper = threading.Thread(target=lease.keep, args=[over], daemon=True)
    keeper.start()
    _held.append(lease)
    try:
        yield
    finally:
        _held.remove(lease)
        over.set()
        keeper.join()
        lease.release()


def check_leases(bucket: Bucket, key: str) -> None:
    """Raises `UserError` if `key` lies in a folder whose lease this process has lost: what it knows of it is old."""
    for lease in list(_held):
        if lease.bucket is bucket and key.startswith(lease.key.rpartition("/")[0] + "/"):
            lease.check()


def _is_free(found: Found) -> bool:
    return not found.body or found.age > json.loads(found.body)["seconds"]
