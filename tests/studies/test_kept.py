"""What a home keeps of its studies."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.reporting.test_report import record

from polyview.cli import main
from polyview.errors import UserError
from polyview.recipe import Experiment, Study, load_study
from polyview.storage.home import REPOSITORY, Home
from polyview.studies.kept import find_study, read_study, save_study, study_folders
from polyview.studies.outcome import study_folder
from polyview.trials.design import plan
from polyview.trials.ledger import Ledger


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("POLYVIEW_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "200")
    return Home(tmp_path / "home")


@pytest.mark.parametrize("file", sorted((REPOSITORY / "ablations").glob("*.yaml")), ids=lambda file: file.stem)
def test_a_study_is_kept_whole(file: Path, home: Home) -> None:
    study = load_study(file)
    save_study(study_folder(study, home), study)
    assert read_study(study_folder(study, home)) == study
    assert find_study(study_folder(study, home).name, home) == study
    assert study.question.partition("?")[0] in " ".join(file.read_text().replace("#", " ").split())


def test_the_question_is_the_comment_above_the_first_key_or_what_the_study_says(
    tiny: Experiment, tmp_path: Path
) -> None:
    file = tmp_path / "study.yaml"
    rest = f"name: asked\nexperiment: {json.dumps(tiny.model_dump(mode='json'))}\n"
    file.write_text(f"\n# Which of ${{two}}\n#   is better?\n\n# A remark.\n{rest}# another\n")
    assert load_study(file).question == "Which of ${two} is better?"
    file.write_text(f"# A licence.\nquestion: Which?\n{rest}")
    assert load_study(file).question == "Which?"
    file.write_text(rest)
    assert load_study(file).question == ""


def test_a_kept_study_that_an_earlier_version_left_out_or_somebody_damaged_is_told(home: Home) -> None:
    folder = home.studies / "old-12345678"
    folder.mkdir(parents=True)
    (folder / "lock").touch()
    assert study_folders(home) == []
    (folder / "faces.json").write_text("{}")
    assert study_folders(home) == [folder]
    with pytest.raises(
        UserError, match="an earlier version ran this study and did not keep what it was; ablate it again"
    ):
        read_study(folder)
    (folder / "study.json").write_text('{"name": "old"}')
    with pytest.raises(UserError, match=r"study\.json: not a study as polyview keeps it"):
        read_study(folder)


def test_two_studies_are_compared_by_file_and_by_folder(
    home: Home, tiny: Experiment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    longer = tiny.model_copy(update={"training": tiny.training.model_copy(update={"epochs": 3})})
    kept = Study(name="kept", experiment=tiny, remove={"no alignment": "objective.alignment"}, references=False)
    study = kept.model_copy(update={"experiment": longer})
    for one, levels in ((kept, (0.5, 0.6)), (study, (0.6, 0.4))):
        for trial in plan(one):
            level = levels[trial.variant == "no alignment"]
            Ledger(home.trials).write(record(trial.experiment, level, trial.seed))
    folder = study_folder(kept, home)
    save_study(folder, kept)
    file = tmp_path / "study.yaml"
    file.write_text(study.model_dump_json())
    for named in (folder.name, str(folder)):
        with pytest.raises(SystemExit) as ended:
            main(["compare", named, str(file)])
        assert not ended.value.code
        told = capsys.readouterr().out
        assert f"{named} → {file}: linear/accuracy" in told
        assert "training.epochs" in told
        assert "1 verdict turned: “no alignment” (better → worse)." in told


def test_a_study_is_not_compared_with_a_trial(home: Home, tiny: Experiment, capsys: pytest.CaptureFixture[str]) -> None:
    study = Study(name="kept", experiment=tiny)
    save_study(study_folder(study, home), study)
    with pytest.raises(SystemExit) as ended:
        main(["compare", study_folder(study, home).name, "0123"])
    assert ended.value.code == 2
    assert "0123: neither a study's file nor a folder of" in " ".join(capsys.readouterr().err.split())
