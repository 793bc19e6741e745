"""Embeddings with what is known about each sample: what every probe reads."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from polyview.storage.home import replacing


@dataclass(frozen=True, eq=False)
class Embedded:
    """N samples: `features` (N, D) float32, and each one's expression label, subject and name."""

    features: NDArray[np.float32]
    labels: list[str]
    subjects: list[str]
    names: list[str]

    def __post_init__(self) -> None:
        if not len(self.features) == len(self.labels) == len(self.subjects) == len(self.names):
            raise ValueError(
                f"{len(self.features)} features, {len(self.labels)} labels, {len(self.subjects)} subjects and "
                f"{len(self.names)} names do not belong together"
            )

    def of(self, subjects: Collection[str]) -> Embedded:
        """The samples of some subjects."""
        own = [place for place, subject in enumerate(self.subjects) if subject in subjects]
        chosen = ([column[n] for n in own] for column in (self.labels, self.subjects, self.names))
        return Embedded(self.features[own], *chosen)

    def save(self, path: Path) -> None:
        """Write as Parquet, whole or not at all: subject, expression, and embedding, an array of D float32."""
        features = pl.Series(self.features, dtype=pl.Array(pl.Float32, self.features.shape[1]))
        table = pl.DataFrame({"subject": self.subjects, "expression": self.labels, "embedding": features})
        with replacing(path) as temporary:
            table.write_parquet(temporary)


def centred(tested: Embedded, trained: Embedded) -> Embedded:
    """The `tested` samples, their features moved so that their mean is that of the `trained` ones.

    Another dataset's faces are often moved as a whole, and all look like one expression to a probe that does not know
    them. This takes that away without a label; but what is said of one face then depends on the others. It is right
    where both have the same shares of the classes. Source: the batch norms of Li et al. 2018, "Adaptive Batch
    Normalization for practical domain adaptation", on the embedding alone.
    """
    moved = trained.features.mean(axis=0, dtype=np.float64) - tested.features.mean(axis=0, dtype=np.float64)
    return replace(tested, features=(tested.features + moved).astype(np.float32))


def pooled(frames: Embedded, sequences: Sequence[str]) -> Embedded:
    """One sample per sequence and expression: the mean of its frames' features, which keep their mean length.

    `sequences` names each frame's, and then the sample. Order is that of each sequence's first frame.
    """
    places: dict[tuple[str, str, str], list[int]] = {}
    for place, key in enumerate(zip(frames.subjects, sequences, frames.labels, strict=True)):
        places.setdefault(key, []).append(place)
    if len(places) == len(sequences):
        return frames
    features = np.stack([frames.features[own].mean(axis=0) for own in places.values()])
    subjects, names, labels = (list(column) for column in zip(*places, strict=True))
    return Embedded(features, labels, subjects, names)
