"""Files and folders that the variants of a study name."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from polyview.errors import UserError
from polyview.recipe import Study, load_experiment, load_stored_study, load_study
from polyview.trials.design import Trial, plan, variants
from polyview.trials.search import make_trials

RECIPE = """
name: small
corpus: {expressions: [fear, anger]}
language: {ensemble: 1}
objective: {alignment: {}}
training: {epochs: 3}
"""
FACES = "{dataset: folder, root: faces, pattern: '{subject}/{expression}.obj', expressions: [fear, anger]}"
WriteStudy = Callable[[str], Path]


@pytest.fixture
def write_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WriteStudy:
    """Writes a study of `small.yaml` into the working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.yaml").write_text(RECIPE)
    write_prompts(tmp_path / "mine.yaml", "cross")
    write_prompts(tmp_path / "theirs.yaml", "wild")

    def written(content: str) -> Path:
        path = tmp_path / "study.yaml"
        path.write_text(f"name: asked\nexperiment: small.yaml\nseeds: [0]\nreferences: false\n{content}\n")
        return path

    return written


def write_prompts(path: Path, how: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"fear: [a scared face]\nanger: [a {how} face]\n")


def anger(study: Study) -> dict[str, tuple[str, ...]]:
    return {trial.variant: trial.experiment.language.own.get("anger", ()) for trial in plan(study)}


def ids(trials: list[Trial]) -> dict[str, str]:
    return {trial.variant: trial.id for trial in trials}


NAMING = {
    "variants": "variants: {own: {language.file: mine.yaml}}",
    "a section": "variants: {own: {language: {file: mine.yaml, ensemble: 1}}}",
    "grid": "grid: {language.file: [mine.yaml, theirs.yaml]}",
    "fraction": "fraction: {language.file: [mine.yaml, theirs.yaml]}",
    "across": "variants: {mean: {model.fusion: mean}}\nacross: {language.file: [mine.yaml, theirs.yaml]}",
    "weights": "variants: {own: {model.pretrained: start.pt}}",
    "faces": f"variants: {{own: {{corpus: {FACES}}}}}",
    "tested faces": f"variants: {{own: {{evaluation.protocol: cross_dataset, evaluation.test: {FACES}}}}}",
}


@pytest.mark.parametrize("naming", NAMING.values(), ids=NAMING)
def test_what_variants_name_is_what_it_was_when_the_study_was_read(
    naming: str, write_study: WriteStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "start.pt").write_bytes(b"1")
    (tmp_path / "faces").mkdir()
    study = load_study(write_study(naming))
    read = ids(plan(study))
    kept = load_stored_study(study.model_dump_json(), "study.json")
    for name in ("mine.yaml", "theirs.yaml", "start.pt"):
        (tmp_path / name).write_text("fear: [other]\nanger: [words]\n")
    assert ids(plan(study)) == read
    for name in ("mine.yaml", "theirs.yaml", "start.pt"):
        (tmp_path / name).unlink()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert ids(plan(kept)) == read
    assert kept == study


def test_the_choices_of_a_search_are_what_they_were_when_it_was_read(write_study: WriteStudy, tmp_path: Path) -> None:
    choices = "search: {trials: 4, space: {language.file: {categorical: [mine.yaml, theirs.yaml]}}}"
    study = load_study(write_study(choices))
    points = [{"language.file": "mine.yaml"}, {"language.file": "theirs.yaml"}]
    read = ids(make_trials(study, points))
    (tmp_path / "mine.yaml").unlink()
    write_prompts(tmp_path / "theirs.yaml", "grim")
    assert ids(make_trials(study, points)) == read


def test_variants_keep_the_names_that_they_have_by_their_files(write_study: WriteStudy) -> None:
    study = load_study(write_study("grid: {language.file: [mine.yaml, theirs.yaml]}"))
    assert list(variants(study)) == ["full", "file=mine.yaml", "file=theirs.yaml"]
    assert anger(study) == {"full": (), "file=mine.yaml": ("a cross face",), "file=theirs.yaml": ("a wild face",)}


def test_files_are_looked_for_from_the_working_directory_and_then_beside_the_study(
    write_study: WriteStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "start.pt").write_bytes(b"1")
    (tmp_path / "faces").mkdir()
    faces = f"moved: {{corpus: {FACES}}}"
    path = write_study(
        f"variants: {{own: {{language.file: mine.yaml}}, start: {{model.pretrained: start.pt}}, {faces}}}"
    )
    here = ids(plan(load_study(path)))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert ids(plan(load_study(path))) == here
    write_prompts(tmp_path / "elsewhere" / "mine.yaml", "grim")
    assert anger(load_study(path))["own"] == ("a grim face",)
    assert anger(load_study(path, [f"variants.own.language.file={tmp_path / 'mine.yaml'}"]))["own"] == ("a cross face",)


def test_a_recipe_finds_what_lies_beside_it(
    write_study: WriteStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "start.pt").write_bytes(b"1")
    recipe = tmp_path / "small.yaml"
    recipe.write_text(f"{RECIPE}model: {{pretrained: start.pt}}\n".replace("{ens", "{file: mine.yaml, ens"))
    study = write_study("variants: {}")
    here = load_experiment(recipe)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert load_experiment(recipe).digest == here.digest
    assert load_study(study).experiment.digest == here.digest


