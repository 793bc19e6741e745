"""One trial, start to finish: pretrain on the training subjects, score the test subjects, write the record."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence

import polars as pl

from polyview.environment import describe_environment
from polyview.evaluation.protocols import PREDICTIONS, Evaluation
from polyview.modeling.towers import build_towers, check_tower, check_weights
from polyview.recipe import Experiment
from polyview.rendering.store import ViewStore
from polyview.storage.home import locked
from polyview.training.checkpoint import (
    Checkpoint,
    checkpoint_name,
    fetch_checkpoint,
    has_checkpoint_of_others,
    latest_checkpoint,
)
from polyview.training.history import Epoch
from polyview.training.loop import Trainer, TrainingJob, class_tokens, fetch_pictures, make_batches, never
from polyview.training.provenance import Seen, provenance_of_start
from polyview.trials.ledger import LOCK, Ledger, Record
from polyview.trials.people import check_samples
from polyview.trials.scoring import default_device, evaluate_trained, is_raw_pixels
from polyview.trials.spec import TrialSpec, fingerprints
from polyview.trials.useless_pictures import useless_pictures


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


def train_alone(job: TrainingJob, warned: Callable[[], bool] = never) -> Iterator[Epoch]:
    """Pretrain in this process; a checkpoint is made in mid-epoch too when it is `warned`."""
    return Trainer(job, default_device()).epochs(warned)


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
    return start.at_start(experiment.scored_corpus, scored)


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


def _scores(evaluation: Evaluation) -> dict[str, float]:
    return {f"{row['probe']}/{row['metric']}": row["value"] for row in evaluation.results.to_dicts()}
