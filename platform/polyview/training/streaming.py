"""Pictures that are read ahead by Ray Data, wherever it has room, and kept nowhere: for stores larger than a disk."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polyview.errors import UserError
from polyview.parallel import in_parallel
from polyview.recipe import Modeling
from polyview.rendering.cameras import Camera
from polyview.rendering.sequences import open_samples
from polyview.rendering.store import ViewStore, fetch_contents

AHEAD = 4  # batches that are read at once


@dataclass(frozen=True)
class Reader:
    """Reads one batch's views; what a user can fix comes back as `error`, for Ray buries exceptions in tracebacks."""

    store: Path
    modeling: Modeling
    cameras: tuple[Camera, ...]

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        try:
            store = _opened(self)
            return {"views": store.gather(np.asarray(batch["rows"], np.int64), self.cameras), "error": ""}
        except UserError as error:
            return {"views": np.empty(0, np.uint8), "error": str(error)}


def stream(
    store: Path, modeling: Modeling, cameras: Sequence[Camera], batches: Sequence[NDArray[np.int64]]
) -> Iterator[NDArray[np.uint8]]:
    """The views of each batch of rows in turn, uint8, as `gather` of the recipe's samples gives them.

    Raises `UserError` where the store cannot be read.
    """
    rows = [{"rows": batch.tolist()} for batch in batches]
    reader, at_once = Reader(store, modeling, tuple(cameras)), min(AHEAD, len(rows))
    # They wait for a bucket rather than compute: were a CPU asked for, trials that occupy all would wait for ever.
    for row in in_parallel(reader, rows, ordered=True, num_cpus=0, concurrency=at_once):
        yield row["views"].copy()  # what lies in Ray's memory may not be written to, of which torch warns


@functools.cache
def _opened(reader: Reader) -> ViewStore:
    """Open a reader's store, once in a process of Ray's; by the next of other cameras it may have a part more."""
    fetch_contents(reader.store)
    return open_samples(reader.store, reader.modeling)
