"""The scores of each variant, seed by seed, and how variants compare with the baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from polyview.analysis.inference import Scored, SeedScore
from polyview.analysis.outcome import Outcome, finished
from polyview.analysis.people import confusions_by_person, contributions
from polyview.analysis.sequential import looks
from polyview.analysis.statistics import Comparison, adjust_comparisons, compare
from polyview.evaluation import metrics
from polyview.recipe import Study, UntilDecided
from polyview.recipe.corpus import GENERATED
from polyview.trials.design import REFERENCES, baselines
from polyview.trials.ledger import Record

Scores = Mapping[str, Mapping[int, SeedScore]]
"""Variant -> seed -> score."""


def scores(outcome: Outcome, metric: str) -> dict[str, dict[int, SeedScore]]:
    """Variant -> seed -> score, references last; a variant without scores has an empty entry.

    A seed whose protocol has folds is scored once all are done, on the sum of their confusion matrices: each person
    counts once, and a fold of one person needs no F1 of its own. Folds are not paired one by one, as they share the
    people that are trained on, and intervals of such pairs would be too narrow (Bengio and Grandvalet 2004).
    """
    names = sorted(dict.fromkeys(trial.variant for trial in outcome.trials), key=lambda name: name in REFERENCES)
    found: dict[str, dict[int, SeedScore]] = {name: {} for name in names}
    seeds: dict[tuple[str, int], list[Record]] = {}
    for trial, record in finished(outcome):
        if metric in record.scores:
            seeds.setdefault((trial.variant, trial.seed), []).append(record)
    for (variant, seed), records in seeds.items():
        if len(records) == records[0].experiment.evaluation.repeats:
            found[variant][seed] = _seed_score(records, outcome.predictions, metric)
    return found


def _seed_score(folds: Sequence[Record], predictions: Mapping[str, pl.DataFrame], metric: str) -> SeedScore:
    """The score of all folds of a seed together, with what each test subject contributes where it is known."""
    probe, _, measure = metric.partition("/")
    first, evaluation = folds[0], folds[0].experiment.evaluation
    score = first.scores[metric]
    if len(folds) > 1:
        score = metrics.scores(np.sum([fold.confusions[probe] for fold in folds], axis=0))[measure]
    drawn = evaluation.protocol == "holdout" and first.train_subjects
    ratio = len(first.scored_subjects) / len(first.train_subjects) if drawn else None
    counted = sum(int(np.sum(fold.confusions.get(probe, 0))) for fold in folds)
    step = 1 / counted if counted else 0.0
    said = [predictions[fold.id].filter(pl.col("probe") == probe) for fold in folds if fold.id in predictions]
    if len(said) < len(folds) or any(one.is_empty() for one in said):
        return SeedScore(score, ratio=ratio, scored=_scored(folds), step=step)
    predicted = pl.concat(said)
    people = contributions(confusions_by_person(predicted, first.classes), measure)
    return SeedScore(score, people, ratio, _scored(folds), step)


def _scored(folds: Sequence[Record]) -> Scored:
    """Of whom the scores of all folds of a seed are together; a generated face is of whom its generator's seed made.

    Where a dataset lies does not count: other scans of the same people may lie elsewhere.
    """
    first, corpus = folds[0], folds[0].experiment.scored_corpus
    drawn = (f"seed {corpus.generator.seed}",) if corpus.dataset in GENERATED else ()
    return Scored(
        first.experiment.evaluation.scored_side,
        (corpus.dataset, *drawn),
        frozenset(subject for fold in folds for subject in fold.scored_subjects),
        frozenset(first.classes),
        _faces(folds),
    )


def _faces(folds: Sequence[Record]) -> dict[str, int]:
    """How many faces of each class that occurs were scored, in all folds together; each probe was given the same."""
    counts = [np.sum(next(iter(fold.confusions.values())), axis=1) for fold in folds if fold.confusions]
    if not counts or not folds[0].classes:
        return {}
    return {name: int(count) for name, count in zip(folds[0].classes, np.sum(counts, axis=0), strict=True) if count}


def comparisons(outcome: Outcome, metric: str) -> tuple[list[Comparison], list[Comparison]]:
    """The variants, baseline included, and the references; each a family of its own, against the baseline.

    The variants' family is that of all metrics which the study compares in, if `metric` is one of them.
    """
    study, baseline = outcome.study, outcome.study.baseline
    found = scores(outcome, metric)
    references = {name: by_seed for name, by_seed in found.items() if name in REFERENCES or name == baseline}
    against_references = [one for one in _compare(outcome, references) if one.variant != baseline]
    if metric not in study.all_metrics:
        return _compare(outcome, _variants(found)), against_references
    return family_of(outcome)[metric], against_references


def family_of(outcome: Outcome) -> dict[str, list[Comparison]]:
    """The variants, baseline included, by each metric that the study compares in: together one family."""
    together = {name: _compare(outcome, _variants(scores(outcome, name))) for name in outcome.study.all_metrics}
    adjusted = iter(adjust_comparisons([one for own in together.values() for one in own], margin_of(outcome.study)))
    return {name: [next(adjusted) for _ in own] for name, own in together.items()}


def comparison_of_each(outcome: Outcome, metric: str) -> dict[str, Comparison]:
    """The comparison of every variant and reference, by its name."""
    return {one.variant: one for family in comparisons(outcome, metric) for one in family}


def _variants(found: Mapping[str, Mapping[int, SeedScore]]) -> dict[str, Mapping[int, SeedScore]]:
    return {name: by_seed for name, by_seed in found.items() if name not in REFERENCES}


def _compare(outcome: Outcome, found: Mapping[str, Mapping[int, SeedScore]]) -> list[Comparison]:
    study = outcome.study
    against = baselines(study) if study.across else {}
    return compare(found, study.baseline, against, margin_of(study), looked_at(study))


def margin_of(study: Study) -> float | None:
    """The largest difference that is none, in the scores' unit; the study has it in points."""
    return None if study.margin is None else study.margin / 100


def looked_at(study: Study) -> tuple[int, ...]:
    """At how many seeds a study is looked at that goes on until it is decided; empty for the others."""
    return looks(study.seeds.first, study.seeds.most) if isinstance(study.seeds, UntilDecided) else ()
