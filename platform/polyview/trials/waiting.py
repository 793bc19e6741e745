"""Says that a cluster has no machine yet for what it is asked for: how long that lasts, and at last what to look at."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from polyview.parallel import machines
from polyview.trials.capacity import Demand, Node, describe_machines, describe_worker, fitting_workers
from polyview.trials.watcher import duration

LOOKS_SECONDS = 5.0
PATIENCE_SECONDS = (30.0, 120.0, 300.0, 600.0)  # after which it is said; then every ten minutes
LONG_SECONDS = 600.0
REMEDY = (
    "if none comes: `ray exec cluster.yaml 'ray status; tail /tmp/ray/session_latest/logs/monitor.out'` tells whether "
    "it is the account's quota, the image's id, or that there is no spot machine to be had"
)


class MachineWait:
    """Tells, now and then, that machines are waited for: what one worker needs, what there is, and for how long.

    `is_waiting` says whether nothing has begun yet; `machines` what is there now.
    """

    def __init__(
        self,
        asked: Demand,
        is_waiting: Callable[[], bool],
        machines: Callable[[], Sequence[Node]],
        say: Callable[[str], None],
    ) -> None:
        self.asked, self.is_waiting, self.machines, self.say = asked, is_waiting, machines, say
        self.since: float | None = None
        self.said = 0

    def look(self, now: float) -> None:
        """Look at a moment, in seconds of any clock, and say what there is to say."""
        if not self.is_waiting():
            self.since = None
            return
        if self.since is None:
            self.since, self.said = now, 0
        waited = now - self.since
        if waited < self._patience():
            return
        self.said += 1
        there = self.machines()
        none = "none is free" if fitting_workers(there, self.asked) else "none is large enough"
        text = f"waiting for machines, {duration(waited)} by now: a worker needs {describe_worker(self.asked)}; "
        text += f"of those that are there ({describe_machines(there, self.asked)}) {none}"
        self.say(f"{text}; {REMEDY}" if waited >= LONG_SECONDS else text)

    def _patience(self) -> float:
        further = self.said - len(PATIENCE_SECONDS) + 1
        return PATIENCE_SECONDS[min(self.said, len(PATIENCE_SECONDS) - 1)] + max(0, further) * LONG_SECONDS


@contextmanager
def saying_of_machines(asked: Demand, is_waiting: Callable[[], bool], say: Callable[[str], None]) -> Iterator[None]:
    """Say in the meantime where a cluster's machines are waited for; a machine of one's own is there already."""
    if not os.environ.get("RAY_ADDRESS"):
        yield
        return
    ended, wait = threading.Event(), MachineWait(asked, is_waiting, living_nodes, say)

    def look() -> None:
        while not ended.wait(LOOKS_SECONDS):
            wait.look(time.monotonic())

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def living_nodes() -> list[Node]:
    """The machines that the cluster has now."""
    return [*map(Node.of, machines())]
