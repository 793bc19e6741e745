from __future__ import annotations

from pathlib import Path

import pytest
from tests.recipes import load_tables

from polyview.errors import UserError
from polyview.recipe import load_study
from polyview.storage.home import REPOSITORY

ABLATIONS = REPOSITORY / "ablations"


@pytest.fixture
def definition(tmp_path: Path) -> Path:
    (tmp_path / "experiments").symlink_to(REPOSITORY / "experiments")
    (tmp_path / "studies").mkdir()
    (tmp_path / "studies" / "methods.yaml").write_text((ABLATIONS / "methods.yaml").read_text())
    path = tmp_path / "studies" / "table.yaml"
    path.write_text(
        "name: corpora\ncolumns: protocol\nmetrics: [knn/accuracy]\nstudies:\n- methods.yaml\n"
        "- {study: methods.yaml, label: coma, set: {corpus.dataset: coma, corpus.root: /data/coma}, published: [{"
        "method: theirs, source: 'arXiv:2506.01203', values: {knn/accuracy: 71.5}}]}\n"
    )
    return path


def test_a_definition_names_its_studies_and_what_they_have_otherwise(definition: Path) -> None:
    (table,) = load_tables([definition], ["seeds=[4]"], {"columns": "metric"})
    assert (table.name, table.layout.columns, table.layout.metrics) == ("corpora", "metric", ("knn/accuracy",))
    assert list(table.studies) == ["methods", "coma"]
    assert [study.experiment.corpus.dataset for study in table.studies.values()] == ["synthetic", "coma"]
    assert [study.seeds for study in table.studies.values()] == [(4,), (4,)]
    assert [len(study.published) for study in table.studies.values()] == [0, 1]


def test_a_studys_own_tables_are_made_unless_another_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(
        f"name: own\nexperiment: {REPOSITORY}/experiments/quickstart.yaml\n"
        "tables: {all: {metrics: [linear/accuracy, knn/accuracy]}, one: {spread: deviation}}\n"
    )
    assert [table.name for table in load_tables([path], [], {})] == ["all", "one"]
    assert [table.layout.spread for table in load_tables([path], [], {"spread": "deviation"})] == ["deviation"] * 2
    (asked,) = load_tables([path], [], {"metrics": ["knn/uf1"]})
    assert (asked.name, asked.layout.metrics, asked.layout.spread) == ("own", ("knn/uf1",), "interval")
    # What a table shows is no part of what is trained.
    assert load_study(path).experiment == load_study(path, ["tables={}"]).experiment


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("metrics: [knn/acuracy]", "metrics.0: 'knn/acuracy' is not allowed"),
        (
            "columns: studies",
            "columns: 'studies' is not allowed; expected 'study', 'metric' or 'protocol' (nearest: study)",
        ),
        ("studies: []", "studies: [] is not allowed; at least 1 value is needed"),
        ("studies: [methods.yaml, methods.yaml]", "methods names two studies of the table"),
        (
            "studies: [methods.yaml, {study: methods.yaml, label: again}]",
            "methods and again are one study, which would count twice in the table; leave one out",
        ),
        ("studies: [{study: methods.yaml, lable: a}]", "studies.0.lable: unknown key; nearest is studies.0.label"),
        ("studies: [methods.yaml, 7]", "studies.1: 7 is not allowed; expected keys with values"),
        ('studies: [{study: methods.yaml, label: "two\\nlines"}]', "is not one line that can be printed"),
        ("studies: [method.yaml]", "method.yaml: no such file"),
        ("studies: [{study: methods.yaml, set: {corpus.root: 7}}]", "corpus.root: 7 is not allowed; expected text"),
    ],
)
def test_what_is_wrong_in_a_definition_is_said(definition: Path, change: str, told: str) -> None:
    key = change.partition(":")[0]
    lines = [
        line
        for line in definition.read_text().splitlines()
        if not line.startswith((f"{key}:", "-" * (key == "studies") or key))
    ]
    definition.write_text("\n".join([*lines, change]))
    with pytest.raises(UserError) as caught:
        load_tables([definition], [], {})
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        (
            "{method: a, source: 'their paper', values: {linear/accuracy: 80}}",
            "neither arXiv:YYMM.NNNNN nor doi:10.NNNN/…",
        ),
        ("{method: a, source: 'arXiv:2506.01203', values: {linear/accuracy: 0.8}}", "0.8 is no score in percent; 80?"),
        ("{method: a, source: 'arXiv:2506.01203', values: {linear/accuracy: 101}}", "101 is no score in percent"),
        ("{method: a, source: 'arXiv:2506.01203', values: {accuracy: 80}}", "'accuracy' is not allowed"),
    ],
)
def test_published_numbers_have_a_source_and_are_in_percent(tmp_path: Path, entry: str, told: str) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(f"name: own\nexperiment: {REPOSITORY}/experiments/quickstart.yaml\npublished: [{entry}]\n")
    with pytest.raises(UserError) as caught:
        load_study(path)
    assert told in str(caught.value)


def test_a_definition_is_given_alone(definition: Path) -> None:
    with pytest.raises(UserError, match="a table's definition names its studies itself"):
        load_tables([definition, ABLATIONS / "methods.yaml"], [], {})
