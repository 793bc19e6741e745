"""All figures of a report by name: how each is drawn, and what a reader is told of it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import polars as pl

from polyview.analysis.comparisons import comparisons, scores
from polyview.analysis.curves import loss_curves, share_curves
from polyview.analysis.outcome import Outcome, confusions_of, finished, quoted, scored_people
from polyview.analysis.scored import unpaired_variants
from polyview.errors import UserError
from polyview.reporting.figures.curves import draw_training
from polyview.reporting.figures.intervals import draw_comparison, draw_forest
from polyview.reporting.figures.maps import draw_confusion, draw_embeddings
from polyview.reporting.figures.style import Drawing
from polyview.reporting.sections import sections
from polyview.storage.mirror import address
from polyview.trials.design import REFERENCES
from polyview.wording import agreeing


@dataclass(frozen=True)
class Picture:
    """A figure of a report. `key` names its files, `caption` says what it shows, and `basis` of how many."""

    key: str
    title: str
    caption: str
    draw: Drawing
    basis: str

    @property
    def line(self) -> str:
        """What it shows and of how many, for readers who have nothing else before them."""
        return f"{self.title}. {self.caption}. {self.basis[0].upper()}{self.basis[1:]}."


def pictures(outcome: Outcome) -> list[Picture]:
    """The figures that a study's results allow, in the order of the report."""
    study, basis = outcome.study, _basis(outcome)
    parts = [
        Picture(part.key, part.title, part.caption, part.figure, part.basis or basis)
        for part in sections(outcome)
        if part.figure
    ]
    return [*_of_comparisons(outcome, basis), *parts, *_of_training(outcome), *_of_classes(outcome, study.baseline)]


def _of_comparisons(outcome: Outcome, basis: str) -> list[Picture]:
    study, found, apart = outcome.study, [], quoted(unpaired_variants(outcome))
    if finished(outcome):
        but = f"; not to be compared with the others, as people or classes are others: {apart}" if apart else ""
        found.append(
            Picture(
                "comparison",
                "Comparison",
                f"Mean and 95 % interval of each variant, for other people; small dots are single seeds{but}",
                partial(draw_comparison, scores(outcome, study.metric), study.baseline, REFERENCES, study.metric),
                basis,
            )
        )
    variants, _ = comparisons(outcome, study.metric)
    if any(one.difference is not None for one in variants):
        found.append(
            Picture(
                "forest",
                "Differences",
                f"Difference to {study.baseline} with 95 % interval, for other people; hollow where nothing can be "
                "claimed",
                partial(draw_forest, variants, study.baseline, study.metric),
                basis,
            )
        )
    return found


def _of_training(outcome: Outcome) -> list[Picture]:
    variants = list(scores(outcome, outcome.study.metric))
    seeds = _seeds(outcome)
    captions = {
        "curves": ("Training", "Mean over seeds; the band goes from the lowest to the highest seed"),
        "shares": (
            "What each term had to say",
            "Share of the gradient that reaches the views' embeddings, and its cosine with that of the other terms "
            "(below zero, a term pulls against them); on the last batch of each epoch",
        ),
    }
    drawn = {"curves": loss_curves(outcome), "shares": share_curves(outcome)}
    return [
        Picture(key, *captions[key], partial(draw_training, curves, variants), seeds)
        for key, curves in drawn.items()
        if curves
    ]


def _of_classes(outcome: Outcome, baseline: str) -> list[Picture]:
    classes, confusions = confusions_of(outcome, baseline)
    found = [
        Picture(
            f"confusion-{probe}",
            f"What {baseline} confuses",
            f"{probe}, percent of each true class, seeds summed",
            partial(draw_confusion, counts, classes),
            f"{counts.sum():,} {agreeing(counts.sum(), 'prediction', 'predictions')}",
        )
        for probe, counts in confusions.items()
    ]
    if outcome.embeddings:
        table = _read_embeddings(outcome.embeddings)
        places = table["embedding"].to_numpy()
        if (places == places[0]).all():  # t-SNE divides by their spread
            return found
        found.append(
            Picture(
                "embeddings",
                f"Where {baseline} puts the {_people_of(outcome, baseline)}",
                f"Fused embeddings of one {_unit(outcome, baseline)}'s {_people_of(outcome, baseline)} in the plane "
                "(t-SNE): near is alike, far says little",
                partial(draw_embeddings, places, table["expression"].to_list(), classes),
                f"{len(table):,} {agreeing(len(table), 'sample', 'samples')}",
            )
        )
    return found


def _read_embeddings(path: Path) -> pl.DataFrame:
    try:
        return pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError):
        raise UserError(f"{address(path)}: damaged; delete it, and reports are made without this picture") from None


def _basis(outcome: Outcome) -> str:
    """Of how many seeds and people the scores are, and which people."""
    by_seed: dict[tuple[str, int], set[str]] = {}
    for trial, record in finished(outcome):
        tested = record.scored_subjects
        by_seed.setdefault((trial.variant, trial.seed), set()).update(tested)
    everybody = set().union(*by_seed.values())
    if not everybody:
        return _seeds(outcome)
    each = f"{_range({*map(len, by_seed.values())})} {scored_people(outcome)} under each"
    return f"{_seeds(outcome)}, {each}, {len(everybody)} in all"


def _people_of(outcome: Outcome, variant: str) -> str:
    """What those are called whom a variant's scores are of."""
    return scored_people(replace(outcome, trials=[one for one in outcome.trials if one.variant == variant]))


def _unit(outcome: Outcome, variant: str) -> str:
    """What a trial of a variant scores: a seed, or one of its folds."""
    folded = any(one.experiment.evaluation.repeats > 1 for one in outcome.trials if one.variant == variant)
    return "fold" if folded else "seed"


def _seeds(outcome: Outcome) -> str:
    seeds: dict[str, set[int]] = {}
    for trial, _ in finished(outcome):
        seeds.setdefault(trial.variant, set()).add(trial.seed)
    counts = {len(one) for one in seeds.values()}
    return f"{_range(counts)} seed{'' if counts == {1} else 's'}"


def _range(counts: Collection[int]) -> str:
    low, high = min(counts, default=0), max(counts, default=0)
    return str(low) if low == high else f"{low} to {high}"
