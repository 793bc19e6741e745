"""The report of a study: a terminal table, markdown, LaTeX, CSV, and one self-contained page of HTML."""

from __future__ import annotations

import base64
import math
import re
import textwrap
from collections.abc import Sequence
from pathlib import Path

import jinja2
import polars as pl
import yaml
from rich import box
from rich.table import Table
from rich.text import Text

from polyview.analysis.comparisons import comparisons, scores
from polyview.analysis.curves import loss_curves, share_curves
from polyview.analysis.findings import verdicts
from polyview.analysis.notes import learned_from, notes
from polyview.analysis.outcome import (
    RESULTS,
    Outcome,
    absent,
    confusions_of,
    cost,
    environment,
    finished,
    other_metrics,
    predictions_table,
)
from polyview.analysis.statistics import Comparison, compare
from polyview.reporting import figures
from polyview.reporting.rows import NONE, THESE_PEOPLE, comparison_cells, comparison_heads, level
from polyview.reporting.sections import sections
from polyview.storage.home import replacing
from polyview.trials.design import REFERENCES, baselines
from polyview.trials.watcher import duration

__all__ = ["Outcome", "csv", "html", "latex", "markdown", "predictions", "results_page", "table", "write"]

WIDE = 110  # columns of a terminal
HEAD = 16  # letters in a line of a column's head: a baseline may have a long name
UI = "http://127.0.0.1:5000"
_LATEX = {letter: f"\\{letter}" for letter in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "\N{MINUS SIGN}": "$-$",
    "·": r"$\cdot$",
    **{letter: f"${letter}$" for letter in "<>|"},  # which text fonts have other letters for
    **{letter: f"{{{letter}}}" for letter in "[]*"},  # which after a row's end belong to that
    NONE: "--",
}


_MARKDOWN = re.compile(r"([\\*`~]|(?<![^\W_])_|_(?![^\W_])|&(?=[#A-Za-z])|<(?=[A-Za-z/!?])|\[(?=[^\]]*\]\())")
"""What of a text markdown would read as an emphasis, code, an entity, a tag or a link."""


