from __future__ import annotations

import contextlib
import dataclasses
import math
import shutil
import socket
import socketserver
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.ports import free_port

from polyview.errors import UserError
from polyview.recipe import flat
from polyview.storage.home import Home, locked
from polyview.tracking.runs import Faces, Point, StudyRun, TrialRun, VariantRun
from polyview.tracking.store import reachable, serve
from polyview.tracking.tracker import Tracker

TRIAL = TrialRun(
    id="00ff",
    name="no alignment · seed 0",
    started=1000.5,
    ended=1060.25,
    params={"training": {"epochs": 2, "lr": 0.001}, "corpus": {"root": None, "expressions": ["anger", "fear"]}},
    tags={"variant": "no alignment", "seed": "0", "long": "x" * 9000},
    epochs=[Point(0, 1020.0, {"loss": 2.0}), Point(1, 1040.0, {"loss": 1.5})],
    scores={"linear/accuracy": 0.71},
    artifacts={"experiment.yaml": "name: quickstart\n"},
    variant="no alignment",
    faces=[Faces("training", "synthetic", "abcdef0123456789", "synthetic", tuple(f"p{place}" for place in range(14)))],
)

REMOVED = {"removed": "objective.alignment"}

STUDY = StudyRun(
    "d1",
    {"training": {"epochs": 2}},
    {"supervision": "label"},
    [VariantRun("full", tags={"order": "0"}), VariantRun("no alignment", REMOVED, REMOVED)],
    {"results": "{}", "curves": "{}"},
    started=990.0,
)


