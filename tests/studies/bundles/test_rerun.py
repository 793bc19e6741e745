"""A bundle is run again in another home, with faces that lie elsewhere, and says cell by cell what it came to."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from tests.studies.bundles.helpers import PIXELS, Files, Said, read, refused, write

from polyview.evaluation.metrics import confusion, scores
from polyview.recipe import Experiment, to_yaml, with_overrides
from polyview.recipe.experiment import own_contents
from polyview.storage.home import REPOSITORY, Home
from polyview.studies.bundles import rerun
from polyview.studies.bundles.bundle import open_bundle
from polyview.studies.bundles.portable import Names
from polyview.studies.bundles.rerun import continue_search, moved_study
from polyview.trials.search import Points

pytestmark = pytest.mark.slow


@pytest.fixture
def moved(face_files: Path, elsewhere: Path) -> Path:
    """The same faces on another disk."""
    return shutil.copytree(face_files, elsewhere / "meshes")


@pytest.mark.usefixtures("local_ray")
def test_a_rerun_in_an_empty_home_agrees_cell_by_cell(
    capsys: pytest.CaptureFixture[str], made: Path, moved: Path, elsewhere: Path
) -> None:
    said = Said(capsys, "rerun", made, "--set", f"corpus.root={moved}")
    assert said.code == 0, said.err
    first, *_, last = said.out.splitlines()
    assert first.startswith(f"{made}: ")
    assert last == f"{made} agrees: 4 cells, 4 identical"
    assert "faces of folder: the same 36 samples" in said.out
    assert "trials: 4 in the study, 0 done before, 4 to run" in said.out
    assert "4 of 4 trials predict the same of every sample" in said.out
    assert "the bundle's own" not in said.out
    (page,) = (elsewhere / "home" / "studies").glob("*/report/rerun.md")
    assert page.read_text().count("| identical |") == 4
    assert page.with_name("report.html").is_file()


def test_a_rerun_where_the_bundle_was_made_runs_nothing_and_says_so(
    capsys: pytest.CaptureFixture[str], made: Path, asked_home: Home, face_files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POLYVIEW_HOME", str(asked_home.root))
    said = Said(capsys, "rerun", made, "--set", f"corpus.root={face_files}")
    assert said.code == 0, said.err
    assert "trials: 4 in the study, 4 done before, 0 to run" in said.out
    assert "4 results are the bundle's own and were not run again: this home had them already" in said.out


def with_better_predictions(files: Files) -> Files:
    """A bundle in which every face is recognised, and everything that follows from that is made to fit."""
    changed = dict(files)
    for name in (name for name in files if name.endswith("predictions.parquet")):
        table = pl.read_parquet(io.BytesIO(files[name])).with_columns(prediction="truth")
        written, place = io.BytesIO(), name.replace("predictions.parquet", "record.json")
        table.write_parquet(written)
        record = json.loads(files[place])
        for probe, own in table.group_by("probe"):
            counts = confusion(own["truth"].to_list(), own["truth"].to_list(), record["classes"])
            record["confusions"][probe[0]] = counts.tolist()
            record["scores"] |= {f"{probe[0]}/{measure}": value for measure, value in scores(counts).items()}
        changed |= {name: written.getvalue(), place: json.dumps(record).encode()}
    return changed


def test_a_forger_who_thought_of_everything_is_found_out_by_running_it_again(
    capsys: pytest.CaptureFixture[str],
    made: Path,
    asked_home: Home,
    face_files: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("POLYVIEW_HOME", str(asked_home.root))
    forged = write(tmp_path / "forged.zip", with_better_predictions(read(made)))
    assert "100.0 ± 0.0" in Said(capsys, "report", forged).out
    said = Said(capsys, "rerun", forged, "--set", f"corpus.root={face_files}")
    assert said.code == 1
    assert "0 of 4 trials predict the same of every sample" in said.out
    assert "4 results are of the bundle's own runs with other scores: it or this home was changed" in said.out
    assert f"{forged} does not agree: 4 cells, 4 " in said.out.splitlines()[-1]


@pytest.mark.usefixtures("local_ray")
def test_other_faces_are_said_and_run_all_the_same(capsys: pytest.CaptureFixture[str], made: Path, moved: Path) -> None:
    one, other, *_ = sorted(moved.glob("*/*.obj"))
    one.write_text(one.read_text().replace("v ", "v 1", 1))
    other.unlink()
    said = Said(capsys, "rerun", made, "--set", f"corpus.root={moved}", "--set", "seeds=[0]")
    assert "not the same, of 36 samples 1 missing, 1 that hold something else (manifest " in said.out
    assert "trials: 2 in the study, 0 done before, 2 to run" in said.out
    assert "0 of 2 trials predict the same of every sample" in said.out
    last = said.out.splitlines()[-1]
    assert "on faces that are not the bundle's: 4 cells" in last
    assert (said.code == 0) == (" agrees, on faces" in last)


@pytest.mark.usefixtures("elsewhere")
def test_a_rerun_from_weights_of_an_earlier_version_says_whose_they_are(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rerun, "FORMER", tuple(own_contents()))
    monkeypatch.setattr(rerun, "own_weights", Names)
    told = refused(capsys, "rerun", REPOSITORY / "ablations" / "results" / "methods_facekit.zip")
    assert told.endswith("--set model.pretrained=FILE; these weights came with an earlier version of polyview")


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize(
    ("sets", "told"),
    [
        ([], "does not hold all that asked reads; say where it lies by --set corpus.root=FOLDER"),
        (["corpus.root=meshes", "training.lr=0.5"], "full · seed 0 would be another than the bundle's"),
        (["corpus.root=meshes", "metric=linear/uf1"], "metric would be another than the bundle's"),
        (["corpus.root=meshes", "seeds=[0,1,2]"], "full · seed 2 would be another than the bundle's"),
        (["corpus.root=meshes", "variants={more: {training.lr: 0.5}}"], "more · seed 0 would be another"),
        (["corpus.root=meshes", "traning.lr=0.5"], "study.json: 1 error"),
        (["corpus.root=nowhere"], "nowhere is not a folder"),
    ],
)
def test_a_rerun_takes_what_moves_and_nothing_else(
    capsys: pytest.CaptureFixture[str], made: Path, moved: Path, sets: list[str], told: str
) -> None:
    assert moved.is_dir()
    found = refused(capsys, "rerun", made, *(word for one in sets for word in ("--set", one)))
    assert told in found
    assert "/polyview-" not in found


@pytest.mark.usefixtures("local_ray")
def test_a_dry_run_tells_what_would_run_and_runs_nothing(
    capsys: pytest.CaptureFixture[str], made: Path, moved: Path, elsewhere: Path
) -> None:
    sets = ["--set", f"corpus.root={moved}", "--set", "resources={cpus: 2}"]
    said = Said(capsys, "rerun", made, "--dry-run", *sets)
    assert said.code == 0, said.err
    assert "the bundle's trials took" in said.out
    assert said.out.count("to run") == 4
    assert not (elsewhere / "home" / "trials").exists()


@pytest.mark.usefixtures("local_ray")
def test_a_search_of_generated_faces_goes_on_elsewhere_from_the_points_of_the_bundle(
    capsys: pytest.CaptureFixture[str], tiny: Experiment, prepare: Any, elsewhere: Path
) -> None:
    recipe, search = with_overrides(tiny, PIXELS), "search: {trials: 2, space: {training.lr: {uniform: [0.1, 1]}}}"
    (elsewhere / "recipe.yaml").write_text(to_yaml(recipe))
    (elsewhere / "study.yaml").write_text(
        f"name: asked\nexperiment: recipe.yaml\nseeds: [0]\nreferences: false\n{search}\n"
    )
    prepare(Home(elsewhere / "home"), recipe)
    assert Said(capsys, "ablate", "study.yaml").code == 0
    assert Said(capsys, "bundle", "study.yaml").code == 0
    # No folder is in the recipe, so its trials keep their ids.
    own = Said(capsys, "report", "study.yaml", "--format", "csv").out
    assert Said(capsys, "report", "asked.zip", "--format", "csv").out == own
    other = Home(elsewhere / "other")
    with open_bundle(Path("asked.zip")) as bundle:
        continue_search(bundle, moved_study(bundle, []), other)
        (points,) = other.studies.glob("*/points.json")
        assert bundle.study.search is not None
        assert Points(points).read(bundle.study.search) == list(bundle.outcome.searched.points)
    assert "the search would be another" in refused(capsys, "rerun", "asked.zip", "--set", "search.trials=4")
