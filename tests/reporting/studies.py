"""Studies drawn at random of which everything is known: what was asked, and what every probe said of every sample."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, f1_score, recall_score

from polyview.analysis.outcome import Outcome
from polyview.evaluation.metrics import scores
from polyview.evaluation.protocols import PREDICTIONS
from polyview.recipe import Study
from polyview.recipe.evaluation import METRICS
from polyview.trials.design import Trial, baselines, plan
from polyview.trials.ledger import Record

CLASSES = ("neutral", "anger", "fear")
PROBES = ("linear", "knn", "zero_shot")
NAMES = ("full", "λ = 0.5", "a|b", "50 % of_it", "[x]", "-5", "*bold*", "<b>", "no text", "1e-3", "ours & theirs")
CHANGES: tuple[dict[str, Any], ...] = (
    {"training.lr": 0.5},
    {"model.fusion": "mean"},
    {"rendering.views.count": 1},
    {"training.epochs": 3},
    {"training.weight_decay": 0.0},
)


@dataclass(frozen=True)
class Truth:
    """A study, what of it has run, and by trial id what each probe said of whom."""

    outcome: Outcome
    said: dict[str, pl.DataFrame]

    def score(self, trial_ids: Sequence[str], metric: str) -> float:
        """A metric of some trials' samples together, in words of scikit-learn."""
        probe, _, measure = metric.partition("/")
        rows = pl.concat([self.said[one].filter(pl.col("probe") == probe) for one in trial_ids])
        truth, told = rows["truth"].to_list(), rows["prediction"].to_list()
        if measure == "accuracy":
            return float(accuracy_score(truth, told))
        if measure == "uf1":
            return float(f1_score(truth, told, average="macro"))
        return float(recall_score(truth, told, average="macro", labels=sorted(set(truth))))


def draw_study(rng: np.random.Generator) -> Study:
    """Any protocol, names, seeds, metrics and comparisons; some of it across the values of a key."""
    names = [str(name) for name in rng.permutation(NAMES)]
    protocol = str(rng.choice(["holdout", "subject_kfold"]))
    metrics = [str(name) for name in rng.permutation(METRICS)[: rng.integers(1, 4)]]
    across = bool(rng.random() < 0.25)
    content = {
        "name": "drawn",
        "experiment": {
            "name": "drawn",
            "corpus": {"expressions": list(CLASSES)},
            "objective": {"alignment": {}, "redundancy": {}, "decorrelation": {"augment": True}},
            "evaluation": {"protocol": protocol, "folds": int(rng.integers(2, 4))},
        },
        "baseline": names.pop(),
        "seeds": [int(seed) for seed in rng.choice(50, rng.integers(1, 6), replace=False)],
        "metric": metrics[0],
        "metrics": metrics[1:],
        "remove": {names.pop(): "objective.redundancy"} if rng.random() < 0.5 else {},
        "variants": {names.pop(): CHANGES[place] for place in rng.permutation(len(CHANGES))[: rng.integers(1, 4)]},
        "references": bool(rng.random() < 0.5) and not across,
        "across": {"training.batch_size": [16, 32]} if across else {},
        "margin": float(rng.uniform(1, 20)) if rng.random() < 0.3 else None,
    }
    return Study.model_validate(content, strict=False)


def draw_truth(rng: np.random.Generator, folder: Path) -> Truth:
    """A study whose probes guess better or worse; some of its trials may have no result.

    A variant may predict what its baseline does, or that and one sample otherwise under one of the seeds.
    """
    study = draw_study(rng)
    trials = plan(study)
    against = baselines(study)
    alike = {name for name in dict.fromkeys(trial.variant for trial in trials) if rng.random() < 0.25}
    originals = {trial.place: trial.id for trial in trials}
    levels = {name: rng.uniform(0.4, 0.95) for name in {trial.variant for trial in trials}}
    lacking = rng.random() < 0.4
    said, records = {}, {}
    for trial in trials:
        if trial.variant != study.baseline and lacking and rng.random() < 0.2:
            continue
        tested = test_subjects(trial)
        _, seed, fold = trial.place
        original = originals[against[trial.variant], seed, fold]
        if trial.variant in alike and original in said and original != trial.id:
            said[trial.id] = said[original] if rng.random() < 0.8 else _with_one_answer_changed(said[original], rng)
        else:
            said[trial.id] = pl.DataFrame(
                [*_answers(tested, levels[trial.variant], rng)], schema=PREDICTIONS, orient="row", strict=False
            )
        records[trial.id] = _record(trial, tested, said[trial.id])
    return Truth(Outcome(study, trials, records, {}, None, "sqlite:///x", folder, predictions=said), said)


def test_subjects(trial: Trial) -> list[str]:
    """Who is tested on: as the seed draws them, whatever the variant is."""
    evaluation = trial.experiment.evaluation
    people = [f"p{number:02d}" for number in np.random.default_rng(trial.seed).permutation(12)]
    return people[:5] if evaluation.repeats == 1 else people[evaluation.fold :: evaluation.folds]


def _answers(people: Sequence[str], level: float, rng: np.random.Generator) -> Iterator[tuple[Any, ...]]:
    """What every probe says of a few samples of each class of each person."""
    for probe in PROBES:
        for person in people:
            for place, truth in enumerate(CLASSES):
                for number in range(1 + place):
                    told = truth if rng.random() < level else str(rng.choice(CLASSES))
                    yield probe, f"{person}-{truth}-{number}", person, truth, told, 0.5


def _with_one_answer_changed(said: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    """What probes said, but for one sample of each probe."""
    place = int(rng.integers(len(said) // len(PROBES)))
    is_it = pl.int_range(pl.len()).over("probe") == place
    return said.with_columns(prediction=pl.when(is_it).then(pl.lit(str(rng.choice(CLASSES)))).otherwise("prediction"))


def _record(trial: Trial, tested: Sequence[str], said: pl.DataFrame) -> Record:
    counts = {probe: _confusion(said.filter(pl.col("probe") == probe)) for probe in PROBES}
    everybody = {f"p{number:02d}" for number in range(12)}
    return Record(
        id=trial.id,
        experiment=trial.experiment,
        started=1000.0,
        ended=1080.0,
        scores={f"{probe}/{name}": value for probe, one in counts.items() for name, value in scores(one).items()},
        confusions={probe: one.tolist() for probe, one in counts.items()},
        classes=CLASSES,
        seconds={"train": 72.0},
        train_subjects=tuple(sorted(everybody - set(tested))),
        test_subjects=tuple(sorted(tested)),
        manifest="0123456789abcdef",
    )


def _confusion(said: pl.DataFrame) -> NDArray[np.int64]:
    counts = np.zeros((len(CLASSES), len(CLASSES)), np.int64)
    places = [[CLASSES.index(name) for name in said[column]] for column in ("truth", "prediction")]
    np.add.at(counts, tuple(places), 1)
    return counts