@pytest.fixture
def home(tmp_path: Path, empty_mlflow: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copy(empty_mlflow, tmp_path)
    return Home(tmp_path)


def client(home: Home) -> Any:
    from mlflow.tracking import MlflowClient

    return MlflowClient(home.tracking_uri)


def opened(home: Home, warn: Any = pytest.fail) -> Tracker:
    tracker = Tracker(home, "quickstart", warn)
    tracker.open(STUDY)
    return tracker


def track(home: Home, *trials: TrialRun) -> None:
    tracker = opened(home)
    for trial in trials:
        tracker.log(trial)
    tracker.close({"gain": 0.1}, ended=1100.0)


def all_runs(home: Home) -> list[Any]:
    found = client(home).search_runs([client(home).get_experiment_by_name("quickstart").experiment_id])
    return list(found)


def runs(home: Home) -> tuple[Any, list[Any]]:
    found = all_runs(home)
    parents = [run for run in found if "mlflow.parentRunId" not in run.data.tags]
    assert len(parents) == 1
    return parents[0], [run for run in found if "polyview.trial" in run.data.tags]


def test_a_trial_is_a_finished_run_inside_its_study(home: Home) -> None:
    track(home, TRIAL)
    parent, [child] = runs(home)
    assert (parent.info.status, parent.info.run_name) == ("FINISHED", "quickstart")
    assert (child.info.status, child.info.run_name) == ("FINISHED", "no alignment · seed 0")
    variant = client(home).get_run(child.data.tags["mlflow.parentRunId"])
    assert (variant.info.run_name, variant.data.tags["mlflow.parentRunId"]) == ("no alignment", parent.info.run_id)
    assert variant.data.params == {"removed": "objective.alignment"}
    assert (child.info.start_time, child.info.end_time) == (1_000_500, 1_060_250)
    assert (parent.info.start_time, parent.info.end_time) == (990_000, 1_100_000)


def test_what_is_known_of_a_trial_can_be_read_back(home: Home) -> None:
    track(home, TRIAL)
    _, [child] = runs(home)
    assert child.data.params == {
        "training.epochs": "2",
        "training.lr": "0.001",
        "corpus.root": "null",
        "corpus.expressions": '["anger", "fear"]',
    }
    assert child.data.metrics == {"loss": 1.5, "linear/accuracy": 0.71}
    assert child.data.tags["seed"] == "0"
    losses = client(home).get_metric_history(child.info.run_id, "loss")
    assert [(point.step, point.timestamp, point.value) for point in losses] == [(0, 1020000, 2.0), (1, 1040000, 1.5)]
    assert child.inputs.dataset_inputs[0].dataset.digest.startswith("abcdef0123456789-")
    assert (home.artifacts / child.info.run_id / "artifacts" / "experiment.yaml").read_text() == "name: quickstart\n"


def test_a_trial_goes_by_the_name_that_its_variant_has_today(home: Home) -> None:
    track(home, TRIAL)
    tracker = Tracker(home, "quickstart", pytest.fail)
    tracker.open(dataclasses.replace(STUDY, variants=[VariantRun("full"), VariantRun("unaligned", REMOVED, REMOVED)]))
    renamed = {"name": "unaligned · seed 0", "variant": "unaligned", "tags": {**TRIAL.tags, "variant": "unaligned"}}
    tracker.log(dataclasses.replace(TRIAL, **renamed))
    tracker.close({}, ended=1100.0)
    _, [child] = runs(home)
    assert (child.info.run_name, child.data.tags["variant"]) == ("unaligned · seed 0", "unaligned")
    assert client(home).get_run(child.data.tags["mlflow.parentRunId"]).info.run_name == "unaligned"


def test_a_trial_of_two_variants_stays_with_the_first(home: Home) -> None:
    baseline = dataclasses.replace(TRIAL, name="full · seed 0", variant="full", tags={"variant": "full"})
    again = dataclasses.replace(TRIAL, name="best found · seed 0", variant="best found", tags={"variant": "best found"})
    tracker = Tracker(home, "quickstart", pytest.fail)
    tracker.open(dataclasses.replace(STUDY, variants=[VariantRun("full"), VariantRun("best found")]))
    for trial in (baseline, again, baseline, again):
        tracker.log(trial)
    tracker.close({}, ended=1100.0)
    _, [child] = runs(home)
    assert (child.info.run_name, child.data.tags["variant"]) == ("full · seed 0", "full")
    assert client(home).get_run(child.data.tags["mlflow.parentRunId"]).info.run_name == "full"


def test_tracking_again_leaves_no_trace(home: Home) -> None:
    track(home, TRIAL)
    before = runs(home)
    track(home, TRIAL, TRIAL)
    parent, [child] = runs(home)
    assert [parent.info.run_id, child.info.run_id] == [before[0].info.run_id, before[1][0].info.run_id]
    assert (parent.info.status, parent.info.end_time) == ("FINISHED", 1_100_000)
    assert len(client(home).get_metric_history(child.info.run_id, "loss")) == 2
    assert len(client(home).get_metric_history(parent.info.run_id, "gain")) == 1


def test_a_home_that_was_copied_says_that_mlflow_keeps_artifacts_in_the_former_one(home: Home, tmp_path: Path) -> None:
    track(home, TRIAL)
    track(home, TRIAL)
    copy, told = Home(tmp_path / "copy"), list[str]()
    copy.root.mkdir()
    shutil.copy(home.root / "mlflow.db", copy.root)
    opened(copy, told.append)
    (one,) = told
    assert one.startswith(f"this home was copied or moved, and MLflow keeps the artifacts of quickstart at {home.root}")
    assert one.endswith("rename the experiment in its user interface to have a new one here")


def test_a_run_left_unfinished_is_completed(home: Home) -> None:
    track(home, TRIAL)
    parent, [child] = runs(home)
    for run in (parent, child):
        client(home).update_run(run.info.run_id, status="RUNNING")
    track(home, TRIAL)
    parent, [completed] = runs(home)
    assert (parent.info.status, completed.info.status) == ("FINISHED", "FINISHED")
    assert completed.info.run_id == child.info.run_id
    assert completed.info.end_time == 1_060_250
    assert len(client(home).get_metric_history(child.info.run_id, "loss")) == 2


def test_a_trial_that_was_run_anew_replaces_its_run(home: Home) -> None:
    track(home, TRIAL)
    track(home, dataclasses.replace(TRIAL, started=2000.0, ended=2050.0, scores={"linear/accuracy": 0.8}))
    _, [child] = runs(home)
    assert child.data.metrics["linear/accuracy"] == 0.8


def test_a_failed_trial_is_a_failed_run(home: Home) -> None:
    track(home, dataclasses.replace(TRIAL, status="FAILED"))
    assert runs(home)[1][0].info.status == "FAILED"


def test_another_base_experiment_has_its_own_parent(home: Home) -> None:
    track(home, TRIAL)
    other = Tracker(home, "quickstart", pytest.fail)
    other.open(StudyRun("d2", {"training": {"epochs": 3}}, variants=[VariantRun("no alignment")]))
    other.log(TRIAL)
    other.close({}, ended=1100.0)
    found = client(home).search_runs([client(home).get_experiment_by_name("quickstart").experiment_id])
    kinds = [run.data.tags["polyview.kind"] for run in found]
    assert sorted(kinds) == [*["former trial"], *["former variant"] * 2, *["study"] * 2, "trial", "variant"]


def test_more_params_than_one_batch_holds(home: Home) -> None:
    track(home, dataclasses.replace(TRIAL, params={f"p{n}": "v" * 7000 for n in range(230)}))
    params = runs(home)[1][0].data.params
    assert (len(params), len(params["p0"])) == (230, 6000)


@pytest.mark.parametrize("name", ["views.count=1, size=64", "tau < 0.5 (best)", "a//b", "../up", "/root", "x" * 400])
def test_a_variant_of_any_name_can_be_tracked(home: Home, name: str) -> None:
    tracker = opened(home)
    tracker.log(dataclasses.replace(TRIAL, name=name, params={name: 1}, tags={name: "1"}, scores={name: 0.5}))
    tracker.close({f"{name}/linear/accuracy": 0.5}, ended=1100.0)
    parent, [child] = runs(home)
    assert list(parent.data.metrics.values()) == [0.5]
    assert 0.5 in child.data.metrics.values()


def test_the_figures_folder_becomes_the_parents_artifacts(home: Home, tmp_path: Path) -> None:
    folder = tmp_path / "report"
    (folder / "figures").mkdir(parents=True)
    (folder / "figures" / "forest.svg").write_text("<svg/>")
    opened(home).close({}, ended=1100.0, artifacts=folder)
    parent, _ = runs(home)
    assert (home.artifacts / parent.info.run_id / "artifacts" / "figures" / "forest.svg").exists()


@pytest.fixture
def hanging_up() -> Iterator[tuple[str, list[Any]]]:
    """The address of a server that hangs up on whoever calls, and its calls."""
    calls: list[Any] = []

    class HangUp(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            calls.append(self.client_address)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), HangUp) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", calls
        server.shutdown()


