"""Reading ahead: batches are read, and cross to the device, while the steps before them are taken."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Protocol, Self, TypeVar

import torch
from torch import Tensor

AHEAD = 2  # batches that wait; one more is being read

Item = TypeVar("Item")


class Movable(Protocol):
    """What can be put on a device."""

    def to(self, device: torch.device) -> Self:
        """The same on a device."""

    def tensors(self) -> Iterator[Tensor]:
        """All of it that lies there."""


Batch = TypeVar("Batch", bound=Movable)


def prefetch(items: Generator[Item]) -> Generator[Item]:
    """The items in their order, each made by a thread before its turn; what making one raises is raised in its turn."""
    with closing(items), ThreadPoolExecutor(max_workers=1) as thread:
        waiting = deque(thread.submit(next, items, None) for _ in range(AHEAD))
        while (item := waiting.popleft().result()) is not None:
            waiting.append(thread.submit(next, items, None))
            yield item


def on_device(batches: Generator[Batch], device: torch.device) -> Generator[Batch]:
    """The batches on a device, read ahead and copied beside what the device computes."""
    if device.type != "cuda":
        yield from prefetch(batch.to(device) for batch in batches)
        return
    copies = torch.cuda.Stream(device)

    def copied() -> Generator[tuple[Batch, torch.cuda.Event]]:
        for batch in batches:
            with torch.cuda.stream(copies):
                moved = batch.to(device)
            yield moved, copies.record_event()

    for batch, arrival in prefetch(copied()):
        computes = torch.cuda.current_stream(device)
        computes.wait_event(arrival)
        for tensor in batch.tensors():
            tensor.record_stream(computes)  # or its memory would be the next copy's before the step is done
        yield batch
