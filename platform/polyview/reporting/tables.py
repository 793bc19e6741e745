"""A paper's table over studies, metrics and datasets: for a terminal, as markdown, LaTeX, HTML and CSV."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl
from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from polyview.analysis.table_notes import MARKS, published, table_notes
from polyview.analysis.tables import Cell, MethodsTable, Row
from polyview.reporting.latex import escape, floating, with_needs
from polyview.reporting.markdown import joined, plain
from polyview.reporting.pages import render
from polyview.reporting.rows import NONE

AVERAGE, RANK = "average", "mean rank"
PADDING = 3  # letters between two columns of a terminal
NARROWEST = 12  # letters of a row's name in a line


@dataclass(frozen=True)
class Entry:
    """One number of a table, in percent where it is a score: what stands behind ±, its mark, whether it is bold."""

    value: float | None = None
    spread: float | None = None
    mark: str = ""
    bold: bool = False

    def __str__(self) -> str:
        if self.value is None:
            return NONE
        spread = "" if self.spread is None else f" ± {self.spread:.1f}"
        return f"{self.value:.1f}{spread}" + (f" {self.mark}" if self.mark else "")


def table(made: MethodsTable, width: int = 120) -> Group:
    """The table for a terminal, with its notes below; one that is too wide goes on below itself."""
    heads = ["\n".join(filter(None, head)).replace("/", "/\n") for head in _heads(made)]
    entries = [_entries(made, row) for row in made.rows]
    columns = [_terminal_column(*one) for one in zip(heads, zip(*entries, strict=True), strict=True)]
    names = [_name(made, row) for row in made.rows]
    widths = [len(column[0]) + PADDING for column in columns]
    names_width = min(max(map(len, names)), max(width - max(widths) - 2 * PADDING, NARROWEST))
    parts = _fitting(widths, width - names_width - 2 * PADDING)
    shown = []
    for part in parts:
        title = made.layout.caption or made.name if part[0] == 0 else None
        one = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
        one.add_column("", max_width=names_width, overflow="fold")
        for number in part:
            one.add_column(Text(heads[number], justify="right"), no_wrap=True, min_width=widths[number] - PADDING)
        for place, (row, name) in enumerate(zip(made.rows, names, strict=True)):
            cells = [columns[number][place] for number in part]
            last = place + 1 == len(names) or made.rows[place + 1].kind != row.kind
            one.add_row(Text(name), *cells, style=None if row.kind == "method" else "dim", end_section=last)
        shown.append(one)
    return Group(*shown, *map(Text, table_notes(made)))


def _terminal_column(head: str, entries: Sequence[Entry]) -> list[Text]:
    """The cells of a column, all as wide as it is; where some have a mark, the others have room for it."""
    marked = any(entry.mark for entry in entries)
    texts = [f"{entry}{'  ' if marked and not entry.mark else ''}" for entry in entries]
    width = max(map(len, [*head.splitlines(), *texts]))
    return [Text(text.rjust(width), "bold" if entry.bold else "") for text, entry in zip(texts, entries, strict=True)]


def _fitting(widths: Sequence[int], room: int) -> list[list[int]]:
    """The numbers of the columns that fit beside one another, part by part; a part has one at least."""
    parts: list[list[int]] = [[]]
    left = room
    for number, width in enumerate(widths):
        if parts[-1] and width > left:
            parts.append([])
            left = room
        parts[-1].append(number)
        left -= width
    return parts


def markdown(made: MethodsTable) -> str:
    """The table with its caption and notes."""
    heads = ["", *(plain(", ".join(filter(None, heads))) for heads in _heads(made))]
    rows = [
        [plain(_name(made, row)), *(f"**{entry}**" if entry.bold else str(entry) for entry in _entries(made, row))]
        for row in made.rows
    ]
    notes = "\n".join(f"- {plain(note)}" for note in table_notes(made))
    return "\n\n".join([plain(made.layout.caption or made.name), joined([heads, *rows]), notes]) + "\n"


def latex(made: MethodsTable) -> str:
    """A float with caption, label and notes, for a paper that uses booktabs, siunitx and graphicx.

    Numbers stand below one another by their points.
    """
    entries = [_entries(made, row) for row in made.rows]
    columns = "".join(map(_latex_column, zip(*entries, strict=True)))
    body: list[str] = []
    for _, rows in itertools.groupby(zip(made.rows, entries, strict=True), lambda one: one[0].kind):
        body.append(r"\midrule")
        for row, numbers in rows:
            body.append(" & ".join([escape(_name(made, row)), *map(_latex_entry, numbers)]) + r" \\")
    tabular = [
        r"\sisetup{separate-uncertainty, detect-weight, mode = text, table-align-text-post = false}%",
        rf"\begin{{tabular}}{{l{columns}}}",
        r"\toprule",
        *_latex_heads(_heads(made)),
        *body,
        r"\bottomrule",
        r"\end{tabular}",
    ]
    text = floating(made.layout.caption or made.name, made.name, tabular, table_notes(made))
    return with_needs("booktabs,siunitx,graphicx", text)


def html(made: MethodsTable) -> str:
    """A page with the table alone, which needs no other file."""
    heads = _heads(made)
    return render(
        "table.html.j2",
        title=made.layout.caption or made.name,
        levels=[_grouped([head[level] for head in heads]) for level in range(len(heads[0]))],
        kinds=dict.fromkeys(row.kind for row in made.rows),
        rows=[(row.kind, _name(made, row), _entries(made, row)) for row in made.rows],
        notes=table_notes(made),
    )


def csv(made: MethodsTable) -> str:
    """A row per row and column of the table: its place, its numbers between 0 and 1, and the verdict."""
    rows = [
        (row.name, row.kind, column.study, column.metric, column.point or None, *_values(cell))
        for row in made.rows
        for column, cell in zip(made.columns, row.cells, strict=True)
        if cell
    ]
    schema = {
        **dict.fromkeys(("row", "kind", "study", "metric", "point"), pl.String),
        **dict.fromkeys(("mean", "deviation", "low", "high"), pl.Float64),
        **{"seeds": pl.Int64, "verdict": pl.String, "best": pl.Boolean},
    }
    return pl.DataFrame(rows, schema=schema, orient="row").write_csv()


def _values(cell: Cell) -> tuple[float | None, float | None, float | None, float | None, int, str | None, bool]:
    deviation = None if math.isnan(cell.deviation) else cell.deviation
    return cell.mean, deviation, cell.low, cell.high, cell.seeds, cell.verdict, cell.best


def _name(made: MethodsTable, row: Row) -> str:
    return f"{row.name} [{published(made).index(row) + 1}]" if row.kind == "published" else row.name


def _heads(made: MethodsTable) -> list[tuple[str, ...]]:
    """The heads of every column, those of averages and ranks last; all of one depth."""
    several = len(made.averaged) > 1
    further = [(name, metric) if several else (name, "") for metric in made.averaged for name in (AVERAGE, RANK)]
    found = [*(column.heads for column in made.columns), *further]
    depth = max(map(len, found))
    return [(*heads, *[""] * (depth - len(heads))) for heads in found]


def _entries(made: MethodsTable, row: Row) -> list[Entry]:
    entries = [_entry(cell, made.layout.spread) for cell in row.cells]
    for metric in made.averaged:
        average, rank = row.averages.get(metric), row.ranks.get(metric)
        entries += [Entry(None if average is None else 100 * average), Entry(rank)]
    return entries


def _entry(cell: Cell | None, spread: str) -> Entry:
    if cell is None:
        return Entry()
    half = None if cell.low is None or cell.high is None else 50 * (cell.high - cell.low)
    deviation = None if math.isnan(cell.deviation) else 100 * cell.deviation
    return Entry(
        100 * cell.mean, half if spread == "interval" else deviation, MARKS.get(cell.verdict or "", ""), cell.best
    )


def _latex_column(entries: Sequence[Entry]) -> str:
    """A column of siunitx with room for its numbers."""
    before = max((len(f"{entry.value:.0f}") for entry in entries if entry.value is not None), default=1)
    # An uncertainty takes as much room as its digits.
    spreads = [f"{entry.spread:.1f}".replace(".", "") for entry in entries if entry.spread is not None]
    spread = f"({max(map(len, spreads))})" if spreads else ""
    marks = r", table-space-text-post = {$^{\uparrow}$}" if any(entry.mark for entry in entries) else ""
    return f"S[table-format = {before}.1{spread}{marks}]"


def _latex_entry(entry: Entry) -> str:
    if entry.value is None:
        return "{--}"
    spread = "" if entry.spread is None else rf" \pm {entry.spread:.1f}"
    mark = f" {{$^{{{escape(entry.mark).strip('$')}}}$}}" if entry.mark else ""
    return (r"\bfseries " if entry.bold else "") + f"{entry.value:.1f}{spread}{mark}"


def _latex_heads(heads: Sequence[tuple[str, ...]]) -> list[str]:
    """A line for each level of heads; what stands over several columns has a rule below."""
    lines = []
    for level in range(len(heads[0])):
        groups = _grouped([head[level] for head in heads])
        cells = [
            f"{{{escape(text)}}}" if count == 1 else rf"\multicolumn{{{count}}}{{c}}{{{escape(text)}}}"
            for text, count in groups
        ]
        lines.append(" & ".join(["", *cells]).lstrip() + r" \\")
        first = 2
        for text, count in groups:
            lines += [rf"\cmidrule(lr){{{first}-{first + count - 1}}}"] if count > 1 and text else []
            first += count
    return lines


def _grouped(texts: Sequence[str]) -> list[tuple[str, int]]:
    """Texts that follow one another alike as one, with their number; empty ones stay by themselves."""
    groups: list[tuple[str, int]] = []
    for text, found in itertools.groupby(texts):
        count = len(list(found))
        groups += [(text, count)] if text else [("", 1)] * count
    return groups
