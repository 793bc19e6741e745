"""Lines: training curves, and scores by a number that a study goes across."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from polyview.analysis.inference import SeedScore
from polyview.reporting.figures.intervals import percent, span_of
from polyview.reporting.figures.style import INK, QUIET, Series, Style, add_legend, series, width_of

Curve = Mapping[int, float]  # epoch -> value


def draw_training(
    histories: Mapping[str, Mapping[str, Sequence[Curve]]], variants: Iterable[str], style: Style
) -> Figure:
    """Training curves of `histories` (term -> variant -> one curve per seed), a panel per term.

    The line is the mean over the seeds, the band goes from the lowest to the highest. What a variant is drawn with is
    by its place in `variants`, so that it is the same in every figure.
    """
    pairs = int(style.room / 11.5) // 2  # side by side, as a term's share and its cosine are
    columns = min(len(histories), max(1, 2 * pairs))
    rows = -(-len(histories) // columns)
    broken = max(map(width_of, histories)) > style.room / columns - 5  # which the numbers beside the axis take
    figure = style.figure((14 if broken else 13) * rows + 2)
    panels = figure.subplots(rows, columns, squeeze=False).flat
    drawn_with = {name: series(number) for number, name in enumerate(variants)}
    handles: dict[str, Line2D] = {}
    # The terms come first: zip would take one panel too many, and leave it drawn.
    for place, ((term, by_variant), axes) in enumerate(zip(histories.items(), panels, strict=False)):
        for number, (name, seeds) in enumerate(by_variant.items()):
            handles.setdefault(name, _curve(axes, seeds, number, drawn_with[name]))
        axes.set_title(term.replace("/", "/\n") if broken else term, loc="left")
        if place + columns >= len(histories):  # nothing is below it
            axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=4))
        axes.yaxis.set_major_locator(MaxNLocator(nbins=5))
        left, right = axes.get_xlim()
        if right - left < 1:  # of a single epoch
            axes.set_xlim(0, 2)
    for axes in panels:
        axes.set_axis_off()
    names = [name for name in drawn_with if name in handles]
    add_legend(figure, [handles[name] for name in names], names, style)
    return figure


def draw_view_counts(curve: Mapping[int, Mapping[int, SeedScore]], metric: str, style: Style) -> Figure:
    """The mean by the number of views (views -> seed -> score) with its 95 % interval and single seeds, in percent."""
    figure, axes = _plane(style)
    axes.plot(list(curve), [percent(by_seed).mean() for by_seed in curve.values()], "-o", color=INK)
    aside = (max(curve) - min(curve)) / 60
    for count, by_seed in curve.items():
        axes.plot(np.full(len(by_seed), count + aside), percent(by_seed), ".", color=QUIET)
        if span := span_of(by_seed):
            axes.plot((count, count), span, color=INK)
    _label_places(axes, list(curve), style)
    axes.set_xlabel("views")
    axes.set_ylabel(f"{metric}, %")
    return figure


def draw_across(
    curves: Mapping[str, Mapping[float, Mapping[int, SeedScore]]],
    baseline: str,
    axis: str,
    metric: str,
    logarithmic: bool,
    style: Style,
) -> Figure:
    """Each method's mean (method -> x -> seed -> score) with its 95 % interval, in percent; the baseline is bold."""
    figure, axes = _plane(style)
    axes.set_xscale("log" if logarithmic else "linear")
    places = sorted({place for curve in curves.values() for place in curve})
    handles = []
    for number, (name, curve) in enumerate(curves.items()):
        own, width = series(number), (2.4 if name == baseline else 1.4) * style.stroke
        # Beside one another, or the intervals at one place would hide one another.
        aside = (number - (len(curves) - 1) / 2) / max(len(curves), 2)
        found = {_beside(place, aside, places, logarithmic): by_seed for place, by_seed in sorted(curve.items())}
        means = [percent(by_seed).mean() for by_seed in found.values()]
        handles += axes.plot(list(found), means, ls=own.dashes, marker=own.mark, color=own.color, lw=width)
        for place, by_seed in found.items():
            if span := span_of(by_seed):
                axes.plot((place, place), span, color=own.color, lw=1.2 * style.stroke, alpha=0.8)
    _label_places(axes, places, style)
    low, high = axes.get_ylim()
    axes.set_ylim(max(low, 0), min(high, 100))
    axes.set_xlabel(axis)
    axes.set_ylabel(f"{metric}, %")
    add_legend(figure, handles, list(curves), style)
    return figure


def _plane(style: Style) -> tuple[Figure, Axes]:
    """One pair of axes, less high than wide."""
    figure = style.figure(min(0.62 * style.room, 26))
    axes = figure.add_subplot()
    axes.grid(axis="y")
    return figure, axes


def _label_places(axes: Axes, places: Sequence[float], style: Style) -> None:
    """Mark all places on the axis below, and write, from the last on, those that there is room for."""
    at = axes.xaxis.get_transform().transform(np.array(places, dtype=np.float64))
    room = 0.8 * style.room / 0.64  # digits
    texts, free = [""] * len(places), math.inf
    for number in range(len(places) - 1, -1, -1):
        text = f"{places[number]:g}"
        middle = room * (at[number] - at[0]) / ((at[-1] - at[0]) or 1)
        if middle + (len(text) + 1) / 2 <= free:
            texts[number], free = text, middle - (len(text) + 1) / 2
    axes.set_xticks(places, texts)
    axes.minorticks_off()


def _beside(place: float, aside: float, places: Sequence[float], logarithmic: bool) -> float:
    """A place on the axis moved by `aside`, from -1/2 to 1/2, of a fifth of the mean step between places."""
    low, high = places[0], places[-1]
    steps = max(len(places) - 1, 1)
    return place * (high / low) ** (aside / 5 / steps) if logarithmic else place + aside * (high - low) / 5 / steps


def _curve(axes: Axes, seeds: Sequence[Curve], number: int, own: Series) -> Line2D:
    """A variant's mean and band; its marks stand elsewhere than those of the variants beside it."""
    epochs = sorted(set.intersection(*(set(curve) for curve in seeds)))
    values = np.array([[curve[epoch] for epoch in epochs] for curve in seeds])
    if len(seeds) > 1:
        axes.fill_between(epochs, values.min(axis=0), values.max(axis=0), color=own.color, alpha=0.15, lw=0)
    step = math.ceil(len(epochs) / 4)
    places = (number % step, step) if epochs else None
    return axes.plot(epochs, values.mean(axis=0), color=own.color, ls=own.dashes, marker=own.mark, markevery=places)[0]
