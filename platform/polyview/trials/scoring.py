"""Score a model on a trial's faces: trained, half-trained, or from a checkpoint that was kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from polyview.corpus.manifest import Manifest
from polyview.corpus.splits import exchanged
from polyview.errors import UserError
from polyview.evaluation.embed import anchors, embed, raw_pixels
from polyview.evaluation.embedded import Embedded, centred, pooled
from polyview.evaluation.protocols import Evaluation, evaluate
from polyview.modeling.model import MultiviewModel
from polyview.recipe import Experiment, ProbeName, few_shot
from polyview.rendering.cameras import cameras
from polyview.rendering.store import ViewStore
from polyview.training.checkpoint import Checkpoint, fetch_checkpoint, latest_checkpoint, open_checkpoint
from polyview.training.loop import fetch_pictures
from polyview.trials.design import PIXELS
from polyview.trials.spec import Faces, TrialSpec


def is_raw_pixels(experiment: Experiment) -> bool:
    """Whether the trial asks the probes about the pixels themselves, with no model between."""
    return experiment.model.tower == PIXELS and not experiment.training.trains


def default_device() -> torch.device:
    """The GPU that this process may use, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def evaluate_trained(spec: TrialSpec) -> tuple[Evaluation, int]:
    """Score a trial's last checkpoint on its test subjects; and how many parameters its model has."""
    experiment = spec.experiment
    folder = spec.trials / experiment.digest
    model = None if is_raw_pixels(experiment) else _load_model(experiment, folder)
    parameters = sum(parameter.numel() for parameter in model.parameters()) if model else 0
    return score(experiment, model, *spec.sides()), parameters


def evaluate_away(spec: TrialSpec) -> tuple[Evaluation, int]:
    """As `evaluate_trained`, on a machine that may not have yet what the trial reads."""
    fetch_pictures(spec.experiment, *spec.stores)
    fetch_checkpoint(spec.trials / spec.experiment.digest)
    return evaluate_trained(spec)


def _load_model(experiment: Experiment, folder: Path) -> MultiviewModel:
    if checkpoint := latest_checkpoint(folder):
        return checkpoint.load_model()
    torch.manual_seed(experiment.seed)
    return MultiviewModel(experiment).eval()


def score(experiment: Experiment, model: MultiviewModel | None, train: Faces, test: Faces) -> Evaluation:
    """Fit the recipe's probes on the training subjects and score them on the test subjects.

    Probes read labels too: they are fitted on the subjects whose labels may be read alone. A sequence counts once, with
    its frames' mean embedding. Without a model, the features are the raw pixels.
    """
    labelled_faces = train.labelled(experiment)
    fitted = embedded(experiment, model, labelled_faces)
    if experiment.language.shuffled == "all":
        fitted = replace(fitted, labels=exchanged(fitted.labels, experiment.seed))
    tested = embedded(experiment, model, test, "" if test.store is train.store else "test/")
    if experiment.evaluation.moves_tested:
        everybody = fitted if labelled_faces.subjects == train.subjects else embedded(experiment, model, train)
        tested = centred(tested, everybody)
    learns_text = bool(experiment.objective.text_terms or experiment.model.start)
    has_text = experiment.language.prompts != "none" and learns_text
    return evaluate(
        train=fitted,
        test=tested,
        anchors=anchors(model, experiment, default_device()) if model and has_text else None,
        probes=experiment.evaluation.probes,
        classes=experiment.corpus.expressions,
        seed=experiment.seed,
        protocol=experiment.evaluation.protocol,
        fold=experiment.evaluation.fold,
        shots=experiment.evaluation.shots,
    )


def embedded(experiment: Experiment, model: MultiviewModel | None, faces: Faces, prefix: str = "") -> Embedded:
    """What a model makes of some faces, a sequence as one; without a model, the raw pixels. Names get the prefix."""
    # Two corpora may call different people by one name.
    views, store = cameras(experiment.rendering.views), faces.store
    rows = store.rows_of(faces.subjects)
    expressions, owners, sequences, names = (
        [column[row] for row in rows]
        for column in (*map(store.labels, ("expression", "subject", "sequence")), store.sample_ids)
    )
    features: NDArray[np.float32] = (
        embed(model, store, rows, views, default_device()) if model else raw_pixels(store, rows, views)
    )
    return pooled(Embedded(features, expressions, [prefix + owner for owner in owners], names), sequences)


def interim_score(spec: TrialSpec, metric: str) -> float | None:
    """The score of a trial's half-trained model, from its last checkpoint; None where its recipe has no such metric.

    Raises `UserError` if there is no checkpoint.
    """
    experiment = spec.experiment
    model = _newest_model(spec.trials / experiment.digest)
    wanted, evaluation = metric.partition("/")[0], experiment.evaluation
    probed = _with_probes(
        experiment,
        [probe for probe in evaluation.probes if probe == wanted],
        [people for people in evaluation.shots if few_shot(people) == wanted],
    )
    found = score(probed, model, *spec.sides()).results.filter(pl.format("{}/{}", "probe", "metric") == metric)
    return float(found["value"].item()) if len(found) else None


def _newest_model(folder: Path) -> MultiviewModel:
    """A trial's model as last checkpointed; workers that go on with it may put another in its place as it is read."""
    while True:
        checkpoint = open_checkpoint(folder)
        try:
            return checkpoint.load_model()
        except (OSError, UserError):
            if open_checkpoint(folder) == checkpoint:
                raise


def evaluate_checkpoint(
    checkpoint: Checkpoint,
    probes: Sequence[ProbeName],
    store: Path,
    test: Path | None,
    shots: Sequence[int] = (),
) -> Evaluation:
    """Score a checkpoint by `probes` and few-shot probes, with the recipe and the test subjects of its pretraining."""
    recipe, source = checkpoint.experiment, checkpoint.source
    probed = _with_probes(recipe, probes, shots)
    spec = TrialSpec(probed, store, checkpoint.folder, test)
    fetch_pictures(recipe, *spec.stores)
    sides = spec.sides()
    check_is_of(checkpoint, sides[0].store.manifest)
    if {*source.subjects} != {*sides[0].subjects}:
        raise UserError(
            f"{checkpoint.folder}: pretrained on other people than its recipe names; experiment.yaml was changed, and "
            "its test subjects cannot be known"
        )
    return score(probed, checkpoint.load_model(), *sides)


def check_is_of(checkpoint: Checkpoint, manifest: Manifest) -> None:
    """Raises `UserError` if a checkpoint was pretrained on other faces than the manifest has."""
    if not manifest.is_of_faces(checkpoint.source.manifest):
        raise UserError(
            f"{checkpoint.folder}: pretrained on other faces (manifest {checkpoint.source.manifest}) than lie at the "
            f"recipe's corpus now ({manifest.fingerprint}), so that its test subjects cannot be known; put the faces "
            "back, or run its study again"
        )


def note_of_pictures(checkpoint: Checkpoint, store: Path) -> str | None:
    """Says so where a checkpoint was trained on other pictures of the faces than the store has."""
    if ViewStore.open(store).manifest.is_called(checkpoint.source.manifest):
        return None
    return (
        "an earlier version read or drew the faces in another way for its training; these scores are of today's views"
    )


def _with_probes(experiment: Experiment, probes: Sequence[ProbeName], shots: Sequence[int]) -> Experiment:
    chosen = {"probes": tuple(probes), "shots": tuple(shots)}
    return experiment.model_copy(update={"evaluation": experiment.evaluation.model_copy(update=chosen)})
