"""Papers: a study's figures as they are printed."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from polyview.cli.app import Sets, StudyFile, app
from polyview.storage.home import open_home
from polyview.terminal import console


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
