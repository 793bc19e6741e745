"""A study and all that is known of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from polyview.evaluation.protocols import PREDICTIONS
from polyview.recipe import Study
from polyview.trials.design import Trial
from polyview.trials.ledger import InterimScores, Record, TrialFailure

RESULTS, CURVES = "results", "curves"


@dataclass(frozen=True)
class Searched:
    """The points that a study's search has tried, the trial of each, and their interim scores."""

    points: Sequence[dict[str, Any]] = ()
    trials: Sequence[Trial] = ()
    interim_scores: Mapping[str, InterimScores] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """A study and all that is known of it.

    `trials` are those that it asks for, `records` the finished ones by trial id, `stages` the wall seconds of each
    stage, `sheet` a PNG with some of the views, `folder` the study's own, `failures` how trials failed by trial id,
    `searched` its search's trials, which are in none of the others' comparisons, `embeddings` the table that the
    baseline's first trial left of the test subjects, `links` where MLflow's user interface has each trial by id and,
    under RESULTS and CURVES, the pages prepared for the study, `predictions` the tables of the probes' predictions by
    trial id, `stale` records of faces that have changed since.
    `tracking_address` is MLflow's, without a password.
    """

    study: Study
    trials: list[Trial]
    records: dict[str, Record]
    stages: dict[str, float]
    sheet: Path | None
    tracking_address: str
    folder: Path
    failures: Mapping[str, TrialFailure] = field(default_factory=dict)
    searched: Searched = Searched()
    embeddings: Path | None = None
    links: Mapping[str, str] = field(default_factory=dict)
    predictions: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    stale: Mapping[str, Record] = field(default_factory=dict)


def finished(outcome: Outcome, variant: str | None = None) -> list[tuple[Trial, Record]]:
    """The trials that have a record, of one variant or of all."""
    return [
        (trial, outcome.records[trial.id])
        for trial in outcome.trials
        if trial.id in outcome.records and variant in (None, trial.variant)
    ]


def centred_variants(outcome: Outcome) -> list[str]:
    """The variants whose tested faces are moved as a whole before they are scored."""
    return list(dict.fromkeys(one.variant for one in outcome.trials if one.experiment.evaluation.moves_tested))


def scored_people(outcome: Outcome) -> str:
    """What those are called whom the study's scores are of."""
    sides = dict.fromkeys(one.experiment.evaluation.scored_side for one in outcome.trials)
    return f"{' or '.join(sides) or 'test'} subjects"


def quoted(names: Iterable[str]) -> str:
    """Names of variants as a sentence has them."""
    return ", ".join(f"“{name}”" for name in names)


def shared_faces(outcome: Outcome) -> list[str]:
    """The scored samples whose picture was trained on too, under another name."""
    return sorted({name for _, record in finished(outcome) for name in record.shared_faces})


def absent(outcome: Outcome) -> list[str]:
    """The trials without a record (not run yet, or failed), a line per variant."""
    missing: dict[str, list[str]] = {}
    for trial in outcome.trials:
        if trial.id not in outcome.records:
            missing.setdefault(trial.variant, []).append(trial.repeat)
    return [f"{variant}: {', '.join(repeats)}" for variant, repeats in missing.items()]


def other_metrics(outcome: Outcome) -> list[str]:
    """Every metric that some trial has, but for the study's own."""
    names = dict.fromkeys(name for _, record in finished(outcome) for name in record.scores)
    return [name for name in names if name != outcome.study.metric]


def confusions_of(outcome: Outcome, variant: str) -> tuple[Sequence[str], dict[str, NDArray[np.int64]]]:
    """The classes, and each probe's confusion counts of a variant summed over its seeds."""
    found = [record for _, record in finished(outcome, variant)]
    probes = dict.fromkeys(probe for record in found for probe in record.confusions)
    summed = {
        probe: np.sum([record.confusions[probe] for record in found if probe in record.confusions], axis=0)
        for probe in probes
    }
    return (found[0].classes if found else ()), summed


def costs(outcome: Outcome) -> dict[str, tuple[float, float]]:
    """The hours that each finished trial took, and its GPU-hours, by trial id; those of the search are among them."""
    gpus = outcome.study.resources.gpus
    hours = {record.id: sum(record.seconds.values()) / 3600 for record in outcome.records.values()}
    workers = {record.id: record.experiment.training.workers for record in outcome.records.values()}
    return {trial_id: (taken, taken * workers[trial_id] * gpus) for trial_id, taken in hours.items()}


def cost(outcome: Outcome) -> tuple[float, float]:
    """The trial-hours and GPU-hours of all of them together."""
    found = costs(outcome).values()
    return sum(hours for hours, _ in found), sum(gpu_hours for _, gpu_hours in found)


def environment(outcome: Outcome) -> dict[str, str]:
    """What the trials ran with; values that differ between trials are all listed."""
    values: dict[str, dict[str, None]] = {}
    for _, record in finished(outcome):
        precision = {"precision": record.precision} if record.precision else {}
        for name, value in (record.environment | precision).items():
            values.setdefault(name, {})[value] = None
    return {name: "; ".join(found) for name, found in values.items()}


def count_without_predictions(outcome: Outcome, trial_ids: Iterable[str]) -> int:
    """How many of these results have no predictions that bear out their scores, as those of earlier versions."""
    return sum(outcome.predictions.get(trial_id, pl.DataFrame()).is_empty() for trial_id in trial_ids)


def predictions_table(outcome: Outcome) -> pl.DataFrame:
    """What each probe said of each test sample: trial, variant, seed, fold, and the columns of `PREDICTIONS`."""
    tables = [
        outcome.predictions[trial.id].select(
            pl.lit(trial.id).alias("trial"),
            pl.lit(trial.variant).alias("variant"),
            pl.lit(trial.seed, pl.Int64).alias("seed"),
            pl.lit(trial.experiment.evaluation.fold, pl.Int64).alias("fold"),
            *PREDICTIONS,
        )
        for trial in (*outcome.trials, *outcome.searched.trials)
        if trial.id in outcome.predictions
    ]
    trial_columns = pl.Schema({"trial": pl.String, "variant": pl.String, "seed": pl.Int64, "fold": pl.Int64})
    return pl.concat([pl.DataFrame(schema={**trial_columns, **PREDICTIONS}), *tables])