def table(outcome: Outcome, width: int = 120) -> Table:
    """Each variant against the baseline, references last; a narrow one leaves out two columns."""
    study = outcome.study
    heads = comparison_heads(outcome, study.metric)
    heads[2] = "mean ±\ndeviation"
    shown = Table(title=f"{study.name}: {study.metric}, %", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    columns = [place for place, head in enumerate(heads) if width >= WIDE or head not in ("seeds", THESE_PEOPLE)]
    shown.add_column(Text(heads[0]), min_width=14, overflow="fold")
    for place in columns[1:]:
        parts = heads[place].replace(", ", ",\n").replace(" to ", "\nto ").splitlines()
        head = "\n".join(line for part in parts for line in textwrap.wrap(part, HEAD))
        shown.add_column(Text(head), justify="right", no_wrap=True)
    own = set(baselines(study).values())
    for family in comparisons(outcome, study.metric):
        for one in family:
            style = "bold" if one.variant in own else "dim" if one.variant in REFERENCES else None
            cells = comparison_cells(one, outcome)
            shown.add_row(*(Text(cells[place]) for place in columns), style=style)
        shown.add_section()
    return shown


def markdown(outcome: Outcome) -> str:
    """The verdicts, the table, the other metrics, and how to read them."""
    study = outcome.study
    parts = [f"# {study.name}", "\n".join(f"- {_plain(finding.text)}" for finding in verdicts(outcome))]
    if names := absent(outcome):
        count = len(outcome.trials) - len(finished(outcome))
        parts.append(
            f"**{count} of {len(outcome.trials)} trials have no result** (not run yet, or failed): "
            f"{_plain('; '.join(names))}."
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
    parts += map(_plain, notes(outcome))
    for section in sections(outcome):
        parts += [f"## {section.title}", "\n".join(f"- {_plain(finding.text)}" for finding in section.sentences)]
        parts += [markdown_table(section.rows)] if section.rows else []
        parts += [f"```\n{section.log}\n```"] if section.log else []
    parts += ["## What was learned from", "\n".join(f"- {_plain(line)}" for line in learned_from(outcome))]
    parts += ["## Cost", markdown_table([["stage", "wall time when it last ran"], *_cost_rows(outcome)])]
    return "\n\n".join(parts) + "\n"


def html(outcome: Outcome) -> str:
    """One page that needs no script and no other file: verdicts first, then what they rest on."""
    return _page(outcome, _figures(outcome))


def csv(outcome: Outcome) -> str:
    """One row per trial and metric: trial, variant, seed, fold, metric, value; the points of a search last."""
    return _results(outcome).write_csv()


def predictions(outcome: Outcome) -> str:
    """One row per trial, probe and test sample, as CSV."""
    return predictions_table(outcome).write_csv()


def _results(outcome: Outcome) -> pl.DataFrame:
    rows = [
        (trial.id, trial.variant, trial.seed, trial.experiment.evaluation.fold, metric, value)
        for trial in (*outcome.trials, *outcome.searched.trials)
        if trial.id in outcome.records
        for metric, value in outcome.records[trial.id].scores.items()
    ]
    schema = {
        "trial": pl.String,
        "variant": pl.String,
        "seed": pl.Int64,
        "fold": pl.Int64,
        "metric": pl.String,
        "value": pl.Float64,
    }
    return pl.DataFrame(rows, schema=schema, orient="row")


def latex(outcome: Outcome) -> str:
    """The table for a paper that uses booktabs: the best mean in bold, marks explained in comments above."""
    families = [family for family in comparisons(outcome, outcome.study.metric) if family]
    best = max((one.mean for family in families for one in family if one.seeds), default=math.nan)
    adjustment = "Bonferroni" if outcome.study.margin else "Holm"
    rows: list[str] = []
    for family in families:
        rows += [r"\midrule", *(_latex_row(one, outcome, one.mean == best) for one in family)]
    return "\n".join(
        [
            f"% Bold: the best mean; dagger: p <= 0.05 after {adjustment}, for other people. Needs booktabs.",
            r"\begin{tabular}{lrrrrrr}",
            r"\toprule",
            " & ".join(map(_latex, comparison_heads(outcome, outcome.study.metric)[:-1])) + r" \\",
            *rows,
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


def write(outcome: Outcome) -> list[Path]:
    """Put report.html, report.md, results.csv, results.parquet and figures/*.svg into `report`, each whole."""
    folder = outcome.folder / "report"
    drawn = _figures(outcome)
    texts = {f"figures/{name}.svg": svg for name, svg in drawn.items()}
    texts |= {"report.html": _page(outcome, drawn), "report.md": markdown(outcome), "results.csv": csv(outcome)}
    for name, text in texts.items():
        with replacing(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
            temporary.chmod(0o644)
    with replacing(folder / "results.parquet") as temporary:
        _results(outcome).write_parquet(temporary)
        temporary.chmod(0o644)
    return [*(folder / name for name in texts), folder / "results.parquet"]


def _figures(outcome: Outcome) -> dict[str, str]:
    study = outcome.study
    variants, _ = comparisons(outcome, study.metric)
    drawn = {section.key: section.figure for section in sections(outcome) if section.figure}
    found = scores(outcome, study.metric)
    if finished(outcome):
        drawn["comparison"] = figures.comparison(found, study.baseline, REFERENCES, study.metric)
    if any(one.difference is not None for one in variants):
        drawn["forest"] = figures.forest(variants, study.baseline, study.metric)
    if curves := loss_curves(outcome):
        drawn["curves"] = figures.curves(curves, found)
    if shares := share_curves(outcome):
        drawn["shares"] = figures.curves(shares, found)
    classes, confusions = confusions_of(outcome, study.baseline)
    if outcome.embeddings:
        table = pl.read_parquet(outcome.embeddings)
        drawn["embeddings"] = figures.embedding_map(
            table["embedding"].to_numpy(), table["expression"].to_list(), classes
        )
    return drawn | {f"confusion-{probe}": figures.confusion(counts, classes) for probe, counts in confusions.items()}


def _page(outcome: Outcome, drawn: dict[str, str]) -> str:
    study = outcome.study
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=jinja2.StrictUndefined
    )
    templates.filters |= {
        "svg_uri": lambda svg: _data_uri("image/svg+xml", svg.encode()),
        "breakable": lambda text: text.replace("/", "/\N{ZERO WIDTH SPACE}"),
    }
    return templates.get_template("report.html.j2").render(
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
        figures=drawn,
        confusions={f"confusion-{probe}": probe for probe in confusions_of(outcome, study.baseline)[1]},
        learned_from=learned_from(outcome),
        sheet=_data_uri("image/png", outcome.sheet.read_bytes()) if outcome.sheet else None,
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
    return [*stages, ["all trials together", f"{trial_hours:.2g} trial-hours"], ["of GPUs", f"{gpu_hours:.2g} hours"]]


def markdown_table(rows: Sequence[Sequence[str]]) -> str:
    """Rows of text as a table in markdown, the first of them its head."""
    escaped = [[_plain(cell).replace("|", r"\|") for cell in row] for row in rows]
    rule = ["---", *("---:" for _ in escaped[0][1:])]
    return "\n".join(f"| {' | '.join(row)} |" for row in [escaped[0], rule, *escaped[1:]])


def _plain(text: str) -> str:
    """Text as markdown has it, whatever is in the names that it holds."""
    return _MARKDOWN.sub(r"\\\1", text)


def _latex_row(one: Comparison, outcome: Outcome, best: bool) -> str:
    name, seeds, mean, difference, *rest, _ = map(_latex, comparison_cells(one, outcome))
    mean = rf"\textbf{{{mean}}}" if best else mean
    difference += r"$^{\dagger}$" if one.significant else ""
    return " & ".join([name, seeds, mean, difference, *rest]) + r" \\"


def _latex(text: str) -> str:
    """Text as LaTeX has it, in ASCII where the letters are."""
    return "".join(_LATEX.get(letter, letter) for letter in text)


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 60 else duration(seconds)


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
