from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.analysis.simulation import NOISES, study
from tests.reporting.outcomes import LEVELS, STUDY, outcome, search_outcome, with_predictions

from polyview.analysis.comparisons import comparisons, scores
from polyview.analysis.inference import SeedScore
from polyview.analysis.statistics import interval
from polyview.analysis.table_notes import table_notes
from polyview.analysis.tables import MethodsTable, make_table, maybe_best
from polyview.errors import UserError
from polyview.recipe import Layout, Published, Study, with_overrides
from polyview.trials.design import plan

THREE = Layout(metrics=("linear/accuracy", "knn/accuracy", "zero_shot/accuracy"))
EASIER = {name: level + 0.2 for name, level in LEVELS.items()}


def named(name: str, **changes: object) -> Study:
    return STUDY.model_copy(update={"name": name, **changes})


def two_studies(folder: Path, layout: Layout, **changes: object) -> MethodsTable:
    return make_table(
        "both",
        layout,
        {"hard": outcome(folder, named("hard", **changes)), "easy": outcome(folder, named("easy"), EASIER)},
    )


def row(table: MethodsTable, name: str) -> dict[tuple[str, ...], float | None]:
    (found,) = (one for one in table.rows if one.name == name)
    return {column.heads: cell and cell.mean for column, cell in zip(table.columns, found.cells, strict=True)}


@pytest.mark.parametrize(("noise", "seeds"), [("as measured", 3), ("seeds alone", 5), ("all", 5), ("rest alone", 3)])
@pytest.mark.parametrize("truths", [(0.0, 0.0, 0.0, 0.0), (0.05, 0.05, -0.05, -0.2)])
def test_the_truly_best_is_among_those_that_may_be(noise: str, seeds: int, truths: tuple[float, ...]) -> None:
    """In 95 % of tables or more, which of 300 are 92.5 % at least with a probability of 99 %."""
    rng = np.random.default_rng(7)
    best = {"a", "b"} if truths[0] else {"full", "a", "b", "c", "d"}
    missed = dict.fromkeys(best, 0)
    for _ in range(300):
        found = maybe_best(study("holdout", seeds, 50, NOISES[noise], truths, rng))
        for name in best:
            missed[name] += name not in found
    assert max(missed.values()) <= 0.075 * 300


def test_what_is_clearly_worse_is_not_among_the_best() -> None:
    rng = np.random.default_rng(1)
    found = maybe_best(study("holdout", 5, 100, NOISES["as measured"], (0.0, 0.0, -0.3, -0.3), rng))
    assert not found & {"c", "d"}


def test_nothing_is_called_best_where_nothing_can_be_tested() -> None:
    one_seed: Mapping[str, Mapping[int, SeedScore]] = {"a": {0: SeedScore(0.9)}, "b": {0: SeedScore(0.1)}}
    assert maybe_best(one_seed) == set()


def test_a_cell_is_the_studys_own_comparison(tmp_path: Path) -> None:
    made = with_predictions(outcome(tmp_path, named("quickstart", metrics=("zero_shot/accuracy",))))
    table = make_table("one", THREE, {"quickstart": made})
    for column, number in ((column, number) for number, column in enumerate(table.columns)):
        compared = {one.variant: one for family in comparisons(made, column.metric) for one in family}
        by_seed = scores(made, column.metric)
        for one in table.rows:
            cell = one.cells[number]
            assert cell is not None
            assert (cell.mean, cell.seeds) == (compared[one.name].mean, 3)
            assert (cell.low, cell.high) == interval(by_seed[one.name].values())
            judged = one.name != "full" and column.metric != "knn/accuracy"  # which the study does not compare in
            assert cell.verdict == (compared[one.name].verdict if judged else None)
    assert any("A metric that a study does not compare in has no marks" in note for note in table_notes(table))


def test_columns_are_grouped_as_asked(tmp_path: Path) -> None:
    both = Layout(metrics=("linear/accuracy", "knn/accuracy"))
    by_study = [column.heads for column in two_studies(tmp_path, both).columns]
    assert by_study == [(study, metric) for study in ("hard", "easy") for metric in ("linear/accuracy", "knn/accuracy")]
    by_metric = [
        column.heads for column in two_studies(tmp_path, both.model_copy(update={"columns": "metric"})).columns
    ]
    assert by_metric == [
        (metric, study) for metric in ("linear/accuracy", "knn/accuracy") for study in ("hard", "easy")
    ]


