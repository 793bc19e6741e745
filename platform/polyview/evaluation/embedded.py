"""Embeddings with what is known about each sample: what every probe reads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Embedded:
    """N samples: `features` (N, D) float32, and each one's expression label and subject."""

    features: NDArray[np.float32]
    labels: list[str]
    subjects: list[str]

    def __post_init__(self) -> None:
        if not len(self.features) == len(self.labels) == len(self.subjects):
            raise ValueError(
                f"{len(self.features)} features, {len(self.labels)} labels and {len(self.subjects)} subjects "
                "do not belong together"
            )
