"""A study as one file: what is written is read as the home has it, and has nothing of its owner's."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from tests.studies.bundles.helpers import Said, ids_of, read, refused

from polyview.recipe import Experiment, Parameter, Search, Study, with_overrides
from polyview.storage.home import Home
from polyview.studies.bundles.archive import is_bundle
from polyview.studies.bundles.portable import Names, recipe_wherever
from polyview.trials.design import plan
from polyview.trials.search import samples

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("verb", "form"),
    [
        *(("report", form) for form in ("csv", "predictions", "markdown", "latex", "table")),
        *(("table", form) for form in ("markdown", "latex")),
    ],
)
def test_a_report_and_a_table_of_a_bundle_are_those_of_the_home(
    capsys: pytest.CaptureFixture[str],
    made: Path,
    asked_home: Home,
    asked_file: Path,
    elsewhere: Path,
    monkeypatch: pytest.MonkeyPatch,
    verb: str,
    form: str,
) -> None:
    bundled = Said(capsys, verb, made, "--format", form)
    assert "trained" in bundled.out
    assert bundled.err.startswith(f"{made}: ")
    assert "unpacked" in bundled.err
    assert list(elsewhere.iterdir()) == []
    monkeypatch.setenv("POLYVIEW_HOME", str(asked_home.root))
    own = Said(capsys, verb, asked_file, "--format", form).out
    # Only a home's faces may change.
    changed = f"of the faces as the study last read them; ablate {asked_file} --dry-run tells if they have changed\n"
    own = own.replace(changed, "")
    # The ids are others, as the folder of the faces is part of a recipe and not of a bundle.
    ids = dict(zip(ids_of(asked_file), ids_in(made), strict=True))
    for before, now in ids.items():
        own = own.replace(before, now)
    assert bundled.out == own


def test_a_definition_makes_a_table_of_a_bundle(
    capsys: pytest.CaptureFixture[str], made: Path, elsewhere: Path
) -> None:
    definition = elsewhere / "table.yaml"
    definition.write_text(f"name: other\nstudies: [{{study: {made}, label: theirs}}]\n")
    assert Said(capsys, "table", definition, "--format", "csv").out == Said(
        capsys, "table", made, "--format", "csv"
    ).out.replace("asked", "theirs")
    refused = Said(capsys, "table", made, "--set", "seeds=[77]")
    assert refused.code == 2
    assert "has no result of the study with other keys than it ran with" in refused.err


def test_the_figures_of_a_bundle_are_drawn(capsys: pytest.CaptureFixture[str], made: Path, elsewhere: Path) -> None:
    assert Said(capsys, "figures", made, "-o", "drawn").code == 0
    assert (elsewhere / "drawn" / "comparison.pdf").is_file()
    assert [path.name for path in elsewhere.iterdir()] == ["drawn"]


def ids_in(bundle: Path) -> list[str]:
    """The ids of a bundle's trials, in the order of its study's."""
    bundle.with_suffix(".json").write_bytes(read(bundle)["study.json"])
    return ids_of(bundle.with_suffix(".json"))


def test_a_page_is_made_of_a_bundle_and_has_no_pictures_and_no_tracking(
    capsys: pytest.CaptureFixture[str], made: Path, elsewhere: Path
) -> None:
    page = Said(capsys, "report", made, "--format", "html").out
    assert "trained" in page
    assert "Some of the views" not in page
    assert "Every trial is a run in MLflow" not in page
    assert page == read(made)["report/report.html"].decode()
    assert list(elsewhere.iterdir()) == []


def test_no_path_of_the_owners_and_no_face_is_in_it(made: Path, owner: Path) -> None:
    files = read(made)
    kinds = {Path(name).suffix for name in files}
    assert kinds == {".json", ".parquet", ".html", ".md", ".csv", ".tex", ".svg"}
    assert not [name for name, content in files.items() if str(owner).encode() in content]
    tables = [pl.read_parquet(io.BytesIO(content)) for name, content in files.items() if name.endswith(".parquet")]
    (manifest,) = (table for table in tables if "contents" in table.columns)
    assert manifest["contents"].list.len().to_list() == [1] * 36
    assert not any(str(owner) in table.select(pl.exclude("contents")).write_csv() for table in tables)


def test_a_zip_is_no_recipe(capsys: pytest.CaptureFixture[str], made: Path, elsewhere: Path) -> None:
    for verb in ("ablate", "pretrain", "render", "bundle"):
        told = refused(capsys, verb, made)
        assert told == (
            f"{made}: a zip, and no recipe; a bundle is read by polyview report, table and figures, and run again by "
            "polyview rerun"
        )
    assert "elsewhere.zip: no such file; polyview bundle STUDY -o" in refused(capsys, "rerun", "elsewhere.zip")
    assert not (elsewhere / "home" / "trials").exists()


def test_a_bundle_is_written_whole_or_not_at_all(
    capsys: pytest.CaptureFixture[str],
    asked_home: Home,
    asked_file: Path,
    elsewhere: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (elsewhere / "home").mkdir()
    told = refused(capsys, "bundle", asked_file, "-o", "asked.zip")
    assert told == "asked: nothing has run yet, so there is nothing to bundle; polyview ablate runs it"
    assert [path.name for path in elsewhere.iterdir()] == ["home"]
    copy = shutil.copytree(asked_home.root, elsewhere / "copy")
    monkeypatch.setenv("POLYVIEW_HOME", str(copy))
    assert Said(capsys, "bundle", asked_file, "-o", "asked.zip").code == 0
    assert "is a folder" in refused(capsys, "bundle", asked_file, "-o", "copy")
    before = Path("asked.zip").read_bytes()
    later = datetime(2044, 5, 6, tzinfo=UTC).timestamp()
    monkeypatch.setattr("time.time", lambda: later)
    assert Said(capsys, "bundle", asked_file, "-o", "asked.zip").code == 0
    assert Path("asked.zip").read_bytes() == before, "the same results are the same file"
    record = next(copy.glob("trials/*/record.json"))
    told = json.loads(record.read_text())
    told["scores"]["knn/accuracy"] = 0.99
    record.write_text(json.dumps(told))
    assert "its knn/accuracy is 0.99, and its own" in refused(capsys, "bundle", asked_file, "-o", "asked.zip")
    assert Path("asked.zip").read_bytes() == before
    assert sorted(path.name for path in elsewhere.iterdir()) == ["asked.zip", "copy", "home"]


def test_what_a_home_lacks_is_said_and_the_rest_is_bundled(
    capsys: pytest.CaptureFixture[str],
    asked_home: Home,
    asked_file: Path,
    elsewhere: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    copy = shutil.copytree(asked_home.root, elsewhere / "copy")
    monkeypatch.setenv("POLYVIEW_HOME", str(copy))
    shutil.rmtree(copy / "trials" / ids_of(asked_file)[-1])
    shutil.rmtree(copy / "views")
    said = Said(capsys, "bundle", asked_file, "-o", "asked.zip").out
    assert "holds 3 of 4 trials' results" in said
    assert "incomplete: there is no result of trained: seed 1" in said
    assert "polyview rerun asked.zip --set corpus.root=FOLDER" in said
    assert not [name for name in read(Path("asked.zip")) if name.startswith("manifests/")]
    assert "1 of 2" in Said(capsys, "report", "asked.zip").out


def test_a_file_of_weights_goes_by_what_it_holds(tiny: Experiment, tmp_path: Path) -> None:
    """A recipe, a variant and a choice of a search name files; their trials keep their ids."""
    for name in ("own", "other", "third"):
        (tmp_path / f"{name}.safetensors").write_bytes(name.encode())
    own, other, third = (str(tmp_path / f"{name}.safetensors") for name in ("own", "other", "third"))
    search = Search(space={"model.pretrained": Parameter(categorical=(own, third))}, trials=2)
    study = Study(
        name="weights",
        experiment=with_overrides(tiny, {"model.pretrained": own}),
        variants={"other": {"model.pretrained": other}},
        search=search,
    )
    trials = [*plan(study), *samples(study)]
    renamed = Names.of(trial.experiment for trial in trials).study(study)
    assert [trial.id for trial in [*plan(renamed), *samples(renamed)]] == [trial.id for trial in trials]
    assert str(tmp_path) not in renamed.model_dump_json()


def test_faces_of_two_folders_have_two_names_and_a_moved_recipe_is_the_same(tiny: Experiment) -> None:
    corpus = {"corpus.dataset": "folder", "corpus.root": "/data/one", "corpus.table": "/data/list/faces.csv"}
    test = {"dataset": "folder", "root": "/data/two", "pattern": "{subject}/{expression}.obj"}
    test["expressions"] = list(tiny.corpus.expressions)
    cross = {"evaluation.protocol": "cross_dataset", "evaluation.test": test}
    experiment = with_overrides(tiny, {**corpus, **cross})
    renamed = Names.of([experiment]).experiment(experiment)
    assert renamed.evaluation.test is not None
    assert (renamed.corpus.root, renamed.evaluation.test.root) == ("/faces/folder", "/faces/folder-2")
    assert renamed.corpus.table == "faces.csv"
    assert renamed.digest != experiment.digest
    assert recipe_wherever(renamed) == recipe_wherever(experiment)
    other = with_overrides(experiment, {"corpus.pattern": None, "training.lr": 0.5})
    assert recipe_wherever(other) != recipe_wherever(experiment)


def test_only_what_a_key_has_as_a_path_is_called_otherwise(
    tiny: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dataset called as its folder is, seen from the folder above, and a baseline called as polyview's weights."""
    monkeypatch.chdir(tmp_path)
    lies = {"corpus.dataset": "folder", "corpus.root": "folder", "corpus.pattern": "{subject}/{expression}.obj"}
    starts = {"model.tower": "tiny-resnet", "model.pretrained": "polyview"}
    study = Study(
        name="polyview", experiment=with_overrides(tiny, lies), baseline="polyview", variants={"folder": dict(starts)}
    )
    renamed = Names.of(trial.experiment for trial in plan(study)).study(study)
    assert (renamed.name, renamed.baseline, list(renamed.variants)) == ("polyview", "polyview", ["folder"])
    assert renamed.experiment.corpus.dataset == "folder"
    assert renamed.experiment.corpus.root == "/faces/folder"
    assert renamed.variants["folder"]["model.pretrained"] not in ("polyview", None)


