from __future__ import annotations

import json
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from polyview.recipe import Experiment, Resources, Study
from polyview.trials.design import Trial
from polyview.trials.ledger import Ledger, Record
from polyview.trials.search import Points, make_trials, own_point
from polyview.trials.searcher import LedgerSearch
from polyview.trials.spec import Workplace
from polyview.trials.views import PreparedViews

SPACE = {"objective.alignment.weight": {"uniform": [0.5, 2.0]}, "training.lr": {"log_uniform": [1e-4, 1e-2]}}


class Session:
    """A driver that searches until it is killed: nothing of it is left but the points and the ledger."""

    def __init__(self, study: Study, folder: Path) -> None:
        assert study.search is not None
        self.ledger, self.known = Ledger(folder / "trials"), dict[str, Trial]()
        points = Points(folder / "points.json")
        trials = make_trials(study, points.read(study.search))
        records = self.ledger.read_all(trial.id for trial in trials)
        interim_scores = self.ledger.read_interim_scores(trial.id for trial in trials)
        views = PreparedViews(stores=defaultdict(lambda: folder), fingerprints=defaultdict(lambda: ["faces"]))
        workplace = Workplace(views, folder / "trials", Resources())
        self.searcher = LedgerSearch(study, points, records, interim_scores, workplace, self.known)

    def ask(self, name: str) -> Experiment | None:
        suggestion: Any = self.searcher.suggest(name)
        return None if suggestion == "FINISHED" else suggestion["spec"].experiment

    def answer(self, name: str, experiment: Experiment, score: float) -> None:
        scores = {"linear/accuracy": score}
        self.ledger.write(Record(id=experiment.digest, experiment=experiment, started=0, ended=1, scores=scores))
        self.searcher.on_trial_complete(name, result={}, error=False)


def study_of(experiment: Experiment, **asked: Any) -> Study:
    search = {"space": SPACE, "trials": 6, "sampler": "tpe"} | asked
    content = {"name": "hunt", "experiment": experiment.model_dump(mode="json"), "search": search}
    return Study.model_validate_json(json.dumps(content))


@pytest.mark.parametrize("sampler", ["tpe", "random", "qmc", "cmaes", "nsga2"])
def test_what_a_killed_driver_had_begun_is_begun_first_and_nothing_done_is_done_again(
    tiny: Experiment, tmp_path: Path, sampler: str
) -> None:
    study = study_of(tiny, sampler=sampler)
    killed = Session(study, tmp_path)
    first, begun = killed.ask("a"), killed.ask("b")
    assert first is not None
    assert begun is not None
    killed.answer("a", first, 0.5)

    resumed = Session(study, tmp_path)
    assert resumed.searcher.missing == 5
    asked = [resumed.ask(str(number)) for number in range(5)]
    assert asked[0] == begun
    assert len({one.digest for one in asked if one} | {first.digest}) == 6


def test_the_recipes_own_values_are_tried_first_if_the_space_has_them(tiny: Experiment, tmp_path: Path) -> None:
    first = Session(study_of(tiny), tmp_path / "within").ask("a")
    assert first is not None
    assert (first.objective, first.training.lr) == (tiny.objective, tiny.training.lr)
    elsewhere = study_of(tiny, space={"training.lr": {"uniform": [0.5, 0.6]}})
    other = Session(elsewhere, tmp_path / "elsewhere").ask("a")
    assert other is not None
    assert other.training.lr >= 0.5


def test_of_keys_with_a_condition_the_recipe_has_those_that_it_fulfils(tiny: Experiment) -> None:
    space = {
        "language.prompts": {"categorical": ["label", "pseudo"]},
        "language.pseudo.refresh": {"integer": [1, 4], "when": {"language.prompts": ["pseudo"]}},
        "language.ensemble": {"integer": [1, 4], "when": {"language.prompts": ["label"]}},
    }
    own = {"language.prompts": "label", "language.ensemble": tiny.language.ensemble}
    assert own_point(study_of(tiny, space=space)) == own


def test_a_point_that_failed_is_tried_again_by_the_next_run_alone(tiny: Experiment, tmp_path: Path) -> None:
    study = study_of(tiny, trials=2)
    session = Session(study, tmp_path)
    failed = session.ask("a")
    session.searcher.on_trial_complete("a", error=True)
    other = session.ask("b")
    assert other is not None
    assert other != failed
    session.answer("b", other, 0.5)
    again = Session(study, tmp_path)
    assert again.searcher.missing == 1
    assert again.ask("c") == failed


def test_points_that_make_no_experiment_are_passed_over_until_the_space_is_empty(
    tiny: Experiment, tmp_path: Path
) -> None:
    space = {
        "rendering.views.count": {"integer": [1, 2]},  # one view needs augmentation
        "objective.decorrelation.augment": {"categorical": [True, False]},
    }
    session = Session(study_of(tiny, space=space, sampler="random"), tmp_path)
    found = []
    while experiment := session.ask(str(len(found))):
        session.answer(str(len(found)), experiment, 0.5)
        found.append((experiment.rendering.views.count, experiment.objective.decorrelation.augment))  # type: ignore[union-attr]
    assert sorted(found) == [(1, True), (2, False), (2, True)]


@pytest.mark.parametrize("sampler", ["nsga2", "tpe", "random", "qmc"])
def test_a_small_space_is_searched_to_its_end(tiny: Experiment, tmp_path: Path, sampler: str) -> None:
    space = {
        "rendering.views.count": {"integer": [2, 5]},
        "model.fusion": {"categorical": ["mean", "attention"]},
        "training.augment": {"categorical": [True, False]},
    }
    study = study_of(tiny, space=space, sampler=sampler, trials=16, objectives=["linear/accuracy", "views"])
    session, found = Session(study, tmp_path), set()
    for number in range(16):
        experiment = session.ask(str(number))
        assert experiment is not None
        session.answer(str(number), experiment, 0.5)
        found.add(experiment.digest)
    assert len(found) == 16
    assert session.ask("over") is None


def test_a_point_that_fails_ends_no_search_of_several_objectives(tiny: Experiment, tmp_path: Path) -> None:
    session = Session(study_of(tiny, sampler="nsga2", objectives=["linear/accuracy", "parameters"]), tmp_path)
    failed = session.ask("a")
    session.searcher.on_trial_complete("a", error=True)
    other = session.ask("b")
    assert other is not None
    assert other != failed


def test_a_point_that_was_pruned_is_reported_as_pruned_and_has_begun_when_it_began(
    tiny: Experiment, tmp_path: Path
) -> None:
    session = Session(study_of(tiny, prune={"rule": "asha", "every": 1}), tmp_path)
    pruned = []
    for number, score in enumerate((0.9, 0.8, 0.7, 0.6, 0.1)):
        name, before = str(number), time.time()
        experiment = session.ask(name)
        assert experiment is not None
        pruned.append(session.searcher.prunes(name, 1, score, seconds=60))
        if pruned[-1]:
            session.searcher.on_trial_complete(name)
            seen = session.ledger.read_interim_scores([experiment.digest])[experiment.digest]
            assert before - 60 <= seen.started <= seen.ended - 60
        else:
            session.answer(name, experiment, score)
    assert pruned[-1]
    states = [trial.state.name for trial in session.searcher.optuna.trials]
    assert states == ["PRUNED" if one else "COMPLETE" for one in pruned]
