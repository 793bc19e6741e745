"""Whatever is asked and found, every place that shows a score shows the one that the predictions make."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import cast

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from rich.console import Console
from scipy import stats
from tests.reporting.studies import Truth, draw_truth

from polyview.analysis.comparisons import comparison_of_each
from polyview.analysis.outcome import predictions_table
from polyview.analysis.tables import make_table
from polyview.recipe import Layout
from polyview.reporting import report, tables
from polyview.reporting.latex import escape
from polyview.studies.results import Results
from polyview.tracking.runs import variant_results
from polyview.trials.design import REFERENCES, baselines

seeds = st.integers(0, 2**32 - 1)


def truth_of(seed: int) -> Truth:
    return draw_truth(np.random.default_rng(seed), Path("nowhere"))


def seeds_of(truth: Truth, variant: str, metric: str) -> dict[int, float]:
    """The score of every seed of a variant of which each fold has a result."""
    by_seed: dict[int, list[str]] = {}
    for trial in truth.outcome.trials:
        if trial.variant == variant:
            by_seed.setdefault(trial.seed, []).append(trial.id)
    whole = {seed: ids for seed, ids in by_seed.items() if all(one in truth.said for one in ids)}
    return {seed: truth.score(ids, metric) for seed, ids in whole.items()}


def one_prediction(truth: Truth, variant: str, shared: list[int], metric: str) -> float:
    """What one prediction more in one of these seeds makes of the mean over them."""
    probe, _, _ = metric.partition("/")
    counts = [
        sum(
            truth.said[trial.id].filter(pl.col("probe") == probe).height
            for trial in truth.outcome.trials
            if trial.variant == variant and trial.seed == seed
        )
        for seed in shared
    ]
    return float(1 / (min(counts) * len(counts)))


def variants_of(truth: Truth) -> list[str]:
    return list(dict.fromkeys(trial.variant for trial in truth.outcome.trials))


def level(scores: dict[int, float]) -> str:
    """What stands in a table: mean and deviation in percent."""
    values = list(scores.values())
    spread = f" ± {100 * np.std(values, ddof=1):.1f}" if len(values) > 1 else ""
    return f"{100 * np.mean(values):.1f}{spread}"


def holm(p_values: list[float]) -> list[float]:
    """Holm's adjustment as the closure of Bonferroni's has it."""
    ordered = sorted(p_values)
    return [max(min(1.0, (len(ordered) - rank) * q) for rank, q in enumerate(ordered) if q <= p) for p in p_values]


@settings(max_examples=20)
@given(seed=seeds)
def test_means_differences_and_intervals_are_those_of_the_predictions(seed: int) -> None:
    truth = truth_of(seed)
    study = truth.outcome.study
    against = baselines(study)
    for metric in study.all_metrics:
        found = comparison_of_each(truth.outcome, metric)
        assert {*found} == {*variants_of(truth)}
        for variant, one in found.items():
            own = seeds_of(truth, variant, metric)
            base = seeds_of(truth, against.get(variant, study.baseline), metric)
            assert one.seeds == len(own)
            if own:
                assert one.mean == pytest.approx(np.mean(list(own.values())))
            pairs = [own[seed] - base[seed] for seed in own if seed in base]
            if variant in against.values() or not pairs:
                assert one.difference is None
                continue
            assert one.pairs == len(pairs)
            assert one.difference == pytest.approx(np.mean(pairs))
            error = np.std(pairs, ddof=1) / np.sqrt(len(pairs)) if len(pairs) > 1 else 0.0
            if error > 1.001 * one_prediction(truth, variant, list(own.keys() & base.keys()), metric):
                paired = stats.ttest_1samp(pairs, 0).confidence_interval()
                assert (one.seeds_low, one.seeds_high) == pytest.approx((paired.low, paired.high))
            else:
                assert one.seeds_low is None


@settings(max_examples=20)
@given(seed=seeds)
def test_a_verdict_is_what_the_adjusted_p_values_of_all_comparisons_allow(seed: int) -> None:
    truth = truth_of(seed)
    study = truth.outcome.study
    everything = [one for metric in study.all_metrics for one in comparison_of_each(truth.outcome, metric).values()]
    for references in (False, True):
        family = [one for one in everything if (one.variant in REFERENCES) == references and one.against]
        if references:
            family = family[: len({one.variant for one in family})]
        p_values = [1.0 if one.p is None else one.p for one in family]
        adjusted = [min(1.0, len(p_values) * p) for p in p_values] if study.margin else holm(p_values)
        for one, p in zip(family, adjusted, strict=True):
            if one.p is None:
                assert one.verdict == "untested"
            elif p <= 0.05:
                assert one.verdict == ("better" if (one.difference or 0) > 0 else "worse")
            else:
                assert one.verdict in ("open", "same")
            if one.verdict == "same":
                assert study.margin
                assert max(abs(one.low or 0), abs(one.high or 0)) < study.margin / 100 + 0.2


def other_predictions(truth: Truth, variant: str, metric: str) -> list[int]:
    """How many predictions of its baseline a variant has not, in each of the trials that both have."""
    probe, _, _ = metric.partition("/")
    against = baselines(truth.outcome.study).get(variant, truth.outcome.study.baseline)
    by_place = {trial.place: truth.said.get(trial.id) for trial in truth.outcome.trials}
    pairs = [
        (said, by_place.get((against, seed, fold)))
        for (name, seed, fold), said in by_place.items()
        if name == variant and said is not None
    ]
    own = pl.col("probe") == probe
    return [
        int((said.filter(own)["prediction"] != base.filter(own)["prediction"]).sum())
        for said, base in pairs
        if base is not None
    ]


def test_some_of_the_studies_have_differences_that_are_nothing_and_none_is_claimed() -> None:
    found = {"nothing": 0, "one prediction": 0}
    for seed in range(60):
        truth = truth_of(seed)
        metric = truth.outcome.study.metric
        for variant, one in comparison_of_each(truth.outcome, metric).items():
            if one.difference is None or one.pairs < 2:
                continue
            others = sum(other_predictions(truth, variant, metric))
            if others == 0:
                found["nothing"] += 1
                assert (one.difference, one.verdict, one.low) == (0.0, "untested", None)
            elif others == 1:
                found["one prediction"] += 1
                assert not one.significant
                assert one.seeds_low is None or not metric.endswith("accuracy")
    assert min(found.values()) > 2, found


ONE_OF_SEVERAL = re.compile(
    r"(?<![\d.,−+-])1 (seeds|people|persons|subjects|trials|faces|views|epochs|points|results|comparisons|samples|"
    r"folds|predictions|pictures|variants|effects|test subjects|training people)\b"
)


def test_one_thing_is_never_told_as_several() -> None:
    for seed in range(40):
        truth = truth_of(seed)
        outcome = truth.outcome
        outcome = replace(outcome, study=outcome.study.model_copy(update={"margin": 1.0}))
        terminal = Console(width=200, file=io.StringIO())
        terminal.print(report.table(outcome, 200))
        said = [
            cast(io.StringIO, terminal.file).getvalue(),
            report.markdown(outcome),
            report.latex(outcome),
            *(report.html(outcome) for _ in range(seed < 4)),
        ]
        assert not [found[0] for text in said for found in ONE_OF_SEVERAL.finditer(text)]


class Cells(HTMLParser):
    """The text of every cell of a page, row by row."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.inside = False
        self.feed(page)

    def handle_starttag(self, tag: str, _attributes: object) -> None:
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.inside = True
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        self.inside = self.inside and tag not in ("td", "th")

    def handle_data(self, text: str) -> None:
        if self.inside:
            self.rows[-1][-1] += text


