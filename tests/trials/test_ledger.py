from __future__ import annotations

import json
from pathlib import Path

import pytest

from polyview.errors import UserError
from polyview.recipe import Experiment
from polyview.training.history import Epoch
from polyview.trials.ledger import Ledger, Record, pruned_trials


@pytest.fixture
def record(tiny: Experiment) -> Record:
    return Record(
        id=tiny.digest,
        experiment=tiny,
        started=1000.25,
        ended=1060.5,
        history=(Epoch(epoch=1, ended=1030.125, metrics={"loss": 0.1 + 0.2}),),
        scores={"linear/accuracy": 1 / 3, "knn/accuracy": float("nan")},
        confusions={"linear": [[3, 0], [1, 2]]},
        classes=("neutral", "happiness"),
        train_subjects=("a", "b"),
    )


def test_a_record_comes_back_as_it_was_written(record: Record, tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.write(record)
    found = ledger.read(record.id)
    assert found is not None
    assert found.model_dump(exclude={"scores"}) == record.model_dump(exclude={"scores"})
    assert found.scores == pytest.approx(record.scores, nan_ok=True, rel=0)
    assert [path.name for path in (tmp_path / record.id).iterdir()] == ["record.json"]


def test_a_trial_that_has_not_finished_has_no_record(record: Record, tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.write(record)
    assert ledger.read("0" * 16) is None
    assert list(ledger.read_all(["0" * 16, record.id])) == [record.id]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"id": "x"}', "\x00"])
def test_a_damaged_record_is_one_line_that_names_the_file_and_the_remedy(tmp_path: Path, content: str) -> None:
    (tmp_path / "trial").mkdir()
    (tmp_path / "trial" / "record.json").write_text(content)
    with pytest.raises(UserError, match=r"trial/record.json: not a trial's record .*; delete it to re-run") as caught:
        Ledger(tmp_path).read("trial")
    assert "\n" not in str(caught.value)


def test_what_is_damaged_beside_a_record_is_named_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "trial").mkdir()
    ledger = Ledger(tmp_path)
    for name, read in (("fault.json", ledger.read_failures), ("looks.json", ledger.read_interim_scores)):
        (tmp_path / "trial" / name).write_text('{"id": "tri')
        with pytest.raises(UserError, match=rf"trial/{name}: damaged; delete it, and run the study again"):
            read(["trial"])


def test_a_record_that_is_no_text_is_damaged_too(tmp_path: Path) -> None:
    (tmp_path / "trial").mkdir()
    (tmp_path / "trial" / "record.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="delete it to re-run"):
        Ledger(tmp_path).read("trial")


def test_another_trials_record_in_a_trials_folder_is_refused(record: Record, tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.write(record)
    (tmp_path / record.id).rename(tmp_path / "other")
    with pytest.raises(UserError, match=rf"other/record.json: the record of another trial, {record.id}; delete it"):
        ledger.read_all(["other"])


def test_damaged_predictions_are_named_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "trial").mkdir()
    (tmp_path / "trial" / "predictions.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(UserError, match=r"trial/predictions.parquet: not a trial's predictions; delete it, and run"):
        Ledger(tmp_path).read_predictions(["trial"])


def test_interim_scores_keep_the_file_and_the_key_that_earlier_versions_gave_them(tmp_path: Path) -> None:
    path = tmp_path / "trial" / "looks.json"
    path.parent.mkdir()
    path.write_text(
        '{"id": "trial", "metric": "knn/accuracy", "manifest": "faces", "started": 1.0, "ended": 2.0, '
        '"scores": {"1": 0.5}, "stopped": true}'
    )
    ledger = Ledger(tmp_path)
    found = ledger.read_interim_scores(["trial"])
    assert pruned_trials(found) == {"trial"}
    before = json.loads(path.read_text())
    ledger.write_interim_scores(found["trial"])
    assert json.loads(path.read_text()) == before
