"""Sequences as samples: a store in which each row is a whole sequence, its frames pooled into one picture a camera."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from polyview.errors import UserError
from polyview.recipe import Output
from polyview.rendering.cameras import Camera
from polyview.rendering.store import Part, ViewStore

Pooling = Literal["mean", "dynamic_image"]
Temporal = Literal["frame"] | Pooling


def open_samples(path: Path, temporal: Temporal) -> ViewStore:
    """The store at `path` as samples: its frames, or its sequences; raises `UserError` where there is none."""
    store = ViewStore.open(path)
    return store if temporal == "frame" else SequenceStore(store.folder, store.parts, temporal)


class SequenceStore(ViewStore):
    """A view store whose rows are sequences; a row's id and labels are those of the sequence's most intense frame.

    `mean` is the frames' mean picture, `dynamic_image` their approximate rank pooling. Raises `UserError` where a
    sequence has too few frames for it.
    """

    def __init__(self, folder: Path, parts: Sequence[Part], pooling: Pooling) -> None:
        super().__init__(folder, parts)
        self.pooling = pooling
        frames = pl.DataFrame({"sample_id": self.parts[0].sample_ids()}).with_row_index("row")
        self._sequences = (
            frames.join(self.manifest.frame, on="sample_id", maintain_order="left")
            .sort("frame", maintain_order=True)
            .group_by("subject", "sequence", "expression", maintain_order=True)
            .agg("row", pl.col("sample_id").get(pl.col("intensity").arg_max()))
            .sort("sample_id")
        )
        short = self._sequences.filter(pl.col("row").list.len() < 2)
        if pooling == "dynamic_image" and len(short):
            raise UserError(
                f"model.temporal: dynamic_image needs two frames or more, and sequence {short['sequence'][0]!r} has "
                "one; use frame"
            )

    def __len__(self) -> int:
        return len(self._sequences)

    @cached_property
    def sample_ids(self) -> list[str]:
        """One per row."""
        return self._sequences["sample_id"].to_list()

    def gather(
        self, rows: NDArray[np.int64], cameras: Sequence[Camera], output: Output | None = None
    ) -> NDArray[np.uint8]:
        """The pooled views of some sequences, (B, V, size, size, 3) uint8; as `ViewStore.gather` does for frames."""
        pool = mean_image if self.pooling == "mean" else dynamic_image
        frames = self._sequences["row"]
        own = (np.array(frames[int(row)], dtype=np.int64) for row in rows)
        return np.stack([pool(super(SequenceStore, self).gather(some, cameras, output)) for some in own])


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