def test_a_server_that_is_away_is_said_once_and_caught_up_with(
    home: Home, hanging_up: tuple[str, list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    uri, calls = hanging_up
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    said: list[str] = []
    tracker = opened(home, said.append)
    tracker.log(TRIAL)
    tracker.close({}, ended=1100.0)
    assert len(calls) == 2  # once, and once again: MLflow by itself tries for minutes
    assert len(said) == 1
    assert uri in said[0]
    assert "running it again catches up" in said[0]
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    track(home, TRIAL)
    assert runs(home)[1][0].info.status == "FINISHED"


def test_a_store_is_made_where_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    track(Home(tmp_path), TRIAL)
    assert (tmp_path / "mlflow.db").exists()
    assert runs(Home(tmp_path))[1][0].info.status == "FINISHED"


def test_a_store_whose_making_is_cut_short_is_made_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    home = Home(tmp_path)
    code = "import sys; from polyview.tracking.store import reachable; reachable(sys.argv[1])"
    making = subprocess.Popen([sys.executable, "-c", code, home.tracking_uri])
    while not list(tmp_path.glob(".mlflow.db.*.db")):
        assert making.poll() is None
        time.sleep(0.005)
    making.kill()
    making.wait()
    assert not (tmp_path / "mlflow.db").exists()
    track(home, TRIAL)
    assert runs(home)[1][0].info.status == "FINISHED"


def test_a_store_of_another_version_of_mlflow_is_left_alone_with_the_remedy(home: Home) -> None:
    with contextlib.closing(sqlite3.connect(home.root / "mlflow.db")) as store, store:
        store.execute("UPDATE alembic_version SET version_num = '451aebb31d03'")
    said: list[str] = []
    tracker = opened(home, said.append)
    tracker.log(TRIAL)
    tracker.close({}, ended=1100.0)
    assert len(said) == 1
    assert "mlflow db upgrade" in said[0]
    assert "running it again catches up" in said[0]


def test_reachable_tells_why_not(home: Home) -> None:
    assert reachable(home.tracking_uri) is None
    assert "onnection" in (reachable(f"http://127.0.0.1:{free_port()}") or "")


def test_flat_params_have_dotted_keys() -> None:
    assert dict(flat({"a": {"b": {"c": 1}}, "d": [1, 2], "e": "text", "f": None})) == {
        "a.b.c": "1",
        "d": "[1, 2]",
        "e": "text",
        "f": "null",
    }


def test_serve_names_a_port_in_use(home: Home) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=rf"127\.0\.0\.1:{port} cannot be used .*--port"):
            serve(home, "127.0.0.1", port)


def test_serve_listens_at_an_address_of_the_sixth_version(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            pytest.skip("this machine has no IPv6")
    started: list[list[str]] = []
    monkeypatch.setattr("os.execv", lambda _, command: started.append(command))
    serve(home, "::1", free_port())
    assert "::1" in started[0]


def test_serve_names_an_address_that_is_elsewhere(home: Home) -> None:
    with pytest.raises(UserError, match=r"192\.0\.2\.1:.* cannot be used .*; choose this machine's own"):
        serve(home, "192.0.2.1", free_port())


def test_serve_leaves_a_remote_server_alone(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://example.invalid:5000")
    with pytest.raises(UserError, match="server already"):
        serve(home, "127.0.0.1", free_port())


def test_importing_tracking_does_not_import_mlflow() -> None:
    code = "import sys, polyview.tracking.tracker; sys.exit('mlflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_model_is_kept_once_beside_its_run_and_a_half_written_one_gives_way(home: Home) -> None:
    exported: list[Path] = []

    def export(folder: Path) -> None:
        folder.mkdir()
        (folder / "open_clip_config.json").write_text("{}")
        exported.append(folder)

    def cut_short(folder: Path) -> None:
        raise OSError(f"{folder}: the disk is full")

    tracker = opened(home)
    tracker.log(TRIAL)
    tracker.log_model(TRIAL, export)
    tracker.log_model(TRIAL, export)
    assert len(exported) == 1
    _, (run,) = runs(home)
    (model,) = client(home).search_logged_models([run.info.experiment_id])
    assert (model.name, model.status, model.source_run_id) == (TRIAL.name, "READY", run.info.run_id)
    assert [(one.key, one.value) for one in model.metrics] == [("linear/accuracy", 0.71)]
    files = client(home).list_logged_model_artifacts(model.model_id)
    assert [file.path for file in files] == ["open_clip_config.json"]
    (version,) = client(home).search_model_versions("name = 'quickstart'")
    assert (int(version.version), version.run_id) == (1, run.info.run_id)
    assert run.data.metrics["linear/accuracy"] == 0.71
    assert len(client(home).get_metric_history(run.info.run_id, "linear/accuracy")) == 1

    other = dataclasses.replace(TRIAL, id="11ff", name="25 % of views")
    said: list[str] = []
    tracker = opened(home, said.append)
    tracker.log(other)
    with pytest.raises(OSError, match="the disk is full"):
        tracker.log_model(other, cut_short)
    assert not said
    again = opened(home)
    again.log_model(other, export)
    found = client(home).search_logged_models([run.info.experiment_id])
    assert {(one.name, one.status) for one in found} == {(TRIAL.name, "READY"), ("25 _ of views", "READY")}


def test_a_trial_that_is_run_anew_has_its_new_model_alone(home: Home) -> None:
    def export(folder: Path) -> None:
        folder.mkdir()
        (folder / "open_clip_config.json").write_text("{}")

    tracker = opened(home)
    for started in (TRIAL.started, TRIAL.started + 60):
        trial = dataclasses.replace(TRIAL, started=started, ended=started + 30)
        tracker.log(trial)
        tracker.log_model(trial, export)
    _, (run,) = runs(home)
    (model,) = client(home).search_logged_models([run.info.experiment_id])
    assert (model.status, model.source_run_id) == ("READY", run.info.run_id)


def status_of(home: Home) -> dict[str, str]:
    return {run.info.run_name: run.info.status for run in all_runs(home)}


def kinds_of(home: Home) -> dict[str, str]:
    return {run.info.run_name: run.data.tags["polyview.kind"] for run in all_runs(home)}


def begun(home: Home, study: StudyRun = STUDY) -> Tracker:
    """A driver's tracker, of which nothing more is heard: one trial has trained one epoch."""
    tracker = Tracker(home, "quickstart", pytest.fail)
    tracker.open(study)
    tracker.start(dataclasses.replace(TRIAL, status="RUNNING", epochs=[], scores={}))
    tracker.epoch(TRIAL.id, TRIAL.epochs[0])
    tracker.finish()
    return tracker


def test_a_trial_is_seen_while_it_runs_and_ends_in_the_same_run(home: Home) -> None:
    tracker = begun(home)
    _, [live] = runs(home)
    assert live.info.status == "RUNNING"
    assert (live.data.params["training.lr"], live.data.metrics) == ("0.001", {"loss": 2.0})
    assert set(status_of(home).values()) == {"RUNNING"}
    tracker.log(TRIAL)
    tracker.close({}, ended=1100.0)
    _, [ended] = runs(home)
    assert (ended.info.run_id, ended.info.status) == (live.info.run_id, "FINISHED")
    assert [point.step for point in client(home).get_metric_history(ended.info.run_id, "loss")] == [0, 1]
    assert set(status_of(home).values()) == {"FINISHED"}


def test_an_epoch_that_is_trained_once_more_is_on_the_curve_once(home: Home) -> None:
    epochs = [Point(step, 1020.0 + 20 * step, {"loss": 2.0 - 0.1 * step}) for step in range(4)]
    live = dataclasses.replace(TRIAL, status="RUNNING", epochs=[], scores={})
    for first, told in (
        (0, epochs[:3]),
        (1, epochs[1:]),
    ):  # a worker is lost after three, and another goes on after one
        tracker = opened(home)
        tracker.start(live)
        for point in told:
            tracker.epoch(TRIAL.id, dataclasses.replace(point, ended=point.ended + 500 * first))
        for point in told[:1]:  # its trial is tried again by the same driver
            tracker.epoch(TRIAL.id, dataclasses.replace(point, ended=point.ended + 900))
        tracker.finish()
    tracker.log(dataclasses.replace(TRIAL, epochs=[dataclasses.replace(one, ended=one.ended + 500) for one in epochs]))
    tracker.close({}, ended=2000.0)
    _, [ended] = runs(home)
    losses = client(home).get_metric_history(ended.info.run_id, "loss")
    assert [(point.step, point.value) for point in losses] == [(one.step, one.metrics["loss"]) for one in epochs]


def test_a_trial_whose_driver_died_goes_on_in_its_run(home: Home) -> None:
    begun(home)
    _, [live] = runs(home)
    tracker = opened(home)
    assert status_of(home)[TRIAL.name] == "KILLED"
    tracker.start(dataclasses.replace(TRIAL, status="RUNNING", started=1500.0))
    tracker.finish()
    assert status_of(home)[TRIAL.name] == "RUNNING"
    tracker.log(dataclasses.replace(TRIAL, started=1500.0, ended=1600.0))
    tracker.close({}, ended=1600.0)
    _, [ended] = runs(home)
    assert (ended.info.run_id, ended.info.status) == (live.info.run_id, "FINISHED")
    assert "polyview.interrupted" not in ended.data.tags


def test_a_run_of_another_version_of_the_study_is_ended_once_its_driver_is_gone(home: Home, tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    edited = dataclasses.replace(STUDY, digest="d2")
    with locked(lock):
        begun(home, dataclasses.replace(STUDY, lock=str(lock)))
        Tracker(home, "quickstart", pytest.fail).open(edited)
        assert status_of(home)[TRIAL.name] == "RUNNING"
    Tracker(home, "quickstart", pytest.fail).open(edited)
    assert status_of(home)[TRIAL.name] == "KILLED"


def test_who_ends_a_study_leaves_nothing_running(home: Home) -> None:
    begun(home).abort()
    assert set(status_of(home).values()) == {"KILLED"}


def test_variants_that_are_not_asked_for_any_more_leave_the_prepared_pages_and_come_back(home: Home) -> None:
    track(home, TRIAL)
    shorter = Tracker(home, "quickstart", pytest.fail)
    shorter.open(dataclasses.replace(STUDY, variants=STUDY.variants[:1]))
    shorter.close({}, ended=1200.0)
    assert kinds_of(home) == {
        "quickstart": "study",
        "full": "variant",
        "no alignment": "former variant",
        TRIAL.name: "former trial",
    }
    track(home, TRIAL)
    assert kinds_of(home)["no alignment"] == "variant"
    assert kinds_of(home)[TRIAL.name] == "trial"


def test_what_variants_say_together_is_written_to_their_runs(home: Home) -> None:
    tracker = opened(home)
    for score in (0.8, 0.7):  # the second time it is less
        metrics = {"linear/accuracy": score, "linear/accuracy low": -0.1}
        tracker.results([VariantRun("no alignment", tags={"verdict": "worse"}, metrics=metrics)])
    tracker.close({}, ended=1100.0)
    (variant,) = (run for run in all_runs(home) if run.info.run_name == "no alignment")
    assert variant.data.metrics == {"linear/accuracy": 0.7, "linear/accuracy low": -0.1}
    assert variant.data.tags["verdict"] == "worse"


def test_a_study_that_is_stopped_before_its_run_is_open_tells_nothing(home: Home) -> None:
    tracker = Tracker(home, "quickstart")
    tracker.results([VariantRun("full", metrics={"seeds": 1})])
    tracker.close({}, ended=1100.0)
    tracker.finish()
    assert tracker.online


def test_what_is_known_of_a_study_no_more_is_not_shown_any_more(home: Home) -> None:
    for seeds, metrics, tags in (
        (3, {"linear/accuracy": 0.7, "linear/accuracy p": 0.9}, {"linear/accuracy": "70 %", "p": "0.9", "seeds": "3"}),
        (1, {"linear/accuracy": 0.6}, {"knn/accuracy": "50 %", "seeds": "1"}),
    ):
        tracker = opened(home)
        tracker.results([VariantRun("no alignment", metrics=metrics | {"seeds": seeds}, tags=tags)])
        tracker.close({"linear/accuracy": metrics["linear/accuracy"]}, ended=1100.0)
        tracker.finish()
    shown = {run.info.run_name: run.data.metrics for run in all_runs(home)}
    assert shown["no alignment"] | {"linear/accuracy p": 0.0} == {
        "linear/accuracy": 0.6,
        "linear/accuracy p": 0.0,
        "seeds": 1,
    }
    assert math.isnan(shown["no alignment"]["linear/accuracy p"])
    (tags,) = (run.data.tags for run in all_runs(home) if run.info.run_name == "no alignment")
    assert {name: tags.get(name) for name in ("linear/accuracy", "knn/accuracy", "p", "seeds")} == {
        "linear/accuracy": None,
        "knn/accuracy": "50 %",
        "p": None,
        "seeds": "1",
    }
    assert shown["quickstart"] == {"linear/accuracy": 0.6}


def test_results_are_shown_though_the_clock_was_set_back(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    def shown(metrics: dict[str, float], hours: int) -> dict[str, float]:
        clock = SimpleNamespace(time=lambda: time.time() + 3600 * hours)
        monkeypatch.setattr("polyview.tracking.entities.time", clock)
        tracker = opened(home)
        tracker.close(metrics, ended=1100.0)
        tracker.finish()
        return {key: value for key, value in runs(home)[0].data.metrics.items() if not math.isnan(value)}

    assert shown({"knn": 0.5, "linear": 0.6}, 0) == {"knn": 0.5, "linear": 0.6}
    assert shown({"knn": 0.7}, -48) == {"knn": 0.7}
    assert shown({"knn": 0.4, "linear": 0.3}, -50) == {"knn": 0.4, "linear": 0.3}


def test_the_pages_lie_where_mlflow_looks_for_shared_views(home: Home) -> None:
    tracker = opened(home)
    tracker.close({}, ended=1100.0, description="**full** is best")
    experiment = client(home).get_experiment_by_name("quickstart")
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"
    assert experiment.tags["mlflow.sharedViewState.results"] == "{}"
    assert experiment.tags["mlflow.note.content"].endswith("**full** is best")
    assert "viewStateShareKey=results" in tracker.links["results"]


def test_what_the_store_refuses_is_said_once_and_stops_that_call_alone(home: Home) -> None:
    said: list[str] = []
    tracker = opened(home, said.append)
    other = dataclasses.replace(TRIAL, id="01", name="other", scores={"loss": float("inf")})
    refused = dataclasses.replace(TRIAL, params={"training": {"epochs": 2}}, status="RUNNING")
    tracker.start(refused)
    tracker.log(dataclasses.replace(TRIAL, params={"training": {"epochs": 3}}))  # MLflow lets no param change
    tracker.log(dataclasses.replace(TRIAL, params={"training": {"epochs": 3}}))
    tracker.log(other)
    tracker.close({}, ended=1100.0)
    assert len(said) == 1
    assert "refuses what it was told" in said[0]
    assert tracker.online
    assert status_of(home)["other"] == "FINISHED"


class Unauthorised(BaseHTTPRequestHandler):
    """A server that lets nobody in, as MLflow's own does without a user's name."""

    def do_POST(self) -> None:
        self.send_response(401)
        self.end_headers()
        self.wfile.write(b"You are not authenticated.")

    do_GET = do_POST  # noqa: N815

    def log_message(self, *_: Any) -> None:
        pass


def test_a_server_that_lets_nobody_in_is_told_from_one_that_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Unauthorised) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:hunter2@127.0.0.1:{server.server_port}")
        said: list[str] = []
        opened(Home(tmp_path), said.append)
        server.shutdown()
    assert len(said) == 1
    assert "MLFLOW_TRACKING_USERNAME" in said[0]
    assert "hunter2" not in said[0]


def test_a_password_is_not_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:hunter2@127.0.0.1:{port}")
    said: list[str] = []
    opened(Home(tmp_path), said.append)
    assert len(said) == 1
    assert f"MLflow at http://127.0.0.1:{port} cannot be written" in said[0]
    assert "hunter2" not in said[0]
