"""What is known: one small file per finished trial, the truth that every report and every resumption reads."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import polars as pl
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from polyview.errors import UserError
from polyview.recipe import Experiment, Pruning
from polyview.recipe.revisions import as_stored
from polyview.recipe.schema import STORED
from polyview.storage.home import replacing
from polyview.storage.mirror import address, files, move, refresh
from polyview.training.history import Epoch
from polyview.training.provenance import Seen
from polyview.wording import counted

R = TypeVar("R", bound=BaseModel)
LOCK = "lock"


class Record(BaseModel):
    """One finished trial. Times are Unix seconds; `seconds` is the wall time of each stage.

    `scores` are keyed `probe/metric`, as in `linear/accuracy`; `confusions` by probe, rows true, columns
    predicted, in the order of `classes`. Scores are of the test subjects, or of the validation subjects where there
    are any; `shared_faces` names samples of theirs whose picture is also one of those trained on, `blank_pictures`
    those whose picture is of one colour. `seen_by_start` are those of the scored subjects whom the weights had seen
    that training started from; an earlier version did not look.
    """

    # A score may be undefined, and a record that has one must still be readable.
    model_config = ConfigDict(frozen=True, ser_json_inf_nan="constants")

    id: str
    experiment: Experiment
    started: float
    ended: float
    history: tuple[Epoch, ...] = ()
    scores: dict[str, float] = {}
    confusions: dict[str, list[list[int]]] = {}
    classes: tuple[str, ...] = ()
    seconds: dict[str, float] = {}
    train_subjects: tuple[str, ...] = ()
    test_subjects: tuple[str, ...] = ()
    validation_subjects: tuple[str, ...] = ()
    shared_faces: tuple[str, ...] = ()
    blank_pictures: tuple[str, ...] = ()
    seen_by_start: Seen | None = None
    manifest: str = ""
    parameters: int = 0
    environment: dict[str, str] = {}

    @property
    def scored_subjects(self) -> tuple[str, ...]:
        """Whom the scores are of: validation subjects where there are any, else test subjects."""
        return self.validation_subjects or self.test_subjects

    @property
    def precision(self) -> str:
        """The formats that the towers were trained in; empty where nothing was trained, or it was not kept."""
        return ", ".join(dict.fromkeys(epoch.precision for epoch in self.history if epoch.precision))


class TrialFailure(BaseModel):
    """A trial that failed in every attempt: when (Unix seconds), the error, and the end of its log."""

    model_config = ConfigDict(frozen=True)

    id: str
    started: float
    ended: float
    attempts: int
    reason: str
    log: str
    last_lines: tuple[str, ...] = ()

    @property
    def tries(self) -> str:
        """How often it failed, in words."""
        return "once" if self.attempts == 1 else f"in {self.attempts} attempts"

    @property
    def diverged(self) -> bool:
        """Whether its loss left what a float holds, which is the recipe's doing: it would do so again."""
        return FloatingPointError.__name__ in self.reason


class InterimScores(BaseModel):
    """The scores in `metric` of a trial's model while it was trained, by epoch, and whether it was pruned for them.

    Times are Unix seconds; `manifest` says which faces it was trained on; `pruning` by what rule it was measured and
    judged, which earlier versions did not keep.
    """

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="constants", populate_by_name=True)

    id: str
    metric: str
    manifest: str
    started: float
    ended: float
    scores: dict[int, float] = {}
    pruning: Pruning | None = Field(None, exclude_if=lambda rule: rule is None)
    pruned: bool = Field(False, alias="stopped")  # as the file has called it from the first version on


def diverged_trials(failures: Mapping[str, TrialFailure]) -> set[str]:
    """The ids of the trials that failed for their own recipe."""
    return {name for name, one in failures.items() if one.diverged}


def pruned_trials(interim_scores: Mapping[str, InterimScores]) -> set[str]:
    """The ids of the trials that were pruned for their interim scores."""
    return {name for name, one in interim_scores.items() if one.pruned}


