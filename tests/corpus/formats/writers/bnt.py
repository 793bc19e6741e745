"""A range scan of a face as Bosphorus writes it: a grid of places, of which some were not seen."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tests.corpus.formats.faces import depth
from tests.corpus.formats.heads import Colors, Points, pictured
from tests.corpus.formats.writers.habits import Habits, encoded

HABITS: dict[str, list[Any]] = {
    "size": [(24, 18), (31, 40), (3, 60)],
    "step": [4.0, 0.9],
    "rows": ["downward", "upward"],
    "columns": ["rightward", "leftward"],
    "background": [-1e9, -1000.0, -999999999.5],
    "missing": ["places", "depth", "depth below", "nan"],
    "seen": [1.0, 0.8, 0.4],
    "v": ["upward", "downward"],
    "name": ["bs000_E_HAPPY_0.png", "", "C:\\scans\\Gesicht ä.bmp", "x" * 300],
    "after": [b"", b"\0" * 16],
}


class Scan(NamedTuple):
    """What is to be read: the grid's places (rows, columns, 3), which of them were seen, the colour at each."""

    points: Points
    seen: NDArray[np.bool_]
    colors: Points


def write(folder: Path, habits: Habits, seed: int) -> Scan:
    """Writes `head.bnt` and its picture `head.png`."""
    rows, columns = habits["size"]
    across, down = (habits["step"] * (np.arange(count) - (count - 1) / 2) for count in (columns, rows))
    x, y = np.meshgrid(
        across[:: 1 if habits["columns"] == "rightward" else -1], -down[:: 1 if habits["rows"] == "downward" else -1]
    )
    points = np.stack([x, y, depth(x, y)], -1)
    seen = np.random.default_rng(seed).random((rows, columns)) < habits["seen"]
    u, v = (0.1 + 0.8 * (values - values.min()) / np.ptp(values) for values in (x, y))
    values = np.stack([*np.moveaxis(points, -1, 0), u, v if habits["v"] == "upward" else 1 - v])
    _hide(values, ~seen, habits)
    name = habits["name"].encode("latin-1")
    (folder / "head.bnt").write_bytes(
        struct.pack("<HHdH", rows, columns, habits["background"], len(name))
        + name
        + struct.pack("<I", values.size)
        + values.reshape(5, -1).astype("<f8").tobytes()
        + habits["after"]
    )
    picture = pictured(0)
    (folder / "head.png").write_bytes(encoded(picture, "png"))
    return Scan(points, seen, _shown(picture, u, v))


def _hide(values: Points, hidden: NDArray[np.bool_], habits: Habits) -> None:
    """Marks places as not seen, in one of the ways in which programs do."""
    background = habits["background"]
    match habits["missing"]:
        case "places":
            values[:3, hidden] = background
        case "depth":
            values[2, hidden] = background
        case "depth below":
            values[2, hidden] = background - 5
        case _:
            values[:3, hidden] = np.nan


def _shown(picture: Colors, u: Points, v: Points) -> Points:
    """The colours that a picture which changes evenly has at such places, upward."""
    height, width = picture.shape[:2]
    red = np.interp(u * width - 0.5, np.arange(width), picture[0, :, 0])
    green = np.interp((1 - v) * height - 0.5, np.arange(height), picture[:, 0, 1])
    return np.stack([red, green, np.full(u.shape, picture[0, 0, 2], float)], -1)


def cells(scan: Scan) -> NDArray[np.int64]:
    """How many corners of each cell of the grid were seen."""
    seen = scan.seen.astype(int)
    return seen[:-1, :-1] + seen[1:, :-1] + seen[1:, 1:] + seen[:-1, 1:]
