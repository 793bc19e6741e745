from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from polyview.analysis.searches import importance
from polyview.errors import UserError
from polyview.recipe import Experiment, Pruning, Study, with_overrides
from polyview.rendering.cameras import cameras
from polyview.trials import search
from polyview.trials.design import plan
from polyview.trials.ledger import InterimScores, Ledger, Record, pruned_trials
from polyview.trials.space import Point, contains, suggest
from polyview.trials.views import corpora

WEIGHTS = {
    "objective.decorrelation.weight": {"log_uniform": [0.001, 1.0]},
    "objective.alignment.weight": {"uniform": [0.5, 2.0]},
}


def study_of(experiment: Experiment, **asked: Any) -> Study:
    content = {
        "name": "hunt",
        "experiment": experiment.model_dump(mode="json"),
        "seeds": [0, 1],
        "references": False,
        "search": {"space": WEIGHTS, "trials": 20, "sampler": "random"} | asked,
    }
    return Study.model_validate_json(json.dumps(content))


def record(trial_experiment: Experiment, score: float) -> Record:
    return Record(
        id=trial_experiment.digest,
        experiment=trial_experiment,
        started=1.0,
        ended=2.0,
        scores={"linear/accuracy": score},
        parameters=100,
    )


def played(study: Study, score: Any, count: int, points: list[Point] | None = None) -> list[Point]:
    """The points that the search asks for when each is answered before the next, going on from `points`."""
    assert study.search is not None
    points = list(points or [])
    made = search.make_study(study, points, known(study, points, score))
    for _ in range(count):
        asked = made.ask()
        points.append(suggest(study.search.space, asked))
        trial = search.make_trial(study, points[-1], len(points))
        made.tell(asked, search.values(study, record(trial.experiment, score(points[-1]))))
    return points


def known(study: Study, points: list[Point], score: Any) -> dict[str, Record]:
    trials = search.make_trials(study, points)
    return {t.id: record(t.experiment, score(p)) for t, p in zip(trials, points, strict=True)}


def near_two(point: Point) -> float:
    return 1 - abs(point["objective.alignment.weight"] - 1.9)


@pytest.mark.parametrize("sampler", ["tpe", "random", "qmc", "cmaes", "nsga2"])
def test_every_sampler_asks_for_points_of_the_space_and_goes_on_where_it_stopped(
    tiny: Experiment, sampler: str
) -> None:
    study = study_of(tiny, sampler=sampler)
    first = played(study, near_two, 6)
    points = played(study, near_two, 6, first)
    assert points[:6] == first
    assert len({json.dumps(point) for point in points}) >= 12 - 2 * (sampler == "nsga2")  # whose children may be twins
    assert all(0.001 <= point["objective.decorrelation.weight"] <= 1 for point in points)


def test_a_fixed_sequence_is_the_same_with_and_without_an_interruption(tiny: Experiment) -> None:
    study = study_of(tiny, sampler="qmc")
    assert played(study, near_two, 4, played(study, near_two, 4)) == played(study, near_two, 8)


def test_tpe_learns_from_the_records_of_an_earlier_run(tiny: Experiment) -> None:
    study = study_of(tiny, sampler="tpe", trials=60)
    points = played(study, near_two, 20, played(study, near_two, 20))
    early, late = points[:10], points[-10:]
    assert sum(map(near_two, late)) > sum(map(near_two, early)) + 2


def test_the_points_file_forgets_what_lies_outside_the_space(tiny: Experiment, tmp_path: Path) -> None:
    study = study_of(tiny)
    assert study.search is not None
    points = search.Points(tmp_path / "points.json")
    assert points.read(study.search) == []
    inside = [{"objective.decorrelation.weight": 0.5, "objective.alignment.weight": 1.0}]
    points.add(study.search, [*inside, {"objective.decorrelation.weight": 5.0, "objective.alignment.weight": 1.0}])
    points.add(study.search, [{"x": 1}])
    assert points.read(study.search) == inside
    for damaged in (points.path.read_text()[:-20], "null", "[1]"):
        points.path.write_text(damaged)
        with pytest.raises(UserError, match=r"points.json: damaged; delete it, and run the search again"):
            points.read(study.search)