def latex_rows(text: str) -> list[list[str]]:
    """The cells of a table in LaTeX, without what makes them bold."""
    rows = [line.removesuffix(r" \\") for line in text.splitlines() if line.endswith(r" \\")]
    return [[re.sub(r"^\\textbf\{(.*)\}$", r"\1", cell.strip()) for cell in row.split(" & ")] for row in rows]


@settings(max_examples=20)
@given(seed=seeds)
def test_every_place_that_shows_a_score_shows_that_of_the_predictions(seed: int) -> None:
    truth = truth_of(seed)
    study, outcome = truth.outcome.study, truth.outcome
    told = Results(outcome).comparison
    logged = {one.name: one for one in variant_results(outcome)}
    terminal = Console(width=300, file=io.StringIO())
    terminal.print(report.table(outcome, 300))
    lines = cast(io.StringIO, terminal.file).getvalue().splitlines()
    in_markdown = Cells(MarkdownIt().enable("table").render(report.markdown(outcome))).rows
    in_latex = latex_rows(report.latex(outcome))
    for variant in variants_of(truth):
        own = seeds_of(truth, variant, study.metric)
        row = told.row(by_predicate=pl.col("variant") == variant, named=True)
        assert row["seeds"] == len(own)
        if not own:
            assert row["mean"] is None
            continue
        text = level(own)
        assert row["mean"] == pytest.approx(np.mean(list(own.values())))
        assert any(line.strip().startswith(f"{variant} ") and f" {text} " in f"{line} " for line in lines)
        assert any(one[:1] == [variant] and text in one for one in in_markdown)
        assert any(one[0] == escape(variant) and escape(text) in one for one in in_latex)
        assert logged[variant].metrics[study.metric] == pytest.approx(row["mean"])
        assert logged[variant].tags[study.metric].replace(" %", "", 1) == text


