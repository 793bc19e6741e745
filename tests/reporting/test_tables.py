from __future__ import annotations

import io
import itertools
from html.parser import HTMLParser
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from rich.console import Console
from tests.reporting.outcomes import LEVELS, STUDY, outcome, with_predictions

from polyview.analysis.tables import MethodsTable, make_table
from polyview.recipe import Layout, Published, Study
from polyview.reporting.tables import csv, html, latex, markdown, table

METRICS = ("linear/accuracy", "zero_shot/accuracy")
THEIRS = Published(
    method="theirs", source="doi:10.1000/182", values={"linear/accuracy": 81.25}, protocol="best epoch on the test set"
)


def made(folder: Path, study: Study = STUDY, levels: dict[str, float] = LEVELS) -> MethodsTable:
    one = study.model_copy(update={"published": (THEIRS,)})
    other = study.model_copy(update={"name": "other", "seeds": (0, 1, 2, 3)})
    outcomes = {name: with_predictions(outcome(folder, own, levels)) for name, own in (("one", one), ("other", other))}
    return make_table("both", Layout(caption="Accuracy on two corpora", metrics=METRICS), outcomes)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> MethodsTable:
    return made(tmp_path_factory.mktemp("tables"))


def printed(shown: MethodsTable, width: int = 150) -> str:
    console = Console(width=width, file=io.StringIO())
    console.print(table(shown, width))
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_every_form_has_every_row_number_and_note(both: MethodsTable) -> None:
    full = both.rows[0].cells[0]
    assert full is not None
    assert full.low is not None
    assert full.high is not None
    mean, half = f"{100 * full.mean:.1f}", f"{50 * (full.high - full.low):.1f}"
    for text, between in (
        (printed(both), " ± "),
        (markdown(both), " ± "),
        (html(both), " ± "),
        (latex(both), r" \pm "),
    ):
        assert f"{mean}{between}{half}" in text
        assert "Accuracy on two corpora" in text
        assert "best epoch on the test set" in text
        assert all(row.name in text for row in both.rows)
    written = pl.read_csv(io.StringIO(csv(both)))
    assert len(written) == sum(cell is not None for row in both.rows for cell in row.cells)
    assert written.filter(row="full", study="one", metric="linear/accuracy")["mean"].item() == full.mean
    assert written.filter(kind="published")["mean"].to_list() == [0.8125]


def test_marks_and_bold_are_those_of_the_cells(both: MethodsTable) -> None:
    rows = {line.split(" | ")[0].strip("| "): line.split(" | ")[1:] for line in markdown(both).splitlines()}
    for row in both.rows:
        if row.kind == "published":
            continue
        for cell, text in zip(row.cells, rows[row.name], strict=False):
            assert cell is not None
            assert text.startswith("**") == cell.best
            assert ("↑" in text, "↓" in text) == (cell.verdict == "better", cell.verdict == "worse")


def test_numbers_of_a_column_stand_below_one_another(both: MethodsTable) -> None:
    lines = [line for line in printed(both).splitlines() if line.startswith(tuple(f" {name}" for name in LEVELS))]
    assert len(lines) == len(LEVELS)
    assert len({line.index("±") for line in lines}) == 1


class Heads(HTMLParser):
    """Collects what stands in the heads of a page's rows and columns."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.inside = False
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        self.inside = tag == "th"
        self.texts += [""] if self.inside else []

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.texts[-1] += data


def test_a_table_that_is_too_wide_goes_on_below_itself(both: MethodsTable) -> None:
    lines = printed(both, 60).splitlines()
    assert max(map(len, lines)) <= 60
    narrow = [line.split()[1:] for line in lines if line.startswith(" full ")]
    assert len(narrow) > 1
    (wide,) = [line.split()[1:] for line in printed(both).splitlines() if line.startswith(" full ")]
    assert [word for part in narrow for word in part] == wide


def test_a_long_name_is_folded_and_no_number_is_cut(tmp_path: Path) -> None:
    long = ", ".join(f"training.weight_decay={number / 100}" for number in range(1, 6))
    study = STUDY.model_copy(update={"variants": {long: {"rendering.views.count": 1}}})
    shown = make_table("long", Layout(), {"long": outcome(tmp_path, study, LEVELS | {long: 0.6})})
    lines = printed(shown, 60).splitlines()
    assert max(map(len, lines)) <= 60
    assert sum(" ± " in line for line in lines if "; ±" not in line) == len(LEVELS)
    assert all(any(part in line for line in lines[:20]) for part in long.split(", "))


LETTERS = st.text(st.sampled_from("ab1 %&_#$<>|{}[]()*~^\\/`'\"!-=+.,:;§é中"), min_size=1, max_size=12)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example("[/x]")
@example("<script>alert(1)</script>")
@example("a | b")
@example("**x**")
@given(LETTERS.map(str.strip).filter(lambda name: name and name not in LEVELS))
def test_a_name_stands_as_it_was_written(tmp_path: Path, name: str) -> None:
    study = STUDY.model_copy(update={"variants": {name: {"rendering.views.count": 1}}})
    levels = {key: level for key, level in LEVELS.items() if key != "one view"} | {name: 0.6}
    shown = make_table("odd", Layout(), {"odd": outcome(tmp_path, study, levels)})
    assert name in "".join(printed(shown).splitlines())
    tokens = MarkdownIt().enable("table").parse(markdown(shown))
    cells = [
        "".join(child.content if child.type != "softbreak" else "\n" for child in token.children or ())
        for before, token in itertools.pairwise(tokens)
        if before.type == "td_open"
    ]
    assert " ".join(name.split()) in [" ".join(cell.split()) for cell in cells]
    assert name in Heads(html(shown)).texts