def test_another_sampler_or_seed_has_points_of_its_own_and_no_search_loses_any(
    tiny: Experiment, tmp_path: Path
) -> None:
    points = search.Points(tmp_path / "points.json")
    narrow = {"space": {**WEIGHTS, "objective.alignment.weight": {"uniform": [0.9, 1.1]}}}
    asked: list[dict[str, Any]] = [{"sampler": "tpe"}, {"sampler": "random"}, {"sampler": "random", "seed": 77}, narrow]
    searches = [one.search for one in (study_of(tiny, **changes) for changes in asked) if one.search]
    suggested = [{"objective.decorrelation.weight": 0.5, "objective.alignment.weight": one} for one in (1.9, 1.8, 1.7)]
    for one, point in zip(searches, suggested, strict=False):
        assert points.read(one) == []
        points.add(one, [point])
    within = {"objective.decorrelation.weight": 0.5, "objective.alignment.weight": 1.0}
    points.add(searches[3], [within])  # by the sampler and the seed of the second, in a part of its space
    assert [points.read(one) for one in searches] == [
        [suggested[0]],
        [suggested[1], within],
        [suggested[2]],
        [within],
    ]


def test_points_of_an_earlier_version_are_of_whichever_search_asks(tiny: Experiment, tmp_path: Path) -> None:
    known = [{"objective.decorrelation.weight": 0.5, "objective.alignment.weight": 1.0}]
    points = search.Points(tmp_path / "points.json")
    points.path.write_text(json.dumps(known))
    for sampler in ("tpe", "random"):
        study = study_of(tiny, sampler=sampler)
        assert study.search is not None
        assert points.read(study.search) == known


CONDITIONAL = {
    "model.fusion": {"categorical": ["attention", "mean", "concat"]},
    "training.lr": {"log_uniform": [1e-5, 1e-2], "when": {"model.fusion": "attention"}},
    "rendering.views.count": {"integer": [2, 3], "when": {"model.fusion": ["mean", "concat"]}},
}


@pytest.mark.parametrize("sampler", ["tpe", "random", "qmc", "nsga2"])
def test_a_key_is_asked_for_where_its_condition_holds_and_nowhere_else(tiny: Experiment, sampler: str) -> None:
    study = study_of(tiny, space=CONDITIONAL, sampler=sampler)
    assert study.search is not None
    search.check_search(study)

    def score(point: Point) -> float:
        return point.get("training.lr", 0.0) + point.get("rendering.views.count", 0) / 10

    points = played(study, score, 6, played(study, score, 6))
    assert len({point["model.fusion"] == "attention" for point in points}) == 2
    for point in points:
        other = "training.lr" if point["model.fusion"] == "attention" else "rendering.views.count"
        assert set(point) == {"model.fusion", other}
        assert contains(study.search.space, point)
        assert not contains(study.search.space, point | {"training.lr": 1e-3, "rendering.views.count": 2})
    assert set(importance(study, points, known(study, points, score))) == {"model.fusion"}


def test_a_small_space_with_conditions_counts_each_of_its_points_once(tiny: Experiment) -> None:
    space = {key: one for key, one in CONDITIONAL.items() if key != "training.lr"}
    assert search.wanted(study_of(tiny, space=space)) == 5


@pytest.mark.parametrize("rule", ["median", "asha"])
def test_what_was_stopped_early_still_tells_the_sampler_and_the_pruner(tiny: Experiment, rule: str) -> None:
    study = study_of(tiny, trials=8, prune={"rule": rule, "every": 1})
    points = played(study, near_two, 7)
    records = known(study, points, near_two)
    trials = search.make_trials(study, points)
    pruned = trials[6].id
    seen = InterimScores(id="", metric="linear/accuracy", manifest="faces", started=0, ended=1, scores={1: 0.5})
    interim_scores = {
        trial.id: seen.model_copy(update={"id": trial.id, "pruned": trial.id == pruned}) for trial in trials
    }
    made = search.make_study(
        study, points, {name: one for name, one in records.items() if name != pruned}, interim_scores
    )
    assert [trial.state.name for trial in made.trials] == [*["COMPLETE"] * 6, "PRUNED"]
    for score, stops in ((0.4, True), (0.6, False)):
        asked = made.ask()
        asked.report(score, 1)
        assert asked.should_prune() == stops


