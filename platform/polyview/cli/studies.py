"""Studies: run one, say what is known of it, compare two."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from polyview.cli.app import STUDY_OR_BUNDLE, Sets, StudyFile, app, write_document
from polyview.errors import UserError
from polyview.storage.home import bundled, existing_home, named_home, open_home
from polyview.storage.mirror import address
from polyview.terminal import console, errors, watching

if TYPE_CHECKING:
    from polyview.analysis.outcome import Outcome
    from polyview.storage.home import Home


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
    from polyview.recipe import keys_set, load_study
    from polyview.trials.design import MANY, check_keys_are_read, check_variants_are_meant, size

    loaded = load_study(study, sets or [])
    if (asked := size(loaded)) > MANY and not (yes or dry_run):
        raise UserError(f"{loaded.name}: {asked} trials; --yes if that many are meant")
    check_keys_are_read(loaded, keys_set(study, sets or []))
    check_variants_are_meant(loaded)
    if dry_run and force is not None:
        raise UserError("--force runs a variant again, and --dry-run runs nothing; leave one of them out")
    if dry_run:
        list_trials(loaded)
    else:
        run_and_report(loaded, force)


@app.command()
def report(
    study: Annotated[Path | None, typer.Argument(metavar="STUDY", help=STUDY_OR_BUNDLE)] = None,
    sets: Sets = None,
    form: Annotated[Format, typer.Option("--format", help="How to print it.")] = Format.table,
    every: Annotated[
        bool, typer.Option("--all", help="List all studies of the home, and write a page of them.")
    ] = False,
) -> None:
    """Print what is known of a study, from the ledger alone, or from a bundle, which is only read."""
    if every and (study or sets or form is not Format.table):
        raise UserError("report: --all is of every study of the home, as a table; leave the others out")
    if every:
        _list_studies()
        return
    if study is None:
        raise UserError("report: name a study, or --all of this home's")
    with known_outcome(study, sets or []) as outcome:
        from polyview.analysis.outcome import absent
        from polyview.recipe import is_zip
        from polyview.reporting import report as reports

        if form is Format.table:
            _print_table(outcome)
            if names := absent(outcome):
                told = f"no result yet, as not run or failed: {'; '.join(names)}"
                console.print(told, highlight=False, markup=False, soft_wrap=True)
            experiment = outcome.study.experiment
            roots = [one.root for one in (experiment.corpus, experiment.evaluation.test) if one]
            if any(roots) and study.is_file() and not is_zip(study):
                same = " with the same --set" if sets else ""
                told = f"ablate {study} --dry-run{same} tells if they have changed"
                told = f"of the faces as the study last read them; {told}"
                console.print(told, highlight=False, markup=False, soft_wrap=True)
        else:
            write_document(getattr(reports, form.value)(outcome))
            _print_caveats(outcome, errors)


@contextmanager
def known_outcome(
    path: Path, assignments: Sequence[str], changes: Mapping[str, Any] | None = None
) -> Iterator[Outcome]:
    """What this home knows of a study; of a bundle, what the bundle does, which is opened meanwhile.

    The study is as `find_study` has it, with assignments and changes.
    """
    from polyview.recipe import is_zip

    if is_zip(path):
        from polyview.studies.bundles.bundle import open_bundle

        with open_bundle(path, partial(errors.print, highlight=False, soft_wrap=True)) as bundle:
            outcome = bundle.known(bundle.load(assignments, changes))
            if not outcome.records:
                raise UserError(f"{path}: has no result of the study with other keys than it ran with")
            yield outcome
    else:
        from polyview.studies.kept import find_study
        from polyview.studies.outcome import load_outcome

        home = named_home()
        study = find_study(str(path), home, assignments, changes)
        if study is None:
            raise UserError(f"{path}: neither a study's file nor a bundle, nor a folder of {address(home.studies)}")
        yield load_outcome(study, existing_home())


def _list_studies() -> None:
    from polyview.reporting.overview import needs, table
    from polyview.studies.kept import overview, write_overview

    home = existing_home()
    found = overview(home)
    if not found.studies:
        raise UserError(f"{found.address}: no study has run in this home; polyview ablate STUDY runs one")
    console.print(table(found, console.width))
    for line in needs(found):
        console.print(line, highlight=False, markup=False)
    if os.access(home.studies, os.W_OK):
        _print_page("page", write_overview(found, home))
    else:
        console.print(f"no page is made, as {home.studies} cannot be written", highlight=False, soft_wrap=True)


@app.command()
def compare(
    one: Annotated[
        str, typer.Argument(metavar="ONE", help="A study: its file, its name or its folder's; or a trial's id.")
    ],
    other: Annotated[str, typer.Argument(metavar="OTHER", help="Another study, or another trial.")],
) -> None:
    """Print what differs between two studies, or two trials, in recipe and result."""
    from polyview.studies.kept import find_study

    home = existing_home()
    studies = find_study(one, home), find_study(other, home)
    if studies[0] and studies[1]:
        _compare_studies((one, other), (studies[0], studies[1]))
    elif studies[0] or studies[1]:
        strange = other if studies[0] else one
        raise UserError(f"{strange}: neither a study's file nor a folder of {address(home.studies)}, as the other is")
    else:
        _compare_trials(one, other)


def _compare_studies(names: tuple[str, str], studies: tuple[Any, Any]) -> None:
    from polyview.analysis.changes import changes
    from polyview.reporting.changes import lines, scores_table, settings_table
    from polyview.studies.outcome import load_outcome

    home = existing_home()
    outcomes = load_outcome(studies[0], home), load_outcome(studies[1], home)
    for name, outcome in zip(names, outcomes, strict=True):
        if not outcome.records:
            raise UserError(f"{name}: no result yet; polyview ablate runs it")
    found = changes(*outcomes)
    console.print(Text(f"{' → '.join(names)}: {found.metric}", "italic"), soft_wrap=True)
    if found.settings:
        console.print(settings_table(found))
    console.print(scores_table(found, console.width))
    for line in lines(found, *names):
        console.print(line, highlight=False, markup=False)


def _compare_trials(one: str, other: str) -> None:
    from polyview.analysis.compare import differences, incomparable
    from polyview.trials.ledger import Ledger

    ledger = Ledger(existing_home().trials)
    records = ledger.find(one), ledger.find(other)
    table = Table()
    for title in ("", "", *(record.id for record in records), "difference"):
        table.add_column(title, overflow="fold")
    for section in differences(*records):
        for row in section.rows:
            table.add_row(*map(Text, (section.name, *row)))
        table.add_section()
    console.print(table)
    if reason := incomparable(*records):
        console.print(reason, highlight=False, markup=False)


def run_and_report(study: Any, force: str | None = None) -> None:
    """Run what is missing of a `Study`, print what came of it, and exit with 1 if a trial failed."""
    if run_and_show(study, force)[1]:
        raise typer.Exit(1)


def run_and_show(study: Any, force: str | None = None) -> tuple[Any, bool]:
    """Run what is missing of a `Study`, print its table, and say where the report and the runs are.

    Returns the `Outcome`, and whether a trial failed.
    """
    from polyview.studies.driver import run_stages

    home = open_home()
    with watching() as watcher:
        outcome, failures = run_stages(study, home, watcher, force)
    _print_table(outcome)
    for failure in failures:
        errors.print(f"failed: {failure.trial.name}: {failure.reason}", f"  log: {failure.log}", sep="\n", markup=False)
    _print_page("report", outcome.folder / "report" / "report.html")
    console.print(f"compare   {_where_to_compare(outcome, home)}", highlight=False, soft_wrap=True)
    return outcome, bool(failures)


def _where_to_compare(outcome: Any, home: Home) -> str:
    """MLflow's page of a study, or what to do where its store does not answer."""
    from polyview.reporting.report import results_page
    from polyview.tracking.store import reachable

    if reachable(home.tracking_uri) is not None:
        return f"MLflow at {outcome.tracking_address} does not answer; run this again when it does, and it is told all"
    first = "" if outcome.tracking_address.startswith("http") else "polyview ui, then open "
    return f"{first}{results_page(outcome)}"


