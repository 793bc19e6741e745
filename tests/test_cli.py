from __future__ import annotations

import errno
import os
import shutil
import signal
import socket
import subprocess
import sys
from http.client import HTTPConnection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
import torch
from PIL import Image
from tests.ports import free_port

from polyview.cli import main
from polyview.cli.app import PLAIN
from polyview.corpus.manifest import Manifest
from polyview.corpus.scan import scan
from polyview.errors import UserError
from polyview.recipe import Experiment, load_experiment, to_yaml, with_overrides
from polyview.rendering.store import ViewStore
from polyview.storage.home import REPOSITORY, open_home
from polyview.tracking.store import reachable
from polyview.training.loop import Trainer, TrainingJob
from polyview.trials.ledger import Ledger, Record
from polyview.trials.spec import TrialSpec

VERBS = ("demo", "scan", "render", "sheet", "pretrain", "evaluate", "export", "ablate", "report", "compare", "ui")
VERBS += ("bundle", "rerun", "doctor", "submit", "jobs", "logs", "stop")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home, in the folder where the test works; lines are wide enough not to wrap."""
    for name in ("MLFLOW_TRACKING_URI", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("POLYVIEW_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


@pytest.fixture
def recipe(tiny: Experiment, tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(to_yaml(tiny))
    return path


@pytest.fixture
def study(recipe: Path) -> Path:
    path = recipe.with_name("study.yaml")
    path.write_text(
        f"name: study\nexperiment: {recipe.name}\nseeds: [0, 1]\nvariants: {{mean: {{model.fusion: mean}}}}\n"
    )
    return path


def run(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """What the command line prints; it must end well."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    said = capsys.readouterr()
    assert not ended.value.code, said.err
    assert said.err == ""
    return said.out


