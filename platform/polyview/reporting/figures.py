"""The pictures of a report, as SVG text, in colours that the colour-blind can tell apart."""

from __future__ import annotations

import io
import itertools
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from sklearn.manifold import TSNE

from polyview.analysis.effects import Effect
from polyview.analysis.inference import SeedScore
from polyview.analysis.statistics import Comparison, interval

# Okabe and Ito (2008), the yellow left out: it is too light for lines on white.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES = ("-", "--", ":", "-.")
INK, QUIET, BASELINE = "#222222", "#8a8a8a", PALETTE[0]
UNASKED = object()
BELOW = -0.15
LETTERS = 32  # in a line of a variant's name
WIDTH = 5.2  # inches; at a phone's width the 10 point text is still 9 pixels high
STYLE: dict[Any, Any] = {
    "font.size": 10,
    "font.family": "sans-serif",
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": QUIET,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "svg.fonttype": "none",
    "svg.hashsalt": "polyview",
}
Curve = Mapping[int, float]  # epoch -> value


def comparison(
    scores: Mapping[str, Mapping[int, SeedScore]], baseline: str, references: Iterable[str], metric: str
) -> str:
    """Each variant's mean with its 95 % interval and its single seeds, in percent; `references` at the bottom."""
    with mpl.rc_context(STYLE):
        figure, axes = _rows(len(scores))
        references = {name for name in references if name in scores}
        for row, (name, by_seed) in enumerate(scores.items()):
            values = _percent(by_seed)
            color = BASELINE if name == baseline else QUIET if name in references else INK
            axes.plot(values, np.full(len(values), row + 0.22), ".", color=color, alpha=0.45, markersize=6)
            if len(values):
                _interval(axes, row, float(values.mean()), _span(by_seed), color)
        reference = scores.get(baseline, {})
        if reference:
            axes.axvline(float(_percent(reference).mean()), color=BASELINE, lw=0.8, ls=":", zorder=0)
        if 0 < len(references) < len(scores):
            axes.axhline(len(scores) - len(references) - 0.5, color="#cccccc", lw=0.8)
        _name_rows(axes, list(scores), baseline)
        axes.set_xlabel(f"{metric}, %")
        return _svg(figure)


def forest(comparisons: Sequence[Comparison], baseline: str, metric: str) -> str:
    """The difference of each variant to the baseline in points, with its 95 % interval; filled where significant."""
    with mpl.rc_context(STYLE):
        shown = [found for found in comparisons if found.difference is not None]
        figure, axes = _rows(len(shown))
        axes.axvline(0, color=BASELINE, lw=1)
        for row, found in enumerate(shown):
            assert found.difference is not None
            span = None if found.low is None or found.high is None else (100 * found.low, 100 * found.high)
            _interval(axes, row, 100 * found.difference, span, INK, filled=found.significant)
        _name_rows(axes, [found.variant for found in shown], baseline)
        axes.set_xlabel(f"difference to {baseline},\npoints of {metric}\n← worse\N{EM SPACE}\N{EM SPACE}better →")
        return _svg(figure)


def effects(found: Sequence[Effect], metric: str) -> str:
    """Each effect of a factorial in points, with its 95 % interval; filled where significant."""
    with mpl.rc_context(STYLE):
        figure, axes = _rows(len(found))
        axes.axvline(0, color=BASELINE, lw=1)
        for row, effect in enumerate(found):
            span = None if effect.low is None or effect.high is None else (100 * effect.low, 100 * effect.high)
            _interval(axes, row, 100 * effect.size, span, INK, filled=effect.significant)
        _name_rows(axes, [effect.name for effect in found], "")
        axes.set_xlabel(f"effect, points of {metric}")
        return _svg(figure)


