"""For papers and those who read them: tables, figures as they are printed, and one file that others run again."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from polyview.cli.app import STUDY_OR_BUNDLE, Sets, StudyFile, app, write_document
from polyview.cli.studies import known_outcome, list_trials, run_and_show
from polyview.errors import UserError
from polyview.storage.home import existing_home, open_home
from polyview.storage.mirror import address
from polyview.terminal import console
from polyview.wording import counted

if TYPE_CHECKING:
    from polyview.analysis.outcome import Outcome
    from polyview.recipe import StudiesTable

BundleFile = Annotated[Path, typer.Argument(metavar="BUNDLE", help="What `polyview bundle` has made.")]


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
    files: Annotated[
        list[Path], typer.Argument(metavar="STUDY...", help="Studies, bundles, or the definition of one table.")
    ],
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
    from polyview.reporting import tables

    asked = {
        "metrics": metrics.replace(" ", "").split(",") if metrics else None,
        "rows": rows,
        "columns": columns,
        "spread": spread,
    }
    changes = {name: value if isinstance(value, list) else str(value) for name, value in asked.items() if value}
    with ExitStack() as stack:
        for one, outcomes in _known_tables(files, sets or [], changes, stack):
            made = make_table(one.name, one.layout, outcomes)
            if form is TableFormat.table:
                console.print(tables.table(made, console.width))
            else:
                write_document(getattr(tables, form.value)(made))


def _known_tables(
    files: Sequence[Path], assignments: Sequence[str], changes: Mapping[str, Any], stack: ExitStack
) -> Iterator[tuple[StudiesTable, Mapping[str, Outcome]]]:
    """The tables that are asked for, with what is known of their studies; bundles stay open as long as `stack`."""
    from polyview.recipe import load_definition, studies_in, tables_of

    definition = load_definition(files)
    places = studies_in(files, definition)
    outcomes = [stack.enter_context(known_outcome(path, assignments, changed)) for path, changed in places]
    for table in tables_of([outcome.study for outcome in outcomes], changes, definition):
        shown = zip(table.studies.items(), outcomes, strict=True)
        yield table, {label: replace(outcome, study=study) for (label, study), outcome in shown}


class Width(StrEnum):
    """How wide a figure is."""

    one = "one"
    two = "two"


@app.command()
def figures(
    study: Annotated[Path, typer.Argument(metavar="STUDY", help=STUDY_OR_BUNDLE)],
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder that they are written to.")] = Path("figures"),
    width: Annotated[Width, typer.Option(help="One column of a paper, or two.")] = Width.one,
    font_size: Annotated[float, typer.Option(help="Of all letters in them, in points.", min=5, max=14)] = 8,
    sets: Sets = None,
) -> None:
    """Write every figure of a study as PDF and SVG in the size of a paper's columns, with lines of LaTeX for them."""
    from polyview.analysis.outcome import absent
    from polyview.reporting.figures.style import Style
    from polyview.reporting.paper import ONE_COLUMN, TWO_COLUMNS, left_from_before, write_figures

    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: is a file; -o takes a folder, which is made")
    style = Style({Width.one: ONE_COLUMN, Width.two: TWO_COLUMNS}[width], font_size)
    with known_outcome(study, sets or []) as outcome:
        written, missing = write_figures(outcome, out, style), absent(outcome)
    for picture, height in written:
        _say(f"{picture.key} ({style.width:g} × {height:.1f} in): {picture.line}")
    _say(f"wrote {out} ({counted(len(written), 'figure')} as PDF and SVG, and figures.tex)")
    if missing:
        _say(f"no result yet, as not run or failed: {'; '.join(missing)}")
    if old := left_from_before(out, written):
        _say(f"of an earlier call, and perhaps of other results: {', '.join(old)} in {out}; remove what is not wanted")


@app.command()
def bundle(
    study: StudyFile,
    sets: Sets = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The zip that is made; else NAME.zip.")] = None,
) -> None:
    """Write all that is known of a study to one file, with which others can report and re-run it."""
    from polyview.recipe import load_study
    from polyview.studies.bundles.archive import in_words, sha256
    from polyview.studies.bundles.bundle import NOT_IN_IT, write_bundle

    loaded = load_study(study, sets or [])
    path = out or Path(f"{loaded.name}.zip")
    about = write_bundle(loaded, existing_home(), path, _command(study, sets or []))
    size = f"{in_words(path.stat().st_size)}, {in_words(about.size)} unpacked"
    _say(f"wrote {path}: {len(about.members) + 1} files, {size}; sha256 {sha256(path)}")
    results = counted(about.trials, "trial's result", "trials' results")
    _say(f"holds {about.results} of {results}; no {NOT_IN_IT}")
    if about.absent:
        _say(f"incomplete: there is no result of {'; '.join(about.absent)}")
    if about.stale:
        _say(f"{counted(about.stale, 'result is', 'results are')} left out, of faces that have changed since")
    if about.bare:
        _say(about.bare_results)
    needed = "".join(f" --set {shlex.quote(one.assignment)}" for one in about.needed if not one.at_hand)
    _say(f"read      polyview report {path}")
    _say(f"re-run    polyview rerun {path}{needed}")


@app.command()
def rerun(
    path: BundleFile,
    sets: Sets = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the trials and what is done; run nothing.")] = False,
) -> None:
    """Run a bundle's study again, and say cell by cell whether the result is the same within its interval."""
    from polyview.reporting.agreement import RULE, tables, write
    from polyview.studies.bundles.bundle import open_bundle
    from polyview.studies.bundles.rerun import compare_with, continue_search, find_corpora, moved_study, remarks_before

    with open_bundle(path, _say) as opened:
        study = moved_study(opened, sets or [])
        corpora = find_corpora(opened, study)
        for remark in remarks_before(opened, corpora):
            _say(remark)
        if dry_run:
            list_trials(study)
            return
        continue_search(opened, study, open_home())
        outcome, failed = run_and_show(study)
        found = compare_with(opened, outcome, corpora)
    page = write(found, outcome.folder)
    console.print(*tables(found, console.width))
    for line in (RULE, *found.lines, f"page      {address(page)}", f"{path} {found.verdict}"):
        _say(line)
    if failed or not found.agrees:
        raise typer.Exit(1)


def _say(line: str) -> None:
    console.print(line, highlight=False, markup=False, soft_wrap=True)


def _command(study: Path, sets: Sequence[str]) -> str:
    """The command that makes the bundle, without the folders of this machine."""
    pairs = (assignment.partition("=") for assignment in sets)
    told = (f"--set {key}={'…' if {*'/~'} & {*value} else value}" for key, _, value in pairs)
    return " ".join(["polyview bundle", study.name, *told])
