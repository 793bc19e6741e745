"""Batches: a seeded order of samples that is the same for any number of workers, and augmentation of views."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from polyview.errors import UserError
from polyview.rendering.cameras import Camera
from polyview.rendering.store import ViewStore


@dataclass(frozen=True)
class Share:
    """A worker's share of the global batch: rank `rank` of `size` workers."""

    rank: int = 0
    size: int = 1

    def of(self, items: Tensor) -> Tensor:
        """This worker's contiguous slice of the first dimension, which must divide by the number of workers."""
        each = len(items) // self.size
        return items[self.rank * each : (self.rank + 1) * each]


@dataclass(frozen=True, eq=False)
class Batch:
    """One worker's part of a step: images (n, V, 3, S, S) float in [0, 1], or films (n, V, T, 3, S, S).

    `chosen` (N,) int64 are the samples of the global batch, by their places in `Batches.rows`. `draw` is a random
    number that all workers share, for what is chosen once a batch.
    """

    images: Tensor
    chosen: Tensor
    draw: int
    sample_ids: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Batches:
    """The samples `rows` of a store as seen by `cameras`; nothing else is known of them here.

    Epoch e's order is a permutation seeded by (seed, e); incomplete last batches are dropped. `read` reads the views
    of an epoch's batches, given their rows; if None, each is taken from the store when it is its turn.

    `labelled` (len(rows),) says which samples may have their label read, None if that makes no difference to the order.
    Every batch then is of `batch_size` such samples, and of as many others if `with_others`: each kind is drawn by
    itself, over and over in permutations until the epoch's steps, as many as without, are full.
    """

    store: ViewStore
    rows: NDArray[np.int64]
    cameras: Sequence[Camera]
    batch_size: int
    seed: int
    augment: bool
    read: Callable[[Sequence[NDArray[np.int64]]], Iterator[NDArray[np.uint8]]] | None = None
    labelled: NDArray[np.bool_] | None = None
    with_others: bool = False

    def __post_init__(self) -> None:
        if len(self.rows) < self.batch_size:
            raise UserError(
                f"training.batch_size is {self.batch_size} and there are {len(self.rows)} samples to train on; "
                "lower it, or bring more faces"
            )

    @property
    def steps(self) -> int:
        """Batches per epoch."""
        return len(self.rows) // self.batch_size

    @property
    def size(self) -> int:
        """Samples per batch, those beside the labelled counted."""
        return self.batch_size * (2 if self.with_others else 1)

    def epoch(self, epoch: int, share: Share, first: int = 0) -> Iterator[Batch]:
        """This worker's part of every batch of one epoch, or of those from `first` on."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        order = self._order(generator)
        for _ in range(first):
            self._draw(generator)
        choices = list(order[first:])
        parts = [self.rows[share.of(chosen).numpy()] for chosen in choices]
        views = self.read(parts) if self.read else (self.store.gather(rows, self.cameras) for rows in parts)
        for chosen, rows, seen in zip(choices, parts, views, strict=True):
            draw, augmentation = self._draw(generator)
            images = to_images(seen)
            yield Batch(
                images=augmentation.share(share).apply(images) if augmentation else images,
                chosen=chosen,
                draw=draw,
                sample_ids=tuple(self.store.sample_ids[row] for row in rows),
            )

    def _order(self, generator: torch.Generator) -> Tensor:
        """The samples of each of an epoch's batches, (steps, B), by their places in `rows`."""
        shape = (self.steps, self.size)
        if self.labelled is None:
            return torch.randperm(len(self.rows), generator=generator)[: math.prod(shape)].view(shape)
        kinds = (self.labelled, ~self.labelled) if self.with_others else (self.labelled,)
        drawn = [
            _repeated(np.flatnonzero(kind), self.steps * self.batch_size, generator).view(self.steps, -1)
            for kind in kinds
        ]
        # Mixed: where a batch goes through the tower in parts, batch norm should find both kinds in each.
        mixed = torch.rand(shape, generator=generator).argsort(dim=1)
        return torch.cat(drawn, dim=1).gather(1, mixed)

    def _draw(self, generator: torch.Generator) -> tuple[int, Augmentation | None]:
        """A batch's chances: all workers draw them for the whole of it, so that they have nothing to do with W."""
        draw = int(torch.randint(1 << 30, (), generator=generator))
        return draw, Augmentation.draw(self.size, len(self.cameras), generator) if self.augment else None

    def images(self, chosen: NDArray[np.int64]) -> Tensor:
        """Some samples, by their places in `rows`, as they are: images float32 in [0, 1], as in `Batch`."""
        return to_images(self.store.gather(self.rows[chosen], self.cameras))


