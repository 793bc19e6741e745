from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from polyview.analysis.agreement import Cell, agreement, compare_runs, same_predictions
from polyview.analysis.inference import SeedScore
from polyview.analysis.outcome import Outcome
from polyview.evaluation.protocols import PREDICTIONS
from polyview.recipe import Experiment, Study
from polyview.trials.design import Trial, plan
from polyview.trials.ledger import Record

VARIANTS = ("full", "a", "b", "c", "d")
STUDIES = 200


def study_of(tiny: Experiment, seeds: int) -> Study:
    variants = {name: {"training.lr": 0.001 * number} for number, name in enumerate(VARIANTS[1:], 2)}
    return Study(name="agreed", experiment=tiny, seeds=tuple(range(seeds)), references=False, variants=variants)


def outcome(study: Study, trials: list[Trial], scores: Mapping[str, Sequence[float]]) -> Outcome:
    """What is known where each variant has these scores, seed by seed."""
    records = {
        trial.id: Record(
            id=trial.id,
            experiment=trial.experiment,
            started=0,
            ended=1,
            scores={study.metric: scores[trial.variant][trial.seed]},
        )
        for trial in trials
        if trial.seed < len(scores.get(trial.variant, ()))
    }
    return Outcome(study, trials, records, {}, None, "", Path())


def cells(study: Study, before: Mapping[str, list[float]], after: Mapping[str, list[float]]) -> dict[str, Cell]:
    trials = plan(study)
    return {cell.variant: cell for cell in agreement(*(outcome(study, trials, side) for side in (before, after)))}


def test_each_verdict_is_what_the_rule_says(tiny: Experiment) -> None:
    spread = [0.70, 0.72, 0.71, 0.73, 0.69]
    shifted = {
        "full": spread,
        "a": [score + change for score, change in zip(spread, (0.01, -0.02, 0.0, 0.01, -0.01), strict=True)],
        "b": [score - change for score, change in zip(spread, (0.10, 0.11, 0.10, 0.12, 0.11), strict=True)],
        "c": [score + change for score, change in zip(spread, (0.2, 0.1, -0.01, 0.0, 0.0), strict=True)],
        "d": [],
    }
    found = cells(study_of(tiny, 5), dict.fromkeys(VARIANTS, spread), shifted)
    assert {name: cell.verdict for name, cell in found.items()} == {
        "full": "identical",
        "a": "same",
        "b": "differs",
        "c": "open",  # outside of the interval, and so uneven that the paired test sees nothing
        "d": "not run",
    }
    assert [name for name, cell in found.items() if cell.agrees] == ["full", "a"]
    assert found["b"].after - found["b"].before == pytest.approx(-0.108)
    half = 2.776 * np.std(spread, ddof=1) / math.sqrt(5)
    assert (found["a"].low, found["a"].high) == (pytest.approx(0.71 - half, 1e-3), pytest.approx(0.71 + half, 1e-3))


def test_one_seed_that_differs_is_no_agreement_and_no_contradiction(tiny: Experiment) -> None:
    found = cells(study_of(tiny, 1), {"full": [0.5], "a": [0.5]}, {"full": [0.5], "a": [0.501]})
    assert {name: cell.verdict for name, cell in found.items()} == {"full": "identical", "a": "open"}


def test_seeds_of_one_side_alone_and_variants_that_had_no_score_are_left_out(tiny: Experiment) -> None:
    found = cells(study_of(tiny, 3), {"full": [0.5, 0.6, 0.7], "a": []}, {"full": [0.5, 0.6], "a": [0.5, 0.6]})
    assert found.keys() == {"full"}
    assert (found["full"].seeds, found["full"].verdict) == (2, "identical")
    assert found["full"].before == pytest.approx(0.55)


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_fair_reruns_rarely_differ_in_any_cell(seeds: int) -> None:
    """Scores are whole numbers of samples, and a seed's chance is another each time it is run."""
    rng = np.random.default_rng(seeds)
    wrong = 0
    for study in range(STUDIES):
        samples = (24, 420)[study % 2]
        levels = 0.7 + 0.03 * rng.standard_normal((len(VARIANTS), seeds))
        runs = [np.round(samples * (levels + 0.01 * rng.standard_normal(levels.shape))) / samples for _ in range(2)]
        before, after = (
            {
                name: {seed: SeedScore(score) for seed, score in enumerate(row)}
                for name, row in zip(VARIANTS, run, strict=True)
            }
            for run in runs
        )
        wrong += any(cell.verdict == "differs" for cell in compare_runs({"linear/accuracy": (before, after)}))
    assert wrong / STUDIES <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / STUDIES)


def test_predictions_are_the_same_sample_by_sample_in_whatever_order(tiny: Experiment) -> None:
    study = study_of(tiny, 2)
    known = outcome(study, plan(study), {})
    rows = [("linear", f"sample {n}", "someone", "anger", "fear", 0.5) for n in range(4)]
    table = pl.DataFrame(rows, schema=PREDICTIONS, orient="row")
    other = table.with_columns(prediction=pl.lit("anger"))
    first, second, *_ = (trial.id for trial in known.trials)
    before = replace(known, predictions={first: table, second: table})
    after = replace(known, predictions={first: table.reverse(), second: other})
    assert same_predictions(before, after) == (1, 2)