def test_columns_of_one_protocol_are_told_apart_by_their_studies(tmp_path: Path) -> None:
    layout = Layout(columns="protocol")
    assert [column.heads for column in two_studies(tmp_path, layout).columns] == [("hard",), ("easy",)]
    experiment = STUDY.experiment
    folds = experiment.evaluation.model_copy(update={"protocol": "subject_kfold", "folds": 2})
    folded = experiment.model_copy(update={"evaluation": folds})
    heads = [column.heads for column in two_studies(tmp_path, layout, experiment=folded).columns]
    assert heads == [("2 folds of subjects",), ("30 % of subjects held out",)]


def test_averages_and_ranks_are_of_the_columns_in_which_every_method_has_a_score(tmp_path: Path) -> None:
    absent = tuple(("one view", seed) for seed in STUDY.all_seeds)
    outcomes = {
        "a": outcome(tmp_path, named("a")),
        "b": outcome(tmp_path, named("b"), EASIER),
        "c": outcome(tmp_path, named("c"), absent=absent),
    }
    table = make_table("three", Layout(), outcomes)
    assert table.averaged == {"linear/accuracy": (0, 1)}
    methods = [one for one in table.rows if one.kind == "method"]
    for one in methods:
        a, b, _ = row(table, one.name).values()
        assert a is not None
        assert b is not None
        assert one.averages["linear/accuracy"] == pytest.approx((a + b) / 2)
    ordered = sorted(methods, key=lambda one: one.ranks["linear/accuracy"])
    assert ordered[0].name == "full"
    assert sum(one.ranks["linear/accuracy"] for one in methods) == sum(range(1, len(methods) + 1))
    assert all(not one.ranks for one in table.rows if one.kind == "reference")
    assert any("in which every method has a score" in note for note in table_notes(table))
    assert "c: 3 of 21 trials have no result (not run yet, or failed)." in table_notes(table)


def test_a_study_across_values_has_a_column_for_each(tmp_path: Path) -> None:
    crossed = named(
        "labels",
        across={"language.labelled": (0.1, 1.0)},
        references=False,
        remove={},
        variants={"b": {"training.epochs": 9}},
    )
    levels = {"full, labelled=0.1": 0.4, "full, labelled=1.0": 0.7, "b, labelled=0.1": 0.3, "b, labelled=1.0": 0.72}
    table = make_table("labels", Layout(), {"labels": outcome(tmp_path, crossed, levels)})
    assert [column.heads for column in table.columns] == [("labelled=0.1",), ("labelled=1.0",)]
    assert [one.name for one in table.rows] == ["full", "b"]
    verdicts = [[cell and cell.verdict for cell in one.cells] for one in table.rows]
    assert verdicts[0] == [None, None]  # the baseline of each column
    by_variant = make_table("labels", Layout(rows="variant"), {"labels": outcome(tmp_path, crossed, levels)})
    assert len(by_variant.columns) == 1
    assert len(by_variant.rows) == 4


def test_a_table_says_whose_tested_faces_are_centred(tmp_path: Path) -> None:
    tested = {"protocol": "cross_dataset", "test": {"dataset": "facekit", "root": "/faces"}}
    crossed = with_overrides(STUDY.experiment, {"evaluation": tested})
    told = "Centred: the tested faces' embeddings of “moved” were moved as a whole onto the training faces' mean."
    for centred in (False, True):
        variants = {"moved": {"training.lr": 0.1, "evaluation.centred": centred}, "other": {"training.epochs": 9}}
        study = named("crossed", experiment=crossed, variants=variants, remove={}, references=False)
        levels = {"full": 0.6, "moved": 0.7, "other": 0.5}
        table = make_table("crossed", Layout(), {"crossed": outcome(tmp_path, study, levels)})
        assert (told in table_notes(table)) == centred