@settings(max_examples=3)  # each draws all figures
@given(seed=seeds)
def test_the_page_shows_the_scores_of_the_predictions(seed: int) -> None:
    truth = truth_of(seed)
    rows = Cells(report.html(truth.outcome)).rows
    for variant in variants_of(truth):
        if own := seeds_of(truth, variant, truth.outcome.study.metric):
            assert any(one[:1] == [variant] and level(own) in one for one in rows)


@settings(max_examples=20)
@given(seed=seeds)
def test_tables_of_data_have_every_trial_and_every_score(seed: int) -> None:
    truth = truth_of(seed)
    outcome = truth.outcome
    names = {trial.id: trial for trial in outcome.trials}
    table = pl.read_csv(io.StringIO(report.csv(outcome)), schema_overrides={"variant": pl.String, "trial": pl.String})
    assert table.height == 9 * len(truth.said)
    for row in table.iter_rows(named=True):
        trial = names[row["trial"]]
        assert (row["variant"], row["seed"]) == (trial.variant, trial.seed)
        assert row["value"] == pytest.approx(truth.score([row["trial"]], row["metric"]))
    assert predictions_table(outcome).height == sum(one.height for one in truth.said.values())


@settings(max_examples=20)
@given(seed=seeds, spread=st.sampled_from(["interval", "deviation"]))
def test_a_papers_table_has_the_means_and_deviations_of_the_predictions(seed: int, spread: str) -> None:
    truth = truth_of(seed)
    study = truth.outcome.study
    layout = Layout(metrics=study.all_metrics, spread=spread, rows="variant")
    made = make_table("drawn", layout, {"drawn": truth.outcome})
    table = pl.read_csv(io.StringIO(tables.csv(made)), schema_overrides={"row": pl.String, "verdict": pl.String})
    for row in table.iter_rows(named=True):
        own = seeds_of(truth, row["row"], row["metric"])
        assert row["mean"] == pytest.approx(np.mean(list(own.values())))
        assert row["seeds"] == len(own)
        if len(own) > 1:
            assert row["deviation"] == pytest.approx(np.std(list(own.values()), ddof=1))
    assert table.height == sum(
        bool(seeds_of(truth, name, metric)) for name in variants_of(truth) for metric in study.all_metrics
    )
