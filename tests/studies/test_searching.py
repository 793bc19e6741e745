from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import ray
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from polyview.errors import UserError
from polyview.recipe import Experiment, Study, with_overrides
from polyview.storage.home import Home
from polyview.studies.driver import run_stages
from polyview.studies.estimate import estimate
from polyview.studies.outcome import is_complete, load_outcome
from polyview.tracking.entities import TRIAL_TAG
from polyview.training.history import Epoch
from polyview.trials.design import Trial
from polyview.trials.ledger import Ledger, pruned_trials


@dataclass
class Listener:
    """Keeps what a study says."""

    said: list[str] = field(default_factory=list)
    epochs: list[tuple[str, int]] = field(default_factory=list)

    def stage(self, name: str, total: int) -> None: ...

    def advance(self, done: int, trial: Trial | None = None) -> None: ...

    def epoch(self, trial: Trial, epoch: Epoch) -> None:
        self.epochs.append((trial.id, epoch.epoch))

    def say(self, message: str) -> None:
        self.said.append(message)


pytestmark = pytest.mark.usefixtures("local_ray")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """One home for all, so that the views are rendered once."""
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    return Home(tmp_path_factory.mktemp("home"))


def study_of(experiment: Experiment, name: str, epochs: int = 1, **content: Any) -> Study:
    recipe = experiment.model_dump(mode="json") | {"name": "tiny"}
    recipe["training"]["epochs"] = epochs
    asked = {"name": name, "experiment": recipe, "seeds": [0], "references": False} | content
    return Study.model_validate_json(json.dumps(asked))


def runs(home: Home, study: Study) -> list[Run]:
    client = MlflowClient(home.tracking_uri)
    experiment = client.get_experiment_by_name(study.name)
    assert experiment is not None
    found: list[Run] = client.search_runs([experiment.experiment_id])
    return found


@pytest.mark.slow
def test_a_search_runs_each_point_once_reports_the_best_and_goes_on_where_it_was_extended(
    tiny: Experiment, home: Home
) -> None:
    space = {
        "objective.alignment.weight": {"log_uniform": [0.1, 10]},
        "rendering.views.count": {"integer": [2, 3]},
    }
    search = {"space": space, "trials": 3, "sampler": "tpe"}
    study, listener = study_of(tiny, "hunt", search=search), Listener()
    outcome, _ = run_stages(study, home, listener)
    assert len(outcome.searched.trials) == 3
    assert not outcome.failures
    assert [trial.variant for trial in outcome.trials] == ["full", "best found"]
    best = max((outcome.records[t.id] for t in outcome.searched.trials), key=lambda r: r.scores["linear/accuracy"])
    again = outcome.records[outcome.trials[1].id].experiment
    alike = {"name": True, "seed": True, "evaluation": {"validation"}}
    assert again.model_dump(exclude=alike) == best.experiment.model_dump(exclude=alike)
    # Whom the best is scored on, no point has seen.
    seen = {
        person
        for trial in outcome.searched.trials
        for side in ("train_subjects", "validation_subjects")
        for person in getattr(outcome.records[trial.id], side)
    }
    tested = {person for trial in outcome.trials for person in outcome.records[trial.id].test_subjects}
    assert tested
    assert not tested & seen
    assert all(not outcome.records[trial.id].test_subjects for trial in outcome.searched.trials)
    stores = sorted(home.stores.glob("*/*/store.json"))
    assert len(stores) == 1

    ids = {trial.id for trial in outcome.searched.trials}
    resumed = Listener()
    longer = study_of(tiny, "hunt", search=search | {"trials": 5})
    outcome, _ = run_stages(longer, home, resumed)
    assert len(outcome.searched.trials) == 5
    assert ids == {trial.id for trial in outcome.searched.trials[:3]}
    assert not ids & {trial_id for trial_id, _ in resumed.epochs}
    assert "search: 5 points, 3 done before, 2 to run" in resumed.said
    assert sorted(home.stores.glob("*/*/store.json")) == stores
    names = [run.info.run_name for run in runs(home, longer)]
    trials = [run.data.tags["polyview.trial"] for run in runs(home, longer) if "polyview.trial" in run.data.tags]
    assert len(trials) == len(set(trials))
    assert {f"search {number} · seed 1000" for number in range(1, 6)} < set(names)

    idle = Listener()
    run_stages(longer, home, idle)
    assert idle.epochs == []
    page = (outcome.folder / "report" / "report.html").read_text()
    assert "best found" in page


