"""Made-up studies with results, as a report or a table finds them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from polyview.analysis.outcome import Outcome, Searched
from polyview.analysis.searches import best_trials
from polyview.evaluation.metrics import scores
from polyview.evaluation.protocols import PREDICTIONS
from polyview.recipe import Experiment, Study
from polyview.training.history import Epoch
from polyview.trials.design import plan
from polyview.trials.ledger import Record
from polyview.trials.search import make_trials

CLASSES = ("neutral", "anger", "disgust", "fear", "happiness", "sadness", "surprise")
LEVELS = {
    "full": 0.71,
    "no decorrelation": 0.66,
    "no alignment": 0.42,
    "no redundancy": 0.705,
    "one view": 0.6,
    "untrained": 0.35,
    "raw pixels": 0.78,
}
STUDY = Study.model_validate_json(
    """{
    "name": "quickstart",
    "experiment": {
        "name": "quickstart",
        "objective": {"decorrelation": {"augment": true}, "alignment": {}, "redundancy": {}},
        "training": {"epochs": 8}
    },
    "remove": {
        "no decorrelation": "objective.decorrelation",
        "no alignment": "objective.alignment",
        "no redundancy": "objective.redundancy"
    },
    "variants": {"one view": {"rendering.views.count": 1}}
}"""
)


def record(experiment: Experiment, level: float, seed: int) -> Record:
    """A made-up record whose scores lie about `level`, with a part that all variants of a seed share."""
    rng = np.random.default_rng([seed, round(1000 * level)])
    score = level + 0.02 * np.sin(5 * seed) + rng.normal(0, 0.008)
    terms = [name for name in ("decorrelation", "alignment", "redundancy") if getattr(experiment.objective, name)]
    history = tuple(
        Epoch(
            epoch=epoch,
            ended=1000.0 + 9 * epoch,
            metrics={name: float(np.exp(-epoch / 4) + 1 - level + rng.normal(0, 0.02)) for name in ("loss", *terms)},
        )
        for epoch in range(1, experiment.training.epochs + 1)
    )
    counts = rng.multinomial(60, [score, *[(1 - score) / 6] * 6], size=7)
    confusion = [np.roll(row, place).tolist() for place, row in enumerate(counts)]
    return Record(
        id=experiment.digest,
        experiment=experiment,
        started=1000.0,
        ended=1080.0,
        history=history,
        scores={
            f"{probe}/{metric}": score - less
            for probe, less in (("linear", 0.0), ("knn", 0.05), ("zero_shot", 0.03))
            for metric in ("accuracy", "uf1", "uar")
        },
        confusions={"linear": confusion, "zero_shot": confusion},
        classes=CLASSES,
        seconds={"train": 72.0, "evaluate": 3.1} if history else {"train": 0.0, "evaluate": 3.0},
        train_subjects=tuple(f"p{n}" for n in range(70)),
        test_subjects=tuple(f"q{n}" for n in range(30)),
        manifest="0123456789abcdef",
        environment={"python": "3.11.4", "torch": "2.13.0", "machine": "Linux x86_64, 2 CPUs"},
    )


def borne_out(record: Record, each: int = 300) -> Record:
    """The record with confusions that make its scores, as a home has to have it: `each` samples of every class."""
    right = round(each * record.scores["linear/accuracy"])
    counts = (np.eye(7, dtype=int) * right + np.eye(7, k=1, dtype=int) * (each - right)).tolist()
    counts[-1][0] = each - right
    made = {f"{probe}/{name}": one for probe in record.confusions for name, one in scores(counts).items()}
    confusions = dict.fromkeys(record.confusions, counts)
    return record.model_copy(update={"scores": record.scores | made, "confusions": confusions})


def outcome(
    folder: Path,
    study: Study = STUDY,
    levels: Mapping[str, float] = LEVELS,
    absent: tuple[tuple[str, int], ...] = (),
    sheet: Path | None = None,
) -> Outcome:
    trials = plan(study)
    records = {
        trial.id: record(trial.experiment, levels[trial.variant], trial.seed)
        for trial in trials
        if (trial.variant, trial.seed) not in absent
    }
    stages = {"scan": 0.4, "render": 21.7, "trials": 412.0, "report": 3.2}
    return Outcome(study, trials, records, stages, sheet, "sqlite:////home/someone/outputs/mlflow.db", folder)


def with_predictions(made: Outcome) -> Outcome:
    """The outcome with predictions that agree with its confusion counts, a few of every class of every person."""
    found = {}
    for trial_id, one in made.records.items():
        rows = [
            (
                probe,
                f"s{place}",
                one.test_subjects[place % len(one.test_subjects)],
                one.classes[true],
                one.classes[told],
                1.0,
            )
            for probe, counts in one.confusions.items()
            for place, (true, told) in enumerate(
                (true, told) for true, row in enumerate(counts) for told, count in enumerate(row) for _ in range(count)
            )
        ]
        found[trial_id] = pl.DataFrame(rows, schema=PREDICTIONS, orient="row", strict=False)
    return replace(made, predictions=found)


def search_outcome(folder: Path, count: int = 12) -> Outcome:
    """A search of so many points, whose best has been run again."""
    study = Study.model_validate_json(
        """{"name": "hunt", "references": false, "seeds": [0, 1, 2],
        "experiment": {"name": "e", "objective": {"alignment": {}, "redundancy": {}}},
        "search": {"trials": 12, "sampler": "nsga2", "objectives": ["linear/accuracy", "views"], "space": {
            "objective.redundancy.weight": {"log_uniform": [0.001, 1]}, "rendering.views.count": {"integer": [1, 7]},
            "model.fusion": {"categorical": ["mean", "attention"]}}}}"""
    )
    points = [
        {
            "objective.redundancy.weight": 0.9 / (1 + number),
            "rendering.views.count": 1 + number % 7,
            "model.fusion": ("mean", "attention")[number % 2],
        }
        for number in range(count)
    ]
    searched = make_trials(study, points)
    records = {
        trial.id: record(trial.experiment, 0.4 + 0.05 * min(trial.experiment.rendering.views.count, 4), 1000)
        for trial in searched
    }
    again = best_trials(study, points, records)
    trials = [*plan(study), *again]
    records |= {trial.id: record(trial.experiment, 0.6, trial.seed) for trial in trials}
    return Outcome(study, trials, records, {}, None, "sqlite:///x", folder, {}, Searched(points, searched))
