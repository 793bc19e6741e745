"""How figures look: their width and letters, what tells one series from another, and the files they are saved as."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.style import context
from matplotlib.textpath import text_to_path

# Okabe and Ito (2008), the yellow left out: it is too light for lines on white.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
# Eight marks and five dashes have no common divisor: of forty series, any two differ in one or the other.
MARKS = ("o", "s", "^", "v", "D", "P", "X", "*")
DASHES: tuple[Any, ...] = ("-", "--", ":", "-.", (0, (7, 1.5, 1, 1.5, 1, 1.5)))
FILLS: tuple[Literal["full", "none", "bottom"], ...] = ("full", "none", "bottom")
INK, QUIET, BASELINE, RULE = "#222222", "#8a8a8a", PALETTE[0], "#eeeeee"
FONT = "DejaVu Sans"  # which comes with matplotlib, so that every machine draws the same


@dataclass(frozen=True)
class Style:
    """Where a figure is shown: its width in inches, and the size of its letters in points."""

    width: float
    points: float

    @property
    def em(self) -> float:
        """The height of its letters in inches."""
        return self.points / 72

    @property
    def room(self) -> float:
        """Its width in heights of its letters."""
        return self.width / self.em

    @property
    def stroke(self) -> float:
        """What lines and marks are multiplied by, which are thought for letters of ten points."""
        return self.points / 10

    @property
    def settings(self) -> dict[Any, Any]:
        """Matplotlib's settings. Names of variants are text, whatever signs of mathematics are in them."""
        return {
            "font.size": self.points,
            "font.family": "sans-serif",
            "font.sans-serif": [FONT],
            "axes.titlesize": "medium",
            "axes.linewidth": 0.8 * self.stroke,
            "axes.axisbelow": True,
            "axes.labelcolor": INK,
            "axes.edgecolor": QUIET,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "grid.color": RULE,
            "grid.linewidth": 0.8 * self.stroke,
            "lines.linewidth": 1.6 * self.stroke,
            "lines.markersize": 5 * self.stroke,
            "xtick.color": INK,
            "ytick.color": INK,
            "text.color": INK,
            "text.parse_math": False,
            "svg.fonttype": "none",
            "svg.hashsalt": "polyview",
            "pdf.fonttype": 42,
        }

    def figure(self, height: float) -> Figure:
        """An empty figure, whose height is given in heights of its letters."""
        figure = Figure(figsize=(self.width, height * self.em), layout="constrained")
        FigureCanvasAgg(figure)
        return figure


Drawing = Callable[[Style], Figure]

PAGE = Style(width=5.2, points=10)
"""Of a report's page; at a phone's width the letters are still 9 pixels high."""


@dataclass(frozen=True)
class Series:
    """What one of several series is drawn with; `fill` is of marks without lines, where no dashes tell them apart."""

    color: str
    mark: str
    dashes: Any
    fill: Literal["full", "none", "bottom"]


def series(number: int) -> Series:
    """What the series of this number is drawn with, counted from zero."""
    return Series(
        PALETTE[number % len(PALETTE)],
        MARKS[number % len(MARKS)],
        DASHES[number % len(DASHES)],
        FILLS[number // len(MARKS) % len(FILLS)],
    )


@contextmanager
def drawn(draw: Drawing, style: Style) -> Iterator[Figure]:
    """A figure under the settings of its style, and none of the user's own; saving it reads them again."""
    with context(["default", style.settings]):
        yield draw(style)


def svg(figure: Figure) -> str:
    """A figure that is `drawn`, as SVG whose text is text."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    return buffer.getvalue()


def pdf(figure: Figure) -> bytes:
    """A figure that is `drawn`, as PDF with its fonts as TrueType and no date: the same figure has the same bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="pdf", metadata=dict.fromkeys(("Creator", "Producer", "CreationDate")))
    return buffer.getvalue()


def labels(names: Sequence[str], room: float) -> list[str]:
    """Names on lines that have no more than `room`, in heights of letters.

    Of a name that needs more than two lines the beginning and the end are shown, by which variants of a grid differ;
    all of it, where another name would look like it.
    """
    return [_shortened(name, names, room) for name in names]


def wrapped(text: str, room: float) -> str:
    """A text on lines that have no more than `room`, in heights of letters."""
    letters = _letters(text, room)
    return text if len(text) <= letters else "\n".join(textwrap.wrap(text, letters))


def lines(texts: Sequence[str]) -> int:
    """How many lines the highest of the texts has."""
    return max((text.count("\n") + 1 for text in texts), default=1)


def _shortened(name: str, names: Sequence[str], room: float) -> str:
    whole, letters = wrapped(name, room), _letters(name, room)
    head, tail = name[: letters - 1], name[1 - letters :]
    alike = any(one != name and one.startswith(head) and one.endswith(tail) for one in names)
    overlap = len(head) + len(tail) >= len(name)
    return whole if lines([whole]) < 3 or alike or overlap else f"{head}…\n…{tail}"


def _letters(text: str, room: float) -> int:
    """How many of a text's letters, as they are in the mean, a line has room for."""
    width = width_of(text)
    return max(2, int(room * len(text) / width)) if width else len(text)


def width_of(text: str) -> float:
    """How wide the longest line of a text is, in heights of letters."""
    font = FontProperties(FONT, size=1)
    return max(text_to_path.get_text_width_height_descent(line, font, False)[0] for line in text.split("\n"))


def add_legend(figure: Figure, handles: Sequence[Artist], names: Sequence[str], style: Style) -> None:
    """Put a legend above the axes, in as many columns as the width takes, and make the figure higher by it."""
    shown = labels(names, style.room / 2)
    for columns in range(min(4, len(shown)), 0, -1):
        legend = figure.legend(
            handles,
            shown,
            loc="outside upper left",
            ncols=columns,
            frameon=False,
            borderpad=0.2,
            columnspacing=1.2,
            handlelength=2.6,
        )
        extent = legend.get_window_extent()
        if columns == 1 or extent.width <= 0.98 * figure.bbox.width:
            break
        legend.remove()
    figure.set_figheight(figure.get_figheight() + extent.height / figure.dpi)
