"""Pictures of many at once: a confusion matrix, embeddings in the plane, and the points of a search."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.manifold import TSNE

from polyview.reporting.figures.style import INK, QUIET, Style, add_legend, labels, lines, series, wrapped

UNASKED = object()
BELOW = -0.3
CELL, LINE = 2.1, 1.35  # in heights of letters: the width of a cell that takes three digits, and the height of a line


def draw_confusion(counts: NDArray[np.int64], classes: Sequence[str], style: Style) -> Figure:
    """A confusion matrix in percent of each true class (row); a class that is never true has an empty row.

    Where there are too many classes for the width, the letters are smaller than asked for.
    """
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(100 * counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    shown = labels(classes, style.room / 3)
    names = min(0.6 * max(map(len, classes)), style.room / 3) + 3  # what stands beside the cells, in heights of letters
    cell = min(1.6 * CELL, (style.room - names) / len(classes))
    line = cell / lines(shown)
    steep = line < 1.5
    figure = style.figure(cell * len(classes) + (1.0 if steep else 0.6) * names + 2)
    axes = figure.add_subplot()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=100)
    for row, column in np.ndindex(*counts.shape):
        share = shares[row, column]
        if totals[row] and share >= 0.5:
            color = "white" if share > 55 else INK
            size = style.points * min(1.0, cell / CELL)
            axes.text(column, row, f"{share:.0f}", ha="center", va="center", color=color, fontsize=size)
    turned = {"rotation": 90, "va": "center"} if steep else {"rotation": 45}
    axes.set_xticks(range(len(classes)), shown, ha="right", rotation_mode="anchor", **turned)
    axes.set_yticks(range(len(classes)), shown)
    axes.tick_params(length=0, labelsize=style.points * min(1.0, line / LINE))
    axes.spines[:].set_visible(False)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    return figure


def draw_embeddings(
    embeddings: NDArray[np.float32], expressions: Sequence[str], classes: Sequence[str], style: Style
) -> Figure:
    """Embeddings (N, D) in the plane, by t-SNE (van der Maaten 2008), each class in a colour and a mark of its own."""
    places = TSNE(perplexity=min(30.0, (len(embeddings) - 1) / 3), random_state=0).fit_transform(embeddings)
    figure = style.figure(min(0.75 * style.room, 34))
    axes = figure.add_subplot()
    handles = []
    for number, name in enumerate(classes):
        x, y = places[[expression == name for expression in expressions]].T
        own = series(number)
        handles += axes.plot(
            x,
            y,
            own.mark,
            color=own.color,
            fillstyle=own.fill,
            markerfacecoloralt="white",
            markersize=4 * style.stroke,
            markeredgewidth=0.8 * style.stroke,
        )
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    axes.set_aspect("equal", "datalim")
    add_legend(figure, handles, classes, style)
    return figure


def draw_parallel(
    columns: Mapping[str, Sequence[Any]], logarithmic: Iterable[str], colored: str, style: Style
) -> Figure:
    """Parallel coordinates: a line per point down through an axis per column, the darker the higher in `colored`."""
    scaled = {name: _scaled(values, name in set(logarithmic)) for name, values in columns.items()}
    shown = labels(list(columns), 0.46 * style.room)
    unit = 0.45 * style.room / (1 - BELOW)  # between both ends of an axis
    marks = [_marks(found, unit) for _, found in scaled.values()]
    heights = [
        1.3 * max(lines([name]), lines([text for _, text in own])) + 1.8 for name, own in zip(shown, marks, strict=True)
    ]
    at = np.cumsum([0.0, *heights[:-1]])
    figure = style.figure(sum(heights) + 1)
    axes = figure.add_subplot()
    places = np.array([place for place, _ in scaled.values()])
    for point in np.argsort(scaled[colored][0]):  # the highest last, on top
        shade = mpl.colormaps["cividis_r"](0.2 + 0.8 * float(scaled[colored][0][point]))
        axes.plot(places[:, point], at, color=shade, lw=1.3 * style.stroke, alpha=0.85)
    for height, own in zip(at, marks, strict=True):
        axes.axhline(height, color=QUIET, lw=0.8 * style.stroke, zorder=0)
        for place, text in own:
            side = "left" if place <= 0 else "right" if place == 1 else "center"
            axes.text(place, height + 0.3, text, ha=side, va="top", bbox={"fc": "#ffffffc0", "ec": "none", "pad": 0.5})
    axes.set_yticks(at, shown)
    axes.tick_params(length=0)
    axes.set_xticks([])
    axes.spines[:].set_visible(False)
    axes.set_ylim(sum(heights), -0.7 * lines(shown[:1]))
    return figure


def _marks(found: Sequence[tuple[float, str]], unit: float) -> list[tuple[float, str]]:
    """What is written along an axis, on lines that do not reach each other; `unit` is its length."""
    inner = sum(place >= 0 for place, _ in found)
    between = unit / max(inner - 1, 1)
    room = max(between * (0.6 if inner > 2 else 0.45), LINE)
    return [(place, wrapped(text, room if place >= 0 else -0.9 * BELOW * unit)) for place, text in found]


def _scaled(values: Sequence[Any], logarithmic: bool) -> tuple[NDArray[np.float64], list[tuple[float, str]]]:
    """The values between 0 and 1, and what is written at which place: both ends, or every choice.

    What is `UNASKED`, where a point has no such key, lies before the others.
    """
    there = [value for value in values if value is not UNASKED]
    if len(there) < len(values):
        places = np.full(len(values), BELOW)
        found, marks = _scaled(there, logarithmic) if there else ([], [])
        places[[value is not UNASKED for value in values]] = found
        return places, [(BELOW, "not asked"), *marks]
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        names = sorted({str(value) for value in values})
        by_name = {name: index / max(len(names) - 1, 1) for index, name in enumerate(names)}
        return np.array([by_name[str(value)] for value in values]), [(place, name) for name, place in by_name.items()]
    numbers = np.array(values, dtype=np.float64)
    shown = np.log(numbers) if logarithmic else numbers
    low, spread = float(shown.min()), float(np.ptp(shown))
    places = (shown - low) / spread if spread else np.full(len(shown), 0.5)
    ends = [(0.0, f"{numbers.min():.3g}"), (1.0, f"{numbers.max():.3g}")] if spread else [(0.5, f"{numbers[0]:.3g}")]
    return places, ends
