"""What an earlier version wrote is read by this one: see tests/data/README.md."""

from __future__ import annotations

import shutil
import sqlite3
import tarfile
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from polyview.cli import main
from polyview.corpus.manifest import DRAWING
from polyview.modeling.towers import load_open_clip
from polyview.recipe import load_experiment, load_study
from polyview.storage.home import Home
from polyview.trials.design import plan
from polyview.trials.ledger import Ledger
from polyview.trials.spec import TrialSpec
from polyview.trials.trial import run_trial

DATA = Path(__file__).parents[1] / "data"
WRITTEN_AT = "/home/researcher/outputs"
STUDY, SEARCH, HALF_DONE = DATA / "study.yaml", DATA / "search.yaml", DATA / "half_done.yaml"


@pytest.fixture(scope="module", autouse=True)
def _tower() -> None:
    """The tower that the kept recipes name."""
    load_open_clip().add_model_config(DATA / "towers")


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kept") / "home"
    with tarfile.open(DATA / "home.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture
def home(unpacked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A copy of the kept home, with MLflow's artifacts where the copy lies."""
    for name in ("MLFLOW_TRACKING_URI", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "home"
    shutil.copytree(unpacked, folder)
    monkeypatch.setenv("POLYVIEW_HOME", str(folder))
    with sqlite3.connect(folder / "mlflow.db") as database:
        for table, column in (("experiments", "artifact_location"), ("runs", "artifact_uri")):
            database.execute(f"update {table} set {column} = replace({column}, ?, ?)", (WRITTEN_AT, str(folder)))
    return Home(folder)


def test_the_scores_are_what_they_were(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    assert home.root.is_dir()
    main_until_exit("report", str(STUDY), "--format", "csv")
    assert capsys.readouterr().out == (DATA / "kept.csv").read_text()


def test_a_bundle_of_it_says_the_same_and_that_nothing_bears_it_out(
    home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert home.root.is_dir()
    made = tmp_path / "kept.zip"
    main_until_exit("bundle", str(STUDY), "-o", str(made))
    told = "8 results have no predictions, so nothing bears out their scores"
    assert told in capsys.readouterr().out
    main_until_exit("report", str(made), "--format", "csv")
    said = capsys.readouterr()
    assert said.out == (DATA / "kept.csv").read_text()
    assert told in said.err


def test_reports_have_the_levels_and_differences_that_they_had(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    """Intervals and tests are of another kind since, and a sentence may be put in other words."""
    assert home.root.is_dir()
    main_until_exit("report", str(STUDY), "--format", "markdown")
    before, now = (DATA / "kept.markdown").read_text(), capsys.readouterr().out
    assert levels(now) == levels(before)


def test_a_search_that_chose_by_test_subjects_is_not_reported_and_its_records_stay(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    scores = pl.read_csv(DATA / "searched.csv").filter(pl.col("metric") == "knn/accuracy")
    assert len(scores)
    main_until_exit("report", str(SEARCH), "--format", "csv")
    assert capsys.readouterr().out == "trial,variant,seed,fold,subjects,metric,value\n"
    for trial_id, score in scores.select("trial", "value").iter_rows():
        record = Ledger(home.trials).read(trial_id)
        assert record is not None
        assert record.scores["knn/accuracy"] == score


def levels(markdown: str) -> list[list[str]]:
    """The first cells of each row of a table: names, seeds, levels and differences."""
    return [line.split("|")[1:5] for line in markdown.splitlines() if line.startswith("| ")]


def test_the_same_recipes_have_the_same_trials(home: Home) -> None:
    trials = {trial.id for trial in plan(load_study(STUDY))}
    assert len(trials) == 8
    assert all((home.trials / trial_id / "record.json").is_file() for trial_id in trials)
    assert (home.trials / load_experiment(HALF_DONE).digest / "epoch-0001").is_dir()


def test_a_study_that_is_done_trains_nothing_and_leaves_its_runs_as_they_are(
    home: Home, capsys: pytest.CaptureFixture[str], times_of: Any
) -> None:
    before, written, stores = runs_of(home), times_of(home), set(home.stores.iterdir())
    main_until_exit("ablate", str(STUDY))
    said = capsys.readouterr().out
    assert "trials: 8 in the study, 8 done before, 0 to run" in said
    # Its pictures were drawn in an older way, and are kept beside those of today.
    assert stores < set(home.stores.iterdir())
    assert times_of(home) == written
    assert before.items() <= runs_of(home).items()  # beside them are those of the variants now


def test_a_checkpoint_is_evaluated_to_the_scores_of_its_record(
    home: Home, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    trial = next(trial for trial in plan(load_study(STUDY)) if trial.variant == "full" and trial.seed == 0)
    record = Ledger(home.trials).read(trial.id)
    assert record
    main_until_exit("evaluate", str(home.trials / trial.id))
    said = capsys.readouterr().out.splitlines()
    found = {(cells[1], cells[2]): cells[3] for line in said if len(cells := line.replace("│", " ").split()) == 4}
    for probe in ("knn", "zero_shot"):
        assert found[probe, "accuracy"] == f"{record.scores[f'{probe}/accuracy']:.4f}"


def test_a_checkpoint_of_pictures_that_are_drawn_in_another_way_now_is_evaluated_and_said_to_be(
    home: Home, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("polyview.corpus.manifest.DRAWING", DRAWING + 1)
    trial = next(trial for trial in plan(load_study(STUDY)) if trial.variant == "full" and trial.seed == 0)
    main_until_exit("evaluate", str(home.trials / trial.id))
    said = capsys.readouterr()
    assert "knn" in said.out
    assert "note: an earlier version read or drew the faces in another way for its training" in said.err


def test_a_half_done_trial_goes_on_from_its_checkpoint(home: Home) -> None:
    experiment = load_experiment(HALF_DONE)
    (store,) = home.stores.iterdir()
    epochs = list(run_trial(TrialSpec(experiment, store, home.trials)))
    assert [epoch.epoch for epoch in epochs] == [2]
    record = Ledger(home.trials).read(experiment.digest)
    assert record
    assert [epoch.epoch for epoch in record.history] == [1, 2]


def runs_of(home: Home) -> dict[str, tuple[str, dict[str, float], dict[str, str]]]:
    """Every run in MLflow by its id: status, metrics and parameters."""
    client = MlflowClient(home.tracking_uri)
    found = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    return {run.info.run_id: (run.info.status, run.data.metrics, _old_params(run)) for run in found}


def _old_params(run: Run) -> dict[str, str]:
    """A run's parameters without that which recipes had not yet."""
    return {key: value for key, value in run.data.params.items() if key != "revision"}


def main_until_exit(*words: str) -> None:
    """Run a command line that ends well."""
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert not ended.value.code
