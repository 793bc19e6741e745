"""One trial, start to finish: pretrain on the training subjects, score the test subjects, write the record."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from polyview.corpus.splits import exchanged, labelled
from polyview.environment import describe_environment
from polyview.errors import UserError
from polyview.evaluation.embed import anchors, embed, raw_pixels
from polyview.evaluation.embedded import Embedded, centred, pooled
from polyview.evaluation.protocols import PREDICTIONS, Evaluation, evaluate
from polyview.modeling.model import MultiviewModel
from polyview.modeling.towers import build_towers, check_tower, check_weights
from polyview.recipe import Experiment, ProbeName, Resources, few_shot
from polyview.rendering.cameras import Camera, cameras
from polyview.rendering.sequences import open_samples
from polyview.rendering.store import ViewStore
from polyview.storage.home import locked
from polyview.training.checkpoint import (
    Checkpoint,
    checkpoint_name,
    fetch_checkpoint,
    has_checkpoint_of_others,
    latest_checkpoint,
    open_checkpoint,
)
from polyview.training.history import Epoch
from polyview.training.loop import Trainer, TrainingJob, class_tokens, fetch_pictures, make_batches, never
from polyview.training.provenance import Seen, provenance_of_start
from polyview.training.saving import USUAL_TIMES, CheckpointTimes
from polyview.trials.design import PIXELS, Trial
from polyview.trials.ledger import LOCK, Ledger, Record
from polyview.trials.people import check_samples, sides_of
from polyview.trials.views import PreparedViews


@dataclass(frozen=True)
class TrialSpec:
    """What a worker needs to run a trial: the recipe, the rendered views, and where the records are kept.

    `test` is the store of `evaluation.test`'s views, if the recipe has that. `checkpoints` says when training is
    checkpointed.
    """

    experiment: Experiment
    store: Path
    trials: Path
    test: Path | None = None
    checkpoints: CheckpointTimes = USUAL_TIMES

    @property
    def stores(self) -> tuple[Path, ...]:
        """All that the trial reads pictures from."""
        return (self.store, self.test) if self.test else (self.store,)

    def sides(self) -> tuple[Faces, Faces]:
        """The faces that are trained on and those that are scored, the test subjects' or the validation subjects'.

        Raises `UserError` where there are too few people.
        """
        store, other = self.samples()
        chosen = sides_of(self.experiment, store.labels("subject"), other.labels("subject") if other else None)
        return Faces(store, chosen.train), Faces(other or store, chosen.test)

    def samples(self) -> tuple[ViewStore, ViewStore | None]:
        """What is trained on and, of another corpus that is scored, what that has."""
        modeling = self.experiment.model
        return open_samples(self.store, modeling), open_samples(self.test, modeling) if self.test else None


@dataclass(frozen=True)
class Workplace:
    """Where trials find their views and leave their records, what each may occupy, and how often it is tried again."""

    views: PreparedViews
    folder: Path
    resources: Resources
    retries: int = 1

    def spec(self, trial: Trial) -> TrialSpec:
        """What a worker needs to run a trial."""
        experiment, views = trial.experiment, self.views
        times = CheckpointTimes(60 * self.resources.checkpoint_minutes)
        return TrialSpec(experiment, views.store_of(experiment), self.folder, views.test_store_of(experiment), times)


@dataclass(frozen=True, eq=False)
class Faces:
    """Some of a store's subjects, all their samples."""

    store: ViewStore
    subjects: tuple[str, ...]

    def labelled(self, experiment: Experiment) -> Faces:
        """Those of the training subjects whose labels may be read, by the losses or by the probes."""
        return Faces(self.store, labelled(self.subjects, experiment.language.labelled, experiment.seed))


def check_recipe(experiment: Experiment) -> None:
    """Raises `UserError` for what faces cannot mend: no such tower, no patches; weights or prompts that do not fit."""
    if is_raw_pixels(experiment):
        return
    modeling = experiment.model
    check_tower(modeling)
    if modeling.pretrained_content:
        check_weights(modeling, experiment.rendering.size)
    elif modeling.patch_dropout:  # which the tower alone can tell
        build_towers(modeling.model_copy(update={"pretrained": None}), experiment.rendering.size)
    if experiment.language.prompts != "none":
        class_tokens(experiment)


