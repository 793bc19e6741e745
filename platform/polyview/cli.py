"""The front door: `polyview VERB …`, one verb per step."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Column, Table
from rich.text import Text

from polyview.environment import check_arrival, find_writable_places
from polyview.errors import UserError
from polyview.storage.home import bundled, open_home
from polyview.storage.mirror import address, resolve
from polyview.studies.interruption import exit_code, handle_signals
from polyview.terminal import console, errors, watching

FULL = os.strerror(errno.ENOSPC)
_SKIPPED_SHOWN = 10

app = typer.Typer(
    name="polyview",
    help="Ablations of multiview vision-language pretraining on 3D and 4D faces.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Sets = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key of the recipe.")]
ExperimentFile = Annotated[Path, typer.Argument(metavar="EXPERIMENT", help="A recipe, as in experiments/.")]
CheckpointFolder = Annotated[
    Path, typer.Argument(parser=resolve, metavar="CHECKPOINT", help="A checkpoint's folder, or its trial's.")
]
StudyFile = Annotated[Path, typer.Argument(metavar="STUDY", help="A study, as in ablations/.")]

Address = Annotated[
    str | None, typer.Option(metavar="URL", help="The cluster's dashboard; else RAY_API_SERVER_ADDRESS, else :8265.")
]
JobName = Annotated[str, typer.Argument(metavar="ID", help="As `polyview jobs` lists it.")]

# What a cluster can do; the other verbs are about this machine.
REMOTE = ("demo", "scan", "render", "sheet", "pretrain", "evaluate", "ablate", "report", "compare", "doctor")


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
def scan(
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="Such as synthetic, folder, bu3dfe, coma.")],
    root: Annotated[str | None, typer.Argument(metavar="ROOT", help="The dataset's folder.")] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the manifest goes.")] = Path("faces.parquet"),
    sets: Sets = None,
) -> None:
    """Read a dataset's folder into a manifest, and say what was skipped and why."""
    from polyview.corpus.inspection import inspect
    from polyview.corpus.scan import scan as scan_corpus
    from polyview.recipe import build_corpus

    found = scan_corpus(build_corpus(dataset, root, sets or []))
    found.manifest.save(out)
    table = Table("expression", "faces", "subjects", "sequences", title=f"{len(found.manifest)} faces of {dataset}")
    for row in found.manifest.summary().iter_rows():
        table.add_row(*(Text(str(cell)) for cell in row))
    console.print(table)
    for line in inspect(found.manifest):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    for path, reason in found.skipped.head(_SKIPPED_SHOWN).iter_rows():
        console.print(f"skipped {path}: {reason}", highlight=False, markup=False, soft_wrap=True)
    if len(found.skipped) > _SKIPPED_SHOWN:
        console.print(f"skipped {len(found.skipped) - _SKIPPED_SHOWN} more", highlight=False)
    for remark in found.remarks:
        console.print(f"note: {remark}", highlight=False, markup=False, soft_wrap=True)
    left_out = f" and {found.unused} faces left out" if found.unused else ""
    console.print(
        f"{len(found.skipped)} files skipped{left_out}; wrote {out} (fingerprint {found.manifest.fingerprint})"
    )


@app.command()
def render(experiment: ExperimentFile, sets: Sets = None) -> None:
    """Render the meshes of an experiment to a view store; what is there already is not rendered again."""
    from polyview.recipe import load_experiment
    from polyview.trials.views import find_faces, prepare_views

    recipe = load_experiment(experiment, sets or [])
    with watching() as watcher:
        store = prepare_views(find_faces([recipe]), open_home(), watcher).store_of(recipe)
    console.print(f"look      polyview sheet {address(store)}", highlight=False, soft_wrap=True)