def _print_table(outcome: Outcome) -> None:
    """Print a study's table, and what its results lack."""
    from polyview.reporting.report import table

    console.print(table(outcome, console.width))
    _print_caveats(outcome, console)


def _print_caveats(outcome: Outcome, output: Console) -> None:
    from polyview.analysis.notes import caveats

    for line in caveats(outcome):
        output.print(f"note: {line}", highlight=False, markup=False, soft_wrap=True)


def _print_page(name: str, page: Path) -> None:
    """Say where a page is, and, of a home in a bucket, where its copy is on this machine."""
    console.print(f"{name:<9} {address(page)}", highlight=False, soft_wrap=True)
    if address(page) != str(page):
        console.print(f"its copy  {page}", highlight=False, soft_wrap=True)


def list_trials(study: Any) -> None:
    """Print the trials of a `Study` with the state of each, and what the rest of them costs."""
    from polyview.studies.estimate import estimate

    with watching() as watcher:
        watcher.stage("estimate", 0)  # which starts Ray: on a busy machine that takes half a minute
        found = estimate(study, open_home())
    names = (Column(head, overflow="fold") for head in ("trial", "variant"))
    table = Table(*names, "repeat", Column("state", no_wrap=True), title=study.name)
    for trial, state in found.trials:
        table.add_row(*map(Text, (trial.id, trial.variant, trial.repeat, state)))
    console.print(table)
    for line in found.lines():
        console.print(line, highlight=False, soft_wrap=True)