def check_faces(spec: TrialSpec) -> None:
    """Raises `UserError` if there are too few faces for the protocol, the batches or the probes."""
    store, other = spec.samples()
    sides = check_samples(spec.experiment, _table(store), _table(other) if other else None)
    if spec.experiment.training.trains:
        make_batches(TrainingJob(spec.experiment, spec.store, sides.train, spec.trials))


def _table(store: ViewStore) -> pl.DataFrame:
    return pl.DataFrame({column: store.labels(column) for column in ("subject", "expression")})


def is_raw_pixels(experiment: Experiment) -> bool:
    """Whether the trial asks the probes about the pixels themselves, with no model between."""
    return experiment.model.tower == PIXELS and not experiment.training.trains


def train_alone(job: TrainingJob, warned: Callable[[], bool] = never) -> Iterator[Epoch]:
    """Pretrain in this process; a checkpoint is made in mid-epoch too when it is `warned`."""
    return Trainer(job, default_device()).epochs(warned)


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


def run_trial(
    spec: TrialSpec,
    train: Callable[[TrainingJob], Iterator[Epoch]] = train_alone,
    evaluation_of: Callable[[TrialSpec], tuple[Evaluation, int]] = evaluate_trained,
) -> Generator[Epoch]:
    """Run a trial from where it stands; yields the epochs it trains and leaves its record in the ledger.

    A trial that has a record of these faces does nothing; what it has of others is set aside. One process at a time
    works on a trial: a second waits.
    """
    experiment, ledger = spec.experiment, Ledger(spec.trials)
    trial_id = experiment.digest
    folder = spec.trials / trial_id
    with locked(folder / LOCK):
        fetch_pictures(experiment, *spec.stores)
        fetch_checkpoint(folder)
        train_faces, test_faces = spec.sides()
        known = ledger.read(trial_id)
        if known and known.manifest in fingerprints(train_faces, test_faces):
            return
        if known or has_checkpoint_of_others(folder, train_faces.store.manifest, train_faces.subjects):
            ledger.set_aside(trial_id)
        started = time.time()
        last = 0
        if experiment.training.trains:
            for epoch in train(TrainingJob(experiment, spec.store, train_faces.subjects, folder, spec.checkpoints)):
                last = epoch.epoch
                yield epoch
            fetch_checkpoint(folder)  # of workers on other machines
        # One that was just made is read by its name: NFS may not list it on this machine for a minute.
        checkpoint = Checkpoint(folder / checkpoint_name(last, 0)) if last else latest_checkpoint(folder)
        history = checkpoint.history if checkpoint else ()
        if history:
            started = min(started, history[0].ended - history[0].metrics["seconds"])
        trained = time.time()
        evaluation, parameters = evaluation_of(spec)
        useless = useless_pictures(experiment, train_faces, test_faces)
        if not is_raw_pixels(experiment):
            evaluation.test.save(ledger.embeddings(trial_id))
        ledger.write_predictions(trial_id, evaluation.predictions)
        ledger.write(
            Record(
                id=trial_id,
                experiment=experiment,
                started=started,
                ended=time.time(),
                history=history,
                scores=_scores(evaluation),
                confusions=evaluation.confusions,
                classes=tuple(evaluation.classes),
                seconds={
                    "train": sum(epoch.metrics["seconds"] for epoch in history),
                    "evaluate": time.time() - trained,
                },
                train_subjects=train_faces.subjects,
                test_subjects=() if experiment.evaluation.validation else test_faces.subjects,
                validation_subjects=test_faces.subjects if experiment.evaluation.validation else (),
                shared_faces=useless.shared,
                blank_pictures=useless.blank,
                seen_by_start=seen_by_start(experiment, test_faces.subjects, checkpoint),
                manifest=next(fingerprints(train_faces, test_faces)),
                parameters=parameters,
                environment=describe_environment(),
            )
        )


def seen_by_start(experiment: Experiment, scored: Sequence[str], checkpoint: Checkpoint | None = None) -> Seen:
    """Whom of the scored subjects the weights had seen that training started from."""
    if is_raw_pixels(experiment):
        return Seen()
    start = checkpoint.start if checkpoint else provenance_of_start(experiment.model)
    return start.among(experiment.scored_corpus, scored)


