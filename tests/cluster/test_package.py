from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from polyview.cluster.package import LIMIT, JobPackage, pack
from polyview.errors import UserError
from polyview.storage.home import REPOSITORY


def places(package: JobPackage) -> set[str]:
    return {place.as_posix() for place in package.files}


def test_what_is_sent_runs_by_itself(tmp_path: Path) -> None:
    pack(["report", "ablations/quickstart.yaml"], REPOSITORY).write(tmp_path)
    script = "import polyview.storage.home as paths; print(paths.__file__, paths.bundled('ablations'))"
    environment = os.environ | {"PYTHONPATH": "platform"}
    said = subprocess.check_output(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment, text=True, timeout=300
    )
    file, ablations = map(Path, said.split())
    assert (tmp_path / file).is_relative_to(tmp_path / "platform")
    assert ablations == tmp_path / "ablations"
    assert (ablations / "quickstart.yaml").is_file()
    assert (ablations / "benchmarks" / "bosphorus.yaml").is_file()


def test_neither_outputs_nor_data_nor_what_is_hidden_or_compiled_is_sent(tmp_path: Path) -> None:
    for name in (
        "outputs/a.bin",
        "data/b.obj",
        "experiments/.c",
        "experiments/d.yaml",
        "experiments/__pycache__/e.pyc",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    sent = places(pack(["doctor"], tmp_path))
    assert "platform/polyview/cli/app.py" in sent
    assert {name for name in sent if not name.startswith("platform/")} == {"experiments/d.yaml"}
    assert not any("__pycache__" in name for name in sent)


def test_a_recipe_that_a_command_names_goes_along_wherever_it_lies_in_the_folder(tmp_path: Path) -> None:
    recipe = tmp_path / "mine" / "study.yaml"
    recipe.parent.mkdir()
    recipe.touch()
    for word in ("mine/study.yaml", str(recipe), "mine/../mine/study.yaml"):
        package = pack(["ablate", word, "--set", "table=faces.yaml"], tmp_path)
        assert package.words == ("ablate", "mine/study.yaml", "--set", "table=faces.yaml")
        assert "mine/study.yaml" in places(package)


def test_what_a_recipe_names_goes_along(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    variants = "  own: {language.file: mine/own.yaml}\n  there: {language.file: /shared/own.yaml}\n"
    (mine / "study.yaml").write_text(f"experiment: base.yaml\nvariants:\n{variants}")
    (mine / "base.yaml").write_text("language: {file: prompts.yaml}\n")
    for name in ("prompts.yaml", "other.yaml", "mine/own.yaml"):
        (tmp_path / name).write_text("anger: [a face]\n")
    words = [
        "ablate",
        "mine/study.yaml",
        "--set",
        f"experiment={mine / 'base.yaml'}",
        "--set",
        "language.file=other.yaml",
    ]
    package = pack(words, tmp_path)
    assert package.words == (*words[:3], "experiment=mine/base.yaml", *words[4:])
    named = {"mine/study.yaml", "mine/base.yaml", "mine/own.yaml", "prompts.yaml", "other.yaml"}
    assert {name for name in places(package) if not name.startswith("platform/")} == named


def test_prompts_go_along_whichever_part_of_a_study_names_them_and_wherever_they_lie(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "study.yaml").write_text(
        "variants: {one: {language: {file: section.yaml}}}\n"
        "grid: {language.file: [mine/listed.yaml, beside.yaml]}\n"
        "search: {space: {language.file: {categorical: [chosen.yaml, /shared/own.yaml]}}}\n"
    )
    names = ("section.yaml", "mine/listed.yaml", "mine/beside.yaml", "chosen.yaml", "set.yaml", "one.yaml", "two.yaml")
    for name in names:
        (tmp_path / name).write_text("anger: [a face]\n")
    sets = ("variants.one.language.file=set.yaml", "across.language.file=[one.yaml, two.yaml]", "seeds=[0, 1]")
    words = ("ablate", "mine/study.yaml", *(word for one in sets for word in ("--set", one)))
    package = pack(words, tmp_path)
    assert package.words == words
    assert {name for name in places(package) if not name.startswith("platform/")} == {"mine/study.yaml", *names}


def test_the_studies_of_a_table_go_along(tmp_path: Path) -> None:
    for name in ("one.yaml", "two.yaml", "base.yaml"):
        (tmp_path / name).write_text("experiment: base.yaml\n" if name == "one.yaml" else "")
    (tmp_path / "table.yaml").write_text("studies: [one.yaml, {study: two.yaml, label: other}]\n")
    sent = {str(path) for path in pack(["table", "table.yaml"], tmp_path).files}
    assert {"table.yaml", "one.yaml", "two.yaml", "base.yaml"} <= sent


def test_what_a_recipe_names_and_is_not_there_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    (tmp_path / "outside.yaml").touch()
    (tmp_path / "inside" / "study.yaml").write_text("experiment: ../outside.yaml\n")
    with pytest.raises(UserError, match=r"^\.\./outside\.yaml: outside of "):
        pack(["ablate", "study.yaml"], tmp_path / "inside")
    (tmp_path / "inside" / "study.yaml").write_text("experiment: gone.yaml\n")
    with pytest.raises(UserError, match=r"^gone\.yaml: no such file"):
        pack(["ablate", "study.yaml"], tmp_path / "inside")


def test_a_recipe_that_is_missing_or_elsewhere_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    (tmp_path / "outside.yaml").touch()
    with pytest.raises(UserError, match=r"^nowhere\.yaml: no such file"):
        pack(["ablate", "nowhere.yaml"], tmp_path)
    with pytest.raises(UserError, match=r"^\.\./outside\.yaml: outside of "):
        pack(["ablate", "../outside.yaml"], tmp_path / "inside")


def test_a_project_too_large_to_send_is_told_by_its_largest_files(tmp_path: Path) -> None:
    folder = tmp_path / "experiments"
    folder.mkdir()
    with (folder / "faces.bin").open("wb") as file:
        file.truncate(LIMIT)
    (folder / "small.yaml").touch()
    with pytest.raises(
        UserError, match=r"32 MiB is the limit; the largest: experiments/faces\.bin \(32\.0 MiB\), "
    ) as said:
        pack(["doctor"], tmp_path)
    assert "small.yaml" not in str(said.value)
    assert "\n" not in str(said.value)


def test_the_project_itself_is_far_below_the_limit() -> None:
    files = pack(["doctor"], REPOSITORY, LIMIT // 3).files
    assert Path("ablations", "quickstart.yaml") in files
    assert not any(path.suffix in (".zip", ".png") for path in files if path.parts[0] != "platform")