@dataclass(frozen=True, eq=False)
class Augmentation:
    """A small random turn, zoom and shift (B, V, 2, 3), gain and offset of each channel (B, V, 3, 1, 1) each."""

    warp: Tensor
    gain: Tensor
    offset: Tensor

    @classmethod
    def draw(cls, samples: int, views: int, generator: torch.Generator) -> Augmentation:
        """Independent draws for every view; all frames of a film have the same, so that what moves is the face.

        Turn within 10 degrees, zoom within 10 %, shift within 5 % of the picture, light within 20 %.
        """

        def uniform(bound: float, *shape: int) -> Tensor:
            return (torch.rand(samples, views, *shape, generator=generator) * 2 - 1) * bound

        angle, zoom, shift = uniform(math.radians(10)), 1 + uniform(0.1), uniform(0.1, 2)
        cos, sin = angle.cos() * zoom, angle.sin() * zoom
        warp = torch.stack(
            [torch.stack([cos, -sin, shift[..., 0]], dim=-1), torch.stack([sin, cos, shift[..., 1]], dim=-1)], dim=-2
        )
        gain = 1 + uniform(0.2, 1, 1, 1) + uniform(0.05, 3, 1, 1)
        return cls(warp, gain, uniform(0.1, 1, 1, 1))

    def share(self, share: Share) -> Augmentation:
        """One worker's part."""
        return Augmentation(share.of(self.warp), share.of(self.gain), share.of(self.offset))

    def apply(self, images: Tensor) -> Tensor:
        """Augment images (B, V, 3, S, S) or films (B, V, T, 3, S, S) in [0, 1].

        The border is repeated where the picture moved away.
        """
        # A store's pictures have their colours side by side; a warp reads planes faster.
        films = images.contiguous().unflatten(1, (-1, 1)) if images.dim() == 5 else images.contiguous()
        lit = (films * self.gain[:, :, None]).add_(self.offset[:, :, None]).clamp_(0, 1).flatten(0, 2)
        warp = self.warp.flatten(0, 1).repeat_interleave(films.shape[2], dim=0)
        grid = _affine_grid(warp, images.shape[-1])
        warped = functional.grid_sample(lit, grid, padding_mode="border", align_corners=False)
        return warped.reshape(images.shape)


def _repeated(places: NDArray[np.int64], count: int, generator: torch.Generator) -> Tensor:
    """The first `count` of the permutations of some places, one after another."""
    rounds = math.ceil(count / len(places))
    orders = [torch.randperm(len(places), generator=generator) for _ in range(rounds)]
    return torch.from_numpy(places)[torch.cat(orders)[:count]]


def to_images(views: NDArray[np.uint8]) -> Tensor:
    """A store's views (..., S, S, 3) as a tower takes them: (..., 3, S, S) float32 in [0, 1]."""
    return torch.from_numpy(views).movedim(-1, -3).float().div_(255)


def _affine_grid(warp: Tensor, size: int) -> Tensor:
    """torch's `affine_grid` of warps (N, 2, 3) for square pictures, (N, size, size, 2), in a tenth of its time.

    What a row and what a column adds is computed once each, and each coordinate is a plane.
    """
    centres = (2 * torch.arange(size) + 1) / size - 1
    across = warp[..., 0, None] * centres
    down = warp[..., 1, None] * centres + warp[..., 2, None]
    return (down[..., None] + across[..., None, :]).permute(0, 2, 3, 1)