@pytest.mark.slow
def test_a_search_that_finds_no_further_point_says_what_to_set(
    tiny: Experiment, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Of 6 x 3 points seven make an experiment, which is not counted in a space that is taken to be large.
    space = {"training.batch_size": {"integer": [4, 9]}, "training.persons": {"integer": [2, 4]}}
    monkeypatch.setattr("polyview.trials.search.MOST_COUNTED", 1)
    study = study_of(tiny, "short", search={"space": space, "trials": 8, "sampler": "random"})
    told = Listener()
    outcome, _ = run_stages(study, home, told)
    assert len(outcome.searched.trials) == 7
    assert [trial.variant for trial in outcome.trials] == ["full"]
    said = "search: no further point than these 7 was found; set search.trials to 7, and the best of them"
    assert any(line.startswith(said) for line in told.said)


@pytest.mark.slow
def test_a_search_stops_what_promises_nothing_once_and_for_all(tiny: Experiment, home: Home) -> None:
    search = {
        "space": {"training.lr": {"log_uniform": [1e-6, 1e-1]}},
        "trials": 8,
        "sampler": "random",
        "prune": {"rule": "asha", "every": 1},
    }
    # One after the other: which trial is pruned depends on the scores before.
    one = {"resources": {"cpus": int(ray.cluster_resources()["CPU"])}}
    study, listener = study_of(tiny, "pruned", epochs=3, search=search, **one), Listener()
    outcome, failures = run_stages(study, home, listener)
    interim_scores, searched = outcome.searched.interim_scores, outcome.searched.trials
    pruned = pruned_trials(interim_scores)
    assert not failures
    assert len(searched) == len(interim_scores) == 8
    assert pruned
    assert {trial.id for trial in searched} == pruned ^ {t.id for t in searched if t.id in outcome.records}
    assert all(max(interim_scores[trial_id].scores) < 3 for trial_id in pruned)
    for trial_id in pruned:
        last = max(interim_scores[trial_id].scores)
        assert interim_scores[trial_id].scores[last] < max(
            seen.scores[last] for seen in interim_scores.values() if last in seen.scores
        )
    status = {
        run.data.tags["polyview.trial"]: run.info.status for run in runs(home, study) if TRIAL_TAG in run.data.tags
    }
    assert {trial_id for trial_id, now in status.items() if now == "KILLED"} == pruned
    scored = {run.data.tags.get(TRIAL_TAG): run.data.metrics for run in runs(home, study)}
    for trial_id in pruned:  # what it was pruned for, beside the loss of the epochs that it trained
        last = interim_scores[trial_id].scores[max(interim_scores[trial_id].scores)]
        assert scored[trial_id]["linear/accuracy"] == pytest.approx(last)
        assert "loss" in scored[trial_id]
    (parent,) = [run for run in runs(home, study) if "mlflow.parentRunId" not in run.data.tags]
    assert parent.info.status == "FINISHED"
    were = "was" if len(pruned) == 1 else "were"
    assert f"{len(pruned)} {were} pruned (asha)" in (outcome.folder / "report" / "report.md").read_text()

    idle = Listener()
    again, _ = run_stages(study, home, idle)
    assert idle.epochs == []
    assert pruned_trials(again.searched.interim_scores) == pruned

    # Once nothing is pruned any more, what was pruned goes on from where it stands.
    whole, resumed = study_of(tiny, "pruned", epochs=3, search=search | {"prune": None}, **one), Listener()
    outcome, _ = run_stages(whole, home, resumed)
    assert {trial_id for trial_id, _ in resumed.epochs} >= pruned
    assert (next(iter(pruned)), 1) not in resumed.epochs
    assert all(trial.id in outcome.records for trial in outcome.searched.trials)


@pytest.mark.slow
def test_what_would_fail_again_is_told_at_once_and_stops_nothing_else(tiny: Experiment, home: Home) -> None:
    # Without a schedule and at this rate the loss leaves what a float holds within the epoch.
    wild = {"training.lr": 1e30, "objective.alignment.weight": 1e30}
    study, listener = study_of(tiny, "failures", variants={"wild": wild}, retries=1), Listener()
    outcome, _ = run_stages(study, home, listener)
    fine, broken = outcome.trials
    assert set(outcome.records) == {fine.id}
    failure = outcome.failures[broken.id]
    assert failure.attempts == 1
    assert "the loss is" in failure.reason
    assert any("FloatingPointError" in line for line in failure.last_lines)
    assert {run.data.tags["variant"]: run.info.status for run in runs(home, study) if "variant" in run.data.tags} == {
        "full": "FINISHED",
        "wild": "FAILED",
    }
    for text in ("report.md", "report.html"):
        assert "the loss is" in (outcome.folder / "report" / text).read_text()
    assert {trial.variant: state for trial, state in estimate(study, home).trials} == {
        "full": "done",
        "wild": "failed, to run again",
    }
    again = Listener()
    run_stages(study, home, again)
    assert "trials: 2 in the study, 1 done before, 1 to run" in again.said


@pytest.mark.slow
def test_a_search_leaves_what_diverged_as_it_is_and_is_complete_without_it(tiny: Experiment, home: Home) -> None:
    space = {"training.lr": {"categorical": [1e-3, 1e30]}, "objective.alignment.weight": {"categorical": [1, 1e30]}}
    search = {"space": space, "trials": 4, "sampler": "random"}
    study = study_of(tiny, "diverging", search=search, retries=0)
    outcome, failed = run_stages(study, home, Listener())
    assert failed
    assert all(one.reason.startswith("FloatingPointError") for one in failed)
    again = Listener()
    _, failed_again = run_stages(study, home, again)
    assert "search: 4 points, 4 done before, 0 to run" in again.said
    assert (failed_again, again.epochs) == ([], [])
    assert is_complete(outcome)


@pytest.mark.slow
def test_a_variant_that_is_forced_is_run_again_and_replaces_its_run(tiny: Experiment, home: Home) -> None:
    study = study_of(tiny, "forced", variants={"mean": {"model.fusion": "mean"}}, resources={"memory": 0.25})
    first, _ = run_stages(study, home, Listener())
    ours = first.trials[1]
    listener = Listener()
    second, _ = run_stages(study, home, listener, force="mean")
    assert listener.epochs == [(ours.id, 1)]
    assert second.records[ours.id].started > first.records[ours.id].started
    assert (home.trials / f"{ours.id}.1" / "record.json").exists()
    assert sum(run.info.run_name == ours.name for run in runs(home, study)) == 1
    with pytest.raises(UserError, match="--force 'median' is no variant; there are full, mean"):
        run_stages(study, home, Listener(), force="median")


@pytest.mark.slow
def test_the_estimate_counts_what_is_left_and_learns_from_the_ledger(tiny: Experiment, home: Home) -> None:
    other = tiny.model_copy(update={"rendering": tiny.rendering.model_copy(update={"size": 40})})
    study = study_of(other, "estimated", seeds=[0, 1], search={"space": {"training.lr": {"uniform": [1e-3, 1e-2]}}})
    found = estimate(study, home)
    assert (found.missing, found.later, found.timed) == (2 + 40 + 2, 42, 0)
    assert found.views == 12 * 3 * 3
    assert "no timing yet" in "\n".join(found.lines())
    alone = study_of(with_overrides(other, {"evaluation.split_seed": 0}), "estimated", seeds=[0])
    run_stages(alone, home, Listener())
    found = estimate(study, home)
    assert (found.missing, found.views, found.timed) == (43, 0, 43)
    (record,) = load_outcome(alone, home).records.values()
    assert found.seconds == pytest.approx(43 * (record.seconds["train"] + record.seconds["evaluate"]))
    assert "trial-hours" in found.lines()[-1]


def test_a_trial_is_found_by_how_its_id_begins(home: Home) -> None:
    ledger = Ledger(home.trials)
    some = ledger.all()[0]
    assert ledger.find(some.id[:12]) == some
    with pytest.raises(UserError, match="begin so"):
        ledger.find("")
    with pytest.raises(UserError, match="no finished trial"):
        ledger.find("xyz")


def test_a_missing_file_of_points_is_an_empty_search(tiny: Experiment, tmp_path: Path) -> None:
    space = {"training.lr": {"uniform": [1e-3, 1e-2]}}
    assert load_outcome(study_of(tiny, "new", search={"space": space}), Home(tmp_path)).searched.trials == []
