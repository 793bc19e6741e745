from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from polyview.evaluation.embedded import Embedded

MakeEmbedded = Callable[..., Embedded]


@pytest.fixture
def make_embedded() -> MakeEmbedded:
    """Faces with a direction for each class, one for each subject, and noise."""

    def make(
        prefix: str, subjects: int = 12, classes: int = 4, repeats: int = 3, width: int = 16, noise: float = 0.05
    ) -> Embedded:
        directions = np.random.default_rng(0).standard_normal((classes, width))
        generator = np.random.default_rng(sum(map(ord, prefix)))
        traits = 0.3 * generator.standard_normal((subjects, width))
        who, what = (axis.ravel() for axis in np.indices((subjects, classes, repeats))[:2])
        features = directions[what] + traits[who] + noise * generator.standard_normal((len(who), width))
        return Embedded(
            features=features.astype(np.float32),
            labels=[f"class{k}" for k in what],
            subjects=[f"{prefix}{s}" for s in who],
            names=[f"{prefix}{place}" for place in range(len(who))],
        )

    return make