def test_what_one_rule_pruned_is_open_under_another(tiny: Experiment, tmp_path: Path) -> None:
    study = study_of(tiny, prune={"rule": "asha", "every": 1})
    trials, ledger = search.make_trials(study, played(study, near_two, 2)), Ledger(tmp_path)
    seen = InterimScores(id="", metric="linear/accuracy", manifest="faces", started=0, ended=1, scores={1: 0.5})
    rules = (Pruning(rule="asha", every=1), None)  # earlier versions did not keep the rule
    for trial, rule in zip(trials, rules, strict=True):
        ledger.write_interim_scores(seen.model_copy(update={"id": trial.id, "pruning": rule, "pruned": True}))
    pruned = {trial.id for trial in trials}
    assert pruned_trials(search.interim_scores_of(study, trials, ledger)) == pruned
    other = study_of(tiny, prune={"rule": "median", "every": 1})
    assert pruned_trials(search.interim_scores_of(other, trials, ledger)) == {trials[1].id}


def test_every_camera_that_a_search_can_ask_for_is_planned(tiny: Experiment) -> None:
    space = {
        "rendering.views.count": {"integer": [1, 4]},
        "rendering.size": {"categorical": [32, 48]},
        "objective.alignment.weight": {"uniform": [0, 1]},
    }
    renderings = search.possible_renderings(study_of(tiny, space=space))
    assert {(one.rendering.views.count, one.rendering.size) for one in renderings} == {
        (count, size) for count in (1, 2, 3, 4) for size in (32, 48)
    }
    assert len({camera for one in renderings for camera in cameras(one.rendering.views)}) == 1 + 2 + 2


@pytest.mark.parametrize(
    ("space", "error"),
    [
        ({"training.lrr": {"uniform": [0.1, 1]}}, "training.lrr: unknown key; nearest is training.lr"),
        (
            {"model.fusion": {"uniform": [0.1, 1]}},
            "search over model.fusion, which is 'attention' and no number; give cat",
        ),
        ({"training.epochs": {"uniform": [1, 3]}}, "training.epochs: .* is not allowed; expected a whole number"),
        ({"training.lr": {"uniform": [-1, 1]}}, "training.lr: -1.0 is not allowed; .* greater than 0"),
        ({"model.fusion": {"categorical": ["mean", "median"]}}, "model.fusion: 'median' is not allowed"),
        ({"rendering.radius": {"uniform": [80, 100]}}, "endless pictures; give integer or categorical"),
        ({"seed": {"integer": [1, 9]}}, "search over seed, which makes no other experiment"),
        ({"training.ingest": {"categorical": ["mapped", "streaming"]}}, "training.ingest, which makes no other experi"),
        ({"training.sharding": {"categorical": ["ddp", "fsdp"]}}, "training.sharding, which makes no other experiment"),
        ({"training.workers": {"integer": [1, 2]}}, "search over training.workers, which changes how many trials fit"),
        ({"evaluation.share": {"uniform": [0.1, 0.5]}}, "search over evaluation.share, which changes what a score"),
        ({"language.prompts": {"categorical": ["none", None]}}, "language.prompts: None is not allowed"),
    ],
)
def test_a_space_that_cannot_be_tried_is_refused(tiny: Experiment, space: dict[str, Any], error: str) -> None:
    with pytest.raises(UserError, match=error):
        search.check_search(study_of(tiny, space=space))


def test_choices_that_fit_only_together_are_not_refused(tiny: Experiment) -> None:
    space = {
        "rendering.views.count": {"integer": [1, 3]},
        "objective.decorrelation.augment": {"categorical": [True, False]},
    }
    search.check_search(study_of(tiny, space=space))


@pytest.mark.parametrize(
    ("space", "error"),
    [
        (
            {"rendering.views.count": {"integer": [1, 3]}, "model.fusion": {"categorical": ["mean", "attention"]}},
            "rendering.views.count: 1 makes no experiment, whatever the other keys are: objective.decorrelation needs",
        ),
        (
            {"rendering.views.count": {"integer": [1, 3]}, "language.prompts": {"categorical": ["label", "none"]}},
            "language.prompts: 'none' makes no experiment, whatever .*: objective.alignment needs text",
        ),
        (
            {
                "objective.alignment.weight": {"uniform": [0.5, 2.0]},
                "language.prompts": {"categorical": ["label", "pseudo", "none"]},
                "language.pseudo.assign": {
                    "categorical": ["sinkhorn", "kmeans"],
                    "when": {"language.prompts": "pseudo"},
                },
            },
            "language.prompts: 'none' makes no experiment",
        ),
    ],
)
def test_a_value_that_no_point_could_have_is_refused_and_not_passed_over(
    tiny: Experiment, space: dict[str, Any], error: str
) -> None:
    with pytest.raises(UserError, match=error):
        search.check_search(study_of(tiny, space=space))


