"""Which units the files of a dataset are taken to have: a guess for each, so one that differs is told."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

USUAL = "millimetres"
"""Of which nothing is said where they are guessed."""
_GUESS = re.compile(r"taken to be in ([\w ]+) \(")


def unit_in(guess: str) -> str | None:
    """The unit that a guess about a mesh is about, if it is about that."""
    match = _GUESS.match(guess)
    return match[1] if match else None


def on_units(units: Mapping[str, str]) -> list[str]:
    """Says so where files do not all have the same unit. units: by a file's path the one that it is taken to have."""
    counted = Counter(units.values()).most_common()
    if len(counted) < 2:
        return []
    first = {unit: path for path, unit in reversed([*units.items()])}
    told = ", ".join(f"{count} to be in {unit}, as {first[unit]}" for unit, count in counted)
    return [
        f"of {len(units)} meshes looked at not all are taken to be in the same unit: {told}; look at the sheet, and "
        "where one is wrong, set corpus.geometry.unit for all, or give each its own in the column unit of corpus.table"
    ]
