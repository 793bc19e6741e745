from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlparse
from urllib.request import url2pathname

import mlflow.pyfunc
import pandas as pd
import polars as pl
import pytest
import torch
import trimesh
from mlflow.tracking import MlflowClient
from PIL import Image

from polyview.cli.training import export
from polyview.corpus.load import load_mesh
from polyview.corpus.scan import scan
from polyview.errors import UserError
from polyview.modeling.towers import load_open_clip
from polyview.recipe import Experiment, Resources, Study, to_yaml, with_overrides
from polyview.reporting.report import markdown
from polyview.storage.home import Home
from polyview.studies.driver import run_stages
from polyview.studies.kept import read_study
from polyview.studies.outcome import load_outcome, study_folder
from polyview.training.checkpoint import open_checkpoint
from polyview.training.provenance import Seen, read_provenance
from polyview.trials.design import REFERENCES, plan

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        return Home(tmp_path_factory.mktemp("home"))


@pytest.fixture(autouse=True)
def _own_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture(scope="module")
def study_file(tiny_study: Study, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same study, as a user would write it down."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "tiny.yaml").write_text(to_yaml(tiny_study.experiment))
    path = folder / "study.yaml"
    path.write_text("name: study\nexperiment: tiny.yaml\nseeds: [0, 1]\nremove: {no alignment: objective.alignment}\n")
    return path


@pytest.mark.usefixtures("local_ray")
def test_a_first_run_leaves_records_a_report_and_runs(
    tiny_study: Study, home: Home, listener: Any, runs_of: Any
) -> None:
    outcome, failures = run_stages(tiny_study, home, listener)
    trials = plan(tiny_study)
    assert failures == []
    assert outcome.records.keys() == {trial.id for trial in trials}
    trained = [trial.name for trial in trials if trial.experiment.training.epochs]
    assert sorted(listener.epochs) == sorted((name, 1) for name in trained)
    assert listener.stages == [("render", 36), ("estimate", 0), ("trials", 8), ("report", 1)]
    assert listener.done == {"render": 36, "trials": 8, "report": 1}
    assert "trials: 8 in the study, 0 done before, 8 to run" in listener.said
    report = outcome.folder / "report"
    assert {"report.html", "report.md", "results.csv"} <= {path.name for path in report.iterdir()}
    page = (report / "report.html").read_text()
    assert all(name in page for name in ("no alignment", "untrained", "raw pixels", "data:image/png"))
    assert outcome.stages.keys() == {"render", "trials"}
    assert load_outcome(tiny_study, home).records == outcome.records
    assert read_study(outcome.folder) == tiny_study

    parent, runs = runs_of(home)
    assert parent.info.status == "FINISHED"
    assert {run.data.tags["polyview.trial"]: run.info.status for run in runs} == {
        trial.id: "FINISHED" for trial in trials
    }
    for run in runs:
        tags, params = run.data.tags, run.data.params
        record = outcome.records[tags["polyview.trial"]]
        assert params["training.batch_size"] == "8"
        assert params["seed"] == tags["seed"]
        assert tags["manifest"] == record.manifest
        assert tags["mlflow.source.git.commit"]
        assert run.data.metrics["linear/accuracy"] == pytest.approx(record.scores["linear/accuracy"])
        assert ("loss" in run.data.metrics) == bool(record.history)
        assert ("system/process_memory_usage_megabytes" in run.data.metrics) == bool(record.history)
    assert {run.data.tags["variant"] for run in runs} == {"full", "no alignment", "untrained", "raw pixels"}


def test_the_best_model_lies_in_mlflow_as_open_clip_reads_it(tiny_study: Study, home: Home, listener: Any) -> None:
    outcome, _ = run_stages(tiny_study, home, listener)
    client = MlflowClient(home.tracking_uri)
    experiment = client.get_experiment_by_name(tiny_study.name)
    assert experiment is not None
    (model,) = client.search_logged_models([experiment.experiment_id])
    record = outcome.records[model.tags["polyview.trial"]]
    trained = [one for one in outcome.records.values() if one.history]
    assert record.scores["linear/accuracy"] == max(one.scores["linear/accuracy"] for one in trained)
    place = url2pathname(urlparse(model.artifact_location).path)
    towers, _, _ = load_open_clip().create_model_and_transforms(f"local-dir:{place}/data/polyview/towers")
    weights = open_checkpoint(home.trials / record.id).load_model().towers.state_dict()
    assert all(torch.equal(weight, weights[name]) for name, weight in towers.state_dict().items())
    seen = read_provenance(Path(place, "data/polyview/towers/open_clip_model.safetensors"))
    assert seen.among(tiny_study.experiment.corpus, record.train_subjects).subjects == record.train_subjects


def test_the_best_model_tells_the_expression_of_a_mesh_and_of_a_picture(
    tiny_study: Study, home: Home, tmp_path: Path
) -> None:
    client = MlflowClient(home.tracking_uri)
    experiment = client.get_experiment_by_name(tiny_study.name)
    assert experiment is not None
    (model,) = client.search_logged_models([experiment.experiment_id])
    generated = load_mesh(scan(tiny_study.experiment.corpus).manifest.frame["path"][0], None, "")
    trimesh.Trimesh(generated.vertices, generated.faces, process=False).export(tmp_path / "face.ply")
    Image.new("RGB", (64, 48), "gray").save(tmp_path / "face.png")
    loaded = mlflow.pyfunc.load_model(model.artifact_location)
    told = loaded.predict(pd.DataFrame({"path": [str(tmp_path / name) for name in ("face.ply", "face.png")]}))
    classes = list(tiny_study.experiment.corpus.expressions)
    assert told[classes].sum(axis=1).tolist() == pytest.approx([1, 1])
    assert set(told["expression"]) <= set(classes)
    mesh, picture = told["embedding"]
    assert len(mesh) == len(picture)
    assert mesh != picture
    (version,) = client.search_model_versions(f"name = '{tiny_study.name}'")
    assert version.run_id == model.source_run_id


def test_the_best_model_predicts_of_the_test_subjects_what_the_trial_did(tiny_study: Study, home: Home) -> None:
    client = MlflowClient(home.tracking_uri)
    experiment = client.get_experiment_by_name(tiny_study.name)
    assert experiment is not None
    (model,) = client.search_logged_models([experiment.experiment_id])
    predictions = load_outcome(tiny_study, home).predictions[model.tags["polyview.trial"]]
    paths = scan(tiny_study.experiment.corpus).manifest.frame.select(pl.col("sample_id").alias("sample"), "path")
    asked = predictions.filter(probe="linear").join(paths, on="sample", how="inner", maintain_order="left")
    told = mlflow.pyfunc.load_model(model.artifact_location).predict(pd.DataFrame({"path": asked["path"].to_list()}))
    assert told["expression"].to_list() == asked["prediction"].to_list()
    scores = told[list(tiny_study.experiment.corpus.expressions)].max(axis=1)
    assert scores.to_list() == pytest.approx(asked["score"].to_list(), abs=1e-4)


def test_a_second_run_trains_nothing_starts_no_ray_and_says_the_same(
    tiny_study: Study, home: Home, study_file: Path, runs_of: Any, times_of: Any
) -> None:
    before, (_, runs) = times_of(home), runs_of(home)
    table = load_outcome(tiny_study, home)
    script = """
import sys
from polyview.cli import main
try:
    main(["ablate", sys.argv[1]])
finally:
    print("imported:", *({"ray", "torch"} & set(sys.modules)))
"""
    environment = os.environ | {"POLYVIEW_HOME": str(home.root), "COLUMNS": "200"}
    said = subprocess.run(
        [sys.executable, "-c", script, str(study_file)], env=environment, capture_output=True, text=True, timeout=300
    )
    assert said.returncode == 0, said.stderr
    assert "trials: 8 in the study, 8 done before, 0 to run" in said.stdout
    assert said.stdout.rstrip().endswith("imported:")
    assert times_of(home) == before
    assert [run.info.run_id for run in runs_of(home)[1]] == [run.info.run_id for run in runs]
    assert load_outcome(tiny_study, home).records == table.records


@pytest.mark.usefixtures("local_ray")
def test_a_variant_that_is_added_runs_alone(
    tiny_study: Study, home: Home, listener: Any, runs_of: Any, times_of: Any
) -> None:
    before = times_of(home)
    more = tiny_study.model_copy(update={"variants": {"mean fusion": {"model.fusion": "mean"}}})
    outcome, failures = run_stages(more, home, listener)
    assert failures == []
    assert sorted(listener.epochs) == [("mean fusion · seed 0", 1), ("mean fusion · seed 1", 1)]
    after = times_of(home)
    assert {trial_id: after[trial_id] for trial_id in before} == before
    assert len(after) == len(outcome.records) == 10
    parent, runs = runs_of(home)
    assert parent.info.status == "FINISHED"
    assert len(runs) == 10


@pytest.mark.usefixtures("local_ray")
def test_a_trial_that_fails_is_told_and_does_not_stop_the_others(
    tiny_study: Study, home: Home, listener: Any, runs_of: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    odd = {"diverges": {"training.lr": 1e30}, "slow": {"training.lr": 1e-5}}
    more = tiny_study.model_copy(update={"variants": odd, "seeds": (0,)})
    outcome, (failure,) = run_stages(more, home, listener)
    assert failure.trial.name == "diverges · seed 0"
    assert failure.reason.startswith("FloatingPointError: the loss is nan in epoch 1; the batch had s0")
    assert failure.reason in Path(failure.log).read_text()
    assert "Traceback" not in "".join(capfd.readouterr())
    ran = {trial.variant for trial in outcome.trials if trial.id in outcome.records}
    assert ran == {"full", "no alignment", "slow", "untrained", "raw pixels"}
    assert runs_of(home)[0].info.status == "FAILED"
    assert "diverges: seed 0" in (outcome.folder / "report" / "report.md").read_text()


def test_what_cannot_be_run_is_refused_before_anything_is_trained_or_logged(
    tiny_study: Study, home: Home, listener: Any, runs_of: Any, times_of: Any
) -> None:
    before, (parent, runs) = times_of(home), runs_of(home)
    more = tiny_study.model_copy(update={"variants": {"too large": {"training.batch_size": 64}}})
    with pytest.raises(UserError, match=r"^too large · seed 0: training.batch_size is 64 and there are 24 samples"):
        run_stages(more, home, listener)
    assert times_of(home) == before
    after, runs_after = runs_of(home)
    assert after.info.status == parent.info.status != "RUNNING"
    assert len(runs_after) == len(runs)


@pytest.mark.usefixtures("local_ray")
def test_trials_that_no_machine_holds_are_refused(tiny_study: Study, home: Home, listener: Any, runs_of: Any) -> None:
    huge = tiny_study.model_copy(update={"resources": Resources(cpus=1000), "seeds": (5,)})
    with pytest.raises(UserError, match=r"^a trial needs 1 worker\(s\) of 1000 CPUs"):
        run_stages(huge, home, listener)
    assert listener.epochs == []
    assert runs_of(home)[0].info.status != "RUNNING"


@pytest.mark.usefixtures("local_ray")
def test_of_two_errors_the_one_that_stopped_the_trials_is_raised_and_the_other_is_said(
    tiny_study: Study, home: Home, listener: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tiny_study.model_copy(update={"name": "broken", "seeds": (7,)})
    report = study_folder(broken, home) / "report"
    report.parent.mkdir(parents=True)
    report.write_text("a file where the report's folder has to be")

    def stage(name: str, total: int) -> None:
        if name in ("estimate", "trials"):
            raise RuntimeError(f"no bar for {name} and its {total} steps")

    monkeypatch.setattr(listener, "stage", stage)
    with pytest.raises(RuntimeError, match="no bar for ") as raised:
        run_stages(broken, home, listener)
    assert raised.value.__context__ is None
    assert listener.said[-1].startswith("the report could not be written either: FileExistsError: ")


@pytest.mark.usefixtures("local_ray")
def test_a_start_that_has_seen_test_subjects_is_told_before_training(
    tiny_study: Study, home: Home, listener: Any, tmp_path: Path
) -> None:
    run_stages(tiny_study, home, listener)
    first, other = plan(tiny_study)[:2]
    export(str(home.trials / first.id), tmp_path / "weights.safetensors")
    changed = {"model.pretrained": str(tmp_path / "weights.safetensors"), "seed": other.seed}
    experiment = with_overrides(tiny_study.experiment, changed)
    further = Study(name="further", experiment=experiment, seeds=(other.seed,), references=False)
    outcome, _ = run_stages(further, home, listener)
    (record,) = outcome.records.values()
    trained_on = {*open_checkpoint(home.trials / first.id).source.subjects}
    seen = trained_on & {*record.test_subjects}
    assert record.seen_by_start == Seen(subjects=tuple(sorted(seen)), labels={"synthetic of seed 0": len(trained_on)})
    assert "by their names, and had read labels of 8 people of synthetic of seed 0." in markdown(outcome)
    told = f"full: model.pretrained has seen, by their names, {len(seen)} of the people who will be scored, such as "
    assert [said.startswith(told) for said in listener.said].count(True) == 1
    run_stages(further, home, listener)
    assert [said.startswith(told) for said in listener.said].count(True) == 1
    run_stages(further, home, listener, force="full")
    assert [said.startswith(told) for said in listener.said].count(True) == 2


@pytest.mark.usefixtures("local_ray")
def test_prompts_that_are_not_read_are_told_before_training(tiny_study: Study, home: Home, listener: Any) -> None:
    def prompts(count: int) -> dict[str, Any]:
        expressions = tiny_study.experiment.corpus.expressions
        own = {name: [f"{name} {number}" for number in range(count)] for name in expressions}
        return {**REFERENCES["raw pixels"], "language.own": own}

    pixels = with_overrides(tiny_study.experiment, {**prompts(2), "evaluation.probes": ["linear"]})
    variants = {f"{count} prompts": prompts(count) for count in (3, 5)}
    study = Study(name="prompts", experiment=pixels, seeds=(0,), references=False, variants=variants)
    run_stages(study, home, listener)
    told = "of each class are read, as language.ensemble says"
    assert [said for said in listener.said if told in said] == [
        f"2 of 3 prompts {told}: 3 prompts",
        f"2 of 5 prompts {told}: 5 prompts",
    ]


@pytest.mark.usefixtures("local_ray")
def test_people_of_another_folder_under_the_same_names_are_told_before_training(
    raw: Experiment, home: Home, listener: Any, scans: Path, tmp_path: Path
) -> None:
    shutil.copytree(scans, second := tmp_path / "second session")
    for mesh in second.rglob("*.obj"):
        mesh.write_text(mesh.read_text() + "v 0.0 0.0 0.0\n")
    corpora = {
        name: {"dataset": "folder", "root": str(root), "pattern": "{subject}/{expression}.obj"}
        | {"expressions": list(raw.corpus.expressions)}
        for name, root in (("corpus", scans), ("evaluation.test", second))
    }
    experiment = with_overrides(raw, corpora | {"evaluation.protocol": "cross_dataset"})
    outcome, _ = run_stages(Study(name="sessions", experiment=experiment, seeds=(0,), references=False), home, listener)
    told = "full: 12 of the people of evaluation.test have names of people who will be trained on, such as s000; if"
    started = next(place for place, said in enumerate(listener.said) if said.startswith("full · seed 0"))
    assert any(said.startswith(told) for said in listener.said[:started])
    report = (outcome.folder / "report" / "report.md").read_text()
    assert "12 of whom have names of the former" in report
    assert "whom neither saw" not in report