def test_a_value_that_fits_few_of_very_many_others_is_not_refused(tiny: Experiment) -> None:
    # One view needs the last choice of the first key; in order, hundreds of points come before it.
    space = {
        "objective.decorrelation.augment": {"categorical": [False, True]},
        "training.batch_size": {"integer": [4, 16]},
        "training.epochs": {"integer": [1, 300]},
        "rendering.views.count": {"integer": [1, 3]},
    }
    search.check_search(study_of(tiny, space=space))


def test_a_key_may_be_read_at_a_value_between_the_ends_of_another(tiny: Experiment) -> None:
    one_view = with_overrides(tiny, {"rendering.views.count": 1, "objective.decorrelation.augment": True})
    space = {
        "rendering.views.count": {"integer": [1, 3]},
        "model.fusion": {"categorical": ["mean", "attention"], "when": {"rendering.views.count": 2}},
    }
    search.check_search(study_of(one_view, space=space))


def test_a_space_with_fewer_points_than_trials_ends_the_search_early(tiny: Experiment) -> None:
    space: dict[str, Any] = {
        "rendering.views.count": {"integer": [1, 3]},  # one view needs augmentation
        "objective.decorrelation.augment": {"categorical": [True, False]},
    }
    assert search.wanted(study_of(tiny, space=space)) == 5
    assert search.wanted(study_of(tiny, space=space, trials=4)) == 4
    assert search.wanted(study_of(tiny, space=space | WEIGHTS)) == 20
    assert search.wanted(study_of(tiny).model_copy(update={"search": None})) == 0


def test_a_space_whose_points_mostly_make_no_experiment_ends_the_search_early(tiny: Experiment) -> None:
    # Of 7 x 3 points those whose batch divides by the persons: 12, 14, 16, 18 by 2; 12, 15, 18 by 3; 12, 16 by 4.
    space = {"training.batch_size": {"integer": [12, 18]}, "training.persons": {"integer": [2, 4]}}
    study = study_of(tiny, space=space, trials=10)
    search.check_search(study)
    assert search.wanted(study) == 9
    known = set[str]()
    while (point := search.untried(study, known)) is not None:
        known.add(search.make_trial(study, point, 1).id)
    assert len(known) == 9


