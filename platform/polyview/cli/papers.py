"""Studies for others: one file that holds what is known of a study, and the same study run again elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from polyview.cli.app import Sets, StudyFile, app
from polyview.cli.studies import list_trials, run_and_show
from polyview.storage.home import open_home
from polyview.storage.mirror import address
from polyview.terminal import console

BundleFile = Annotated[Path, typer.Argument(metavar="BUNDLE", help="What `polyview bundle` has made.")]


@app.command()
def bundle(
    study: StudyFile,
    sets: Sets = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The zip that is made; else NAME.zip.")] = None,
) -> None:
    """Write all that is known of a study to one file, with which others can report and re-run it."""
    from polyview.recipe import load_study
    from polyview.studies.archive import in_words, sha256
    from polyview.studies.bundle import NOT_IN_IT, write_bundle

    loaded = load_study(study, sets or [])
    path = out or Path(f"{loaded.name}.zip")
    about = write_bundle(loaded, open_home(), path, _command(study, sets or []))
    size = f"{in_words(path.stat().st_size)}, {in_words(about.size)} unpacked"
    _say(f"wrote {path}: {len(about.members) + 1} files, {size}; sha256 {sha256(path)}")
    _say(f"holds {about.results} of {about.trials} trials' results; no {NOT_IN_IT}")
    if about.absent:
        _say(f"incomplete: there is no result of {'; '.join(about.absent)}")
    if about.stale:
        _say(f"{about.stale} results are of faces that have changed since, and are left out")
    if about.bare:
        _say(about.bare_results)
    needed = "".join(f" --set {one.assignment}" for one in about.needed if not one.at_hand)
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
    from polyview.studies.bundle import open_bundle
    from polyview.studies.rerun import compare_with, continue_search, find_corpora, moved_study, remarks_before

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
