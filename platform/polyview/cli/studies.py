"""Studies: run one, say what is known of it, compare two trials."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from enum import StrEnum
from functools import partial
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from polyview.cli.app import Sets, StudyFile, app
from polyview.errors import UserError
from polyview.storage.home import bundled, open_home
from polyview.storage.mirror import address
from polyview.terminal import console, errors, watching


class Format(StrEnum):
    """How `report` prints."""

    table = "table"
    markdown = "markdown"
    latex = "latex"
    html = "html"
    csv = "csv"
    predictions = "predictions"


@app.command()
def demo() -> None:
    """Run the quickstart ablation on generated faces, end to end, then say where to look."""
    ablate(bundled("ablations") / "quickstart.yaml")


@app.command()
def ablate(
    study: StudyFile,
    sets: Sets = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the trials and what is done; run nothing.")] = False,
    force: Annotated[str | None, typer.Option(metavar="VARIANT", help="Run this variant again.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Run more than 500 trials.")] = False,
) -> None:
    """Run what is missing of a study, log it to MLflow, and report."""
    from polyview.recipe import load_study
    from polyview.trials.design import MANY, size

    loaded = load_study(study, sets or [])
    if (asked := size(loaded)) > MANY and not (yes or dry_run):
        raise UserError(f"{loaded.name}: {asked} trials; --yes if that many are meant")
    if dry_run:
        list_trials(loaded)
    else:
        run_and_report(loaded, force)


@app.command()
def report(
    study: StudyFile,
    sets: Sets = None,
    form: Annotated[Format, typer.Option("--format", help="How to print it.")] = Format.table,
) -> None:
    """Print what is known of a study, from the ledger alone, or from a bundle, which is only read."""
    from polyview.recipe import is_zip, load_study
    from polyview.reporting import report as reports

    with ExitStack() as stack:
        if is_zip(study):
            from polyview.studies.bundle import open_bundle

            bundle = stack.enter_context(open_bundle(study, partial(errors.print, highlight=False, soft_wrap=True)))
            outcome = bundle.known(bundle.load(sets or []))
        else:
            from polyview.studies.outcome import load_outcome

            outcome = load_outcome(load_study(study, sets or []), open_home())
        if form is Format.table:
            console.print(reports.table(outcome, console.width))
        else:
            sys.stdout.write(getattr(reports, form.value)(outcome))


@app.command()
def compare(
    one: Annotated[str, typer.Argument(metavar="RUN", help="A trial's id, or how it begins.")],
    other: Annotated[str, typer.Argument(metavar="RUN", help="Another's.")],
) -> None:
    """Print what differs in the recipe and the result of two trials."""
    from polyview.analysis.compare import differences
    from polyview.trials.ledger import Ledger

    ledger = Ledger(open_home().trials)
    records = ledger.find(one), ledger.find(other)
    table = Table("", "", *(record.id for record in records), "difference")
    for section in differences(*records):
        for row in section.rows:
            table.add_row(*map(Text, (section.name, *row)))
        table.add_section()
    console.print(table)


def run_and_report(study: Any, force: str | None = None) -> None:
    """Run what is missing of a `Study`, print what came of it, and exit with 1 if a trial failed."""
    if run_and_show(study, force)[1]:
        raise typer.Exit(1)


def run_and_show(study: Any, force: str | None = None) -> tuple[Any, bool]:
    """Run what is missing of a `Study`, print its table, and say where the report and the runs are.

    Returns the `Outcome`, and whether a trial failed.
    """
    from polyview.reporting.report import results_page, table
    from polyview.studies.driver import run_stages

    with watching() as watcher:
        outcome, failures = run_stages(study, open_home(), watcher, force)
    console.print(table(outcome, console.width))
    for failure in failures:
        errors.print(f"failed: {failure.trial.name}: {failure.reason}", f"  log: {failure.log}", sep="\n", markup=False)
    page = outcome.folder / "report" / "report.html"
    console.print(f"report    {address(page)}", highlight=False, soft_wrap=True)
    if address(page) != str(page):
        console.print(f"its copy  {page}", highlight=False, soft_wrap=True)
    first = "" if outcome.tracking_address.startswith("http") else "polyview ui, then open "
    console.print(f"compare   {first}{results_page(outcome)}", highlight=False, soft_wrap=True)
    return outcome, bool(failures)


def list_trials(study: Any) -> None:
    """Print the trials of a `Study` with the state of each, and what the rest of them costs."""
    from polyview.studies.estimate import estimate

    found = estimate(study, open_home())
    table = Table("trial", "variant", "seed", "state", title=study.name)
    for trial, state in found.trials:
        table.add_row(*map(Text, (trial.id, trial.variant, str(trial.seed), state)))
    console.print(table)
    for line in found.lines():
        console.print(line, highlight=False, soft_wrap=True)
