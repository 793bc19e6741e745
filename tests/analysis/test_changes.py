"""Two studies side by side."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from tests.reporting.outcomes import LEVELS, STUDY, outcome, with_predictions

from polyview.analysis.changes import SAME_TRIALS, SettingChange, VariantChange, changes
from polyview.analysis.comparisons import comparisons
from polyview.analysis.outcome import Outcome
from polyview.analysis.statistics import holm
from polyview.recipe import Study, with_overrides
from polyview.reporting.changes import lines, scores_table, settings_table

LONGER = STUDY.model_copy(update={"experiment": with_overrides(STUDY.experiment, {"training.epochs": 9})})


def made(folder: Path, study: Study = STUDY, levels: Mapping[str, float] = LEVELS) -> Outcome:
    return with_predictions(outcome(folder, study, levels))


def by_name(before: Outcome, after: Outcome) -> dict[str, VariantChange]:
    return {one.variant: one for one in changes(before, after).variants}


def shown(before: Outcome, after: Outcome, width: int = 120) -> str:
    """What a terminal of a width shows, on one line."""
    console, found = Console(width=width, file=io.StringIO()), changes(before, after)
    console.print(settings_table(found), scores_table(found, width), *lines(found, "one", "two"), markup=False)
    assert isinstance(console.file, io.StringIO)
    return " ".join(console.file.getvalue().split())


def test_studies_without_a_variant_in_common_are_not_said_to_be_alike(tmp_path: Path) -> None:
    other = STUDY.model_copy(update={"baseline": "whole", "remove": {}, "variants": {}, "references": False})
    text = shown(made(tmp_path), made(tmp_path, other, {"whole": 0.5}))
    assert "No variant of one name is in both, so neither recipes nor scores are compared." in text
    assert "No verdict turned" not in text
    assert "No setting differs" not in text


def test_a_score_that_moved_is_paired_by_seed_and_its_p_value_is_of_all_that_are_compared(tmp_path: Path) -> None:
    lower = {name: level - 0.012 for name, level in LEVELS.items()}
    before, after = made(tmp_path), made(tmp_path, LONGER, lower | {"no alignment": 0.55})
    found = [one for one in by_name(before, after).values() if not one.unpaired]
    assert [one.variant for one in found] == ["full", "no decorrelation", "no alignment", "no redundancy", "one view"]
    for one in found:
        scores = [
            {
                trial.seed: side.records[trial.id].scores["linear/accuracy"]
                for trial in side.trials
                if trial.variant == one.variant
            }
            for side in (before, after)
        ]
        assert one.between.difference == pytest.approx(
            np.mean([scores[1][seed] - scores[0][seed] for seed in (0, 1, 2)])
        )
    tested = [one.between for one in found]
    p_values = [one.p for one in tested if one.p is not None]
    assert [one.p_adjusted for one in tested] == pytest.approx(holm(p_values))
    assert {one.family for one in tested} == {5}
    text = shown(before, after)
    assert "“no alignment” gains 1" in text
    assert "against “one”" in text
    assert (
        "No study planned these comparisons before its results were seen. p is after Holm over the 5 variants" in text
    )


def test_a_verdict_that_turned_is_told_with_both(tmp_path: Path) -> None:
    before, after = made(tmp_path), made(tmp_path, LONGER, LEVELS | {"no alignment": 0.71})
    verdicts = [
        next(one.verdict for one in comparisons(side, "linear/accuracy")[0] if one.variant == "no alignment")
        for side in (before, after)
    ]
    assert verdicts == ["worse", "untested"]
    assert [name for name, one in by_name(before, after).items() if one.turned] == ["no alignment"]
    assert "1 verdict turned: “no alignment” (worse → untested)." in shown(before, after)
    assert "worse → untested" in shown(before, after, 80)


def test_settings_that_differ_alike_are_one_row(tmp_path: Path) -> None:
    study = LONGER.model_copy(
        update={"seeds": (0, 1), "variants": {"one view": {"rendering.views.count": 1, "training.lr": 0.5}}}
    )
    before, after = made(tmp_path), made(tmp_path, study)
    lr = str(STUDY.experiment.training.lr)
    assert changes(before, after).settings == [
        SettingChange("seeds", "[0, 1, 2]", "[0, 1]"),
        SettingChange(
            "training.epochs", "8", "9", ("full", "no decorrelation", "no alignment", "no redundancy", "one view")
        ),
        SettingChange("training.lr", lr, "0.5", ("one view",)),
    ]
    text = shown(before, after)
    assert "training.epochs 8 9 all that ran anew" in text
    assert "seeds [0, 1, 2] [0, 1] the study's own" in text


def test_what_is_the_same_trials_is_no_comparison(tmp_path: Path) -> None:
    before = made(tmp_path)
    after = made(tmp_path, STUDY.model_copy(update={"seeds": (0, 1, 2, 3), "metrics": ("knn/accuracy",)}))
    assert {one.unpaired for one in changes(before, after).variants} == {SAME_TRIALS}
    assert "Holm over" not in shown(before, after)
    assert "No setting differs. No verdict turned." in shown(before, before)


def test_scores_of_other_faces_are_not_paired_and_that_is_said(tmp_path: Path) -> None:
    before, after = made(tmp_path), made(tmp_path, LONGER)
    moved = {name: one.model_copy(update={"manifest": "f" * 16}) for name, one in after.records.items()}
    found = by_name(before, replace(after, records=moved))
    assert {one.unpaired for one in found.values()} == {"other faces"}
    assert all(one.between.difference is None for one in found.values())
    text = shown(before, replace(after, records=moved))
    assert "The faces are not the same (manifests 0123456789abcdef and ffffffffffffffff): scores are not paired" in text


def test_scores_on_other_people_or_under_other_seeds_are_not_paired(tmp_path: Path) -> None:
    before, after = made(tmp_path), made(tmp_path, LONGER)
    others = {
        name: one.model_copy(update={"test_subjects": one.test_subjects[1:]}) for name, one in after.records.items()
    }
    assert {one.unpaired for one in by_name(before, replace(after, records=others)).values()} == {
        "other people",
        SAME_TRIALS,  # of the references, which train no epoch
    }
    later = made(tmp_path, LONGER.model_copy(update={"seeds": (7, 8, 9)}))
    assert {one.unpaired for one in by_name(before, later).values()} == {"other seeds"}


def test_a_difference_over_some_of_the_seeds_says_so(tmp_path: Path) -> None:
    fewer = made(tmp_path, LONGER.model_copy(update={"seeds": (0, 1)}))
    assert "“one view”: the difference is over the 2 seeds that both have, of 3 before and 2 after." in shown(
        made(tmp_path), fewer
    )
    assert "seeds that both have" not in shown(made(tmp_path), made(tmp_path, LONGER))


def test_means_over_other_numbers_of_seeds_are_said_to_be_so(tmp_path: Path) -> None:
    fewer = made(tmp_path, STUDY.model_copy(update={"seeds": (0, 1)}))
    assert "“full”: the means are over 3 seeds before and 2 after." in shown(made(tmp_path), fewer)
    assert "the means are over" not in shown(made(tmp_path), made(tmp_path))


def test_a_study_that_is_not_complete_is_said_to_be_so(tmp_path: Path) -> None:
    before, after = made(tmp_path), made(tmp_path, LONGER)
    last = [trial.id for trial in after.trials if trial.variant == "one view" and trial.seed > 0]
    cut = replace(after, records={name: one for name, one in after.records.items() if name not in last})
    told = "The second study is not complete; no result yet, as not run or failed: one view: seed 1, seed 2."
    assert told in shown(before, cut)
    assert "not complete" not in shown(before, after)


def test_what_only_one_study_has_and_what_differs_beside_the_recipe_is_said(tmp_path: Path) -> None:
    study = LONGER.model_copy(
        update={
            "variants": {"[x] <b>": {"rendering.views.count": 1}},
            "metric": "knn/accuracy",
            "baseline": "no alignment",
        }
    )
    study = study.model_copy(update={"remove": {"full": "objective.redundancy"}})
    after = made(tmp_path, study, LEVELS | {"[x] <b>": 0.5})
    newer = {name: one.model_copy(update={"environment": {"torch": "3.0"}}) for name, one in after.records.items()}
    text = shown(made(tmp_path), replace(after, records=newer))
    assert "Only in one: no decorrelation, no redundancy, one view." in text
    assert "Only in two: [x] <b>." in text
    assert (
        "The second study is judged in knn/accuracy; scores and verdicts here are in linear/accuracy for both." in text
    )
    assert "The baselines differ (“full” and “no alignment”)" in text
    assert "different code (torch 2.13.0 before, torch 3.0 after)" in text
