"""What was drawn is looked at: pictures that hardly show a face are told, with why and what to set."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from polyview.corpus.mesh import Mesh, nose_tip
from polyview.corpus.orientation import HEAD, extent
from polyview.recipe import Rendering
from polyview.rendering.cameras import Camera
from polyview.wording import agreeing, counted

LEAST, MOST = 0.05, 0.98
"""Shares of a picture that a face covers, beyond which something is amiss."""
_STEP = 2
"""Every second pixel each way tells as much."""
DOUBTS = pl.Schema({"sample_id": pl.String, "path": pl.String, "kind": pl.String, "reason": pl.String})
"""kind: `view` of a picture that was drawn, `guess` of what was taken of a mesh without being told."""


def doubt_of(views: NDArray[np.uint8], mesh: Mesh, cameras: Sequence[Camera], rendering: Rendering) -> str | None:
    """What is suspicious about the first such view of (V, size, size, 3), why, and what to set; None if nothing is.

    A view is, of which less than 5 % or more than 98 % is face, or whose face has one colour.
    """
    if rendering.shading in ("depth", "normal"):
        return None
    for camera, view in zip(cameras, views, strict=True):
        pixels = view[::_STEP, ::_STEP].reshape(-1, 3)
        drawn = pixels[(pixels != np.array(rendering.background, np.uint8)).any(axis=-1)]
        share = len(drawn) / len(pixels)
        if not LEAST <= share <= MOST:
            return f"{camera.name} is {share:.0%} face: {_cause(mesh, rendering)}"
        if not np.ptp(drawn, axis=0).any():
            return f"{camera.name} has one colour: the mesh has no others; set rendering.shading: shaded"
    return None


def _cause(mesh: Mesh, rendering: Rendering) -> str:
    longest = float(mesh.sides.max())
    if not HEAD[0] <= longest <= HEAD[1]:
        return f"the mesh is {extent(mesh)} mm large; set corpus.geometry.unit, or rendering.framing: whole"
    if rendering.framing == "whole":
        return "the mesh is not where it is framed; set corpus.geometry.axes"
    nose = ", ".join(f"{place:.0f}" for place in nose_tip(mesh))
    return f"its nose was taken to be at ({nose}); set corpus.geometry.axes, or rendering.radius or framing: whole"


def summary_of(doubts: pl.DataFrame, total: int) -> list[str]:
    """A line for each guess and for the suspicious views, with how many of `total` faces it is about."""
    guesses = doubts.filter(pl.col("kind") == "guess").group_by("reason").len().sort("len", descending=True)
    lines = [f"{count} of {counted(total, 'mesh', 'meshes')} {reason}" for reason, count in guesses.head(3).iter_rows()]
    views = doubts.filter(pl.col("kind") == "view")
    if len(views):
        faces, first = views["sample_id"].n_unique(), f"{views['path'][0]}: {views['reason'][0]}"
        lines.append(f"{faces} of {counted(total, 'face')} {agreeing(faces, 'has', 'have')} suspicious views; {first}")
    return lines
