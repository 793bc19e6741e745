"""What running a bundle again came to: a table for the terminal, and a page in markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from pathlib import Path

from rich import box
from rich.table import Table
from rich.text import Text

from polyview.analysis.agreement import Agreement, Cell
from polyview.analysis.statistics import relation, signed
from polyview.reporting.markdown import markdown_table
from polyview.reporting.rows import NONE, first_that_fits, say_left_out
from polyview.storage.home import replacing
from polyview.wording import agreeing, counted

RULE = (
    "identical: every seed has the same score. differs: Student's test, paired by seed, finds a difference, with p at "
    "most 0.05 after Holm over all cells; where chance alone is at work, one rerun in twenty has such a cell. same: it "
    "finds none, and the new mean lies in the bundle's 95 % interval for these people under other seeds. open: it "
    "finds none, and the new mean lies outside of that, or there is no interval, as of one seed. A rerun agrees if all "
    "cells are identical or the same."
)
_STYLES: dict[Agreement, str] = {"differs": "red", "not run": "red", "open": "yellow"}
_HEADS = (
    "variant",
    "metric",
    "seeds",
    "bundle, %",
    "its 95 % interval",
    "rerun, %",
    "difference",
    "p, Holm",
    "verdict",
)
_LEFT_OUT = (
    ("metric",),
    ("metric", "seeds", "p, Holm"),
    ("metric", "seeds", "p, Holm", "its 95 % interval"),
    ("metric", "seeds", "p, Holm", "its 95 % interval", "bundle, %", "difference"),
)
"""Columns that a terminal has no room for, the fewest first: its tables have one metric each."""


@dataclass(frozen=True)
class Rerun:
    """A study that was run again, beside its bundle.

    remarks: what was known before, a line each; lines: what is to be known of it now. other_faces: whether the faces
    are not all the bundle's; left_out: how many of the bundle's results were not made again.
    """

    study: str
    cells: Sequence[Cell]
    remarks: Sequence[str]
    lines: Sequence[str]
    other_faces: bool = False
    left_out: int = 0

    @property
    def agrees(self) -> bool:
        """Whether every cell was shown to be the same."""
        return bool(self.cells) and all(cell.agrees for cell in self.cells)

    @property
    def verdict(self) -> str:
        """How many cells came to what, in words."""
        counts = Counter(cell.verdict for cell in self.cells)
        told = ", ".join(f"{count} {verdict}" for verdict, count in counts.most_common())
        faces = ", on faces that are not the bundle's" if self.other_faces else ""
        were = agreeing(self.left_out, "was", "were")
        less = f"; {self.left_out} of the bundle's results {were} not made again" if self.left_out else ""
        agrees = "agrees" if self.agrees else "does not agree"
        return f"{agrees}{faces}: {counted(len(self.cells), 'cell')}, {told or 'no result'}{less}"


def tables(found: Rerun, width: int = 120) -> list[Table]:
    """A table for each metric, with a row per variant; narrow ones leave columns out."""
    by_metric = [list(cells) for _, cells in groupby(found.cells, attrgetter("metric"))]
    return [
        first_that_fits((_table(found.study, cells, left_out) for left_out in _LEFT_OUT), width) for cells in by_metric
    ]


def _table(study: str, cells: Sequence[Cell], left_out: Sequence[str]) -> Table:
    title = f"{study}, the rerun beside the bundle: {cells[0].metric}, %"
    shown = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    places = [place for place, head in enumerate(_HEADS) if head not in left_out]
    shown.add_column(Text(_HEADS[places[0]]), min_width=14, overflow="fold")
    for place in places[1:]:
        head = _HEADS[place].replace(", ", ",\n").replace(" % ", " %\n")
        shown.add_column(Text(head), justify="right", no_wrap=True)
    say_left_out(shown, [head for head in left_out if head not in _LEFT_OUT[0]])
    for cell in cells:
        texts = _cells(cell)
        shown.add_row(*(Text(texts[place]) for place in places), style=_STYLES.get(cell.verdict))
    return shown


def markdown(found: Rerun) -> str:
    """The verdict, the table, how to read it, and what else is to be known."""
    lines = "\n".join(f"- {line}" for line in (*found.remarks, *found.lines))
    table = markdown_table([_HEADS, *map(_cells, found.cells)])
    return "\n\n".join([f"# {found.study}, run again", f"It {found.verdict}.", table, RULE, lines]) + "\n"


def write(found: Rerun, folder: Path) -> Path:
    """Put the page into `report`, as rerun.md."""
    path = folder / "report" / "rerun.md"
    with replacing(path) as temporary:
        temporary.write_text(markdown(found), encoding="utf-8")
        temporary.chmod(0o644)
    return path


def _cells(cell: Cell) -> list[str]:
    if not cell.seeds:
        return [cell.variant, cell.metric, "0", *[NONE] * 5, cell.verdict]
    low, high = (NONE if end is None else f"{100 * end:.1f}" for end in (cell.low, cell.high))
    return [
        cell.variant,
        cell.metric,
        str(cell.seeds),
        f"{100 * cell.before:.1f}",
        NONE if cell.low is None else f"{low} to {high}",
        f"{100 * cell.after:.1f}",
        signed(cell.after - cell.before),
        NONE if cell.p is None else relation(cell.p).lstrip("= "),
        cell.verdict,
    ]
