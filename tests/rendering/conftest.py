from __future__ import annotations

import math

import numpy as np
import pytest

from polyview.corpus.mesh import Mesh


@pytest.fixture(scope="session")
def head() -> Mesh:
    """A bumpy, unsymmetrical egg with a nose, 80 mm in radius, in smoothly varying colours."""
    around, down = np.meshgrid(np.linspace(0, 2 * np.pi, 48, endpoint=False), np.linspace(0.01, np.pi - 0.01, 40))
    bumps = 80 * (1 + 0.08 * np.sin(5 * around + 1) * np.sin(4 * down))
    bumps += 25 * np.exp(-(((around - 0.1) / 0.25) ** 2) - ((down - math.pi / 2) / 0.25) ** 2)
    vertices = np.stack(
        [bumps * np.sin(down) * np.sin(around), 1.2 * bumps * np.cos(down), bumps * np.sin(down) * np.cos(around)], -1
    ).reshape(-1, 3)
    index = np.arange(around.size).reshape(around.shape)
    right = np.roll(index, -1, axis=1)
    upper = np.stack([index[:-1], index[1:], right[:-1]], -1).reshape(-1, 3)
    lower = np.stack([right[:-1], index[1:], right[1:]], -1).reshape(-1, 3)
    return Mesh(
        vertices=vertices.astype(np.float32),
        faces=np.concatenate([upper, lower]).astype(np.int32),
        colors=(128 + 100 * np.sin(vertices / 17 + [0, 1, 2])).astype(np.uint8),
    )
