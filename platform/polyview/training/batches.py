"""Batches: a seeded order of samples that is the same for any number of workers, and what is done to each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from polyview.recipe import Training
from polyview.rendering.cameras import Camera
from polyview.rendering.store import ViewStore
from polyview.training.augmentation import Augmentation, Share, check_flip
from polyview.training.order import any_samples, check_people, check_size, count_steps, of_kinds, whole_people


@dataclass(frozen=True, eq=False)
class Batch:
    """One worker's part of a step: views (n, V, S, S, 3) uint8, or films (n, V, T, S, S, 3), and what varies them.

    `chosen` (N,) int64 are the samples of the global batch, by their places in `Batches.rows`. `draw` is a random
    number that all workers share, for what is chosen once a batch.
    """

    views: Tensor
    augmentation: Augmentation
    chosen: Tensor
    draw: int
    sample_ids: tuple[str, ...]

    @cached_property
    def images(self) -> Tensor:
        """The augmented images (n, V, 3, S, S) float32 in [0, 1], or films (n, V, T, 3, S, S), made on the device."""
        return self.augmentation.apply(to_images(self.views))

    def to(self, device: torch.device) -> Batch:
        """The same with its views on a device: a quarter of the bytes that its images have."""
        views = self.views.to(device, non_blocking=True)
        return replace(self, views=views, augmentation=self.augmentation.to(device))

    def tensors(self) -> Iterator[Tensor]:
        """All of it that lies on the device."""
        return (part for part in (self.views, *vars(self.augmentation).values()) if part is not None)


@dataclass(frozen=True, eq=False)
class Batches:
    """The samples `rows` of a store as seen by `cameras`; nothing else is known of them here.

    Epoch e's order and all its chances are seeded by (seed, e); incomplete last batches are dropped. `read` reads the
    views of an epoch's batches, given their rows; if None, each is taken from the store when it is its turn.

    `labelled` (len(rows),) says which samples may have their label read, None if that makes no difference to the order.
    Every batch then is of `batch_size` such samples, and of as many others if `with_others`: each kind is drawn by
    itself, over and over in permutations until the epoch's steps, as many as without, are full.
    """

    store: ViewStore
    rows: NDArray[np.int64]
    cameras: Sequence[Camera]
    training: Training
    seed: int
    read: Callable[[Sequence[NDArray[np.int64]]], Iterator[NDArray[np.uint8]]] | None = None
    labelled: NDArray[np.bool_] | None = None
    with_others: bool = False

    def __post_init__(self) -> None:
        check_size(len(self.rows), self.batch_size)
        if self.training.persons:
            check_people(self.owners, self.training.persons, self.batch_size // self.training.persons)
        if self.training.flip:
            check_flip(self.cameras)

    @property
    def batch_size(self) -> int:
        """Samples in a batch, of all workers together."""
        return self.training.batch_size

    @cached_property
    def owners(self) -> NDArray[np.int64]:
        """The subject of each sample as a number."""
        owners = np.array(self.store.labels("subject"))[self.rows]
        return np.unique(owners, return_inverse=True)[1].astype(np.int64)

    @cached_property
    def steps(self) -> int:
        """Batches per epoch."""
        people = self.training.persons
        return (
            count_steps(self.owners, people, self.batch_size // people) if people else len(self.rows) // self.batch_size
        )

    @property
    def size(self) -> int:
        """Samples per batch, those beside the labelled counted."""
        return self.batch_size * (2 if self.with_others else 1)

    def epoch(self, epoch: int, share: Share, first: int = 0, last: int | None = None) -> Iterator[Batch]:
        """This worker's part of every batch of one epoch, or of those from `first` up to and without `last`."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        choices = self._order(generator)[first:last]
        for _ in range(first):
            self._draw(generator)
        parts = [self.rows[share.of(chosen).numpy()] for chosen in choices]
        views = map(torch.from_numpy, self.read(parts)) if self.read else map(self._views, parts)
        for chosen, rows, seen in zip(choices, parts, views, strict=True):
            draw, augmentation = self._draw(generator)
            yield Batch(
                views=seen,
                augmentation=augmentation.share(share),
                chosen=chosen,
                draw=draw,
                sample_ids=tuple(self.store.sample_ids[row] for row in rows),
            )

    def _order(self, generator: torch.Generator) -> Tensor:
        """The samples of each of an epoch's batches, (steps, B) int64, by their places in `rows`."""
        people = self.training.persons
        if people:
            return whole_people(self.owners, people, self.batch_size // people, generator)
        if self.labelled is None:
            return any_samples(len(self.rows), self.batch_size, generator)
        kinds = (self.labelled, ~self.labelled) if self.with_others else (self.labelled,)
        return of_kinds(kinds, self.steps, self.batch_size, generator)

    def _draw(self, generator: torch.Generator) -> tuple[int, Augmentation]:
        """A batch's chances: all workers draw them for the whole of it, so that they have nothing to do with W."""
        draw = int(torch.randint(1 << 30, (), generator=generator))
        return draw, Augmentation.draw(self.training, self.size, len(self.cameras), generator)

    def _views(self, rows: NDArray[np.int64]) -> Tensor:
        """Some rows' views, in memory that a GPU can read by itself where there is one."""
        if not torch.cuda.is_available():
            # numpy asks for large pages, which torch does not: most of the time would go into small ones.
            return torch.from_numpy(self.store.gather(rows, self.cameras))
        views = torch.empty(self.store.shape(len(rows), len(self.cameras)), dtype=torch.uint8, pin_memory=True)
        self.store.gather(rows, self.cameras, out=views.numpy())
        return views

    def images(self, chosen: NDArray[np.int64], device: torch.device) -> Tensor:
        """Some samples, by their places in `rows`, as they are: images float32 in [0, 1], as in `Batch`."""
        return to_images(self._views(self.rows[chosen]).to(device))


def to_images(views: Tensor) -> Tensor:
    """A store's views (..., S, S, 3) uint8 as a tower takes them: (..., 3, S, S) float32 in [0, 1]."""
    return views.movedim(-1, -3).float().div_(255)