def refuse(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """The line in which the command line refuses what a user can fix."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    said = capsys.readouterr()
    assert ended.value.code == 2
    assert said.err.startswith("polyview: ")
    assert "Traceback" not in said.err
    return said.err.removeprefix("polyview: ").rstrip("\n")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["ablate", "nowhere.yaml"], "nowhere.yaml: no such file; "),
        (["report", "nowhere.yaml"], "nowhere.yaml: no such file; "),
        (["pretrain", "tiny.yaml", "--set", "training.epochs"], "--set training.epochs: expected KEY=VALUE"),
        (["sheet", "."], ".: no complete view store; "),
        (["sheet", "nowhere"], "nowhere: no complete view store; "),
        (["evaluate", "."], ".: no checkpoint here; "),
        (["evaluate", "nowhere"], "nowhere: no checkpoint here; "),
        (["export", "nowhere", "-o", "exported"], "nowhere: no checkpoint here; "),
        (["export", "nowhere", "-o", "towers.pt"], "towers.pt: no pickle is written; -o takes a folder"),
    ],
)
@pytest.mark.usefixtures("study")
def test_what_is_not_there_is_one_line(capsys: pytest.CaptureFixture[str], words: list[str], line: str) -> None:
    said = refuse(capsys, *words)
    assert said.startswith(line)
    assert "\n" not in said


def test_the_faults_of_a_file_come_one_a_line(capsys: pytest.CaptureFixture[str], study: Path) -> None:
    study.write_text(f"{study.read_text()}sedes: [3]\nresources: {{cpu: 2}}\n")
    first, *errors = refuse(capsys, "ablate", study).splitlines()
    assert first == f"{study}: 2 errors"
    assert {error.partition("; allowed here")[0] for error in errors} == {
        "  sedes: unknown key; nearest is seeds",
        "  resources.cpu: unknown key; nearest is resources.cpus",
    }


@pytest.mark.parametrize(
    ("assignment", "error"),
    [
        ("traning.epochs=3", "nearest is experiment.training"),
        ("training.epochs=three", "experiment.training.epochs: 'three' is not allowed"),
        ("metric=linear/acuracy", "(nearest: linear/accuracy)"),
    ],
)
def test_a_wrong_assignment_names_what_is_allowed(
    capsys: pytest.CaptureFixture[str], study: Path, assignment: str, error: str
) -> None:
    assert error in refuse(capsys, "ablate", study, "--set", assignment)
    assert error in refuse(capsys, "report", study, "--set", assignment)


def test_a_dataset_that_is_not_at_its_root_is_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for words in (["facekit", tmp_path], ["facekit", tmp_path / "nowhere"], ["folder", tmp_path / "nowhere"]):
        said = refuse(capsys, "scan", *words)
        assert str(words[1]) in said
        assert "\n" not in said
    assert "dataset folder needs corpus.root" in refuse(capsys, "scan", "folder")
    assert "corpus.table is needed" in refuse(capsys, "scan", "folder", tmp_path)
    assert "(nearest: synthetic)" in refuse(capsys, "scan", "synthetik")
    assert not (tmp_path / "faces.parquet").exists()


def test_a_home_that_cannot_be_written_is_one_line(
    capsys: pytest.CaptureFixture[str], study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POLYVIEW_HOME", str(study / "home"))
    said = refuse(capsys, "ablate", study)
    assert "the home folder cannot be written" in said
    assert "\n" not in said
    assert "no home is there" in refuse(capsys, "report", study)
    monkeypatch.setenv("POLYVIEW_HOME", str(study))
    assert "is no folder, so that no home can be there" in refuse(capsys, "report", study)


def test_a_port_in_use_is_one_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        # In a process of its own: `ui` becomes the server.
        script = "from polyview.cli import main; main()"
        command = [sys.executable, "-c", script, "ui", "--port", port]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"polyview: 127.0.0.1:{port} cannot be used")
    assert ended.stderr.count("\n") == 1


@pytest.mark.slow
def test_pages_for_others_are_found_by_this_machines_name(tmp_path: Path, wait_for: Any) -> None:
    port = str(free_port())
    command = [sys.executable, "-m", "polyview", "ui", "--host", "0.0.0.0", "--port", port]
    here = os.environ | {"POLYVIEW_HOME": str(tmp_path)}
    server = subprocess.Popen(command, env=here, stdout=subprocess.PIPE, text=True, start_new_session=True)
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for(lambda: server.poll() is not None or reachable(address) is None)
        for name, status in ((socket.gethostname(), 200), ("elsewhere.example", 403)):
            headers = {"Host": f"{name}:{port}", "Origin": f"http://{name}:{port}", "Content-Type": "application/json"}
            browser = HTTPConnection("127.0.0.1", int(port))
            browser.request("POST", "/ajax-api/2.0/mlflow/experiments/search", '{"max_results": 1}', headers)
            assert browser.getresponse().status == status
            browser.close()
        assert server.stdout is not None
        assert server.stdout.readline().startswith(f"open http://{socket.gethostname()}:{port}; whoever can reach it")
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait()


def test_where_it_does_not_run_it_says_so_in_one_line() -> None:
    script = "import sys; sys.platform = 'win32'; import polyview"
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert said.returncode == 1
    assert said.stderr == "polyview runs on Linux and macOS; on Windows, install and run it in WSL 2\n"


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
def test_a_terminal_that_lacks_a_sign_gets_a_plain_one(encoding: str) -> None:
    script = "from polyview.cli.app import _write_whatever_the_terminal_can as write; write(); "
    script += "print('−1.4 ± 2 … “full” → 龍')"
    said = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, env=os.environ | {"PYTHONIOENCODING": encoding}
    )
    plain = "±" if encoding == "latin-1" else "+-"
    assert said.stdout.decode(encoding) == f'-1.4 {plain} 2 ... "full" -> ?\n'


def test_every_sign_that_is_printed_has_a_plain_one() -> None:
    sources = "".join(path.read_text() for path in (REPOSITORY / "platform" / "polyview").rglob("*.py"))
    assert {sign for sign in sources if not sign.isascii()} - PLAIN.keys() <= set("龍")


def test_debug_shows_where(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError):
        main(["ablate", "nowhere.yaml", "--debug"])
    assert capsys.readouterr().err == ""


def test_help_lists_every_verb_at_once() -> None:
    script = """
import sys
from polyview.cli import main
from polyview.cli.app import PLAIN
try:
    main(["--help"])
finally:
    print("imported:", *({"torch", "ray", "mlflow", "numba", "polars"} & set(sys.modules)))
"""
    said = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=300
    ).stdout
    assert said.rstrip().endswith("imported:")
    for verb in VERBS:
        assert f" {verb} " in said


def test_a_wrong_verb_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["ablat"])
    assert ended.value.code == 2
    assert "ablat" in capsys.readouterr().err


def test_scan_writes_the_manifest_that_it_tells_of(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, tiny: Experiment
) -> None:
    sets = ["--set", "generator.subjects=12", "--set", "generator.sequences=1"]
    sets += ["--set", "corpus.expressions=[neutral, happiness, surprise]"]
    said = run(capsys, "scan", "synthetic", "-o", tmp_path / "deep" / "faces.parquet", *sets)
    manifest = Manifest.load(tmp_path / "deep" / "faces.parquet")
    expected = scan(tiny.corpus).manifest
    assert manifest.frame.equals(expected.frame)
    assert manifest.fingerprint == expected.fingerprint
    assert manifest.fingerprint in said
    assert "36 faces of synthetic" in said
    assert "0 files skipped" in said


def test_scan_tells_what_it_skipped_and_why(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "a.ply").touch()
    table = pl.DataFrame({"path": ["a.ply", "b.txt"], "subject": "s", "expression": ["anger", "fear"]})
    table.write_csv(tmp_path / "faces.csv")
    said = run(capsys, "scan", "folder", tmp_path, "--set", "table=faces.csv")
    assert "skipped b.txt: format .txt is not among" in said
    assert "1 file skipped; wrote" in said
    assert len(Manifest.load(tmp_path / "faces.parquet")) == 1


def test_scan_never_says_that_nothing_is_lost_where_something_is(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "a.ply").touch()
    rows = ["gone.ply,01,happy", "a.ply,1,Anger", *(f"{number}.txt,1,anger" for number in range(12)), "b.ply,1,[smug]"]
    (tmp_path / "faces.csv").write_text("\n".join(["path;subject;expression", *rows]).replace(",", ";"))
    said = run(capsys, "scan", "folder", tmp_path, "--set", "table=faces.csv")
    assert "2 faces of folder" in said
    assert "skipped 2 more" in said
    assert "note: 1 face is left out for labels that are not understood: '[smug]' (1); correct the labels" in said
    assert (
        "note: subjects that differ by case, space, punctuation, leading zeros or the encoding of a letter alone: "
        "'01' and" in said
    )
    assert "note: 1 of 2 files is not there: gone.ply" in said
    assert "12 files skipped and 1 face left out; wrote" in said


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_faces_are_rendered_once_and_drawn_on_a_sheet(
    capsys: pytest.CaptureFixture[str], recipe: Path, home: Path, tmp_path: Path
) -> None:
    first = run(capsys, "render", recipe)
    (store,) = (home / "views").iterdir()
    assert str(store) in first
    assert len(ViewStore.open(store)) == 36
    second = run(capsys, "render", recipe)
    assert "rendered before" in second
    assert "rendered before" not in first
    run(capsys, "sheet", store, "-o", tmp_path / "sheet.png", "--rows", 3)
    with Image.open(tmp_path / "sheet.png") as picture:
        assert picture.format == "PNG"
        assert picture.width > 3 * 32


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_a_checkpoint_is_asked_again(
    capsys: pytest.CaptureFixture[str], tiny: Experiment, tiny_store: ViewStore, tmp_path: Path, home: Path
) -> None:
    torch.set_num_threads(1)
    people = TrialSpec(tiny, tiny_store.folder, tmp_path).sides()[0].subjects
    list(Trainer(TrainingJob(tiny, tiny_store.folder, people, tmp_path / "trial"), torch.device("cpu")).epochs())
    said = run(capsys, "evaluate", tmp_path / "trial")
    assert all(name in said for name in ("linear", "knn", "zero_shot", "accuracy", "uf1", "uar"))
    assert "knn" not in run(capsys, "evaluate", tmp_path / "trial" / "epoch-0002", "--probe", "linear")
    assert "'svm' is not allowed" in refuse(capsys, "evaluate", tmp_path / "trial", "--probe", "svm")
    Ledger(home / "trials").write(Record(id=tiny.digest, experiment=tiny, started=0, ended=1, scores={}))
    shutil.copytree(tmp_path / "trial", home / "trials" / tiny.digest, dirs_exist_ok=True)
    assert run(capsys, "evaluate", tiny.digest[:8]).splitlines()[1:] == said.splitlines()[1:]
    assert "0123abcd: no finished trial in" in refuse(capsys, "evaluate", "0123abcd")
    others = tuple(sorted(set(tiny_store.labels("subject")) - {people[0]}))
    list(Trainer(TrainingJob(tiny, tiny_store.folder, others, tmp_path / "mixed"), torch.device("cpu")).epochs())
    told = "pretrained on other people than its recipe names"
    assert told in refuse(capsys, "evaluate", tmp_path / "mixed")
    moved = with_overrides(tiny, {"corpus.generator.seed": 99}, "test")
    list(Trainer(TrainingJob(moved, tiny_store.folder, people, tmp_path / "moved"), torch.device("cpu")).epochs())
    stores = set((home / "views").iterdir())
    assert "put the faces back, or run its study again" in refuse(capsys, "evaluate", tmp_path / "moved")
    assert set((home / "views").iterdir()) == stores, "nothing is rendered for a checkpoint of other faces"


def test_a_dry_run_lists_the_trials_and_runs_none(capsys: pytest.CaptureFixture[str], study: Path, home: Path) -> None:
    said = run(capsys, "ablate", study, "--dry-run")
    assert said.count("to run") == 8
    assert all(name in said for name in ("full", "mean", "untrained", "raw pixels"))
    assert list(home.rglob("*")) == []


def test_a_report_before_anything_ran_says_that_the_trials_are_missing(
    capsys: pytest.CaptureFixture[str], study: Path
) -> None:
    open_home()
    told = run(capsys, "report", study)
    assert told.count("0 of 2") == 4
    assert "no result yet, as not run or failed: full: seed 0, seed 1;" in told
    markdown = run(capsys, "report", study, "--format", "markdown")
    assert "**8 of 8 trials have no result** (not run yet, or failed): full: seed 0, seed 1;" in markdown
    assert "<html" in run(capsys, "report", study, "--format", "html")
    assert run(capsys, "report", study, "--format", "csv").strip() == "trial,variant,seed,fold,subjects,metric,value"
    assert run(capsys, "report", study, "--format", "latex").splitlines()[1] == r"\begin{table}"


def test_to_run_a_variant_again_and_to_run_nothing_is_one_too_many(study: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["ablate", str(study), "--dry-run", "--force", "full"])
    assert ended.value.code == 2


def test_a_folder_that_was_deleted_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(SystemExit) as ended:
        main(["report", "study.yaml"])
    monkeypatch.chdir(tmp_path)
    assert ended.value.code == 2
    assert capsys.readouterr().err == "polyview: the current folder is not there any more; change to one that is\n"


@pytest.mark.parametrize("place", ["word", "home", "folder"])
def test_a_name_that_is_not_utf8_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    name = os.fsdecode(b"gr\xf6.yaml")
    (tmp_path / name).mkdir()
    if place == "home":
        monkeypatch.setenv("POLYVIEW_HOME", name)
    monkeypatch.chdir(tmp_path / name if place == "folder" else tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["report", name if place == "word" else "study.yaml"])
    assert ended.value.code == 2
    assert capsys.readouterr().err.endswith("gr\ufffd.yaml: its name is not UTF-8; rename it\n")


def test_a_manifest_is_not_written_under_the_name_of_another_kind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["scan", "synthetic", "-o", "new.csv"])
    assert ended.value.code == 2
    assert (
        capsys.readouterr().err == "polyview: new.csv: the manifest is Parquet; -o takes a name that ends in .parquet\n"
    )
    assert not (tmp_path / "new.csv").exists()


def test_a_key_may_have_spaces_around_it(recipe: Path) -> None:
    assert load_experiment(recipe, [" training.epochs = 7"]).training.epochs == 7


def test_what_a_file_is_made_of_is_utf_8_whatever_the_terminal_is() -> None:
    script = "from polyview.cli.app import _write_whatever_the_terminal_can as begin, write_document; begin(); "
    script += "write_document('γ ± 龍')"
    said = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, env=os.environ | {"PYTHONIOENCODING": "ascii"}
    )
    assert said.stdout.decode("utf-8") == "γ ± 龍"


def test_figures_are_drawn_where_a_notebook_names_a_backend_that_is_not_there() -> None:
    command = [sys.executable, "-m", "polyview", "figures", "nowhere.yaml"]
    said = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"MPLBACKEND": "gone"})
    assert said.stderr.startswith("polyview: nowhere.yaml: no such file")


def test_a_full_disk_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def free(place: Path) -> SimpleNamespace:
        return SimpleNamespace(free=2**20 if place == tmp_path / "small" else 2**40)

    (tmp_path / "small").mkdir()
    monkeypatch.setattr("polyview.cli.faces.check_output", full)
    monkeypatch.setattr("shutil.disk_usage", free)
    told = "polyview: No space left on device{}: make room and run this again; what is finished is kept\n"
    for out, where in (("small/faces.parquet", f" at {tmp_path / 'small'}, where 1.0 MiB are left"), ("f.parquet", "")):
        with pytest.raises(SystemExit) as ended:
            main(["scan", "synthetic", "-o", out])
        assert ended.value.code == 2
        assert capsys.readouterr().err == told.format(where)


def test_a_dataset_s_own_table_is_not_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "faces.csv").write_text("path,subject,expression\n")
    with pytest.raises(SystemExit) as ended:
        main(["scan", "synthetic", "-o", "faces.csv"])
    assert ended.value.code == 2
    assert "faces.csv: is there, and is nothing that this command writes" in capsys.readouterr().err
    assert (tmp_path / "faces.csv").read_text() == "path,subject,expression\n"


@pytest.mark.parametrize("delay", [0.1, 0.4, 0.8])
def test_a_program_that_is_stopped_while_it_starts_says_nothing(study: Path, delay: float) -> None:
    program = [sys.executable, "-m", "polyview", "report", str(study)]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            process.wait(delay)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert "Error" not in said
