from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from polyview.cli import main
from polyview.recipe import Experiment, load_study, with_overrides
from polyview.storage.home import Home
from polyview.studies.kept import save_study
from polyview.studies.outcome import study_folder
from polyview.trials.design import plan
from polyview.trials.ledger import Ledger, Record


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What is told to somebody who asks for what cannot be."""
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    return " ".join(capsys.readouterr().err.split())


@pytest.fixture
def study(tiny: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("POLYVIEW_HOME", str(tmp_path / "home"))
    path = tmp_path / "study.yaml"
    recipe = json.dumps(tiny.model_dump(mode="json"))  # which is YAML too
    path.write_text(f"name: asked\nexperiment: {recipe}\n")
    return path


def test_a_study_is_reported_though_its_file_of_weights_is_gone(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("weights.pt").write_bytes(b"weights")
    with study.open("a") as file:
        file.write("remove: {no alignment: objective.alignment}\nreferences: false\n")
    asked = ["report", str(study), "--set", "model.pretrained=weights.pt", "--format", "csv"]
    ledger = Ledger(tmp_path / "home" / "trials")
    for trial in plan(load_study(study, asked[3:4])):
        scores = {"linear/accuracy": 0.5}
        ledger.write(Record(id=trial.id, experiment=trial.experiment, started=0, ended=1, scores=scores))
    Path("weights.pt").unlink()
    with pytest.raises(SystemExit) as caught:
        main(asked)
    assert not caught.value.code
    told = capsys.readouterr().out
    assert told.count("linear/accuracy,0.5") == 6
    assert "no alignment" in told


def test_a_study_is_reported_by_its_folders_name_too(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    loaded, home = load_study(study), Home(tmp_path / "home")
    folder = study_folder(loaded, home)
    save_study(folder, loaded)
    for trial in plan(loaded):
        scores = {"linear/accuracy": 0.5}
        Ledger(home.trials).write(Record(id=trial.id, experiment=trial.experiment, started=0, ended=1, scores=scores))
    printed = set()
    for named in (study, folder.name, folder):
        for verb in ("report", "table"):
            with pytest.raises(SystemExit):
                main([verb, str(named), "--format", "csv"])
            printed.add((verb, capsys.readouterr().out))
    assert len(printed) == 2
    assert "in which nothing can be set" in refused(capsys, "report", folder.name, "--set", "seeds=[0]")
    assert f"neither a study's file nor a bundle, nor a folder of {home.studies}" in refused(capsys, "report", "other")


def test_a_table_of_several_metrics_is_printed_from_the_ledger(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with study.open("a") as file:
        file.write("remove: {no alignment: objective.alignment}\nreferences: false\n")
    asked = ["table", str(study), "--metrics", "linear/accuracy,knn/accuracy", "--format", "csv"]
    assert f"{tmp_path / 'home'}: no home is there; polyview ablate STUDY makes it" in refused(capsys, *asked)
    assert not (tmp_path / "home").exists()
    (tmp_path / "home").mkdir()
    assert refused(capsys, *asked) == "polyview: asked: no result yet; polyview ablate runs a study"
    ledger = Ledger(tmp_path / "home" / "trials")
    for trial in plan(load_study(study)):
        scores = {"linear/accuracy": 0.5 + trial.seed / 100, "knn/accuracy": 0.25}
        ledger.write(Record(id=trial.id, experiment=trial.experiment, started=0, ended=1, scores=scores))
    with pytest.raises(SystemExit) as caught:
        main(asked)
    assert not caught.value.code
    rows = [line.split(",") for line in capsys.readouterr().out.splitlines()]
    assert [(row[0], row[3], row[5]) for row in rows[1:]] == [
        ("full", "linear/accuracy", "0.51"),
        ("full", "knn/accuracy", "0.25"),
        ("no alignment", "linear/accuracy", "0.51"),
        ("no alignment", "knn/accuracy", "0.25"),
    ]
    assert "is not allowed" in refused(capsys, "table", str(study), "--metrics", "linear/acuracy")


def test_hundreds_of_trials_are_asked_about(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    many = "grid={training.lr: [" + ", ".join(str(n / 1000) for n in range(1, 200)) + "]}"
    told = refused(capsys, "ablate", str(study), "--set", many)
    assert told == "polyview: asked: 606 trials; --yes if that many are meant"


def test_a_search_that_cannot_be_is_refused_before_anything_starts(
    study: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    told = refused(capsys, "ablate", str(study), "--set", "search={space: {training.lrr: {uniform: [0.1, 1]}}}")
    assert "training.lrr: unknown key; nearest is training.lr" in told
    assert not (tmp_path / "home" / "views").exists()


def test_a_render_tells_how_it_went_and_nothing_of_rays(tiny: Experiment, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(json.dumps(tiny.model_dump(mode="json")))
    command = [sys.executable, "-m", "polyview", "render", str(recipe)]
    here = os.environ | {"POLYVIEW_HOME": str(tmp_path), "COLUMNS": "1000"}
    told = subprocess.run(command, env=here, capture_output=True, text=True, check=True)
    first_words = [line.split()[0] for line in (told.stdout + told.stderr).splitlines()]
    assert [word for word in first_words if word != "render:"] == ["views:", "look"]  # a slow render says where it is


@pytest.mark.slow
def test_a_study_runs_where_users_work(tiny: Experiment, tmp_path: Path) -> None:
    """Without a home, with a long temporary folder, behind a proxy, beside a user's own files named as packages are."""
    recipe = tmp_path / "recipe.yaml"
    short = tiny.model_copy(update={"training": tiny.training.model_copy(update={"epochs": 1})})
    recipe.write_text(json.dumps(short.model_dump(mode="json")))
    for package in ("open_clip", "timm", "torch", "random"):
        (tmp_path / f"{package}.py").write_text("raise SystemExit('this is no library')")
    long = tmp_path / ("temporary-" * 5)
    long.mkdir()
    here = os.environ | {"POLYVIEW_HOME": str(tmp_path / "home"), "TMPDIR": str(long), "COLUMNS": "1000"}
    here |= {"HOME": "/proc/nobody"} | {
        f"{kind}_proxy": "http://127.0.0.1:9" for kind in ("http", "https", "grpc", "all")
    }
    here = {name: value for name, value in here.items() if name not in ("RAY_TMPDIR", "no_proxy", "NO_PROXY")}
    command = [str(Path(sys.executable).with_name("polyview")), "pretrain", str(recipe)]
    told = subprocess.run(command, env=here, cwd=tmp_path, capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    assert "full · seed 0: linear/accuracy" in told.stdout
    (line,) = told.stderr.splitlines()
    assert line.startswith(f"{long} is too long a name for Ray's sockets; they and its logs are in /")


def test_two_trials_are_compared_by_how_their_ids_begin(
    tiny: Experiment, study: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    ledger = Ledger(study.parent / "home" / "trials")
    one, other = tiny, with_overrides(tiny, {"seed": 7, "objective.decorrelation.off_diagonal": 0.5})
    for recipe, score in ((one, 0.5), (other, 0.75)):
        scores = {"linear/accuracy": score}
        ledger.write(Record(id=recipe.digest, experiment=recipe, started=0, ended=1, scores=scores))
    with pytest.raises(SystemExit) as caught:
        main(["compare", one.digest[:8], other.digest[:8]])
    assert not caught.value.code
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert any({"linear/accuracy", "50.0", "75.0", "+25.0"} <= set(line) for line in lines)
    assert any({"seed", "0", "7"} <= set(line) for line in lines)
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        main(["compare", one.digest[:8], other.digest[:8]])
    narrow = capsys.readouterr().out
    assert "…" not in narrow
    cells = [line.split("│") for line in narrow.splitlines()]
    keys = "".join(cell[2].strip() for cell in cells if len(cell) > 2)
    assert "objective.decorrelation.off_diagonal" in keys
    assert "linear/accuracy" in keys
    assert "no finished trial" in refused(capsys, "compare", "nosuch", one.digest)


@pytest.mark.usefixtures("local_ray")
@pytest.mark.parametrize("way", [[], ["--dry-run"]])
@pytest.mark.parametrize(
    ("assignment", "error"),
    [
        ("corpus.generator.subjects=1", "evaluation.folds is 5 and there is 1 subject; lower it, or bring more"),
        ("evaluation.folds=13", "evaluation.folds is 13 and there are 12 subjects; lower it, or bring more"),
        ("training.batch_size=40", "training.batch_size is 40 and there are 27 samples to train on; lower it, or"),
        (
            "evaluation.shots=[11]",
            "evaluation.shots has 11, and there are 9 training subjects whose labels may be read",
        ),
        ("training.persons=12", "training.persons is 12 and there are 9 people to train on; lower it"),
        ("model.tower=tiny-resnt", "model.tower: open_clip has no model 'tiny-resnt'"),
    ],
)
def test_what_no_faces_could_mend_and_too_few_people_are_told_before_anything_is_drawn(
    study: Path, capsys: pytest.CaptureFixture[str], way: list[str], assignment: str, error: str
) -> None:
    folds = ["--set", "evaluation.protocol=subject_kfold", "--set", "evaluation.folds=5"]
    told = refused(capsys, "ablate", str(study), *folds, "--set", "training.batch_size=24", "--set", assignment, *way)
    assert error in told
    assert not (study.parent / "home" / "views").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_a_dry_run_says_what_is_left_and_that_nothing_is_known_of_its_time(
    study: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    search = "search={trials: 7, space: {training.lr: {uniform: [0.001, 0.01]}}}"
    with pytest.raises(SystemExit) as caught:
        main(["ablate", str(study), "--dry-run", "--set", search, "--set", "seeds=[0]"])
    assert not caught.value.code
    told = capsys.readouterr().out
    assert "0 of 11 trials are done; 8 of the others are of points that the search has yet to ask for" in told
    assert "108 views have to be rendered" in told
    assert "no timing yet" in told
