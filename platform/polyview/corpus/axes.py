"""How the meshes of a whole dataset lie, and in which units: what nearly all of those show that are looked at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import polars as pl

from polyview.corpus.mesh import MeshError, faults_of_the_mesh
from polyview.corpus.orientation import UPRIGHT, Way
from polyview.recipe import Axes, Geometry
from polyview.wording import agreeing, counted

LOOKED_AT = 16
NEARLY_ALL = 0.75


@dataclass(frozen=True)
class Look:
    """What one mesh shows by itself: the ways of up and front, if they show, and its unit, if that is not told."""

    path: str
    ways: tuple[Way, Way] | None
    unit: str | None


def common_axes(looks: Sequence[Look]) -> tuple[Axes | None, list[str]]:
    """The axes of all files by those that were looked at, None where they lie as they should or it does not show; and
    remarks.

    One mesh by itself is misread now and then, and a single one that is turned wrongly is a face upside down among
    others. The meshes of a dataset lie alike, so all are turned or none is.
    """
    found = [look.ways for look in looks]
    if not found:
        return None, []
    ways, count = Counter(found).most_common(1)[0]
    if ways not in (None, UPRIGHT) and count >= NEARLY_ALL * len(found):
        axes = Axes.model_validate({"up": str(ways[0]), "front": str(ways[1])})
        told = f"corpus.geometry.axes: {{up: {axes.up}, front: {axes.front}}}"
        some = f"{count} of {_looked_at(found)} {agreeing(count, 'is', 'are')}"
        return axes, [f"{some} not upright, so all are turned ({told})"]
    others = sum(one not in (None, UPRIGHT) for one in found)
    if not others and ways is None:
        return None, [
            f"of {count} of {_looked_at(found)} it does not show which way they lie, so all are drawn as "
            "they lie; look at the sheet, and set corpus.geometry.axes if they are not upright"
        ]
    if not others:
        return None, []
    return None, [
        f"{others} of {_looked_at(found)} may not be upright, but too few agree, so all are drawn as they "
        "lie; look at the sheet, and set corpus.geometry.axes if they lie otherwise"
    ]


def _looked_at(found: Sequence[object]) -> str:
    return counted(len(found), "mesh looked at", "meshes looked at")


def look_at(faces: pl.DataFrame, root: str, geometry: Geometry) -> Iterator[Look]:
    """Some meshes, spread over a manifest's rows; those that cannot be read are passed over."""
    # The readers bring a compiler, which takes a second to import.
    from polyview.corpus.formats.landmarks import find_landmarks
    from polyview.corpus.formats.reader import read_mesh
    from polyview.corpus.geometry import shown_axes, shown_unit
    from polyview.corpus.tidy import tidied

    rows = faces.sort("path")[:: max(1, len(faces) // LOOKED_AT)].head(LOOKED_AT)
    for row in rows.iter_rows(named=True):
        unit = row.get("unit") or geometry.unit
        try:
            mesh, landmarks = read_mesh(row["path"], row["texture"], root), find_landmarks(row["path"], root)
            with faults_of_the_mesh():
                mesh = tidied(mesh)
                ways = shown_axes(mesh, landmarks, unit)
                look = Look(row["path"], ways, shown_unit(mesh) if unit == "auto" else None)
            yield look
        except MeshError:
            continue