def test_published_numbers_stand_apart(tmp_path: Path) -> None:
    others = (
        Published(method="theirs", source="arXiv:2506.01203", values={"linear/accuracy": 99.9}, same_protocol=False),
        Published(method="lost", source="doi:10.1000/182", values={"knn/uf1": 50.0}),
    )
    without = two_studies(tmp_path, Layout())
    table = two_studies(tmp_path, Layout(), published=others)
    assert [one.name for one in table.rows if one.kind == "published"] == ["theirs", "lost"]
    assert row(table, "theirs") == {("hard",): pytest.approx(0.999), ("easy",): None}
    assert all(not one.averages for one in table.rows if one.kind == "published")
    assert table.rows[: len(without.rows)] == without.rows  # no score, mark, average or rank of others is touched
    assert table_notes(table)[-2:] == [
        "[1] theirs: arXiv:2506.01203, another protocol. Published, not measured here.",
        "[2] lost: doi:10.1000/182, whether the protocol is the same is not known. Published, not measured here. "
        "Of no column of this table.",
    ]


def test_two_publications_of_a_method_have_a_row_each(tmp_path: Path) -> None:
    both = tuple(
        Published(method="theirs", source=f"arXiv:2506.0120{number}", values={"linear/accuracy": 80.0 + number})
        for number in (3, 4)
    )
    table = make_table("one", Layout(), {"one": outcome(tmp_path, named("one", published=both))})
    shown = [one.cells[0] and one.cells[0].mean for one in table.rows if one.kind == "published"]
    assert shown == [pytest.approx(0.83), pytest.approx(0.84)]


def test_a_point_of_a_grid_that_is_the_baseline_is_no_row_beside_it(tmp_path: Path) -> None:
    crossed = named("crossed", remove={}, variants={}, grid={"model.fusion": ("attention", "mean")})
    levels = {trial.variant: 0.5 for trial in plan(crossed)}
    outcomes = {name: outcome(tmp_path / name, crossed, levels) for name in ("one", "two")}
    table = make_table("both", Layout(), outcomes)
    methods = [one for one in table.rows if one.kind == "method"]
    assert [one.name for one in methods] == ["full", "fusion=mean"]
    assert all("linear/accuracy" in one.averages and "linear/accuracy" in one.ranks for one in methods)


def test_what_a_search_has_found_is_a_method(tmp_path: Path) -> None:
    found = search_outcome(tmp_path)
    table = make_table("hunt", Layout(), {"hunt": found})
    assert [one.name for one in table.rows] == ["full", "best found"]


def test_studies_of_one_protocol_stand_side_by_side(tmp_path: Path) -> None:
    experiment = STUDY.experiment
    folds = experiment.evaluation.model_copy(update={"protocol": "subject_kfold", "folds": 2})
    folded = experiment.model_copy(update={"evaluation": folds})
    studies = [named("a"), named("b", experiment=folded), named("c")]
    table = make_table("three", Layout(columns="protocol"), {one.name: outcome(tmp_path, one) for one in studies})
    assert [column.study for column in table.columns] == ["a", "c", "b"]


def test_a_study_without_a_result_has_no_column_and_one_without_any_no_table(tmp_path: Path) -> None:
    nothing = outcome(tmp_path, absent=tuple((name, seed) for name in LEVELS for seed in STUDY.all_seeds))
    table = make_table("one", Layout(), {"done": outcome(tmp_path), "waiting": nothing})
    assert [column.study for column in table.columns] == ["done"]
    assert "Without a result yet, and so without a column: waiting." in table_notes(table)
    with pytest.raises(UserError, match="quickstart: no result yet; polyview ablate runs a study"):
        make_table("none", Layout(), {"quickstart": nothing})


def test_a_metric_that_no_study_has_is_refused(tmp_path: Path) -> None:
    layout = Layout(metrics=("linear/accuracy", "linear@5/accuracy"))
    with pytest.raises(UserError, match="linear@5/accuracy: quickstart has no score in it"):
        make_table("odd", layout, {"quickstart": outcome(tmp_path)})


def test_hold_outs_overlap_alike_whether_test_or_validation_subjects_are_scored(tmp_path: Path) -> None:
    tested = outcome(tmp_path)
    records = {
        name: one.model_copy(update={"validation_subjects": one.test_subjects, "test_subjects": ()})
        for name, one in tested.records.items()
    }
    validated = replace(tested, records=records)
    ratios = [{one.ratio for one in scores(made, STUDY.metric)["full"].values()} for made in (tested, validated)]
    assert ratios[0] == ratios[1] != {0.0}
