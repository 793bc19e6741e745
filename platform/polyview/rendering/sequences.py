"""Sequences as samples: a store in which each row is a whole sequence, as one picture or one film a camera."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from polyview.corpus.manifest import SEQUENCE
from polyview.errors import UserError
from polyview.recipe import Modeling, Output
from polyview.rendering.cameras import Camera
from polyview.rendering.store import Part, ViewStore

Pooling = Literal["mean", "dynamic_image"]


def open_samples(path: Path, modeling: Modeling) -> ViewStore:
    """The store at `path` as samples: its frames, or its sequences as `modeling` wants them.

    Raises `UserError` where there is no store, or its sequences are too short for that.
    """
    store = ViewStore.open(path)
    match modeling.temporal:
        case "frame":
            return store
        case "attention":
            return FilmStore(store.folder, store.parts, modeling.frames)
        case pooling:
            return PooledStore(store.folder, store.parts, pooling)


class SequenceStore(ViewStore):
    """A view store whose rows are sequences; a row's id and labels are those of the sequence's most intense frame."""

    def __init__(self, folder: Path, parts: Sequence[Part]) -> None:
        super().__init__(folder, parts)
        frames = pl.DataFrame({"sample_id": self.parts[0].sample_ids()}).with_row_index("row")
        self._sequences = (
            frames.join(self.manifest.frame, on="sample_id", maintain_order="left")
            .sort("frame", maintain_order=True)
            .group_by(SEQUENCE, maintain_order=True)
            .agg("row", pl.col("sample_id").get(pl.col("intensity").arg_max()))
            .sort("sample_id")
        )

    def __len__(self) -> int:
        return len(self._sequences)

    @cached_property
    def sample_ids(self) -> list[str]:
        """One per row."""
        return self._sequences["sample_id"].to_list()

    def rows_in(self, sequence: int) -> NDArray[np.int64]:
        """The rows of a sequence's frames in the store of frames, in the order of time."""
        return np.array(self._sequences["row"][sequence], dtype=np.int64)


class PooledStore(SequenceStore):
    """Sequences as one picture a camera: the frames' `mean`, or their `dynamic_image` (approximate rank pooling).

    Raises `UserError` where a sequence has too few frames for it.
    """

    def __init__(self, folder: Path, parts: Sequence[Part], pooling: Pooling) -> None:
        super().__init__(folder, parts)
        self.pooling = pooling
        short = self._sequences.filter(pl.col("row").list.len() < 2)
        if pooling == "dynamic_image" and len(short):
            raise UserError(
                f"model.temporal: dynamic_image needs two frames or more, and sequence {short['sequence'][0]!r} has "
                "one; use frame"
            )

    def gather(
        self,
        rows: NDArray[np.int64],
        cameras: Sequence[Camera],
        output: Output | None = None,
        out: NDArray[np.uint8] | None = None,
    ) -> NDArray[np.uint8]:
        """The pooled views of some sequences, (B, V, size, size, 3) uint8; as `ViewStore.gather` does for frames."""
        pool = mean_image if self.pooling == "mean" else dynamic_image
        own = (self.rows_in(int(row)) for row in rows)
        return np.stack([pool(super(PooledStore, self).gather(some, cameras, output)) for some in own], out=out)


class FilmStore(SequenceStore):
    """Sequences as films of equally many frames a camera, each sequence's spread evenly over the whole of it.

    A sequence of fewer frames is shown more slowly: some of its frames repeat, and its first and last stay where they
    are. So every film has the same shape, whatever is trained with it. Raises `UserError` if all are single frames.
    Source: the sparse sampling of Wang et al. 2016, "Temporal Segment Networks".
    """

    def __init__(self, folder: Path, parts: Sequence[Part], frames: int) -> None:
        super().__init__(folder, parts)
        self.frames = frames
        if not (self._sequences["row"].list.len() > 1).any():
            raise UserError(
                "model.temporal: attention needs sequences of two frames or more, and all of these have one; use frame"
            )

    def shape(self, rows: int, cameras: int) -> tuple[int, ...]:
        """The shape of so many sequences' films: (B, V, T, size, size, 3)."""
        return rows, cameras, self.frames, self.size, self.size, 3

    def gather(
        self,
        rows: NDArray[np.int64],
        cameras: Sequence[Camera],
        output: Output | None = None,
        out: NDArray[np.uint8] | None = None,
    ) -> NDArray[np.uint8]:
        """The films of some sequences, (B, V, T, size, size, 3) uint8; as `ViewStore.gather` does for frames."""
        frames = [own[evenly(len(own), self.frames)] for own in map(self.rows_in, rows.tolist())]
        views = super().gather(np.concatenate(frames), cameras, output)
        films = views.reshape(len(rows), self.frames, *views.shape[1:])
        found = np.empty(self.shape(len(rows), len(cameras)), np.uint8) if out is None else out
        np.copyto(found, films.swapaxes(1, 2))
        return found


def evenly(count: int, chosen: int) -> NDArray[np.int64]:
    """The places of `chosen` items spread evenly over `count`, the first and the last among them; some may repeat."""
    return np.rint(np.linspace(0, count - 1, chosen)).astype(np.int64)


def mean_image(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The mean over the first axis, (T, …) to (…), rounded."""
    return np.rint(frames.mean(axis=0)).astype(np.uint8)


def dynamic_image(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """What moved: frames (T, …) to (…), frame t of T weighted by 2t - T - 1, stretched to 0..255 as a whole.

    Approximate rank pooling (Bilen et al. 2016, "Dynamic Image Networks for Action Recognition"). Where nothing moved
    it is grey. A film that ends where it began, neutral to apex to neutral, cancels itself out: `corpus.frames: rise`.
    """
    weights = 2.0 * np.arange(1, len(frames) + 1) - len(frames) - 1
    moved = np.tensordot(weights, frames.astype(np.float64), axes=1)
    low, high = moved.min(), moved.max()
    if low == high:
        return np.full(moved.shape, 128, np.uint8)
    return np.rint((moved - low) * (255 / (high - low))).astype(np.uint8)