def predict_again(spec: TrialSpec) -> str | None:
    """Make the predictions that a finished trial of an earlier version did not keep, from its checkpoint.

    Returns why that cannot be: there is no checkpoint, the faces are others, or the scores are not the record's. Then
    an empty table is kept, so that it is not tried again.
    """
    experiment, ledger = spec.experiment, Ledger(spec.trials)
    folder = spec.trials / experiment.digest
    with locked(folder / LOCK):
        fetch_pictures(experiment, *spec.stores)
        fetch_checkpoint(folder)
        record, sides = ledger.read(experiment.digest), spec.sides()
        if record is None or record.manifest not in fingerprints(*sides):
            return _without_predictions(ledger, experiment.digest, "its faces are others now")
        if experiment.training.trains and latest_checkpoint(folder) is None:
            return _without_predictions(ledger, record.id, "its checkpoint is gone")
        evaluation, _ = evaluate_trained(spec)
        if _scores(evaluation) != record.scores:
            return _without_predictions(ledger, record.id, "its checkpoint scores otherwise on this machine")
        ledger.write_predictions(record.id, evaluation.predictions)
        return None


def _without_predictions(ledger: Ledger, trial_id: str, reason: str) -> str:
    ledger.write_predictions(trial_id, pl.DataFrame(schema=PREDICTIONS))
    return reason


@dataclass(frozen=True)
class UselessPictures:
    """The scored samples whose picture is also one of those trained on, bit for bit, one face under two names; and
    those whose picture is of one colour, though their face is not neutral and so moves.
    """

    shared: tuple[str, ...]
    blank: tuple[str, ...]


def useless_pictures(experiment: Experiment, train: Faces, test: Faces) -> UselessPictures:
    """Look for scored samples whose score says nothing of faces that were never seen, by what the first camera sees."""
    first = cameras(experiment.rendering.views)[:1]
    trained = {digest for _, digest in _pictures(train, first)}
    scored = [*_pictures(test, first)]
    expressions = dict(zip(test.store.sample_ids, test.store.labels("expression"), strict=True))
    return UselessPictures(
        tuple(name for name, digest in scored if digest and digest in trained),
        tuple(name for name, digest in scored if not digest and expressions[name] != "neutral"),
    )


def _pictures(faces: Faces, views: Sequence[Camera], at_once: int = 256) -> Iterator[tuple[str, bytes]]:
    """Each sample's name, and a hash of what the cameras see of it, which is empty if that is of one colour."""
    rows = faces.store.rows_of(faces.subjects)
    for start in range(0, len(rows), at_once):
        chunk = rows[start : start + at_once]
        for row, picture in zip(chunk, faces.store.gather(chunk, views), strict=True):
            colours = picture.reshape(-1, picture.shape[-1])
            digest = (
                b"" if (colours == colours[0]).all() else hashlib.blake2b(picture.tobytes(), digest_size=16).digest()
            )
            yield faces.store.sample_ids[row], digest


def _scores(evaluation: Evaluation) -> dict[str, float]:
    return {f"{row['probe']}/{row['metric']}": row["value"] for row in evaluation.results.to_dicts()}


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
    trained_on = sides[0].store.manifest
    if not trained_on.is_called(source.manifest):
        raise UserError(
            f"{checkpoint.folder}: pretrained on other faces (manifest {source.manifest}) than lie at the recipe's "
            f"corpus now ({trained_on.fingerprint}); its test subjects cannot be known"
        )
    if {*source.subjects} != {*sides[0].subjects}:
        raise UserError(
            f"{checkpoint.folder}: pretrained on other people than its recipe names; experiment.yaml was changed, and "
            "its test subjects cannot be known"
        )
    return score(probed, checkpoint.load_model(), *sides)


def _with_probes(experiment: Experiment, probes: Sequence[ProbeName], shots: Sequence[int]) -> Experiment:
    chosen = {"probes": tuple(probes), "shots": tuple(shots)}
    return experiment.model_copy(update={"evaluation": experiment.evaluation.model_copy(update=chosen)})


def fingerprints(train: Faces, test: Faces) -> Iterator[str]:
    """Which faces a trial is of, by the fingerprint of the manifest or of both; and as earlier versions put it.

    For those, which are rarely asked for, every file is looked at.
    """
    manifests = [faces.store.manifest for faces in (train, test)]
    yield "+".join(dict.fromkeys(one.fingerprint for one in manifests))
    for of_both in zip(*(one.former_fingerprints for one in manifests), strict=True):
        yield "+".join(dict.fromkeys(of_both))


def _load_model(experiment: Experiment, folder: Path) -> MultiviewModel:
    if checkpoint := latest_checkpoint(folder):
        return checkpoint.load_model()
    torch.manual_seed(experiment.seed)
    return MultiviewModel(experiment).eval()
