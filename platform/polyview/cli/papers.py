"""For a paper: tables over studies, metrics and datasets, and a study's figures as they are printed."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from polyview.cli.app import Sets, StudyFile, app
from polyview.storage.home import open_home
from polyview.terminal import console


class TableFormat(StrEnum):
    """How `table` prints."""

    table = "table"
    markdown = "markdown"
    latex = "latex"
    html = "html"
    csv = "csv"


class Rows(StrEnum):
    """What a row of a table is."""

    method = "method"
    variant = "variant"


class Columns(StrEnum):
    """What the columns of a table are grouped by."""

    study = "study"
    metric = "metric"
    protocol = "protocol"


class Spread(StrEnum):
    """What stands behind ± in a table."""

    interval = "interval"
    deviation = "deviation"


@app.command()
def table(
    files: Annotated[list[Path], typer.Argument(metavar="STUDY...", help="Studies, or the definition of one table.")],
    metrics: Annotated[str | None, typer.Option(help="As in linear/accuracy,knn/accuracy; else each study's.")] = None,
    rows: Annotated[
        Rows | None, typer.Option(help="Methods, or every variant of a study that has them across.")
    ] = None,
    columns: Annotated[Columns | None, typer.Option(help="What the columns are grouped by.")] = None,
    spread: Annotated[Spread | None, typer.Option(help="Half the 95 % interval, or the deviation over seeds.")] = None,
    form: Annotated[TableFormat, typer.Option("--format", help="How to print it.")] = TableFormat.table,
    sets: Sets = None,
) -> None:
    """Print one table of several studies, metrics and datasets, as a paper has it; nothing is run."""
    from polyview.analysis.tables import make_table
    from polyview.recipe import load_tables
    from polyview.reporting import tables
    from polyview.studies.outcome import load_outcome

    asked = {"metrics": metrics.split(",") if metrics else None, "rows": rows, "columns": columns, "spread": spread}
    changes = {name: value if isinstance(value, list) else str(value) for name, value in asked.items() if value}
    home = open_home()
    for one in load_tables(files, sets or [], changes):
        outcomes = {label: load_outcome(study, home) for label, study in one.studies.items()}
        made = make_table(one.name, one.layout, outcomes)
        if form is TableFormat.table:
            console.print(tables.table(made, console.width))
        else:
            sys.stdout.write(getattr(tables, form.value)(made))


class Width(StrEnum):
    """How wide a figure is."""

    one = "one"
    two = "two"


@app.command()
def figures(
    study: StudyFile,
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder that they are written to.")] = Path("figures"),
    width: Annotated[Width, typer.Option(help="One column of a paper, or two.")] = Width.one,
    font_size: Annotated[float, typer.Option(help="Of all letters in them, in points.", min=5, max=14)] = 8,
    sets: Sets = None,
) -> None:
    """Write every figure of a study as PDF and SVG in the size of a paper's columns, with lines of LaTeX for them."""
    from polyview.recipe import load_study
    from polyview.reporting.figures.style import Style
    from polyview.reporting.paper import ONE_COLUMN, TWO_COLUMNS, write_figures
    from polyview.studies.outcome import load_outcome

    outcome = load_outcome(load_study(study, sets or []), open_home())
    style = Style({Width.one: ONE_COLUMN, Width.two: TWO_COLUMNS}[width], font_size)
    written = write_figures(outcome, out, style)
    for picture, height in written:
        told = f"{picture.key} ({style.width:g} × {height:.1f} in): {picture.line}"
        console.print(told, highlight=False, markup=False, soft_wrap=True)
    told = f"wrote {out} ({len(written)} figures as PDF and SVG, and figures.tex)"
    console.print(told, highlight=False, markup=False, soft_wrap=True)
