"""Whether what a bundle says fits together: hashes tell that a file was not changed, and not that it was ever true."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import polars as pl

from polyview.analysis.people import contradiction
from polyview.errors import UserError
from polyview.evaluation.metrics import confusion
from polyview.evaluation.protocols import PREDICTIONS
from polyview.storage.home import Home
from polyview.studies.bundles.known_faces import KnownFaces, check_rows
from polyview.trials.ledger import Ledger, Record


def check_trials(home: Home, manifests: Mapping[str, KnownFaces]) -> None:
    """Check every record of an unpacked bundle against its own recipe, its predictions and the faces it was of.

    Raises `UserError` that names the trial's file.
    """
    ledger = Ledger(home.trials)
    for path in sorted(home.trials.glob("*/record.json")):
        trial_id = path.parent.name
        try:
            record = ledger.read(trial_id)
        except UserError:
            raise UserError(f"trials/{trial_id}/record.json: not a trial's record") from None
        assert record is not None
        for name, fault in _faults(record, ledger.predictions(trial_id), manifests):
            raise UserError(f"trials/{trial_id}/{name}: {fault}")


def check_manifests(manifests: Mapping[str, KnownFaces]) -> None:
    """Raises `UserError` that names the manifest whose rows are not those that it is called by."""
    for name, faces in manifests.items():
        if faces.fingerprint not in (name, None):
            raise UserError(f"manifests/{name}.parquet: its rows have the fingerprint {faces.fingerprint}")


def _faults(record: Record, predictions: Path, manifests: Mapping[str, KnownFaces]) -> Iterator[tuple[str, str]]:
    """What does not fit, with the file that says it."""
    if fault := contradiction(record):
        yield "record.json", fault
    shared = {*record.train_subjects} & _scored(record)
    if shared and not record.experiment.evaluation.other_corpus:  # which may call different people by one name
        yield "record.json", f"{min(shared)} is trained on and scored"
    unfounded = {name.partition("/")[0] for name in record.scores} - record.confusions.keys()
    if unfounded and record.confusions:
        yield "record.json", f"it has scores of {min(unfounded)}, and no confusions"
    if predictions.exists():
        yield from (("predictions.parquet", fault) for fault in _faults_of_predictions(record, predictions, manifests))


def _faults_of_predictions(record: Record, path: Path, manifests: Mapping[str, KnownFaces]) -> Iterator[str]:
    try:
        check_rows(path)
        table = pl.read_parquet(path)
    except (ValueError, OSError, pl.exceptions.PolarsError) as error:
        yield f"not readable: {' '.join(str(error).split())}"
        return
    if table.schema != PREDICTIONS:
        yield "its columns are not those of predictions"
        return
    if table.is_empty():  # of an earlier version, whose predictions could not be made
        return
    if strange := {*table["truth"], *table["prediction"]} - {*record.classes}:
        yield f"it names the class {min(strange)}, which the record has not"
        return
    if {*table["probe"]} != record.confusions.keys():
        yield "its probes are not the record's"
    for (probe,), own in table.group_by("probe", maintain_order=True):
        counts = confusion(own["truth"].to_list(), own["prediction"].to_list(), record.classes)
        if counts.tolist() != record.confusions.get(str(probe)):
            yield f"what {probe} predicted does not make the confusions of the record"
    other = "test/" if record.experiment.evaluation.other_corpus else ""
    told = table.with_columns(pl.col("subject").str.strip_prefix(other))
    if strangers := {*told["subject"]} - _scored(record):
        yield f"{min(strangers)} is scored, and is no test subject of the record"
    if faces := manifests.get(record.manifest.rpartition("+")[2]):
        wrong = told.join(faces.samples, on=["sample", "subject", "truth"], how="anti")
        for sample, subject, truth in wrong.select("sample", "subject", "truth").head(1).iter_rows():
            yield f"{sample} of {subject} with {truth} is no sample of the manifest"


def _scored(record: Record) -> set[str]:
    return {*record.test_subjects, *record.validation_subjects}
