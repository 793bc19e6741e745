"""Methods in rows, studies and metrics in columns: what a paper's table shows, and which cells may be called best."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy import stats

from polyview.analysis.comparisons import Scores, comparison_of_each, scores
from polyview.analysis.inference import CONFIDENCE, SeedScore, contrast, for_other_people, unpaired
from polyview.analysis.outcome import Outcome, finished
from polyview.analysis.statistics import Comparison, Verdict, bonferroni, interval
from polyview.errors import UserError
from polyview.recipe import Layout, Published, Study
from polyview.trials.design import REFERENCES, baselines, cells, crossed_name, methods, studied_experiment

Kind = Literal["method", "reference", "published"]


@dataclass(frozen=True)
class Column:
    """One metric of one study, at one point of what the study goes across if it does.

    `heads` are what stands above it, from the outermost group inwards.
    """

    study: str
    metric: str
    point: str
    heads: tuple[str, ...]


@dataclass(frozen=True)
class Cell:
    """A method's score in one column, between 0 and 1, over so many `seeds`.

    `low` and `high` are the 95 % interval for other people under other seeds. `verdict` is that on the difference to
    the study's baseline; None for the baseline, for what is published, and in a metric that the study does not compare
    in, except that what is of other people or classes, and so not `comparable`, is untested in all. `best` marks each
    method that no other can be told to be better than.
    """

    mean: float
    deviation: float = math.nan
    seeds: int = 0
    low: float | None = None
    high: float | None = None
    verdict: Verdict | None = None
    best: bool = False
    comparable: bool = True


@dataclass(frozen=True)
class Row:
    """A method, a reference, or a publication, with a cell or None for each column.

    `averages` and `ranks` are over the columns of a metric in which every method has a cell to compare, by metric.
    `published` are the publications of the row, each with the study that it is set beside.
    """

    name: str
    kind: Kind
    cells: tuple[Cell | None, ...]
    averages: Mapping[str, float]
    ranks: Mapping[str, float]
    published: tuple[tuple[str, Published], ...] = ()


@dataclass(frozen=True)
class MethodsTable:
    """Rows and columns of a paper's table, and the studies that it is made of, by what they are called in it.

    `averaged` has the numbers of the columns that averages and ranks are over, by metric; `without_result` names the
    studies that have no column, as nothing of them has a score yet.
    """

    name: str
    layout: Layout
    outcomes: Mapping[str, Outcome]
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    averaged: Mapping[str, tuple[int, ...]]
    without_result: tuple[str, ...] = ()


def make_table(name: str, layout: Layout, outcomes: Mapping[str, Outcome]) -> MethodsTable:
    """The table of what is known of its studies.

    Raises `UserError` where nothing has a score yet, or nothing in one of the metrics.
    """
    scored = {label: outcome for label, outcome in outcomes.items() if finished(outcome)}
    if not scored:
        raise UserError(f"{', '.join(outcomes)}: no result yet; polyview ablate runs a study")
    without_result = tuple(label for label in outcomes if label not in scored)
    outcomes = scored
    columns = _columns(layout, outcomes)
    # The points of what a study goes across have these in common.
    found = {
        (label, metric): (scores(outcomes[label], metric), comparison_of_each(outcomes[label], metric))
        for label, metric in {(column.study, column.metric) for column in columns}
    }
    filled = [_cells(outcomes[one.study], one, layout, *found[one.study, one.metric]) for one in columns]
    scored_in = {column.metric for column, cells_of_column in zip(columns, filled, strict=True) if cells_of_column}
    if unmeasured := [column.metric for column in columns if column.metric not in scored_in]:
        raise UserError(
            f"{unmeasured[0]}: {', '.join(outcomes)} has no score in it; its probe is not among the recipe's"
        )
    names = list(dict.fromkeys(name for outcome in outcomes.values() for name in _row_names(outcome, layout)))
    rows = [
        Row(name, "reference" if name in REFERENCES else "method", tuple(one.get(name) for one in filled), {}, {})
        for name in sorted(names, key=lambda name: name in REFERENCES)
    ]
    rows += _published_rows(outcomes, columns)
    averaged = _averaged(columns, [row for row in rows if row.kind == "method"])
    averages = tuple(_with_averages(rows, averaged))
    return MethodsTable(name, layout, outcomes, tuple(columns), averages, averaged, without_result)


def describe_protocol(study: Study) -> str:
    """Who is tested on, in a few words."""
    evaluation = studied_experiment(study).evaluation
    match evaluation.protocol:
        case "subject_kfold":
            return f"{evaluation.folds} folds of subjects"
        case "loso":
            return "leave one subject out"
        case "cross_dataset" if evaluation.test:
            return f"{study.experiment.corpus.dataset} to {evaluation.test.dataset}"
        case _:
            return f"{100 * evaluation.share:.3g} % of subjects held out"


def maybe_best(by_method: Mapping[str, Mapping[int, SeedScore]]) -> set[str]:
    """The methods that no other can be told to be better than.

    Each is tested against every other, on the people and seeds of both, one-sided and after Bonferroni over the others.
    In 19 columns of 20 the method that is truly best is in the set, since nothing is better than it, whichever looked
    so (Gupta 1965; Hsu 1984). Where nothing can be tested, as with a single seed, the set is empty.
    """
    found = {name: by_seed for name, by_seed in by_method.items() if by_seed}
    p_values = {
        name: [_p_better(other, by_seed) for rival, other in found.items() if rival != name]
        for name, by_seed in found.items()
    }
    if all(p is None for against in p_values.values() for p in against):
        return set()
    return {
        name
        for name, against in p_values.items()
        if all(p > 1 - CONFIDENCE for p in bonferroni([1.0 if p is None else p for p in against]))
    }


def _p_better(one: Mapping[int, SeedScore], other: Mapping[int, SeedScore]) -> float | None:
    """The one-sided p-value of `one` not being better than `other`; None where it cannot be tested."""
    found = for_other_people([*contrast([one, other], [1, -1]).values()])
    if found is None or unpaired([one, other]):
        return None
    return found.p_zero() / 2 if found.mean > 0 else 1 - found.p_zero() / 2


def _columns(layout: Layout, outcomes: Mapping[str, Outcome]) -> list[Column]:
    """All columns with all their heads, grouped as asked for; heads that say nothing are left out."""
    protocols = {label: describe_protocol(one.study) for label, one in outcomes.items()}
    found = []
    for label, outcome in outcomes.items():
        study = outcome.study
        crosses = layout.rows == "method" and study.across
        for metric in layout.metrics or (study.metric,):
            heads = {
                "study": (label, metric),
                "metric": (metric, label),
                # Two studies of one protocol are told apart by their names.
                "protocol": (protocols[label], *([label] if _repeats(protocols) else []), metric),
            }[layout.columns]
            found += [
                Column(label, metric, point, (*heads, point)) for point in (cells(study.across) if crosses else [""])
            ]
    groups = list(dict.fromkeys(column.heads[0] for column in found))
    return _without_common_heads(sorted(found, key=lambda column: groups.index(column.heads[0])))


def _repeats(protocols: Mapping[str, str]) -> bool:
    return len(set(protocols.values())) < len(protocols)


def _without_common_heads(columns: Sequence[Column]) -> list[Column]:
    levels = [*zip(*(column.heads for column in columns), strict=True)]
    needed = [number for number, level in enumerate(levels) if len(set(level)) > 1]
    return [
        replace(column, heads=tuple(column.heads[number] for number in needed) or (column.metric,))
        for column in columns
    ]


def _row_names(outcome: Outcome, layout: Layout) -> list[str]:
    variants = list(dict.fromkeys(trial.variant for trial in outcome.trials))
    if layout.rows == "variant":
        return variants
    # A point of a factorial that is the baseline is no trial of its own, and so no row.
    points = cells(outcome.study.across) or [""]
    own = [name for name in methods(outcome.study) if any(crossed_name(name, point) in variants for point in points)]
    # What a search has found best is none of the study's methods.
    return [*own, *(name for name in variants if name not in baselines(outcome.study))]


def _cells(
    outcome: Outcome, column: Column, layout: Layout, by_variant: Scores, compared: Mapping[str, Comparison]
) -> dict[str, Cell]:
    """The cells of a column, by row; a row without a score has none."""
    shown = {name: crossed_name(name, column.point) for name in _row_names(outcome, layout)}
    shown = {name: variant for name, variant in shown.items() if by_variant.get(variant)}
    comparable = {name: variant for name, variant in shown.items() if not compared[variant].unpaired}
    best = maybe_best({name: by_variant[variant] for name, variant in comparable.items() if name not in REFERENCES})
    study, own = outcome.study, set(baselines(outcome.study).values())
    judged = column.metric in study.all_metrics
    return {
        name: _cell(compared[variant], by_variant[variant], judged and variant not in own, name in best)
        for name, variant in shown.items()
    }


def _cell(one: Comparison, by_seed: Mapping[int, SeedScore], judged: bool, best: bool) -> Cell:
    low, high = interval(by_seed.values()) or (None, None)
    verdict = one.verdict if judged or one.unpaired else None
    return Cell(one.mean, one.deviation, one.seeds, low, high, verdict, best, not one.unpaired)


def _published_rows(outcomes: Mapping[str, Outcome], columns: Sequence[Column]) -> Iterator[Row]:
    """A row for each method of each source."""
    by_source: dict[tuple[str, str], list[tuple[str, Published]]] = {}
    for label, outcome in outcomes.items():
        for one in outcome.study.published:
            by_source.setdefault((one.method, one.source), []).append((label, one))
    for (method, _), found in by_source.items():
        values = {(label, metric): value for label, one in found for metric, value in one.values.items()}
        of_columns = [None if column.point else values.get((column.study, column.metric)) for column in columns]
        shown = tuple(None if value is None else Cell(value / 100) for value in of_columns)
        yield Row(method, "published", shown, {}, {}, tuple(found))


def _averaged(columns: Sequence[Column], rows: Sequence[Row]) -> dict[str, tuple[int, ...]]:
    """The columns of each metric in which every method has a score to compare, where these are several."""
    complete = [
        number for number in range(len(columns)) if all((cell := row.cells[number]) and cell.comparable for row in rows)
    ]
    by_metric: dict[str, list[int]] = {}
    for number in complete:
        by_metric.setdefault(columns[number].metric, []).append(number)
    return {metric: tuple(numbers) for metric, numbers in by_metric.items() if len(numbers) > 1 and len(rows) > 1}


def _with_averages(rows: Sequence[Row], averaged: Mapping[str, Sequence[int]]) -> Iterator[Row]:
    compared = [row for row in rows if row.kind == "method"]
    ranks: dict[str, dict[str, float]] = {row.name: {} for row in compared}
    for metric, numbers in averaged.items():
        means = np.array([[cell.mean for cell in _at(row, numbers)] for row in compared])  # (rows, columns)
        for row, rank in zip(compared, stats.rankdata(-means, axis=0).mean(axis=1), strict=True):
            ranks[row.name][metric] = float(rank)
    for row in rows:
        averages = {
            metric: float(np.mean([cell.mean for cell in found]))
            for metric, numbers in averaged.items()
            if row.kind != "published" and len(found := _at(row, numbers)) == len(numbers)
        }
        yield replace(row, averages=averages, ranks=ranks.get(row.name, {}) if row.kind == "method" else {})


def _at(row: Row, numbers: Sequence[int]) -> list[Cell]:
    return [cell for number in numbers if (cell := row.cells[number])]
