"""Machines: MLflow's pages and checks here, and the same verbs on a cluster."""

from __future__ import annotations

import os
import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Column, Table
from rich.text import Text

from polyview.cli.app import app
from polyview.errors import UserError
from polyview.storage.home import named_home, open_home
from polyview.terminal import console, errors

Address = Annotated[
    str | None, typer.Option(metavar="URL", help="The cluster's dashboard; else RAY_API_SERVER_ADDRESS, else :8265.")
]
JobName = Annotated[str, typer.Argument(metavar="ID", help="As `polyview jobs` lists it.")]

# What a cluster can do; the other verbs are about this machine.
REMOTE = ("demo", "scan", "render", "sheet", "pretrain", "evaluate", "ablate", "report", "table", "compare", "doctor")


@app.command()
def ui(
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port to listen on.", min=1, max=65535)] = 5000,
) -> None:
    """Serve the MLflow UI on this home's runs."""
    from polyview.tracking.store import serve

    serve(open_home(), host, port)


@app.command()
def doctor() -> None:
    """Say what this machine can do, or each of the cluster at RAY_ADDRESS, and what to do about what it cannot."""
    from polyview.cluster.doctor import checks

    table, home = Table("", "check", "found", "remedy"), named_home()
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