@app.command()
def sheet(
    store: Annotated[Path, typer.Argument(parser=resolve, metavar="STORE", help="A view store's folder.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the picture goes.")] = Path("sheet.png"),
    rows: Annotated[int, typer.Option(help="How many samples, spread over the store.", min=1)] = 14,
) -> None:
    """Draw a contact sheet of a view store: samples down, views across."""
    from polyview.rendering.sheet import contact_sheet
    from polyview.rendering.store import ViewStore, fetch_contents

    fetch_contents(store)
    views = ViewStore.open(store)
    step = max(1, len(views) // rows)
    contact_sheet(views, range(0, len(views), step)[:rows], out)
    console.print(f"wrote {out}", highlight=False)


@app.command()
def pretrain(experiment: ExperimentFile, sets: Sets = None) -> None:
    """Pretrain one experiment and evaluate it: a study of one trial."""
    from polyview.recipe import Study, load_experiment

    recipe = load_experiment(experiment, sets or [])
    metric = f"{recipe.evaluation.probes[0]}/accuracy"
    name = f"pretrain-{recipe.name}"
    _run(Study(name=name, experiment=recipe, seeds=(recipe.seed,), metric=metric, references=False))


@app.command()
def evaluate(
    checkpoint: CheckpointFolder,
    probe: Annotated[list[str] | None, typer.Option(help="linear, knn or zero_shot; all that the recipe has.")] = None,
) -> None:
    """Score a checkpoint by the probes, on the test subjects of its pretraining."""
    from polyview.recipe import with_overrides
    from polyview.training.checkpoint import open_checkpoint
    from polyview.trials.trial import evaluate_checkpoint
    from polyview.trials.views import find_faces, prepare_views

    opened = open_checkpoint(checkpoint)
    recipe = opened.experiment
    asked = with_overrides(recipe, {"evaluation.probes": probe}, "--probe") if probe else recipe
    with watching() as watcher:
        views = prepare_views(find_faces([recipe]), open_home(), watcher)
        stores = views.store_of(recipe), views.test_store_of(recipe)
        shots = () if probe else recipe.evaluation.shots
        evaluation = evaluate_checkpoint(opened, asked.evaluation.probes, *stores, shots)
    table = Table("protocol", "probe", "metric", "value")
    for protocol, _, name, metric, value in evaluation.results.iter_rows():
        table.add_row(protocol, name, metric, f"{value:.4f}")
    console.print(table)


@app.command()
def export(
    checkpoint: CheckpointFolder,
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder, or the .safetensors, that is made.")],
) -> None:
    """Write a checkpoint's towers as a folder that open_clip loads without polyview, or their weights as one file."""
    from polyview.modeling.export import export_towers, export_weights
    from polyview.training.checkpoint import open_checkpoint

    opened = open_checkpoint(checkpoint)
    if out.suffix == ".safetensors":
        export_weights(opened.load_model(), out)
        console.print(f"use       --set model.pretrained={out}", highlight=False, soft_wrap=True)
        return
    export_towers(opened.load_model(), opened.experiment, out)
    console.print(
        f'load      open_clip.create_model_and_transforms("local-dir:{out}")', highlight=False, soft_wrap=True
    )


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
        _list_trials(loaded)
    else:
        _run(loaded, force)


@app.command()
def report(
    study: StudyFile,
    sets: Sets = None,
    form: Annotated[Format, typer.Option("--format", help="How to print it.")] = Format.table,
) -> None:
    """Print what is known of a study, from the ledger alone."""
    from polyview.recipe import load_study
    from polyview.reporting import report as reports
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


@app.command()
def ui(
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port to listen on.")] = 5000,
) -> None:
    """Serve the MLflow UI on this home's runs."""
    from polyview.tracking.store import serve

    serve(open_home(), host, port)


@app.command()
def doctor() -> None:
    """Say what this machine can do, or each of the cluster at RAY_ADDRESS, and what to do about what it cannot."""
    from polyview.cluster.doctor import checks

    table, home = Table("", "check", "found", "remedy"), open_home()
    found = checks(home)
    if os.environ.get("RAY_ADDRESS"):
        from polyview.cluster.nodes import check_nodes

        found += check_nodes(home)
    for check in found:
        state = Text("ok", "green") if check.ok else Text("no", "red")
        table.add_row(state, *map(Text, (check.name, check.detail, check.remedy)))
    console.print(table)


@app.command()
def submit(
    words: Annotated[list[str], typer.Argument(metavar="-- VERB ...", help="A command, as it would be typed here.")],
    address: Address = None,
) -> None:
    """Run a verb on a cluster, with this project's code and recipes, and watch it."""
    from polyview.cluster.package import pack

    if words[0] not in REMOTE:
        raise UserError(f"submit {words[0]}: no verb that a cluster runs; those are {', '.join(REMOTE)}")
    package = pack(words, Path.cwd())
    from polyview.cluster.submit import Cluster

    cluster = Cluster(address)
    job = cluster.submit(package, console.width)
    console.print(f"submitted {job}", highlight=False)
    _watch(cluster, job)


@app.command()
def jobs(address: Address = None) -> None:
    """List what a cluster was asked for."""
    from polyview.cluster.submit import Cluster

    table = Table(Column("job", no_wrap=True), "status", "started", "command")
    for job in Cluster(address).jobs():
        started = f"{datetime.fromtimestamp(job.started):%Y-%m-%d %H:%M}"
        table.add_row(*map(Text, (job.id, job.status, started, job.command)))
    console.print(table)


@app.command()
def logs(job: JobName, address: Address = None) -> None:
    """Print a job's log from its beginning, and go on until the job has ended."""
    from polyview.cluster.submit import Cluster

    _watch(Cluster(address), job)


@app.command()
def stop(job: JobName, address: Address = None) -> None:
    """Stop a job as Ctrl-C stops a command: what it has finished stays, and submitting it again continues."""
    from polyview.cluster.submit import Cluster

    stopped = Cluster(address).stop(job)
    console.print(f"{job} {'stops' if stopped else 'had ended before'}", highlight=False)


def _watch(cluster: Any, job: str) -> None:
    from polyview.cluster.submit import Log, ways

    log = Log(_write)
    try:
        ended = cluster.follow(job, log, lambda line: errors.print(line, highlight=False, markup=False))
    except KeyboardInterrupt:
        said = f"{job} goes on; polyview logs {job} watches it, polyview stop {job} ends it"
        console.print(said, highlight=False, soft_wrap=True)
        raise typer.Exit(130) from None
    for name, way in ways(log):
        console.print(f"{name:<9} {way}", highlight=False, soft_wrap=True)
    if ended.status != "SUCCEEDED":
        errors.print(f"{job} {ended.status.lower()}", highlight=False)
        raise typer.Exit(ended.code or 1)


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _run(study: Any, force: str | None = None) -> None:
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
    if failures:
        raise typer.Exit(1)


def _list_trials(study: Any) -> None:
    from polyview.studies.estimate import estimate

    found = estimate(study, open_home())
    table = Table("trial", "variant", "seed", "state", title=study.name)
    for trial, state in found.trials:
        table.add_row(*map(Text, (trial.id, trial.variant, str(trial.seed), state)))
    console.print(table)
    for line in found.lines():
        console.print(line, highlight=False, soft_wrap=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command line: exit code 2 for what the user can fix, 1 for what failed, a traceback only with --debug."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    try:
        if arguments is None:  # the process is ours, and not a program that calls this
            handle_signals()
            find_writable_places()
        check_arrival()
        app([word for word in words if word != "--debug"])
    except SystemExit:
        if (code := exit_code()) is None:
            raise
        sys.exit(code)
    except UserError as error:
        if debug:
            raise
        errors.print(f"polyview: {error}", highlight=False, markup=False, soft_wrap=True)
        sys.exit(2)
    except Exception as error:
        if debug:
            raise
        if FULL in str(error):  # as Ray and SQLite say it too, in exceptions of their own
            errors.print(f"polyview: {FULL}: make room and run this again; what is finished is kept", highlight=False)
            sys.exit(2)
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        errors.print(f"polyview: {reason} (--debug shows where)", highlight=False, markup=False, soft_wrap=True)
        sys.exit(1)
