"""A comparison as the cells of a row, which every format shows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from polyview.analysis.outcome import Outcome
from polyview.analysis.statistics import Comparison, relation, signed
from polyview.trials.design import baselines

NONE = "—"
THESE_PEOPLE = "these people"
ALIKE = "too alike"  # the seeds' error is no more than one prediction makes


def comparison_heads(outcome: Outcome, metric: str) -> list[str]:
    """The heads of the columns of `comparison_cells`."""
    return [
        "variant",
        "seeds",
        f"{metric}, %",
        f"difference to {outcome.study.baseline}",
        "95 % interval, other people",
        THESE_PEOPLE,
        "p, Bonferroni" if outcome.study.margin else "p, Holm",
        "verdict",
    ]


def comparison_cells(one: Comparison, outcome: Outcome) -> list[str]:
    """A comparison as text: scores in percent, differences in points, and the p-value that decides the verdict."""
    planned = len({trial.seed for trial in outcome.trials if trial.variant == one.variant})
    is_baseline = one.variant in baselines(outcome.study).values()
    p = one.decisive_p
    return [
        one.variant,
        str(planned) if one.seeds == planned else f"{one.seeds} of {planned}",
        level(one),
        NONE if one.difference is None else signed(one.difference),
        span(one.low, one.high),
        ALIKE if one.pairs > 1 and one.seeds_low is None else span(one.seeds_low, one.seeds_high),
        NONE if p is None else relation(p).lstrip("= "),
        NONE if is_baseline or not (one.unpaired or one.pairs) else one.verdict,
    ]


def level(one: Comparison) -> str:
    """Mean ± standard deviation over seeds, in percent."""
    if not one.seeds:
        return NONE
    return f"{100 * one.mean:.1f}" + ("" if math.isnan(one.deviation) else f" ± {100 * one.deviation:.1f}")


def span(low: float | None, high: float | None) -> str:
    """An interval in points."""
    return NONE if low is None or high is None else f"{signed(low)} to {signed(high)}"


def first_that_fits(tables: Iterable[Table], width: int) -> Table:
    """The first table that a terminal shows without cutting a cell off, else the last, whose cells are folded.

    width: the terminal's, in columns. Where not all has room, Rich would take it from the first column, of names.
    """
    console = Console(width=1000)
    for table in tables:
        for column in table.columns:
            if column.no_wrap:
                lines = [line for cell in (column.header, *column.cells) for line in str(cell).splitlines()]
                column.min_width = max(map(cell_len, lines), default=0)
        edges = 0 if table.pad_edge else 1  # which Rich measures though it leaves it out
        if Measurement.get(console, console.options, table).minimum - edges <= width:
            return table
    for column in table.columns:
        column.min_width, column.no_wrap, column.overflow = 1, False, "fold"
    return table


def say_left_out(table: Table, heads: Sequence[str]) -> None:
    """Say under a table which columns a narrow terminal has no room for, if any."""
    if heads:
        table.caption = f"No room for: {'; '.join(' '.join(head.split()) for head in heads)}"
        table.caption_justify = "left"