def test_a_large_space_is_not_counted_to_its_end(tiny: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(search, "with_overrides")  # no point is tried, which would take seconds
    space = {"training.batch_size": {"integer": [2, 1000]}, "training.persons": {"integer": [2, 1000]}}
    assert search.wanted(study_of(tiny, space=space, trials=20)) == 20


@pytest.mark.parametrize(
    ("space", "reason"),
    [
        ({"model.frames": {"integer": [2, 6]}}, "model.frames: nothing reads it, as model.temporal is frame; drop it"),
        (
            {
                "language.pseudo.confident": {"uniform": [0.2, 0.6]},
                "model.fusion": {"categorical": ["mean", "attention"]},
            },
            "language.pseudo.confident: nothing reads it, as no sample is given a pseudo-label; drop it",
        ),
    ],
)
def test_a_key_that_nothing_reads_is_not_searched_over(tiny: Experiment, space: dict[str, Any], reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        search.check_search(study_of(tiny, space=space))


def test_a_key_that_is_read_at_some_point_is_searched_over(tiny: Experiment) -> None:
    pseudo = {"language.prompts": {"categorical": ["label", "pseudo"]}}
    confident = {"uniform": [0.2, 0.6], "when": {"language.prompts": "pseudo"}}
    search.check_search(study_of(tiny, space=pseudo | {"language.pseudo.confident": confident}))


def test_what_is_tried_beforehand_has_every_choice_that_stands_alone(tiny: Experiment) -> None:
    space = {"model.tower": {"categorical": ["tiny-resnet", "nowhere"]}, "training.lr": {"uniform": [0.1, 0.2]}}
    towers = [trial.experiment.model.tower for trial in search.samples(study_of(tiny, space=space))]
    assert towers == ["tiny-resnet", "tiny-resnet", "nowhere"]


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        ({"space": {}}, "at least 1 item"),
        ({"space": {"training.lr": {}}}, "exactly one of uniform"),
        ({"space": {"training.lr": {"uniform": [0, 1], "log_uniform": [0.1, 1]}}}, "exactly one of uniform"),
        ({"space": {"training.lr": {"uniform": [1, 1]}}}, "the lower end comes first"),
        ({"space": {"training.lr": {"log_uniform": [0, 1]}}}, "greater than 0"),
        ({"space": {"training.epochs": {"integer": [1.5, 3]}}}, "valid integer"),
        ({"space": {"model.fusion": {"categorical": ["mean"]}}}, "at least 2 items"),
        ({"space": {"model.fusion": {"categorical": ["mean", "mean"]}}}, "choices repeat"),
        ({"space": {"training.lr": {"categorical": [1, 1.0]}}}, "choices repeat"),
        ({"objectives": ["linear/accurracy"]}, "'linear/accurracy' is not allowed; expected 'linear/accuracy'"),
        ({"sampler": "cmaes", "objectives": ["linear/accuracy", "views"]}, "cmaes takes one objective"),
        ({"sampler": "cmaes", "space": {"training.lr": {"uniform": [0.1, 1]}}}, "two numeric keys"),
        ({"seed": 1}, "search.seed 1 is one of seeds"),
        (
            {"space": CONDITIONAL | {"training.lr": {"uniform": [0.1, 1], "when": {"model.fusion": "atention"}}}},
            "training.lr: when asks for model.fusion 'atention', which it cannot be",
        ),
    ],
)
def test_a_search_that_makes_no_sense_is_refused_when_it_is_read(
    tiny: Experiment, asked: dict[str, Any], error: str
) -> None:
    with pytest.raises(ValidationError, match=error):
        study_of(tiny, **asked)


@pytest.mark.parametrize(
    ("evaluation", "error"),
    [
        ({"protocol": "loso", "folds": 12}, "under loso everybody is one; set experiment.evaluation.protocol"),
        ({"protocol": "subject_kfold"}, "under subject_kfold everybody is one"),
        ({"validation": 0.2}, "set search.validation instead"),
    ],
)
def test_a_search_is_refused_whose_best_could_not_be_tested(
    tiny: Experiment, evaluation: dict[str, Any], error: str
) -> None:
    recipe = with_overrides(tiny, {f"evaluation.{key}": value for key, value in evaluation.items()})
    with pytest.raises(ValidationError, match=error):
        study_of(recipe)


def test_of_another_corpus_a_searchs_points_see_nothing(tiny: Experiment) -> None:
    test = tiny.corpus.model_dump(mode="json") | {"generator": {"seed": 5}}
    crossed = with_overrides(tiny, {"evaluation.protocol": "cross_dataset", "evaluation.test": test})
    (point,), best = search.make_trials(study_of(crossed), [{}]), plan(study_of(crossed))[0]
    assert corpora(point.experiment) == [tiny.corpus]
    assert len(corpora(best.experiment)) == 2


def test_all_seeds_of_a_search_have_the_same_test_subjects(tiny: Experiment) -> None:
    study = study_of(tiny)
    trials = [*plan(study), *search.make_trials(study, [{}])]
    assert {trial.experiment.evaluation.split_seed for trial in trials} == {study.all_seeds[0]}
    own = study_of(with_overrides(tiny, {"evaluation.split_seed": 7}))
    assert {trial.experiment.evaluation.split_seed for trial in plan(own)} == {7}


def test_an_objective_that_no_probe_makes_is_refused(tiny: Experiment) -> None:
    only_knn = tiny.model_copy(update={"evaluation": tiny.evaluation.model_copy(update={"probes": ("linear",)})})
    with pytest.raises(ValidationError, match=r"metric is knn/uar, and experiment.evaluation.probes has only linear"):
        study_of(only_knn, objectives=["linear/accuracy", "knn/uar"], sampler="nsga2")
