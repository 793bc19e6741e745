"""Rows of means or differences with their intervals: a variant, or an effect, in each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from polyview.analysis.effects import Effect
from polyview.analysis.inference import SeedScore
from polyview.analysis.statistics import Comparison, interval
from polyview.reporting.figures.style import BASELINE, INK, QUIET, Style, labels, lines, width_of, wrapped

Span = tuple[float, float]
# On two lines where there is no room: in the middle alone is a space that a line may end with.
SIDES = "←\N{NO-BREAK SPACE}worse\N{EM SPACE} \N{EM SPACE}better\N{NO-BREAK SPACE}→"


def draw_comparison(
    scores: Mapping[str, Mapping[int, SeedScore]],
    baseline: str,
    references: Iterable[str],
    metric: str,
    style: Style,
) -> Figure:
    """Each variant's mean with its 95 % interval and its single seeds, in percent; `references` at the bottom."""
    references = {name for name in references if name in scores}
    figure, axes, middles = _rows(list(scores), baseline, f"{metric}, %", style)
    for row, (name, by_seed) in zip(middles, scores.items(), strict=True):
        values = percent(by_seed)
        color = BASELINE if name == baseline else QUIET if name in references else INK
        axes.plot(values, np.full(len(values), row + 0.7), ".", color=color, alpha=0.45)
        if len(values):
            _interval(axes, row, float(values.mean()), span_of(by_seed), color)
    if by_seed := scores.get(baseline, {}):
        axes.axvline(float(percent(by_seed).mean()), color=BASELINE, lw=0.8 * style.stroke, ls=":", zorder=0)
    if 0 < (last := len(scores) - len(references)) < len(scores):
        axes.axhline(float(middles[last - 1 : last + 1].mean()), color="#cccccc", lw=0.8 * style.stroke)
    return figure


def draw_forest(comparisons: Sequence[Comparison], baseline: str, metric: str, style: Style) -> Figure:
    """The difference of each variant to the baseline in points, with its 95 % interval; filled where significant."""
    shown = [found for found in comparisons if found.difference is not None]
    axis = f"difference to {baseline},\npoints of {metric}\n{SIDES}"
    figure, axes, middles = _rows([found.variant for found in shown], baseline, axis, style)
    axes.axvline(0, color=BASELINE, lw=style.stroke)
    for row, found in zip(middles, shown, strict=True):
        assert found.difference is not None
        _interval(axes, row, 100 * found.difference, _points(found.low, found.high), INK, filled=found.significant)
    return figure


def draw_effects(found: Sequence[Effect], metric: str, style: Style) -> Figure:
    """Each effect of a factorial in points, with its 95 % interval; filled where significant."""
    figure, axes, middles = _rows([effect.name for effect in found], "", f"effect, points of {metric}", style)
    axes.axvline(0, color=BASELINE, lw=style.stroke)
    for row, effect in zip(middles, found, strict=True):
        _interval(axes, row, 100 * effect.size, _points(effect.low, effect.high), INK, filled=effect.significant)
    return figure


def percent(by_seed: Mapping[int, SeedScore]) -> NDArray[np.float64]:
    """The scores of all seeds in percent."""
    return 100 * np.array([one.score for one in by_seed.values()], dtype=np.float64)


def span_of(by_seed: Mapping[int, SeedScore]) -> Span | None:
    """The 95 % interval of the mean for other people, in percent; None where the scores allow none."""
    span = interval(by_seed.values())
    return span and (100 * span[0], 100 * span[1])


def _points(low: float | None, high: float | None) -> Span | None:
    return None if low is None or high is None else (100 * low, 100 * high)


def _rows(names: Sequence[str], baseline: str, axis: str, style: Style) -> tuple[Figure, Axes, NDArray[np.float64]]:
    """Empty rows with their names, that of the baseline in bold, and what the axis below them measures.

    Heights are those of letters; the last of what is returned is the middle of each row.
    """
    shown = labels(names, 0.46 * style.room)
    beside = 0.9 * (style.room - 1.1 * max(map(width_of, shown)) - 2)  # what the names, one in bold, leave to the axis
    axis = "\n".join(wrapped(line, beside) for line in axis.splitlines())
    heights = np.array([max(3.0, 1.3 * lines([name]) + 0.6) for name in shown])
    middles = np.cumsum(heights) - heights / 2
    figure = style.figure(heights.sum() + 1.3 * lines([axis]) + 3.6)
    axes = figure.add_subplot()
    axes.set_ylim(heights.sum(), 0)
    axes.grid(axis="x")
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.set_yticks(middles, shown)
    for label, name in zip(axes.get_yticklabels(), names, strict=True):
        if name == baseline:
            label.set_fontweight("bold")
    axes.set_xlabel(axis)
    return figure, axes, middles


def _interval(axes: Axes, row: float, middle: float, span: Span | None, color: str, filled: bool = True) -> None:
    if span is not None:
        axes.plot(span, (row, row), color=color, solid_capstyle="butt")
    axes.plot(middle, row, "o", color=color, markerfacecolor=color if filled else "white")
