"""Faces: read a dataset, draw its views, look at them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from polyview.cli.app import ExperimentFile, Sets, app
from polyview.errors import UserError
from polyview.storage.home import check_output, open_home
from polyview.storage.mirror import address, resolve
from polyview.terminal import console, watching
from polyview.wording import counted

_SKIPPED_SHOWN = 10


@app.command()
def scan(
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="Such as synthetic, folder, bu3dfe, coma.")],
    root: Annotated[str | None, typer.Argument(metavar="ROOT", help="Its folder, or s3://bucket/path.")] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the manifest goes.")] = Path("faces.parquet"),
    sets: Sets = None,
) -> None:
    """Read a dataset's folder into a manifest, and say what was skipped and why."""
    from polyview.corpus.inspection import inspect
    from polyview.corpus.manifest import Manifest
    from polyview.corpus.scan import scan as scan_corpus
    from polyview.recipe import build_corpus

    check_output(out, Manifest.is_one)
    if out.suffix.lower() != ".parquet":
        raise UserError(f"{out}: the manifest is Parquet; -o takes a name that ends in .parquet")
    corpus = build_corpus(dataset, root, sets or [])
    with watching() as watcher:
        watcher.stage("scan", 2)
        found = scan_corpus(corpus)
        watcher.advance(1)
        lines = inspect(found.manifest)
    found.manifest.save(out)
    title = f"{counted(len(found.manifest), 'face')} of {dataset}"
    table = Table("expression", "faces", "subjects", "sequences", title=title)
    for row in found.manifest.summary().iter_rows():
        table.add_row(*(Text(str(cell)) for cell in row))
    console.print(table)
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    for path, reason in found.skipped.head(_SKIPPED_SHOWN).iter_rows():
        console.print(f"skipped {path}: {reason}", highlight=False, markup=False, soft_wrap=True)
    if len(found.skipped) > _SKIPPED_SHOWN:
        console.print(f"skipped {len(found.skipped) - _SKIPPED_SHOWN} more", highlight=False)
    for remark in found.remarks:
        console.print(f"note: {remark}", highlight=False, markup=False, soft_wrap=True)
    left_out = f" and {counted(found.unused, 'face')} left out" if found.unused else ""
    console.print(
        f"{counted(len(found.skipped), 'file')} skipped{left_out}; wrote {out} (fingerprint "
        f"{found.manifest.fingerprint})"
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
    from polyview.rendering.sheet import contact_sheet, is_sheet
    from polyview.rendering.store import ViewStore, fetch_contents

    if out.suffix.lower() != ".png":
        raise UserError(f"{out}: the sheet is a PNG; -o takes a name that ends so")
    check_output(out, is_sheet)
    fetch_contents(store)
    views = ViewStore.open(store)
    step = max(1, len(views) // rows)
    contact_sheet(views, range(0, len(views), step)[:rows], out)
    console.print(f"wrote {out}", highlight=False)
