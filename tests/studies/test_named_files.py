"""Studies whose variants name files, after they have run: elsewhere, and with other files of these names."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.reporting.outcomes import borne_out, record
from tests.studies.bundles.helpers import Said, read, refused
from tests.studies.bundles.helpers import write as write_zip

from polyview.recipe import Experiment, load_study, to_yaml
from polyview.reporting.report import write
from polyview.storage.home import Home
from polyview.studies.bundles.bundle import open_bundle
from polyview.studies.bundles.rerun import moved_study
from polyview.studies.kept import read_study, save_study
from polyview.studies.outcome import is_complete, load_outcome, study_folder
from polyview.trials.design import plan
from polyview.trials.ledger import Ledger

STUDY = """
name: asked
experiment: recipe.yaml
seeds: [0, 1]
references: false
variants:
  more: {language.file: more.yaml}
  rest: {language.file: rest.yaml}
  started: {model.pretrained: start.pt}
"""
WritePrompts = Callable[[str], None]


@pytest.fixture
def write_prompts(tiny: Experiment) -> WritePrompts:
    """Writes `more.yaml` into the working directory."""
    return lambda how: Path("more.yaml").write_text(
        json.dumps({name: [f"a {how} {name}", f"the {how} {name}"] for name in tiny.corpus.expressions})
    )


@pytest.fixture
def home(tmp_path: Path, tiny: Experiment, write_prompts: WritePrompts, monkeypatch: pytest.MonkeyPatch) -> Home:
    """Where the study has run, started in `owner`; the working directory is another now, with other prompts."""
    monkeypatch.setenv("POLYVIEW_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "200")
    home = Home(tmp_path / "home")
    for folder in ("owner", "elsewhere"):
        (tmp_path / folder).mkdir()
    monkeypatch.chdir(tmp_path / "owner")
    write_prompts("first")
    Path("rest.yaml").write_text(Path("more.yaml").read_text().replace("first", "third"))
    Path("start.pt").write_bytes(b"1")
    Path("recipe.yaml").write_text(to_yaml(tiny))
    Path("study.yaml").write_text(STUDY)
    study = load_study(Path("study.yaml"))
    for trial in plan(study):
        made = borne_out(record(trial.experiment, 0.5 + trial.seed / 99, trial.seed))
        scores = {name: score for name, score in made.scores.items() if name.partition("/")[0] in made.confusions}
        Ledger(home.trials).write(made.model_copy(update={"scores": scores}))
    save_study(study_folder(study, home), study)
    write(load_outcome(study, home))
    monkeypatch.chdir(tmp_path / "elsewhere")
    write_prompts("other")
    return home


def test_a_study_that_is_done_is_done_in_every_folder_and_whatever_its_files_are_now(
    home: Home, tmp_path: Path, write_prompts: WritePrompts, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder,) = home.studies.iterdir()
    assert is_complete(load_outcome(read_study(folder), home))
    monkeypatch.chdir(tmp_path / "owner")
    write_prompts("second")
    Path("start.pt").unlink()
    assert is_complete(load_outcome(read_study(folder), home))


def test_a_study_that_an_earlier_version_kept_is_known_by_its_records(home: Home) -> None:
    (folder,) = home.studies.iterdir()
    content = json.loads((folder / "study.json").read_text())
    del content["files"]
    (folder / "study.json").write_text(json.dumps(content))
    assert is_complete(load_outcome(read_study(folder), home))


def test_a_bundle_has_the_prompts_that_its_variants_name(
    home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert home.studies.exists()
    path, owner = tmp_path / "asked.zip", tmp_path / "owner"
    monkeypatch.chdir(owner)
    text = STUDY.replace("more.yaml", str(owner / "more.yaml"))
    Path("study.yaml").write_text(text)
    said = Said(capsys, "bundle", "study.yaml", "-o", path)
    assert said.code == 0, said.err
    assert str(owner) not in read(path)["study.json"].decode()
    monkeypatch.chdir(tmp_path / "elsewhere")
    said = Said(capsys, "report", path, "--format", "csv")
    assert said.code == 0, said.err
    assert said.out.count(",more,") == said.out.count(",started,") == said.out.count(",full,") > 0
    with open_bundle(path) as bundle:
        study = moved_study(bundle, [f"variants.started.model.pretrained={owner / 'start.pt'}"])
    (owner / "start.pt").unlink()
    assert {trial.id for trial in plan(study)} == {record.id for record in Ledger(home.trials).all()}


def test_a_bundle_that_an_earlier_version_made_opens_with_the_prompts_of_its_records(
    home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert home.studies.exists()
    path = tmp_path / "asked.zip"
    monkeypatch.chdir(tmp_path / "owner")
    assert Said(capsys, "bundle", "study.yaml", "-o", path).code == 0
    files = read(path)
    study = json.loads(files["study.json"])
    del study["files"]
    earlier = write_zip(tmp_path / "earlier.zip", files | {"study.json": json.dumps(study).encode()})
    monkeypatch.chdir(tmp_path / "elsewhere")
    said = Said(capsys, "report", earlier, "--format", "csv", "--set", "margin=1.0")
    assert said.code == 0, said.err
    assert said.out.count(",more,") == said.out.count(",rest,") == said.out.count(",full,") > 0
    study["variants"]["more"] = {"language.file": "more.yaml", "training.lr": 0.9}
    other = write_zip(tmp_path / "other.zip", files | {"study.json": json.dumps(study).encode()})
    assert "study.json: language.file is more.yaml, whose prompts" in refused(capsys, "report", other)
