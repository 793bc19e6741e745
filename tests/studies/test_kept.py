"""What a home keeps of its studies."""

from __future__ import annotations

import json
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from tests.reporting.outcomes import borne_out, record, with_predictions

from polyview.analysis.notes import caveats
from polyview.analysis.outcome import Outcome
from polyview.cli import main
from polyview.errors import UserError
from polyview.recipe import Corpus, Experiment, Study, load_study
from polyview.reporting.report import write
from polyview.storage.home import REPOSITORY, Home
from polyview.studies.kept import find_study, overview, read_study, save_study, study_folders, variants_lost
from polyview.studies.outcome import STAGES, Stages, load_outcome, study_folder
from polyview.trials.design import Trial, plan
from polyview.trials.ledger import Ledger, TrialFailure


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


def test_what_a_study_of_the_same_name_had_and_this_one_has_not_is_known(home: Home, tiny: Experiment) -> None:
    before = Study(
        name="same", experiment=tiny, variants={"mean": {"model.fusion": "mean"}, "fast": {"training.lr": 0.5}}
    )
    folder = study_folder(before, home)
    assert variants_lost(folder, before) == []
    save_study(folder, before)
    assert variants_lost(folder, before) == []
    now = before.model_copy(update={"variants": {"fast": {"training.lr": 0.5}}, "seeds": (4,)})
    assert variants_lost(folder, now) == ["mean"]


def test_a_study_is_found_by_its_name_where_no_other_has_it(home: Home, tiny: Experiment) -> None:
    one = Study(name="one", experiment=tiny)
    save_study(study_folder(one, home), one)
    assert find_study("one", home) == one
    assert find_study("on", home) is None
    other = one.model_copy(update={"experiment": tiny.model_copy(update={"seed": 5})})
    save_study(study_folder(other, home), other)
    with pytest.raises(UserError, match=r"^one: several studies are called so; name one of one-\w+, one-\w+$"):
        find_study("one", home)


def test_how_long_a_study_took_is_not_taken_from_another_of_its_name(home: Home, tiny: Experiment) -> None:
    study = Study(name="same", experiment=tiny, seeds=(0, 1))
    folder = study_folder(study, home)
    save_study(folder, study)
    stages = Stages(folder / STAGES)
    stages.record("trials", 3.0)
    stages.record("trials", 4.0)
    assert load_outcome(study, home).stages == {"trials": 7.0}, "a run may come to a stage twice"
    Stages(folder / STAGES).record("trials", 5.0)
    more_seeds = study.model_copy(update={"seeds": (0, 1, 2)})
    assert load_outcome(study, home).stages == load_outcome(more_seeds, home).stages == {"trials": 5.0}
    other = study.model_copy(update={"variants": {"wide": {"model.projector": [64, 64]}}, "references": False})
    save_study(folder, other.model_copy(update={"seeds": (1, 2)}))
    assert load_outcome(study, home).stages == {}


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
            Ledger(home.trials).write(borne_out(record(trial.experiment, level, trial.seed)))
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


def save(home: Home, study: Study, levels: Callable[[Trial], float | None], report: bool = True) -> Outcome:
    """What a study leaves in a home: its trials have scores at a level, or none where that is None."""
    ledger = Ledger(home.trials)
    for trial in plan(study):
        if (level := levels(trial)) is not None:
            ledger.write(borne_out(record(trial.experiment, level + trial.seed / 99, trial.seed)))
    save_study(study_folder(study, home), study)
    outcome = load_outcome(study, home)
    if report:
        write(outcome)
    return outcome