def test_faces_that_lie_where_a_bundle_says_they_do_can_be_bundled(tiny: Experiment) -> None:
    lies = {"corpus.dataset": "folder", "corpus.root": "/faces/folder", "corpus.pattern": "{subject}/{expression}.obj"}
    names = Names.of([with_overrides(tiny, lies)])
    assert all(names.has(place) for place in ("/faces", "/faces/folder"))
    assert not any(names.has(place) for place in ("/home/me", "/faces/other"))


def test_another_zip_is_not_written_over(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "mine.zip", "w") as archive:
        archive.writestr("thesis.txt", "years")
    assert not is_bundle(tmp_path / "mine.zip")


def test_a_bundle_takes_the_place_of_no_other_file(
    capsys: pytest.CaptureFixture[str],
    asked_home: Home,
    asked_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("POLYVIEW_HOME", str(asked_home.root))
    before = asked_file.read_bytes()
    told = refused(capsys, "bundle", asked_file, "-o", asked_file)
    assert told == f"{asked_file}: is there, and is nothing that this command writes; -o takes another name"
    assert asked_file.read_bytes() == before
    told = refused(capsys, "bundle", asked_file, "-o", asked_file / "asked.zip")
    assert told.endswith("cannot be written; -o takes a file in a folder that can")
    assert not list(tmp_path.iterdir())


def test_what_the_owner_has_written_tells_of_no_place(
    capsys: pytest.CaptureFixture[str],
    asked_home: Home,
    asked_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    face_files: Path,
) -> None:
    monkeypatch.setenv("POLYVIEW_HOME", str(asked_home.root))
    path = asked_file.with_name("commented.yaml")
    path.write_text(f"# Is it in {face_files}?\n{asked_file.read_text()}")
    out = asked_file.with_name("commented.zip")
    told = refused(capsys, "bundle", path, "-o", out)
    assert told.startswith("asked: cannot be bundled: ")
    assert f"would tell of {face_files}, a place of this machine" in told
    assert not out.exists()
