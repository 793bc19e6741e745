"""A study whose home is a bucket, on machines that share nothing else."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch

from polyview.cli import main
from polyview.recipe import load_study, with_overrides
from polyview.rendering.store import ViewStore, fetch_contents
from polyview.storage.home import Home
from polyview.storage.mirror import fetch_all, files, resolve
from polyview.studies.bundles.bundle import open_bundle
from polyview.studies.outcome import load_outcome
from polyview.training.loop import Trainer, TrainingJob, fetch_pictures
from polyview.trials.design import plan
from polyview.trials.ledger import Ledger

pytestmark = pytest.mark.slow
SECONDS = 540  # below the limit of a whole test
Disk = Callable[[str], Path]


@pytest.fixture(scope="module")
def url(new_url: Callable[[], str]) -> str:
    return new_url()


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Disk:
    """An empty disk for each name."""
    return lambda name: tmp_path_factory.mktemp(name)


@pytest.fixture(scope="module")
def first(polyview: Any, url: str, disk: Disk, study_file: Path, objects: Any, wait_for: Any, render_into: Any) -> str:
    """What was printed by the study that one machine began and another, with an empty disk, ended.

    The views were there before. The first machine was lost when one trial had a record and the other a checkpoint.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(disk("renderer")))
        render_into(Home(resolve(url)), load_study(study_file).experiment)
    driver = polyview(disk("first"), url, "ablate", str(study_file))
    wait_for(lambda: is_half_done(objects(url)), driver, seconds=SECONDS)
    theirs = [driver, *psutil.Process(driver.pid).children(recursive=True)]
    for process in theirs:
        process.kill()
    driver.communicate(timeout=SECONDS)
    lost, before = time.time(), objects(url)
    assert is_half_done(before)

    again = polyview(disk("second"), url, "ablate", str(study_file))
    said, errors = again.communicate(timeout=SECONDS)
    assert again.returncode == 0, errors
    assert "1 done before, 1 to run" in said
    assert "rendered before (s3://" in said
    after = objects(url)
    kept = [name for name in before if name.endswith(("record.json", ".arrow", "store.json"))]
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept}

    home = Home(resolve(url))
    histories = [record.history for record in load_outcome(load_study(study_file), home).records.values()]
    (long,) = [history for history in histories if len(history) > 1]
    assert [epoch.epoch for epoch in long] == list(range(1, 25))
    assert long[0].ended < lost < long[-1].ended
    return str(said)


def is_half_done(names: dict[str, str]) -> bool:
    done = {name.split("/")[1] for name in names if name.endswith("record.json")}
    begun = {name.split("/")[1] for name in names if "/epoch-" in name}
    return bool(done) and bool(begun - done)


def table(said: str) -> str:
    """What was printed from the table's title to where the report is."""
    return said[said.index("study: knn/accuracy") :]


def test_a_study_goes_on_where_it_stood_on_another_machines_empty_disk(first: str, url: str, objects: Any) -> None:
    assert re.search(rf"^report +{url}/studies/study-\w+/report/report\.html$", first, re.MULTILINE)
    assert "MLflow's store stays on this machine" in first
    names = {name: name.split("/") for name in objects(url)}
    assert {parts[0] for parts in names.values()} == {"views", "trials", "studies"}
    trials = [parts[2] for parts in names.values() if parts[0] == "trials"]
    assert sorted(name.partition("-")[0] for name in trials) == sorted(
        2 * ["embeddings.parquet", "epoch", "lock", "predictions.parquet", "record.json"]
    )


@pytest.fixture
def third(first: str, url: str, disk: Disk, monkeypatch: pytest.MonkeyPatch) -> Path:
    """This process, as a machine that has not seen the study yet."""
    assert first
    folder = disk("third")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    monkeypatch.setenv("POLYVIEW_HOME", url)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return folder


def test_pictures_that_stream_train_as_those_that_are_kept_and_leave_none_behind(
    first: str, polyview: Any, url: str, disk: Disk, recipe_file: Path, third: Path
) -> None:
    assert first
    small, changes = disk("small"), ["--set", "seed=1", "--set", "training.ingest=streaming"]
    driver = polyview(small, url, "pretrain", str(recipe_file), *changes)
    _, errors = driver.communicate(timeout=SECONDS)
    assert driver.returncode == 0, errors
    names = {path.name for path in small.rglob("*")}
    assert "store.json" in names
    assert not [name for name in names if name.endswith(".arrow")]

    (record,) = [record for record in Ledger(Home(resolve(url)).trials).all() if record.experiment.seed == 1]
    assert record.experiment.training.ingest == "streaming"
    mapped, folder = with_overrides(record.experiment, {"training.ingest": "mapped"}), views_of(url)
    fetch_pictures(mapped, folder)
    assert list(third.rglob("*.arrow"))
    trainer = Trainer(TrainingJob(mapped, folder, record.train_subjects, third / "trial"), torch.device("cpu"))
    (epoch,) = trainer.epochs()
    assert epoch.metrics["loss"] == pytest.approx(record.history[0].metrics["loss"], rel=1e-6)


