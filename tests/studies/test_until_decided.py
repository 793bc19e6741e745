"""Studies whose results change what they need, on disk: seeds until it is decided, and faces that have changed."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from polyview.analysis.notes import notes
from polyview.corpus.formats.limits import READING
from polyview.corpus.manifest import DRAWING
from polyview.corpus.scan import scan
from polyview.recipe import Experiment, Study, UntilDecided, with_overrides
from polyview.storage.home import Home
from polyview.studies.driver import run_stages
from polyview.studies.estimate import estimate
from polyview.studies.outcome import is_complete, load_outcome
from polyview.trials.ledger import Ledger

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("local_ray")]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return Home(tmp_path / "home")


def test_a_study_that_goes_on_until_decided_adds_seeds_and_ends(
    raw: Experiment, home: Home, prepare: Any, listener: Any
) -> None:
    prepare(home, raw)
    # The same pixels under two names of the background: nothing can be decided, so all seeds are run.
    alike = {"alike": {"training.lr": 0.123}}
    seeds = UntilDecided(first=2, most=5)
    study = Study(name="until", experiment=raw, seeds=seeds, references=False, variants=alike, metric="knn/accuracy")
    found = estimate(study, home)
    assert (found.missing, found.undecided) == (4, 6)
    assert "at most 6 further trials are added" in "\n".join(found.lines())
    outcome, failures = run_stages(study, home, listener)
    assert not failures
    assert is_complete(outcome)
    assert len(outcome.records) == 10
    assert [said for said in listener.said if said.startswith("open after")] == [
        "open after 2 seeds, so more are run: full, alike",
        "open after 4 seeds, so more are run: full, alike",
    ]
    # A study that has ended runs nothing more.
    again, _ = run_stages(study, home, listener)
    assert again.records == outcome.records


def test_results_of_faces_that_have_changed_are_left_out_and_kept(
    raw: Experiment, home: Home, listener: Any, scans: Path
) -> None:
    corpus = {"corpus.dataset": "folder", "corpus.root": str(scans), "corpus.pattern": "{subject}/{expression}.obj"}
    study = Study(name="changed", experiment=with_overrides(raw, corpus), seeds=(0, 1), references=False)
    before, _ = run_stages(study, home, listener)
    assert not before.stale
    (mesh := sorted(scans.rglob("*.obj"))[0]).touch()
    assert [state for _, state in estimate(study, home).trials] == ["done", "done"]
    mesh.write_text(mesh.read_text() + "\n# scanned anew\n")
    planned = estimate(study, home)
    assert [state for _, state in planned.trials] == 2 * ["stale, to run again"]
    after, _ = run_stages(study, home, listener)
    assert not after.stale
    assert {one.manifest for one in after.records.values()}.isdisjoint(one.manifest for one in before.records.values())
    for trial_id in before.records:
        assert (home.trials / f"{trial_id}.1" / "record.json").is_file()
    # Had only one trial run again, the report would leave the other's result out.
    ledger, (one, _) = Ledger(home.trials), before.records
    shutil.copy(home.trials / f"{one}.1" / "record.json", ledger.path(one))
    mixed = load_outcome(study, home)
    assert mixed.stale.keys() == {one}
    assert any("of faces that have changed since" in note for note in notes(mixed))


def test_results_of_files_that_are_read_in_another_way_now_run_again(
    raw: Experiment, home: Home, listener: Any, scans: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = {"corpus.dataset": "folder", "corpus.root": str(scans), "corpus.pattern": "{subject}/{expression}.obj"}
    study = Study(name="read", experiment=with_overrides(raw, corpus), seeds=(0,), references=False)
    before, _ = run_stages(study, home, listener)
    monkeypatch.setattr("polyview.corpus.formats.limits.READING", READING + 1)
    assert load_outcome(study, home).records == before.records
    assert [state for _, state in estimate(study, home).trials] == ["stale, to run again"]
    # An earlier version did not note how it read.
    (record,) = before.records.values()
    former = scan(study.experiment.corpus).manifest.former_fingerprints[0]
    Ledger(home.trials).write(record.model_copy(update={"manifest": former}))
    assert [state for _, state in estimate(study, home).trials] == ["done"]


def test_results_of_pictures_that_are_drawn_in_another_way_now_run_again(
    raw: Experiment, home: Home, listener: Any, prepare: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(home, raw)
    study = Study(name="drawn", experiment=raw, seeds=(0,), references=False)
    before, _ = run_stages(study, home, listener)
    assert [state for _, state in estimate(study, home).trials] == ["done"]
    monkeypatch.setattr("polyview.corpus.manifest.DRAWING", DRAWING + 1)
    assert load_outcome(study, home).records == before.records  # all of it is drawn alike
    planned = estimate(study, home)
    assert [state for _, state in planned.trials] == ["stale, to run again"]
    assert planned.views > 0
    after, _ = run_stages(study, home, listener)
    assert not after.stale
    assert {one.manifest for one in after.records.values()}.isdisjoint(one.manifest for one in before.records.values())
    assert [state for _, state in estimate(study, home).trials] == ["done"]
