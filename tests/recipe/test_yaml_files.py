"""What people type is what is read: names that look like numbers or switches, signs in paths, keys with dots."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from polyview.errors import UserError
from polyview.recipe import Experiment, Study, load_experiment, load_study, to_yaml
from polyview.recipe.yaml_files import quote_names, read_value

Load = Callable[..., Study]
NAMES = ["on", "off", "yes", "no", "y", "1", "0.5", "1e3", "true", "null", "~", "2026-11-28", "0x1F", "1_000", ".5"]


@pytest.fixture
def load(tiny: Experiment, tmp_path: Path) -> Load:
    """Reads a study of the tiny recipe, with more lines and with assignments."""

    def read(lines: str = "", *assignments: str) -> Study:
        (tmp_path / "tiny.yaml").write_text(to_yaml(tiny))
        path = tmp_path / "study.yaml"
        path.write_text(f"name: study\nexperiment: tiny.yaml\nseeds: [0]\n{lines}")
        return load_study(path, assignments)

    return read


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f"name: {'[' * 3000}{']' * 3000}\n", "is nested too deeply to be read"),
        ("name: &a [*a]\n", "aliases repeat without end"),
        ("\n".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}' if n else 'x'] * 9)}]" for n in range(9)), "100,000 values"),
    ],
    ids=["deep", "a cycle", "a bomb"],
)
def test_yaml_that_no_machine_can_hold_is_refused(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "odd.yaml").write_text(text)
    with pytest.raises(UserError, match=told):
        load_study(tmp_path / "odd.yaml")


@pytest.mark.parametrize("name", NAMES)
def test_a_variant_has_the_name_that_is_written(load: Load, name: str) -> None:
    study = load(f"variants:\n  {name}: {{model.fusion: mean}}\n  other: {{training.lr: 0.1}}\n")
    assert [*study.variants] == [name, "other"]
    assert [*load(f"remove: {{{name}: objective.redundancy}}\n").remove] == [name]


def test_names_that_differ_as_text_are_different_variants(load: Load) -> None:
    names = ["on", "off", "no", "1", "0.5", "1.0", "true"]
    lines = "".join(f"  {name}: {{training.lr: {0.1 + number}}}\n" for number, name in enumerate(names))
    assert [*load(f"variants:\n{lines}").variants] == names


def test_an_expressions_own_prompts_may_be_called_anything(tmp_path: Path, tiny: Experiment) -> None:
    changed = tiny.model_dump(mode="json")
    changed["corpus"]["expressions"] = ["on", "no"]
    text = yaml.safe_dump(changed) + "\n"
    (tmp_path / "tiny.yaml").write_text(text.replace("  own: {}\n", "  own: {on: [a face], no: [another]}\n"))
    experiment = load_experiment(tmp_path / "tiny.yaml", ["corpus.dataset=folder", f"corpus.root={tmp_path}"])
    assert set(experiment.corpus.expressions) == {"on", "no"}


@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1),
        st.sampled_from([1, "x", True, None, [0, 1], {"a": 2}]),
        max_size=4,
    )
)
def test_what_yaml_itself_has_written_is_left_as_it_is(content: dict[str, Any]) -> None:
    text = yaml.safe_dump(content, allow_unicode=True)
    assert yaml.safe_load(quote_names(text)) == content


@pytest.mark.parametrize(
    "text",
    [
        "/data/My faces #2",
        "#2",
        "{subject}/{expression}_{level}.obj",
        "C: faces",
        "/data/é à",
        "a # b # c",
        "*.obj",
        "@x",
    ],
)
def test_typed_text_is_kept_whole(text: str, tmp_path: Path, tiny: Experiment) -> None:
    assert read_value(text) == text
    (tmp_path / "tiny.yaml").write_text(to_yaml(tiny))
    root = load_experiment(tmp_path / "tiny.yaml", ["corpus.dataset=coma", f"corpus.root={text}"]).corpus.root
    assert root == str(Path.cwd() / text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[0,1]", [0, 1]),
        ("0.5", 0.5),
        ("1e-4", 1e-4),
        ("true", True),
        ("null", None),
        ("", None),
        ("'a # b'", "a # b"),
        ("{model.fusion: mean}", {"model.fusion": "mean"}),
    ],
)
def test_typed_values_are_yaml(text: str, value: object) -> None:
    assert read_value(text) == value


def test_a_value_with_a_comment_behind_it_is_refused(load: Load) -> None:
    with pytest.raises(UserError, match="seeds"):
        load("", "seeds=[0,1] # two")


def test_keys_with_dots_are_names_in_a_grid_a_search_and_a_variant(load: Load) -> None:
    assert load("", "grid.training.lr=[0.1,0.2]").grid == {"training.lr": (0.1, 0.2)}
    both = load("grid: {training.lr: [0.1, 0.2]}\n", "grid.training.lr=[0.3,0.4]", "grid.training.batch_size=[4,8]")
    assert both.grid == {"training.lr": (0.3, 0.4), "training.batch_size": (4, 8)}
    space = "search: {space: {training.lr: {uniform: [0.1, 0.2]}}}\n"
    searched = load(space, "search.space.training.lr={uniform: [1, 2]}")
    assert searched.search is not None
    assert searched.search.space["training.lr"].uniform == (1, 2)
    varied = load("variants: {mean: {model.fusion: mean}}\n", "variants.mean.training.lr=0.5")
    assert varied.variants == {"mean": {"model.fusion": "mean", "training.lr": 0.5}}