def embedding_map(embeddings: NDArray[np.float32], labels: Sequence[str], classes: Sequence[str]) -> str:
    """Embeddings (N, D) in the plane, by t-SNE (van der Maaten 2008), each class in a colour and a mark of its own."""
    places = TSNE(perplexity=min(30.0, (len(embeddings) - 1) / 3), random_state=0).fit_transform(embeddings)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 0.8 * WIDTH), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        styles = zip(classes, itertools.cycle(PALETTE), itertools.cycle("os^vDPX*"), strict=False)
        for name, color, mark in styles:
            x, y = places[[label == name for label in labels]].T
            axes.scatter(x, y, s=14, color=color, marker=mark, alpha=0.75, linewidths=0, label=name)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_visible(False)
        axes.set_aspect("equal", "datalim")
        figure.legend(loc="outside lower center", ncols=4, frameon=False, fontsize=9, handletextpad=0.1)
        return _svg(figure)


def view_counts(curve: Mapping[int, Mapping[int, SeedScore]], metric: str) -> str:
    """The mean by the number of views (views -> seed -> score) with its 95 % interval and single seeds, in percent."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 3.2), layout="constrained")
        axes = figure.add_subplot()
        axes.plot(list(curve), [_percent(by_seed).mean() for by_seed in curve.values()], "-o", color=INK, lw=1.6)
        for count, by_seed in curve.items():
            axes.plot(np.full(len(by_seed), count + 0.08), _percent(by_seed), ".", color=QUIET, markersize=6)
            if span := _span(by_seed):
                axes.plot((count, count), span, color=INK, lw=1.6)
        axes.set_xticks(list(curve))
        axes.grid(axis="y", color="#eeeeee", lw=0.8)
        axes.set_xlabel("views")
        axes.set_ylabel(f"{metric}, %")
        return _svg(figure)


def curves_across(
    curves: Mapping[str, Mapping[float, Mapping[int, SeedScore]]],
    baseline: str,
    axis: str,
    metric: str,
    logarithmic: bool,
) -> str:
    """Each method's mean (method -> x -> seed -> score) with its 95 % interval, in percent; the baseline is bold."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 3.6), layout="constrained")
        axes = figure.add_subplot()
        axes.set_xscale("log" if logarithmic else "linear")
        places = sorted({place for curve in curves.values() for place in curve})
        for number, (name, curve) in enumerate(curves.items()):
            color, width = PALETTE[number % len(PALETTE)], 2.4 if name == baseline else 1.4
            # Beside one another, or the intervals at one place would hide one another.
            aside = (number - (len(curves) - 1) / 2) / max(len(curves), 2)
            found = {_beside(place, aside, places, logarithmic): by_seed for place, by_seed in sorted(curve.items())}
            means = [_percent(by_seed).mean() for by_seed in found.values()]
            style = DASHES[number // len(PALETTE) % len(DASHES)]
            axes.plot(list(found), means, style, marker="o", ms=4.5, color=color, lw=width, label=name)
            for place, by_seed in found.items():
                if span := _span(by_seed):
                    axes.plot((place, place), span, color=color, lw=1.2, alpha=0.8)
        axes.set_xticks(places, [f"{place:g}" for place in places])
        axes.minorticks_off()
        axes.grid(axis="y", color="#eeeeee", lw=0.8)
        low, high = axes.get_ylim()
        axes.set_ylim(max(low, 0), min(high, 100))
        axes.set_xlabel(axis)
        axes.set_ylabel(f"{metric}, %")
        figure.legend(loc="outside upper left", ncols=2, frameon=False, fontsize=9)
        return _svg(figure)


def _beside(place: float, aside: float, places: Sequence[float], logarithmic: bool) -> float:
    """A place on the axis moved by `aside`, from -1/2 to 1/2, of a fifth of the mean step between places."""
    low, high = places[0], places[-1]
    steps = max(len(places) - 1, 1)
    return place * (high / low) ** (aside / 5 / steps) if logarithmic else place + aside * (high - low) / 5 / steps


def parallel(columns: Mapping[str, Sequence[Any]], logarithmic: Iterable[str], colored: str) -> str:
    """Parallel coordinates: a line per point through an axis per column, coloured by the column `colored`."""
    with mpl.rc_context(STYLE):
        scaled = {name: _scaled(values, name in set(logarithmic)) for name, values in columns.items()}
        figure = Figure(figsize=(max(WIDTH, 1.3 * len(columns)), 3.4), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        heights = np.array([height for height, _ in scaled.values()])
        order = np.argsort(scaled[colored][0])
        for place in order:  # the highest last, on top
            shade = mpl.colormaps["cividis_r"](0.2 + 0.8 * float(scaled[colored][0][place]))
            axes.plot(range(len(columns)), heights[:, place], color=shade, lw=1.3, alpha=0.85)
        for at, (_, marks) in enumerate(scaled.values()):
            axes.axvline(at, color=QUIET, lw=0.8, zorder=0)
            for height, mark in marks:
                axes.text(at + 0.03, height, mark, fontsize=8, va="center", backgroundcolor="#ffffffb0")
        axes.set_xticks(range(len(columns)), [_short(name).replace(".", ".\n") for name in columns], fontsize=9)
        axes.set_yticks([])
        axes.spines[:].set_visible(False)
        axes.set_xlim(-0.1, len(columns) - 0.6)
        return _svg(figure)


def curves(histories: Mapping[str, Mapping[str, Sequence[Curve]]], variants: Iterable[str]) -> str:
    """Training curves of `histories` (term -> variant -> one curve per seed), a panel per term.

    The line is the mean over the seeds, the band goes from the lowest to the highest. A variant's colour is by its
    place in `variants`, so that it is the same in every figure.
    """
    with mpl.rc_context(STYLE):
        drawn = {name for by_variant in histories.values() for name in by_variant}
        rows, legend_rows = -(-len(histories) // 2), -(-len(drawn) // 2)
        figure = Figure(figsize=(WIDTH, 2.1 * rows + 0.22 * legend_rows + 0.3), layout="constrained")
        FigureCanvasAgg(figure)
        panels = figure.subplots(rows, min(2, len(histories)), squeeze=False).flat
        styles = {
            name: (PALETTE[n % len(PALETTE)], DASHES[n // len(PALETTE) % len(DASHES)])
            for n, name in enumerate(variants)
        }
        handles: dict[str, Line2D] = {}
        # The terms come first: zip would take one panel too many, and leave it drawn.
        for (term, by_variant), axes in zip(histories.items(), panels, strict=False):
            for name, seeds in by_variant.items():
                handles.setdefault(name, _curve(axes, seeds, *styles[name]))
            axes.set_title(term, fontsize=10, loc="left")
            axes.set_xlabel("epoch")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
            axes.yaxis.set_major_locator(MaxNLocator(nbins=5))
            left, right = axes.get_xlim()
            if right - left < 1:  # of a single epoch
                axes.set_xlim(0, 2)
        for axes in panels:
            axes.set_axis_off()
        handles = {name: handles[name] for name in styles if name in handles}
        figure.legend(
            list(handles.values()),
            [_short(name) for name in handles],
            loc="outside upper left",
            ncols=2,
            frameon=False,
            fontsize=9,
        )
        return _svg(figure)


def confusion(counts: NDArray[np.int64], classes: Sequence[str]) -> str:
    """A confusion matrix in percent of each true class (row); a class that is never true has an empty row."""
    with mpl.rc_context(STYLE):
        totals = counts.sum(axis=1, keepdims=True)
        shares = np.divide(100 * counts, totals, out=np.zeros(counts.shape), where=totals > 0)
        figure = Figure(figsize=(WIDTH, WIDTH * 0.92), layout="constrained")
        axes = figure.add_subplot()
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=100)
        for row, column in np.ndindex(*counts.shape):
            share = shares[row, column]
            if totals[row] and share >= 0.5:
                axes.text(column, row, f"{share:.0f}", ha="center", va="center", color="white" if share > 55 else INK)
        axes.set_xticks(range(len(classes)), classes, rotation=45, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(len(classes)), classes)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.set_xlabel("predicted")
        axes.set_ylabel("true")
        return _svg(figure)


def _scaled(values: Sequence[Any], logarithmic: bool) -> tuple[NDArray[np.float64], list[tuple[float, str]]]:
    """The values between 0 and 1, and what is written at which height: both ends, or every choice.

    What is `UNASKED`, where a point has no such key, lies below the others.
    """
    there = [value for value in values if value is not UNASKED]
    if len(there) < len(values):
        heights = np.full(len(values), BELOW)
        found, marks = _scaled(there, logarithmic) if there else ([], [])
        heights[[value is not UNASKED for value in values]] = found
        return heights, [*marks, (BELOW, "not asked")]
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        names = sorted({str(value) for value in values})
        places = {name: index / max(len(names) - 1, 1) for index, name in enumerate(names)}
        return np.array([places[str(value)] for value in values]), [(place, name) for name, place in places.items()]
    numbers = np.array(values, dtype=np.float64)
    shown = np.log(numbers) if logarithmic else numbers
    low, spread = float(shown.min()), float(np.ptp(shown))
    heights = (shown - low) / spread if spread else np.full(len(shown), 0.5)
    ends = [(0.0, f"{numbers.min():.3g}"), (1.0, f"{numbers.max():.3g}")] if spread else [(0.5, f"{numbers[0]:.3g}")]
    return heights, ends


def _percent(by_seed: Mapping[int, SeedScore]) -> NDArray[np.float64]:
    return 100 * np.array([one.score for one in by_seed.values()], dtype=np.float64)


def _span(by_seed: Mapping[int, SeedScore]) -> tuple[float, float] | None:
    span = interval(by_seed.values())
    return span and (100 * span[0], 100 * span[1])


def _rows(count: int) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH, 0.42 * count + 0.9), layout="constrained")
    axes = figure.add_subplot()
    axes.set_ylim(count - 0.4, -0.6)
    axes.grid(axis="x", color="#eeeeee", lw=0.8)
    axes.set_axisbelow(True)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    return figure, axes


def _interval(
    axes: Axes, row: int, middle: float, span: tuple[float, float] | None, color: str, filled: bool = True
) -> None:
    if span is not None:
        axes.plot(span, (row, row), color=color, lw=1.8, solid_capstyle="butt")
    axes.plot(middle, row, "o", color=color, markerfacecolor=color if filled else "white", markersize=6.5)


def _name_rows(axes: Axes, names: Sequence[str], baseline: str) -> None:
    axes.set_yticks(range(len(names)), [_short(name) for name in names])
    for label, name in zip(axes.get_yticklabels(), names, strict=True):
        if name == baseline:
            label.set_fontweight("bold")


def _short(name: str) -> str:
    """A name on one line or two; of a longer one the beginning and the end, by which variants of a grid differ."""
    lines = textwrap.wrap(name, LETTERS) if len(name) > LETTERS else [name]
    return "\n".join(lines) if len(lines) < 3 else f"{name[: LETTERS - 1]}…\n…{name[1 - LETTERS :]}"


def _curve(axes: Axes, seeds: Sequence[Curve], color: str, dashes: str) -> Line2D:
    epochs = sorted(set.intersection(*(set(curve) for curve in seeds)))
    values = np.array([[curve[epoch] for epoch in epochs] for curve in seeds])
    if len(seeds) > 1:
        axes.fill_between(epochs, values.min(axis=0), values.max(axis=0), color=color, alpha=0.15, lw=0)
    marker = "." if len(epochs) == 1 else ""
    return axes.plot(epochs, values.mean(axis=0), color=color, ls=dashes, lw=1.6, marker=marker)[0]


def _svg(figure: Figure) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Creator": None, "Date": None, "Format": None, "Type": None})
    return buffer.getvalue()
