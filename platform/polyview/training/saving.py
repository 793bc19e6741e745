"""When a training is checkpointed, and the thread that writes it while training goes on."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from polyview.training.checkpoint import Checkpoint, Snapshot


@dataclass(frozen=True)
class CheckpointTimes:
    """When checkpoints are made besides the one at the end: at the most that an interruption may lose.

    seconds: of training from one to the next, in mid-epoch too; 0: after every epoch. epochs: also after each so many,
    because somebody looks at those; 0: nobody does.
    """

    seconds: float = 300.0
    epochs: int = 0

    def is_due(self, since: float) -> bool:
        """Whether one is due in mid-epoch, so many seconds after the last."""
        return 0 < self.seconds <= since

    def is_due_after(self, epoch: int, since: float) -> bool:
        """Whether one is due after an epoch, counted from 1, so many seconds after the last."""
        return since >= self.seconds or self.is_looked_at(epoch)

    def is_looked_at(self, epoch: int) -> bool:
        """Whether the checkpoint of an epoch has to be there once the epoch is over."""
        return bool(self.epochs) and epoch % self.epochs == 0


USUAL_TIMES = CheckpointTimes()


class CheckpointWriter:
    """Writes one snapshot after another to a folder; what fails in that is raised by whatever is called next."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.last = folder, time.monotonic()
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._writing: Future[Checkpoint] | None = None

    @property
    def since(self) -> float:
        """Seconds since the last snapshot."""
        return time.monotonic() - self.last

    def write(self, snapshot: Snapshot) -> None:
        """Begin to write a snapshot, once the one before is written."""
        self.wait()
        self._writing, self.last = self._thread.submit(snapshot.write, self.folder), time.monotonic()

    def wait(self) -> None:
        """Until all is written."""
        writing, self._writing = self._writing, None
        if writing:
            writing.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._thread:
            self.wait()
