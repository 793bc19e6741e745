"""One trial, start to finish: pretrain on some people, ask the probes about the others, write the record."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from polyview.corpus.splits import Split, holdout
from polyview.environment import describe_environment
from polyview.errors import UserError
from polyview.evaluation.embed import anchors, embed, raw_pixels
from polyview.evaluation.embedded import Embedded
from polyview.evaluation.protocols import Evaluation, evaluate
from polyview.modeling.model import MultiviewModel
from polyview.modeling.towers import check_tower
from polyview.recipe import Experiment, ProbeName
from polyview.rendering.cameras import cameras
from polyview.rendering.store import ViewStore
from polyview.studies.ledger import Ledger, Record
from polyview.training.checkpoint import Checkpoint, Source, drop_checkpoints_of_others, latest_checkpoint
from polyview.training.history import Epoch
from polyview.training.loop import Job, Trainer, class_tokens, make_batches

PIXELS = "pixels"


@dataclass(frozen=True)
class Assignment:
    """What a worker needs to run a trial: the recipe, the rendered views, and where the records are kept."""

    experiment: Experiment
    store: Path
    trials: Path


def check(assignment: Assignment) -> None:
    """Raises `UserError` for what would stop the trial: no such tower, prompts that do not fit it, too few faces."""
    experiment = assignment.experiment
    if is_raw_pixels(experiment):
        return
    check_tower(experiment.model)
    if experiment.language.prompts != "none":
        class_tokens(experiment)
    if experiment.training.epochs:
        split = split_of(experiment, ViewStore.open(assignment.store))
        make_batches(Job(experiment, assignment.store, split.train, assignment.trials))


def is_raw_pixels(experiment: Experiment) -> bool:
    """Whether the trial asks the probes about the pixels themselves, with no model between."""
    return experiment.model.tower == PIXELS and not experiment.training.epochs


def train_alone(job: Job) -> Iterator[Epoch]:
    """Pretrain in this process."""
    return Trainer(job, default_device()).epochs()


def default_device() -> torch.device:
    """The GPU that this process may use, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def run_trial(assignment: Assignment, train: Callable[[Job], Iterator[Epoch]] = train_alone) -> Iterator[Epoch]:
    """Run a trial from where it stands; yields the epochs it trains and leaves its record in the ledger.

    A trial that has a record of these faces does nothing. One process at a time works on a trial: a second waits.
    """
    experiment, ledger = assignment.experiment, Ledger(assignment.trials)
    trial_id = experiment.digest
    folder = assignment.trials / trial_id
    with _alone_in(folder):
        store = ViewStore.open(assignment.store)
        manifest = store.manifest.fingerprint
        if (known := ledger.read(trial_id)) and known.manifest == manifest:
            return
        split = split_of(experiment, store)
        drop_checkpoints_of_others(folder, Source(manifest=manifest, subjects=split.train))
        started = time.time()
        if experiment.training.epochs:
            yield from train(Job(experiment, assignment.store, split.train, folder))
        checkpoint = latest_checkpoint(folder)
        history = checkpoint.history if checkpoint else ()
        if history:
            started = min(started, history[0].ended - history[0].metrics["seconds"])
        trained = time.time()
        model = None if is_raw_pixels(experiment) else _load_model(experiment, folder)
        evaluation = score(experiment, model, store, split)
        ledger.write(
            Record(
                id=trial_id,
                experiment=experiment,
                started=started,
                ended=time.time(),
                history=history,
                scores={f"{row['probe']}/{row['metric']}": row["value"] for row in evaluation.results.to_dicts()},
                confusions=evaluation.confusions,
                classes=tuple(evaluation.classes),
                seconds={
                    "train": sum(epoch.metrics["seconds"] for epoch in history),
                    "evaluate": time.time() - trained,
                },
                train_subjects=split.train,
                test_subjects=split.test,
                manifest=manifest,
                parameters=sum(parameter.numel() for parameter in model.parameters()) if model else 0,
                environment=describe_environment(),
            )
        )


def score(experiment: Experiment, model: MultiviewModel | None, store: ViewStore, split: Split) -> Evaluation:
    """Fit the recipe's probes on the training subjects and score them on those set aside.

    Without a model, the features are the raw pixels.
    """
    views = cameras(experiment.rendering.views)

    def embedded(subjects: tuple[str, ...]) -> Embedded:
        labels, owners = store.labels("expression"), store.labels("subject")
        rows = np.array([row for row, owner in enumerate(owners) if owner in set(subjects)], dtype=np.int64)
        features: NDArray[np.float32] = (
            embed(model, store, rows, views, default_device()) if model else raw_pixels(store, rows, views)
        )
        return Embedded(features, [labels[row] for row in rows], [owners[row] for row in rows])

    learns_text = bool(experiment.objective.text_terms or experiment.model.pretrained)
    has_text = experiment.language.prompts != "none" and learns_text
    return evaluate(
        train=embedded(split.train),
        test=embedded(split.test),
        anchors=anchors(model, experiment, default_device()) if model and has_text else None,
        probes=experiment.evaluation.probes,
        classes=experiment.corpus.expressions,
        seed=experiment.seed,
    )


def evaluate_checkpoint(checkpoint: Checkpoint, probes: Sequence[ProbeName], store: ViewStore) -> Evaluation:
    """Ask `probes` about a checkpoint, with the recipe and the subjects set aside that it was pretrained with."""
    recipe, seen = checkpoint.experiment, checkpoint.source
    if seen.manifest != store.manifest.fingerprint:
        raise UserError(
            f"{checkpoint.folder}: pretrained on other faces (manifest {seen.manifest}) than lie at the recipe's "
            f"corpus now ({store.manifest.fingerprint}); who was set aside cannot be told"
        )
    asked = recipe.model_copy(update={"evaluation": recipe.evaluation.model_copy(update={"probes": tuple(probes)})})
    return score(asked, checkpoint.load_model(), store, split_of(recipe, store))


def split_of(experiment: Experiment, store: ViewStore) -> Split:
    """Who is pretrained on and who is set aside."""
    return holdout(sorted(set(store.labels("subject"))), experiment.evaluation.share, experiment.seed)


def _load_model(experiment: Experiment, folder: Path) -> MultiviewModel:
    if checkpoint := latest_checkpoint(folder):
        return checkpoint.load_model()
    torch.manual_seed(experiment.seed)
    return MultiviewModel(experiment).eval()


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
