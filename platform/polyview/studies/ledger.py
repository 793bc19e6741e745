"""What is known: one small file per finished trial, the truth that every report and every resumption reads."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from polyview.errors import UserError
from polyview.paths import replacing
from polyview.recipe import Experiment
from polyview.training.history import Epoch


class Record(BaseModel):
    """One finished trial. Times are Unix seconds; `seconds` is the wall time of each stage.

    `scores` are keyed `probe/metric`, as in `linear/accuracy`; `confusions` by probe, rows true, columns
    predicted, in the order of `classes`.
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
    manifest: str = ""
    parameters: int = 0
    environment: dict[str, str] = {}


@dataclass(frozen=True)
class Ledger:
    """The records in a folder, one `<trial id>/record.json` each."""

    folder: Path

    def path(self, trial_id: str) -> Path:
        return self.folder / trial_id / "record.json"

    def read(self, trial_id: str) -> Record | None:
        """The record of a trial, or None if it has not finished; raises `UserError` if the file is damaged."""
        path = self.path(trial_id)
        try:
            return Record.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except ValidationError as error:
            raise UserError(
                f"{path}: not a trial's record ({error.error_count()} faults); delete it to re-run"
            ) from None

    def read_all(self, trial_ids: Iterable[str]) -> dict[str, Record]:
        """The records that there are, by trial id."""
        found = {trial_id: self.read(trial_id) for trial_id in trial_ids}
        return {trial_id: record for trial_id, record in found.items() if record}

    def write(self, record: Record) -> None:
        """Put a record in its place whole or not at all."""
        with replacing(self.path(record.id)) as temporary:
            temporary.write_text(record.model_dump_json(indent=1))