class Page(HTMLParser):
    """The text of a page, what it links to, and its tags."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.text, self.links, self.tags = "", list[str](), set[str]()
        self.feed(path.read_text())
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [value or "" for name, value in attributes if name in ("href", "src")]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_page_has_all_studies_of_a_home_with_what_they_ask_say_and_need(
    home: Home, tiny: Experiment, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Study(
        name="whole",
        question="<b>Which</b> of [x] & *y*?",
        experiment=tiny,
        references=False,
        remove={"no alignment": "objective.alignment", "<script>alert(1)</script>": "objective.redundancy"},
    )
    longer = tiny.model_copy(update={"training": tiny.training.model_copy(update={"epochs": 3})})
    half = Study(name="half", experiment=longer, references=False, remove={"[x]": "objective.alignment"})
    save(home, whole, lambda trial: 0.2 if trial.variant == "no alignment" else 0.8)
    save(home, half, lambda trial: None if trial.variant == "[x]" and trial.seed else 0.5, report=False)
    (home.studies / "old-12345678" / "report").mkdir(parents=True)
    for name in ("report/report.html", "stages.json"):
        (home.studies / "old-12345678" / name).write_text("{}")
    rows = (
        "trial,variant,seed,fold,metric,value\na,full,0,0,knn/uf1,0.1\na,full,0,0,knn/uar,0.1\nb,full,1,0,knn/uf1,0.1\n"
    )
    (home.studies / "old-12345678" / "report" / "results.csv").write_text(rows)

    with pytest.raises(SystemExit) as ended:
        main(["report", "--all"])
    assert not ended.value.code
    told = " ".join(capsys.readouterr().out.split())
    folders = [study_folder(study, home).name for study in (whole, half)]
    assert f"{folders[0]} 9 of 9 complete 1 1 " in told
    assert f"{folders[1]} 4 of 6 half done ! 0 1 " in told
    assert "old-12345678 2 not known ! — — — —" in told
    assert f"! {folders[1]}: there is no report; run it again, which runs no trial that has a result" in told
    assert "! old-12345678: an earlier version ran this study and did not keep what it was" in told
    assert told.endswith(f"page {home.studies / 'index.html'}")

    assert "No room for" not in told
    monkeypatch.setenv("COLUMNS", "50")
    with pytest.raises(SystemExit):
        main(["report", "--all"])
    assert "No room for: decided; open; hours; last result" in " ".join(capsys.readouterr().out.split())

    page = Page(home.studies / "index.html")
    assert not page.tags & {"script", "link", "img", "iframe", "b"}
    assert {link for link in page.links if not link.startswith("#")} == {
        f"{folder}/report/report.html" for folder in (folders[0], "old-12345678")
    }
    assert "<b>Which</b> of [x] & *y*?" in page.text
    assert "“no alignment” costs 6" in page.text
    assert "Open: “<script>alert(1)</script>”." in page.text
    assert "Open: “[x]”." in page.text
    assert "half done, 4 of 6 trials finished; judged in linear/accuracy" in page.text


def test_a_report_of_other_results_failures_and_changed_faces_are_told(home: Home, tiny: Experiment) -> None:
    study = Study(name="study", experiment=tiny, references=False, seeds=(0, 1))
    outcome = save(home, study, lambda _: 0.5)
    (entry,) = overview(home).studies
    assert (entry.state, entry.needs) == ("complete", [])
    first, second = outcome.trials
    ledger = Ledger(home.trials)
    newer = outcome.records[second.id].model_copy(update={"manifest": "f" * 16, "ended": 2e9})
    ledger.path(second.id).write_text(newer.model_dump_json())
    ledger.path(first.id).unlink()
    ledger.write_failure(TrialFailure(id=first.id, started=1, ended=2, attempts=2, reason="lost", log="/log"))
    (entry,) = overview(home).studies
    assert entry.state == "half done"
    assert [need.partition(";")[0] for need in entry.needs] == [
        "1 trial failed",
        "its report is of other results than there are now",
    ]
    ledger.write(outcome.records[first.id])
    (entry,) = overview(home).studies
    assert "1 result left out, of faces that have changed since" in entry.needs[0]


def test_the_terminal_says_too_that_faces_that_were_trained_on_are_scored(
    home: Home, tiny: Experiment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = Study(name="study", experiment=tiny, references=False, seeds=(0,))
    (trial,) = plan(study)
    Ledger(home.trials).write(borne_out(record(trial.experiment, 0.5, 0)).model_copy(update={"shared_faces": ("a",)}))
    (tmp_path / "study.yaml").write_text(study.model_dump_json())
    with pytest.raises(SystemExit) as ended:
        main(["report", str(tmp_path / "study.yaml")])
    assert not ended.value.code
    assert "note: 1 face of a test subject was trained on too, under another name: a." in capsys.readouterr().out


def test_a_report_says_that_the_faces_in_a_folder_may_have_changed(
    home: Home, tiny: Experiment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for corpus in (tiny.corpus, Corpus(dataset="facekit", root=str(tmp_path))):
        study = Study(name="study", experiment=tiny.model_copy(update={"corpus": corpus}), references=False, seeds=(0,))
        (trial,) = plan(study)
        Ledger(home.trials).write(borne_out(record(trial.experiment, 0.5, 0)))
        (tmp_path / "study.yaml").write_text(study.model_dump_json())
        with pytest.raises(SystemExit):
            main(["report", str(tmp_path / "study.yaml")])
        told = "study.yaml --dry-run tells if they have changed" in capsys.readouterr().out
        assert told == bool(corpus.root)


def test_predictions_of_another_trial_are_refused_and_those_that_are_missing_told(home: Home, tiny: Experiment) -> None:
    study = Study(name="study", experiment=tiny, references=False, seeds=(0, 1))
    saved = save(home, study, lambda trial: 0.5 if trial.seed else 0.9)
    ledger = Ledger(home.trials)
    for trial_id, table in with_predictions(saved).predictions.items():
        ledger.write_predictions(trial_id, table)
    whole = load_outcome(study, home)
    assert caveats(whole) == []
    first, second = (ledger.predictions(trial.id) for trial in whole.trials)
    kept = first.read_bytes()
    first.write_bytes(second.read_bytes())
    with pytest.raises(UserError, match=r"predictions.parquet: not what its record was scored by; delete it, and run"):
        load_outcome(study, home)
    first.unlink()
    (told,) = caveats(load_outcome(study, home))
    assert told.startswith("1 of 2 results has no predictions")
    first.write_bytes(kept)
    assert caveats(load_outcome(study, home)) == []


def test_a_record_that_contradicts_itself_is_refused(home: Home, tiny: Experiment) -> None:
    study = Study(name="study", experiment=tiny, references=False, seeds=(0,))
    save(home, study, lambda _: 0.5)
    ledger = Ledger(home.trials)
    (sound,) = ledger.all()
    assert load_outcome(study, home).records == {sound.id: sound}
    ledger.write(sound.model_copy(update={"scores": sound.scores | {"linear/accuracy": 0.95}}))
    with pytest.raises(
        UserError, match=r"record.json: its linear/accuracy is 0.95, and its own confusions make it 0.5"
    ):
        load_outcome(study, home)
    faster = tiny.model_copy(update={"training": tiny.training.model_copy(update={"lr": 0.5})})
    ledger.write(sound.model_copy(update={"experiment": faster}))
    with pytest.raises(
        UserError, match=rf"record.json: its recipe is that of trial {faster.digest}; delete it, and run"
    ):
        load_outcome(study, home)


def test_one_damaged_record_leaves_the_other_studies_on_the_page(home: Home, tiny: Experiment) -> None:
    longer = tiny.model_copy(update={"training": tiny.training.model_copy(update={"epochs": 3})})
    sound, damaged = (Study(name="study", experiment=one, references=False, seeds=(0,)) for one in (tiny, longer))
    for study in (sound, damaged):
        save(home, study, lambda _: 0.5)
    Ledger(home.trials).path(plan(damaged)[0].id).write_text("{")
    states = {one.folder: (one.state, one.needs) for one in overview(home).studies}
    assert states[study_folder(sound, home).name] == ("complete", [])
    state, (need,) = states[study_folder(damaged, home).name]
    assert state == "not known"
    assert "not a trial's record" in need


def test_trials_that_studies_share_cost_once(home: Home, tiny: Experiment) -> None:
    for name in ("one", "two"):
        save(home, Study(name=name, experiment=tiny, references=False), lambda _: 0.5)
    found = overview(home)
    assert len(found.studies) == 2
    assert [entry.trial_hours for entry in found.studies] == [pytest.approx(found.trial_hours)] * 2
    assert found.trial_hours > 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--all", "study.yaml"], "--all is of every study of the home, as a table; leave the others out"),
        (["--all", "--format", "csv"], "--all is of every study of the home, as a table; leave the others out"),
        (["--all"], "no study has run in this home; polyview ablate STUDY runs one"),
        ([], "report: name a study, or --all of this home's"),
    ],
)
def test_what_a_report_of_all_cannot_be_is_refused(
    home: Home, capsys: pytest.CaptureFixture[str], words: list[str], told: str
) -> None:
    home.root.mkdir()
    with pytest.raises(SystemExit) as ended:
        main(["report", *words])
    assert ended.value.code == 2
    assert told in " ".join(capsys.readouterr().err.split())
    assert not (home.studies / "index.html").exists()