@pytest.mark.parametrize(
    ("naming", "key"),
    [
        ("variants: {more: {language.file: gone.yaml}}", "variants.more.language.file"),
        ("variants: {more: {language: {file: gone.yaml, ensemble: 1}}}", "variants.more.language.file"),
        ("grid: {language.file: [gone.yaml, mine.yaml]}", "grid.language.file"),
        (
            "search: {space: {language.file: {categorical: [gone.yaml, mine.yaml]}}}",
            "search.space.language.file",
        ),
    ],
)
def test_a_file_that_is_not_there_is_told_by_the_key_that_names_it(
    naming: str, key: str, write_study: WriteStudy
) -> None:
    path = write_study(naming)
    with pytest.raises(UserError) as caught:
        load_study(path)
    assert str(caught.value) == f"{path}: {key}: there is no file gone.yaml"


@pytest.mark.parametrize("key", ["language.file", "model.pretrained", "corpus.root"])
def test_a_list_where_a_name_belongs_is_told(key: str, write_study: WriteStudy) -> None:
    study = load_study(write_study(f"variants: {{more: {{{key}: [mine.yaml]}}}}"))
    with pytest.raises(UserError, match=re.escape(key)):
        plan(study)


def test_prompts_that_are_no_lists_are_told_by_the_key_that_names_them(write_study: WriteStudy, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("fear: a scared face\nanger: [a cross face]\n")
    path = write_study("variants: {more: {language.file: mine.yaml}}")
    with pytest.raises(UserError) as caught:
        load_study(path)
    first, second = str(caught.value).splitlines()
    assert first == f"{path}: variants.more.language.file: mine.yaml: 1 error"
    assert second.startswith("  own.fear: 'a scared face' is not allowed; expected a list")


def test_a_study_written_by_polyview_has_its_own_prompts_whatever_lies_there(
    write_study: WriteStudy, tmp_path: Path
) -> None:
    study = load_study(write_study("variants: {own: {language.file: mine.yaml}}"))
    (tmp_path / "written.yaml").write_text(json.dumps(study.model_dump(mode="json")))
    write_prompts(tmp_path / "mine.yaml", "grim")
    assert ids(plan(load_study(tmp_path / "written.yaml"))) == ids(plan(study))


def test_a_name_that_is_no_file_stays_what_it_is(write_study: WriteStudy) -> None:
    study = load_study(
        write_study("grid: {model.pretrained: [polyview, null, laion2b], language.file: [null, mine.yaml]}")
    )
    assert not study.files.weights
    assert {trial.experiment.model.pretrained for trial in plan(study)} == {"polyview", None, "laion2b"}


FIVE = "fear: [a, b, c, d, e]\nanger: [f, g, h, i, j]\n"
NOT_SET = (
    "language.own has 5 prompts for fear, and language.ensemble, which is not set, is 4: the others would not be "
    "read; set language.ensemble to 5, or to 4 to leave them out"
)


def test_more_prompts_than_are_read_by_default_are_refused(write_study: WriteStudy, tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(RECIPE.replace("language: {ensemble: 1}\n", ""))
    (tmp_path / "five.yaml").write_text(FIVE)
    with pytest.raises(UserError, match=f"small.yaml: {NOT_SET}$"):
        load_experiment(tmp_path / "small.yaml", ["language.file=five.yaml"])
    study = load_study(write_study("variants: {own: {language.file: five.yaml}}"))
    with pytest.raises(UserError, match=f"asked: variant 'own': {NOT_SET}$"):
        plan(study)


@pytest.mark.parametrize("stated", [4, 5])
def test_more_prompts_than_are_read_are_taken_where_it_is_stated(
    stated: int, write_study: WriteStudy, tmp_path: Path
) -> None:
    (tmp_path / "small.yaml").write_text(RECIPE.replace("language: {ensemble: 1}\n", ""))
    (tmp_path / "five.yaml").write_text(FIVE)
    changes = ["language.file=five.yaml", f"language.ensemble={stated}"]
    assert load_experiment(tmp_path / "small.yaml", changes).language.ensemble == stated
    for naming in (
        f"variants: {{own: {{language.file: five.yaml, language.ensemble: {stated}}}}}",
        f"set: {{language.ensemble: {stated}}}\nvariants: {{own: {{language.file: five.yaml}}}}",
        f"variants: {{own: {{language: {{file: five.yaml, ensemble: {stated}}}}}}}",
    ):
        assert len(anger(load_study(write_study(naming)))["own"]) == 5


def test_a_study_of_earlier_results_opens_though_its_prompts_are_not_all_read(
    write_study: WriteStudy, tmp_path: Path
) -> None:
    (tmp_path / "small.yaml").write_text(RECIPE.replace("ensemble: 1", "ensemble: 4"))
    (tmp_path / "five.yaml").write_text(FIVE)
    study = load_study(write_study("variants: {own: {language.file: five.yaml}}"))
    assert ids(plan(load_stored_study(study.model_dump_json(), "study.json"))) == ids(plan(study))


def test_what_is_no_such_file_of_a_study_is_told(write_study: WriteStudy) -> None:
    with pytest.raises(UserError, match=r"files\.promts: unknown key; nearest is files\.prompts"):
        load_study(write_study("files: {promts: {}}"))
    with pytest.raises(UserError, match="files: 3 is not allowed; expected keys with values"):
        load_study(write_study("files: 3"))