def test_rows_that_are_read_in_the_bucket_are_those_of_the_whole_file(
    first: str, url: str, third: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert first
    rows = np.random.default_rng(0).integers(0, 36, 50)
    found = []
    for where, fetch in ((disk("empty"), fetch_contents), (third, lambda folder: fetch_all(folder, "*/shard-*.arrow"))):
        monkeypatch.setenv("XDG_CACHE_HOME", str(where))
        fetch_contents(views_of(url))
        fetch(views_of(url))
        store = ViewStore.open(views_of(url))
        found.append(store.gather(rows, store.cameras[::-1]))
        assert bool(list(where.rglob("*.arrow"))) == (where == third)
    np.testing.assert_array_equal(*found)


def views_of(url: str) -> Path:
    """The only store of a home, on whatever machine this process is."""
    (mark,) = files(resolve(f"{url}/views"), "*/*/store.json")
    return mark.parent.parent


def run(*words: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert not ended.value.code


@pytest.mark.usefixtures("third")
def test_the_same_command_on_a_third_machine_trains_nothing_and_says_the_same(
    first: str, url: str, study_file: Path, objects: Any, store: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    import ray

    before, running = objects(url), ray.is_initialized()
    store.requests.clear()
    run("ablate", str(study_file))
    said = capsys.readouterr().out
    assert "2 done before, 0 to run" in said
    assert table(said).splitlines()[:8] == table(first).splitlines()[:8]
    assert ray.is_initialized() == running
    written = [path for path in store.asked("PUT", "") if "probe" not in path]
    assert all("/studies/" in path for path in written)
    assert len(store.asked("GET", "epoch")) == 1  # the best model's, for this machine's own MLflow
    after = objects(url)
    assert {name: after[name] for name in before if name[:7] != "studies"} == {
        name: tag for name, tag in before.items() if name[:7] != "studies"
    }


def test_every_verb_reads_the_bucket(
    third: Path, url: str, study_file: Path, recipe_file: Path, objects: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    one, other = (trial.id for trial in plan(load_study(study_file)))
    run("report", str(study_file), "--format", "csv")
    assert {one, other} <= set(re.findall(r"\w+", capsys.readouterr().out))
    run("compare", one, other[:8])
    assert "training.epochs" in capsys.readouterr().out
    run("render", str(recipe_file))
    (sheet,) = re.findall(rf"look +polyview sheet ({url}/views/\w+)", capsys.readouterr().out)
    run("sheet", sheet, "-o", str(third / "sheet.png"))
    assert (third / "sheet.png").read_bytes().startswith(b"\x89PNG")
    run("evaluate", f"{url}/trials/{one}")
    score = load_outcome(load_study(study_file), Home(resolve(url))).records[one].scores["knn/accuracy"]
    assert f"{score:.4f}" in capsys.readouterr().out
    run("export", f"{url}/trials/{one}", "-o", str(third / "exported"))
    assert (third / "exported" / "open_clip_model.safetensors").is_file()
    run("doctor")
    assert url in capsys.readouterr().out
    assert not [name for name in objects(url) if "probe" in name]


def test_a_bundle_is_made_of_what_is_in_the_bucket(
    third: Path, url: str, study_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = tmp_path / "study.zip"
    run("bundle", str(study_file), "-o", str(made))
    assert "holds 2 of 2 trials' results" in capsys.readouterr().out
    assert not list(third.rglob("*.arrow"))
    with open_bundle(made) as bundle:
        assert [len(faces.frame) for faces in bundle.manifests.values()] == [36]
        known = load_outcome(load_study(study_file), Home(resolve(url)))
        assert bundle.outcome.records == known.records


@pytest.mark.usefixtures("third")
def test_a_variant_that_is_forced_is_set_aside_in_the_bucket(url: str, study_file: Path, objects: Any) -> None:
    trial = plan(load_study(study_file))[0]
    ledger = Ledger(Home(resolve(url)).trials)
    assert ledger.set_aside(trial.id)
    assert not ledger.set_aside(trial.id)
    assert ledger.read(trial.id) is None
    assert f"trials/{trial.id}.1/record.json" in objects(url)
    assert [name for name in objects(url) if name.startswith(f"trials/{trial.id}/")] == [f"trials/{trial.id}/lock"]
