"""One trial: pretrain it, score its checkpoint, take its towers elsewhere."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from polyview.cli.app import ExperimentFile, Sets, app
from polyview.cli.studies import run_and_report
from polyview.errors import UserError
from polyview.storage.home import check_output, existing_home, open_home
from polyview.storage.mirror import resolve
from polyview.terminal import console, errors, watching

if TYPE_CHECKING:
    from polyview.training.checkpoint import Checkpoint

PICKLES = (".pt", ".pth", ".bin", ".ckpt")
TRIAL_ID = re.compile(r"[0-9a-f]{4,16}")
CheckpointName = Annotated[
    str, typer.Argument(metavar="CHECKPOINT", help="A checkpoint's folder, its trial's, or the trial's id.")
]


@app.command()
def pretrain(experiment: ExperimentFile, sets: Sets = None) -> None:
    """Pretrain one experiment and evaluate it: a study of one trial."""
    from polyview.recipe import Study, keys_set, load_experiment
    from polyview.trials.design import check_keys_are_read

    recipe = load_experiment(experiment, sets or [])
    metric = f"{recipe.evaluation.probes[0]}/accuracy"
    name = f"pretrain-{recipe.name}"
    study = Study(name=name, experiment=recipe, seeds=(recipe.seed,), metric=metric, references=False)
    check_keys_are_read(study, keys_set(experiment, sets or []))
    run_and_report(study)


def _open_checkpoint(named: str) -> Checkpoint:
    """A checkpoint by its folder, its trial's, or the beginning of the trial's id; says if it is half-trained."""
    from polyview.training.checkpoint import open_checkpoint
    from polyview.trials.ledger import Ledger

    path = resolve(named)
    if TRIAL_ID.fullmatch(named) and not path.exists():
        ledger = Ledger(existing_home().trials)
        path = ledger.folder / ledger.find(named).id
    opened = open_checkpoint(path)
    if told := opened.unfinished:
        errors.print(f"note: {told}; run its study again to have it finished", highlight=False, soft_wrap=True)
    return opened


@app.command()
def evaluate(
    checkpoint: CheckpointName,
    probe: Annotated[list[str] | None, typer.Option(help="linear, knn or zero_shot; all that the recipe has.")] = None,
) -> None:
    """Score a checkpoint by the probes, on the test subjects of its pretraining."""
    from polyview.recipe import with_overrides
    from polyview.trials.scoring import check_is_of, evaluate_checkpoint, note_of_pictures
    from polyview.trials.views import find_faces, prepare_views

    opened = _open_checkpoint(checkpoint)
    recipe = opened.experiment
    asked = with_overrides(recipe, {"evaluation.probes": probe}, "--probe") if probe else recipe
    with watching() as watcher:
        faces = find_faces([recipe])
        check_is_of(opened, faces.manifests(recipe)[0])
        views = prepare_views(faces, open_home(), watcher)
        stores = views.store_of(recipe), views.test_store_of(recipe)
        shots = () if probe else recipe.evaluation.shots
        evaluation = evaluate_checkpoint(opened, asked.evaluation.probes, *stores, shots)
        told = note_of_pictures(opened, stores[0])
    table = Table("protocol", "probe", "metric", "value")
    for protocol, _, name, metric, value in evaluation.results.iter_rows():
        table.add_row(protocol, name, metric, f"{value:.4f}")
    console.print(table)
    if told:
        errors.print(f"note: {told}", highlight=False, soft_wrap=True)


@app.command()
def export(
    checkpoint: CheckpointName,
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder, or the .safetensors, that is made.")],
) -> None:
    """Write a checkpoint's towers as a folder that open_clip loads without polyview, or their weights as one file."""
    from polyview.modeling.export import export_towers, export_weights
    from polyview.modeling.towers import torchvision_fits

    if out.suffix.lower() in PICKLES:
        raise UserError(f"{out}: no pickle is written; -o takes a folder, or the name of a .safetensors")
    if out.suffix == ".safetensors":
        check_output(out, lambda _: False)
    opened = _open_checkpoint(checkpoint)
    if out.suffix == ".safetensors":
        export_weights(opened.load_model(), opened.provenance.as_metadata(), out)
    else:
        export_towers(opened.load_model(), opened.experiment, opened.provenance.as_metadata(), out)
    console.print(f"use       --set model.pretrained={out}", highlight=False, soft_wrap=True)
    if out.suffix == ".safetensors":
        return
    if not torchvision_fits():
        told = "note: torchvision here is a build for another torch, with which open_clip alone does not import"
        errors.print(told, highlight=False, soft_wrap=True)
    console.print(
        f'load      open_clip.create_model_and_transforms("local-dir:{out}")', highlight=False, soft_wrap=True
    )
