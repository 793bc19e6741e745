"""The report of a study: a terminal table, markdown, LaTeX, CSV, and one self-contained page of HTML."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Sequence
from pathlib import Path

import polars as pl
import yaml
from rich import box
from rich.table import Table
from rich.text import Text

from polyview.analysis.comparisons import comparisons, margin_of, scores
from polyview.analysis.findings import verdicts
from polyview.analysis.learned_from import learned_from
from polyview.analysis.notes import notes
from polyview.analysis.outcome import (
    RESULTS,
    Outcome,
    absent,
    cost,
    environment,
    finished,
    other_metrics,
    predictions_table,
)
from polyview.analysis.scored import no_test_results, not_compared
from polyview.analysis.statistics import Comparison, adjustment, compare, in_points
from polyview.analysis.table_notes import describe_people, labels_read_by
from polyview.reporting.figures.style import PAGE, drawn, svg
from polyview.reporting.latex import escape, floating, with_needs
from polyview.reporting.markdown import markdown_table, plain
from polyview.reporting.pages import data_uri, render
from polyview.reporting.pictures import Picture, pictures
from polyview.reporting.rows import NONE, comparison_cells, comparison_heads, first_that_fits, level, say_left_out
from polyview.reporting.sections import sections
from polyview.storage.home import replacing
from polyview.trials.design import REFERENCES, baselines
from polyview.trials.watcher import duration
from polyview.wording import agreeing, counted

__all__ = ["Outcome", "csv", "html", "latex", "markdown", "predictions", "results_page", "table", "write"]

MEAN = 2
COLUMNS = (0, 1, MEAN, 3, 4, 5, 6, 7), (0, MEAN, 3, 4, 6, 7), (0, MEAN, 3, 4, 7), (0, MEAN, 3, 7), (0, MEAN, 7)
"""Which of the cells of a comparison a terminal has room for, the most first."""
HEAD = 16  # letters in a line of a column's head: a baseline may have a long name
UI = "http://127.0.0.1:5000"


def table(outcome: Outcome, width: int = 120) -> Table:
    """Each variant against the baseline, references last; where it is narrow, without the columns that do not fit."""
    families = comparisons(outcome, outcome.study.metric)
    return first_that_fits((_table(outcome, families, columns) for columns in COLUMNS), width)


def _table(outcome: Outcome, families: Sequence[Sequence[Comparison]], columns: Sequence[int]) -> Table:
    study = outcome.study
    heads = comparison_heads(outcome, study.metric)
    heads[MEAN] = "mean ±\ndeviation"
    shown = Table(title=f"{study.name}: {study.metric}, %", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    shown.add_column(Text(heads[0]), min_width=14, overflow="fold")
    for place in columns[1:]:
        parts = heads[place].replace(", ", ",\n").replace(" to ", "\nto ").splitlines()
        head = "\n".join(line for part in parts for line in textwrap.wrap(part, HEAD))
        shown.add_column(Text(head), justify="right", no_wrap=True)
    say_left_out(shown, [heads[place] for place in COLUMNS[1] if place not in columns])
    own = set(baselines(study).values())
    for family in families:
        for one in family:
            style = "bold" if one.variant in own else "dim" if one.variant in REFERENCES else None
            cells = comparison_cells(one, outcome)
            shown.add_row(*(Text(cells[place]) for place in columns), style=style)
        shown.add_section()
    return shown


def markdown(outcome: Outcome) -> str:
    """The verdicts, the table, the other metrics, and how to read them."""
    study = outcome.study
    parts = [f"# {study.name}", "\n".join(f"- {plain(finding.text)}" for finding in verdicts(outcome))]
    if names := absent(outcome):
        count = len(outcome.trials) - len(finished(outcome))
        parts.append(
            f"**{count} of {counted(len(outcome.trials), 'trial')} {agreeing(count, 'has', 'have')} no result** (not "
            f"run yet, or failed): {plain('; '.join(names))}."
        )
    families = comparisons(outcome, study.metric)
    parts.append(
        markdown_table(
            [
                comparison_heads(outcome, outcome.study.metric),
                *(comparison_cells(one, outcome) for family in families for one in family),
            ]
        )
    )
    if others := _other_rows(outcome):
        parts += ["Mean ± standard deviation over seeds, in percent:", markdown_table(others)]
    parts += map(plain, notes(outcome))
    for section in sections(outcome):
        parts += [f"## {section.title}", "\n".join(f"- {plain(finding.text)}" for finding in section.sentences)]
        parts += [markdown_table(section.rows)] if section.rows else []
        parts += [f"```\n{section.log}\n```"] if section.log else []
    parts += ["## What was learned from", "\n".join(f"- {plain(line)}" for line in learned_from(outcome))]
    parts += ["## Cost", markdown_table([["stage", "wall time when it last ran"], *_cost_rows(outcome)])]
    return "\n\n".join(parts) + "\n"


def html(outcome: Outcome) -> str:
    """One page that needs no script and no other file: verdicts first, then what they rest on."""
    return _page(outcome, _figures(outcome))


def csv(outcome: Outcome) -> str:
    """One row per trial and metric, with whose score it is; the points of a search last."""
    return _results(outcome).write_csv()


def predictions(outcome: Outcome) -> str:
    """One row per trial, probe and test sample, as CSV."""
    return predictions_table(outcome).write_csv()


def _results(outcome: Outcome) -> pl.DataFrame:
    records = outcome.records
    rows = [
        (
            trial.id,
            trial.variant,
            trial.seed,
            trial.experiment.evaluation.fold,
            trial.experiment.evaluation.scored_side,
            metric,
            value,
        )
        for trial in (*outcome.trials, *outcome.searched.trials)
        if trial.id in records
        for metric, value in records[trial.id].scores.items()
    ]
    schema = {
        "trial": pl.String,
        "variant": pl.String,
        "seed": pl.Int64,
        "fold": pl.Int64,
        "subjects": pl.String,
        "metric": pl.String,
        "value": pl.Float64,
    }
    return pl.DataFrame(rows, schema=schema, orient="row")


def latex(outcome: Outcome) -> str:
    """The table as a float, for a paper that uses booktabs and graphicx: the best mean in bold, notes below."""
    study = outcome.study
    families = [family for family in comparisons(outcome, study.metric) if family]
    compared = [one for family in families for one in family]
    rows: list[str] = []
    for family in families:
        for against, block in itertools.groupby(family, lambda one: one.against or one.variant):
            rivals = [one for one in compared if against in (one.against, one.variant) and not one.unpaired]
            best = max((one.mean for one in rivals if one.seeds), default=0)
            rows += [r"\midrule", *(_latex_row(one, outcome, one.mean == best and one in rivals) for one in block)]
    tabular = [
        r"\begin{tabular}{lrrrrrr}",
        r"\toprule",
        " & ".join(map(escape, comparison_heads(outcome, study.metric)[:-1])) + r" \\",
        *rows,
        r"\bottomrule",
        r"\end{tabular}",
    ]
    count = max((one.family for one in compared if one.variant not in REFERENCES), default=1)
    metrics = f" in {', '.join(study.all_metrics)}" if study.metrics else ""
    adjusted = f", {adjustment(margin_of(study))} over the study's {count} comparisons{metrics}" if count > 1 else ""
    reading = (
        "± is the standard deviation over seeds; intervals have 95 %. Bold: the best mean. † p at most 0.05 for other "
        f"people under other seeds{adjusted}"
        f"{'; references are a family of their own, in each metric' if study.references else ''}."
    )
    if any(one.verdict == "same" for one in compared):
        reading += (
            " ‡ the same: p is that of two one-sided tests, which exclude differences of "
            f"{in_points(margin_of(study) or 0.0)} or more."
        )
    notes = [
        reading,
        *not_compared(outcome),
        describe_people(study.name, outcome),
        *no_test_results(outcome),
        labels_read_by({study.name: outcome}),
    ]
    text = floating(f"{study.name}: {study.metric}", f"{study.name}-differences", tabular, notes)
    return with_needs("booktabs,graphicx", text)


def write(outcome: Outcome) -> list[Path]:
    """Put report.html, report.md, results.csv, results.parquet and figures/*.svg into `report`, each whole."""
    folder = outcome.folder / "report"
    figures = _figures(outcome)
    texts = {f"figures/{picture.key}.svg": text for picture, text in figures}
    texts |= {"report.html": _page(outcome, figures), "report.md": markdown(outcome), "results.csv": csv(outcome)}
    for name, text in texts.items():
        with replacing(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
            temporary.chmod(0o644)
    with replacing(folder / "results.parquet") as temporary:
        _results(outcome).write_parquet(temporary)
        temporary.chmod(0o644)
    return [*(folder / name for name in texts), folder / "results.parquet"]


def _figures(outcome: Outcome) -> list[tuple[Picture, str]]:
    """Each figure as SVG at the width of the page."""
    found = []
    for picture in pictures(outcome):
        with drawn(picture.draw, PAGE) as figure:
            found.append((picture, svg(figure)))
    return found


def _page(outcome: Outcome, figures: Sequence[tuple[Picture, str]]) -> str:
    study = outcome.study
    return render(
        "report.html.j2",
        study=study,
        baselines=set(baselines(study).values()),
        planned=len(outcome.trials),
        finished=len(finished(outcome)),
        absent=absent(outcome),
        verdicts=verdicts(outcome),
        heads=comparison_heads(outcome, outcome.study.metric),
        families=[[comparison_cells(one, outcome) for one in family] for family in comparisons(outcome, study.metric)],
        notes=notes(outcome),
        sections=sections(outcome),
        others=_other_rows(outcome),
        figures={picture.key: text for picture, text in figures},
        pictures={picture.key: picture for picture, _ in figures},
        learned_from=learned_from(outcome),
        sheet=data_uri("image/png", outcome.sheet.read_bytes()) if outcome.sheet else None,
        trials=_trial_rows(outcome),
        tracking_address=outcome.tracking_address,
        links=_links(outcome),
        cost=_cost_rows(outcome),
        environment=environment(outcome),
        recipe=yaml.safe_dump(study.model_dump(mode="json"), sort_keys=False, allow_unicode=True),
    )


def _other_rows(outcome: Outcome) -> list[list[str]]:
    names = other_metrics(outcome)
    levels = {name: {one.variant: level(one) for one in compare(scores(outcome, name), "")} for name in names}
    variants = scores(outcome, outcome.study.metric)
    return [["variant", *names], *([one, *(levels[name][one] for name in names)] for one in variants)] if names else []


def _trial_rows(outcome: Outcome) -> list[list[str]]:
    """Of each probe the one metric that the study asks for."""
    main = outcome.study.metric
    kind = main.rpartition("/")[2]
    metrics = [main, *(name for name in other_metrics(outcome) if name.rpartition("/")[2] == kind)]
    rows = [["variant", "repeat", *metrics, "train", "evaluate", "trial"]]
    for trial in (*outcome.trials, *outcome.searched.trials):
        record = outcome.records.get(trial.id)
        values = [record.scores.get(metric) if record else None for metric in metrics]
        stages = [record.seconds.get(stage) if record else None for stage in ("train", "evaluate")]
        cells = [NONE if value is None else f"{100 * value:.1f}" for value in values]
        cells += [NONE if seconds is None else _duration(seconds) for seconds in stages]
        rows.append([trial.variant, trial.repeat, *cells, trial.id])
    return rows


def results_page(outcome: Outcome) -> str:
    """Where MLflow's user interface compares the variants; a local store's is where `polyview ui` serves it."""
    return _links(outcome).get(RESULTS, _server(outcome))


def _links(outcome: Outcome) -> dict[str, str]:
    """Where MLflow's user interface has each trial, and the pages prepared for the study."""
    return {name: f"{_server(outcome)}/{link}" for name, link in outcome.links.items()}


def _server(outcome: Outcome) -> str:
    address = outcome.tracking_address
    return address.rstrip("/") if address.startswith("http") else UI


def _cost_rows(outcome: Outcome) -> list[list[str]]:
    trial_hours, gpu_hours = cost(outcome)
    stages = [[name, _duration(seconds)] for name, seconds in outcome.stages.items()]
    return [
        *stages,
        ["all trials together", f"{trial_hours:.2g} trial-hours"],
        ["of GPUs", f"{gpu_hours:.2g} hours"],
    ]


def _latex_row(one: Comparison, outcome: Outcome, best: bool) -> str:
    name, seeds, mean, difference, *rest, _ = map(escape, comparison_cells(one, outcome))
    mean = rf"\textbf{{{mean}}}" if best else mean
    difference += r"$^{\dagger}$" if one.significant else r"$^{\ddagger}$" if one.verdict == "same" else ""
    return " & ".join([name, seeds, mean, difference, *rest]) + r" \\"


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 60 else duration(seconds)
