"""How distances become levels of grey, and how to get them back."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from polyview.recipe import Rendering

NEAREST, CENTRE, FARTHEST = 255, 128, 1
"""Levels of the ball that the cameras look at: its front, its centre, its back. 0 is where nothing is drawn."""


class DepthScale(BaseModel):
    """What a level stands for: `step` for one level, counted from `centre` towards the camera.

    With framing `whole` every mesh fills the picture, so its distances are in radii of the sphere around it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    unit: Literal["millimetres", "radii"]
    step: float
    centre: int = CENTRE

    def decode(self, levels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """How far towards the camera from the framing's centre, in `unit`; NaN where nothing is drawn."""
        towards = (levels.astype(np.float32) - self.centre) * np.float32(self.step)
        return np.where(levels == 0, np.float32(np.nan), towards)


def depth_scale(rendering: Rendering) -> DepthScale | None:
    """The scale of what this recipe draws; None where it draws no depth."""
    if "depth" not in (rendering.shading, *rendering.outputs):
        return None
    whole = rendering.framing == "whole"
    return DepthScale(
        unit="radii" if whole else "millimetres", step=(1.0 if whole else rendering.radius) / (NEAREST - CENTRE)
    )


def encode(depth: NDArray[np.float32], centre: float, radius: float) -> NDArray[np.uint8]:
    """Levels of distances from the camera in millimetres; 0 where the distance is 0. Beyond the ball they stop."""
    towards = (centre - depth) * np.float32((NEAREST - CENTRE) / radius)
    levels = np.clip(np.floor(towards + np.float32(CENTRE + 0.5)), FARTHEST, NEAREST).astype(np.uint8)
    return np.where(depth == 0, np.uint8(0), levels)