@dataclass(frozen=True)
class Ledger:
    """The records in a folder, one `<trial id>/record.json` each.

    A `fault.json` lies there where a trial last failed, and its interim scores, if it has any, are in `looks.json`.
    """

    folder: Path

    def path(self, trial_id: str) -> Path:
        return self.folder / trial_id / "record.json"

    def embeddings(self, trial_id: str) -> Path:
        """Where a trial leaves its embeddings of the test subjects, as `Embedded.save` writes them."""
        return self.folder / trial_id / "embeddings.parquet"

    def predictions(self, trial_id: str) -> Path:
        """Where a trial leaves what each probe said of each test sample, as `evaluation.PREDICTIONS`."""
        return self.folder / trial_id / "predictions.parquet"

    def write_predictions(self, trial_id: str, table: pl.DataFrame) -> None:
        """Write a trial's predictions, whole or not at all; its record is written after them."""
        with replacing(self.predictions(trial_id)) as temporary:
            table.write_parquet(temporary)

    def read_predictions(self, trial_ids: Iterable[str]) -> dict[str, pl.DataFrame]:
        """The predictions that there are, by trial id; earlier versions kept none.

        Raises `UserError` if a file is damaged.
        """
        paths = {trial_id: self.predictions(trial_id) for trial_id in trial_ids}
        refresh(paths.values())
        return {trial_id: _read_predictions(path) for trial_id, path in paths.items() if path.exists()}

    def read(self, trial_id: str) -> Record | None:
        """The record of a trial, or None if it has not finished; raises `UserError` if the file is damaged."""
        refresh([self.path(trial_id)])
        return self._read(trial_id)

    def _read(self, trial_id: str) -> Record | None:
        path = self.path(trial_id)
        try:
            content = json.loads(path.read_bytes())
            content["experiment"] = as_stored(content["experiment"])
            record = Record.model_validate_json(json.dumps(content), context=STORED)
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError) as error:
            count = error.error_count() if isinstance(error, ValidationError) else 1
            told = counted(count, "error")
            raise UserError(f"{address(path)}: not a trial's record ({told}); delete it to re-run") from None
        if record.id != trial_id:
            raise UserError(f"{address(path)}: the record of another trial, {record.id}; delete it to re-run")
        return record

    def read_all(self, trial_ids: Iterable[str]) -> dict[str, Record]:
        """The records that there are, by trial id."""
        wanted = list(trial_ids)
        refresh(map(self.path, wanted))
        found = {trial_id: self._read(trial_id) for trial_id in wanted}
        return {trial_id: record for trial_id, record in found.items() if record}

    def write(self, record: Record) -> None:
        """Put a record in its place whole or not at all.

        Of several writers on object storage the first one wins; for the others it raises `FileExistsError`.
        """
        path = self.path(record.id)
        with replacing(path, new=not path.exists()) as temporary:
            temporary.write_text(record.model_dump_json(indent=1))

    def read_failures(self, trial_ids: Iterable[str]) -> dict[str, TrialFailure]:
        """How the trials failed that have failed and not been finished since, by trial id."""
        paths = {trial_id: self.folder / trial_id / "fault.json" for trial_id in trial_ids}
        refresh(paths.values())
        return {
            trial_id: _parsed(TrialFailure, path)
            for trial_id, path in paths.items()
            if path.exists() and not self.path(trial_id).exists()
        }

    def write_failure(self, failure: TrialFailure) -> None:
        """Note that a trial failed; it is not done by that, and the next run tries it again."""
        with replacing(self.folder / failure.id / "fault.json") as temporary:
            temporary.write_text(failure.model_dump_json(indent=1))

    def read_interim_scores(self, trial_ids: Iterable[str]) -> dict[str, InterimScores]:
        """The interim scores of trials, by trial id; those without any are left out."""
        paths = {trial_id: self._interim_path(trial_id) for trial_id in trial_ids}
        refresh(paths.values())
        return {trial_id: _parsed(InterimScores, path) for trial_id, path in paths.items() if path.exists()}

    def write_interim_scores(self, interim_scores: InterimScores) -> None:
        """Write the interim scores of a trial, whole or not at all."""
        with replacing(self._interim_path(interim_scores.id)) as temporary:
            temporary.write_text(interim_scores.model_dump_json(indent=1, by_alias=True))

    def set_aside(self, trial_id: str) -> bool:
        """Move all that a trial has left to `<trial id>.1` and so on; False if that is nothing. Its lock stays."""
        folder = self.folder / trial_id
        if not any(path.name != LOCK for path in (*files(folder, "*"), *files(folder, "*/*"))):
            return False
        names = (self.folder / f"{trial_id}.{number}" for number in itertools.count(1))
        move(folder, next(path for path in names if not files(path, "*")), but=LOCK)
        return True

    def find(self, prefix: str) -> Record:
        """The record whose trial id begins so; raises `UserError` if none or several do."""
        found = [trial_id for trial_id in self._ids() if trial_id.startswith(prefix)]
        if len(found) == 1 and (record := self.read(found[0])):
            return record
        if found:
            raise UserError(f"{prefix}: {len(found)} trials begin so ({', '.join(found[:4])}, …); give more of the id")
        raise UserError(
            f"{prefix}: no finished trial in {address(self.folder)} begins so; --dry-run and the report list the ids"
        )

    def all(self) -> list[Record]:
        """Every record, of whatever study; raises `UserError` if a file is damaged."""
        return list(self.read_all(self._ids()).values())

    def _interim_path(self, trial_id: str) -> Path:
        return self.folder / trial_id / "looks.json"

    def _ids(self) -> list[str]:
        """Of the trials that have a record; those set aside have a dot in their folder's name."""
        return sorted(path.parent.name for path in files(self.folder, "*/record.json") if "." not in path.parent.name)


def _parsed(kind: type[R], path: Path) -> R:
    """What lies beside a trial's record; raises `UserError` where it is damaged."""
    try:
        return kind.model_validate_json(path.read_bytes())
    except ValidationError:
        raise UserError(f"{address(path)}: damaged; delete it, and run the study again") from None


def _read_predictions(path: Path) -> pl.DataFrame:
    try:
        return pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError):
        raise UserError(
            f"{address(path)}: not a trial's predictions; delete it, and run the study again, which makes them anew"
        ) from None
