from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from polyview.corpus.scan import scan
from polyview.errors import UserError
from polyview.recipe import Experiment
from polyview.rendering.cameras import cameras
from polyview.rendering.pipeline import render
from polyview.rendering.store import ViewStore, fetch_views
from polyview.storage.home import Home, replacing
from polyview.storage.mirror import CachedPath, Span, address, fetch_all, files, read_spans, refresh, remove, resolve
from polyview.training.checkpoint import fetch_checkpoint, latest_checkpoint, open_checkpoint
from polyview.trials.ledger import Ledger, Record
from polyview.trials.spec import TrialSpec
from polyview.trials.trial import run_trial, train_alone

Elsewhere = Callable[[str], Home]
RenderInto = Callable[[Home, Experiment], Path]


@pytest.fixture
def elsewhere(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Elsewhere:
    """This process becomes another machine, whose disk is named; returns the home as it is there."""
    url = address(home.root)

    def go(disk: str) -> Home:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / disk))
        return Home(resolve(url))

    return go


@pytest.fixture
def trial(tiny: Experiment) -> Experiment:
    """Trains two epochs and asks one probe."""
    asked = tiny.evaluation.model_copy(update={"probes": ("knn",)})
    return tiny.model_copy(update={"evaluation": asked})


def record_of(experiment: Experiment, ended: float = 2.0) -> Record:
    return Record(id=experiment.digest, experiment=experiment, started=1.0, ended=ended)


def write(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text)


def test_a_path_that_travels_is_found_on_the_other_machines_disk(home: Home, elsewhere: Elsewhere) -> None:
    sent = pickle.dumps(home.trials / "some" / "trial")
    there = elsewhere("another disk")
    came = pickle.loads(sent)
    assert isinstance(came, CachedPath)
    assert came == there.trials / "some" / "trial"
    assert "another disk" in str(came)
    assert address(came) == f"{address(there.root)}/trials/some/trial"


def test_small_files_are_as_they_are_in_the_bucket(home: Home, elsewhere: Elsewhere, client: Any) -> None:
    path = home.studies / "study" / "points.json"
    write(path, "[1]")
    other = elsewhere("other").studies / "study" / "points.json"
    assert not other.exists()
    refresh([other])
    assert other.read_text() == "[1]"
    write(other, "[1, 2]")
    elsewhere("disk")
    refresh([path])
    assert path.read_text() == "[1, 2]"
    bucket, _, key = address(path).removeprefix("s3://").partition("/")
    client.delete_object(Bucket=bucket, Key=key)
    refresh([path])
    assert not path.exists()


def test_what_never_changes_is_fetched_once_and_goes_with_the_buckets(
    home: Home, elsewhere: Elsewhere, client: Any, store: Any
) -> None:
    for number in range(3):
        write(home.stores / "store" / f"shard-{number}.arrow", "views")
    folder = elsewhere("other").stores / "store"
    assert [path.name for path in files(folder, "shard-*.arrow")] == [f"shard-{number}.arrow" for number in range(3)]
    with ThreadPoolExecutor(3) as pool:  # as trials on one machine do
        list(pool.map(lambda _: fetch_all(folder, "*.arrow"), range(3)))
    assert len(store.asked("GET", "store/shard")) == 3
    bucket, _, key = address(folder).removeprefix("s3://").partition("/")
    client.delete_object(Bucket=bucket, Key=f"{key}/shard-1.arrow")
    fetch_all(folder, "*.arrow")
    assert sorted(path.name for path in folder.glob("*.arrow")) == ["shard-0.arrow", "shard-2.arrow"]


@pytest.mark.parametrize("anew", ["fewer", "others!"])
def test_what_was_removed_and_made_anew_is_fetched_anew(home: Home, elsewhere: Elsewhere, anew: str) -> None:
    part = home.stores / "store" / "part"
    names = ("shard-0.arrow", "shard-1.arrow", "store.json")
    for name in names:
        write(part / name, "rows of")
    there = elsewhere("other").stores / "store"
    fetch_all(there, "*/*")
    elsewhere("disk")
    remove(part)
    time.sleep(1)  # a store tells when an object was written to the second
    for name in names:
        write(part / name, anew)
    elsewhere("other")
    fetch_all(there, "*/store.json")
    assert not list(there.glob("*/shard-*")), "rows that stream must not be read here"
    fetch_all(there, "*/shard-*")
    assert {path.name: path.read_text() for path in there.glob("*/*")} == dict.fromkeys(names, anew)


def test_what_is_cut_off_on_its_way_is_asked_for_again(
    home: Home, elsewhere: Elsewhere, store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(home.stores / "store" / "shard-0.arrow", "some rows")
    write(home.studies / "points.json", "[1, 2]")
    there = elsewhere("other")
    span = Span(there.stores / "store" / "shard-0.arrow", 5, 4)
    monkeypatch.setattr(store, "cut_off", 2)
    assert read_spans([span]) == [b"rows"]
    monkeypatch.setattr(store, "cut_off", 2)
    refresh([there.studies / "points.json"])
    assert (there.studies / "points.json").read_text() == "[1, 2]"
    monkeypatch.setattr(store, "cut_off", 1000)
    with pytest.raises(UserError, match=rf"^{address(span.path)}: \w+: .*"):
        read_spans([span])


def test_of_two_writers_of_one_record_exactly_one_wins(home: Home, tiny: Experiment) -> None:
    ledger, together = Ledger(home.trials), threading.Barrier(4)

    def attempt(ended: float) -> float | None:
        together.wait()
        try:
            ledger.write(record_of(tiny, ended))
        except FileExistsError:
            return None
        return ended

    with ThreadPoolExecutor(4) as pool:
        written = [ended for ended in pool.map(attempt, (1.0, 2.0, 3.0, 4.0)) if ended]
    known = ledger.read(tiny.digest)
    assert known is not None
    assert [known.ended] == written


def test_a_record_that_is_known_may_be_written_anew(home: Home, tiny: Experiment) -> None:
    ledger = Ledger(home.trials)
    for ended in (1.0, 2.0):
        ledger.write(record_of(tiny, ended))
    known = ledger.read(tiny.digest)
    assert known is not None
    assert known.ended == 2.0


def test_an_empty_disk_fetches_what_was_rendered(
    home: Home, elsewhere: Elsewhere, trial: Experiment, store: Any, render_into: RenderInto
) -> None:
    folder = render_into(home, trial)
    rig = cameras(trial.rendering.views)
    ours = ViewStore.open(folder)
    there = elsewhere("other")
    store.requests.clear()
    summary = render(scan(trial.corpus).manifest, trial.rendering, rig, there, 0.1)
    assert (summary.cached, summary.rendered) == (True, 36)
    assert not store.asked("GET", "shard"), "whoever runs a study needs no pictures"
    fetch_views(summary.store, rig)
    opened = ViewStore.open(summary.store)
    rows = opened.rows_of(opened.manifest.subjects)
    assert (opened.gather(rows, rig) == ours.gather(rows, rig)).all()
    assert len(store.asked("GET", "shard")) == 1


@pytest.mark.slow
def test_a_trial_goes_on_from_its_checkpoint_on_a_machine_that_has_neither_views_nor_weights(
    home: Home,
    elsewhere: Elsewhere,
    trial: Experiment,
    objects: Any,
    killed_after: Any,
    render_into: RenderInto,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.set_num_threads(1)
    url, spec = address(home.root), TrialSpec(trial, render_into(home, trial), home.trials)
    begun = run_trial(spec)
    first = next(begun)
    begun.close()
    (packed,) = [name for name in objects(url) if "epoch" in name]
    assert packed.startswith(f"trials/{trial.digest}/epoch-0001-")

    with pytest.raises(RuntimeError, match="killed"):
        list(run_trial(spec, partial(train_alone, warned=killed_after(1))))
    (packed,) = [name for name in objects(url) if "epoch" in name]
    assert packed.startswith(f"trials/{trial.digest}/epoch-0001-step-000001-")

    # The worker is another process, to which the spec travels as it does to Ray's.
    sent = pickle.dumps(spec)
    there = elsewhere("worker")
    script = (
        "import pickle, sys, torch; torch.set_num_threads(1); from polyview.trials.trial import run_trial\n"
        "print(*[epoch.epoch for epoch in run_trial(pickle.load(sys.stdin.buffer))])"
    )
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    worker = subprocess.run([sys.executable, "-c", script], input=sent, capture_output=True)
    assert worker.stdout.decode().split() == ["2"], worker.stderr.decode()
    record = Ledger(there.trials).read(trial.digest)
    assert record is not None
    assert record.history[0] == first
    names = sorted(name for name in objects(url) if "epoch" in name)
    assert len(names) == 1
    assert "epoch-0002-" in names[0]

    elsewhere("disk")  # the first machine finds its own checkpoint overtaken
    folder = home.trials / trial.digest
    fetch_checkpoint(folder)
    newest = latest_checkpoint(folder)
    assert newest is not None
    assert newest.history == record.history
    assert [path.name for path in folder.glob("epoch-*")] == ["epoch-0002"]
    assert list(run_trial(spec)) == []


@pytest.mark.slow
def test_another_trainings_checkpoint_of_the_same_epoch_is_not_taken_for_ours(
    home: Home, elsewhere: Elsewhere, trial: Experiment, render_into: RenderInto
) -> None:
    torch.set_num_threads(1)
    store = render_into(home, trial)
    next(begun := run_trial(TrialSpec(trial, store, home.trials)))
    begun.close()
    there = elsewhere("other")
    folder = there.trials / trial.digest
    for packed in files(folder, "epoch-*.tar"):
        remove(packed)
    theirs = next(begun := run_trial(TrialSpec(trial, there.stores / store.name, there.trials)))
    begun.close()
    elsewhere("disk")
    fetch_checkpoint(home.trials / trial.digest)
    found = latest_checkpoint(home.trials / trial.digest)
    assert found is not None
    assert found.history == (theirs,)


@pytest.mark.slow
def test_a_checkpoint_is_opened_by_its_own_address_and_where_a_part_of_it_is_left(
    home: Home, elsewhere: Elsewhere, trial: Experiment, render_into: RenderInto
) -> None:
    torch.set_num_threads(1)
    first = next(begun := run_trial(TrialSpec(trial, render_into(home, trial), home.trials)))
    begun.close()
    folder = elsewhere("other").trials / trial.digest
    with pytest.raises(UserError, match=f"^{address(folder)}/epoch-0002: no checkpoint here"):
        open_checkpoint(folder / "epoch-0002")
    epoch = folder / "epoch-0001"
    assert open_checkpoint(epoch).history == (first,)
    (epoch / "history.json").unlink()
    for path in (epoch, folder):
        assert open_checkpoint(path).history == (first,)


def test_a_home_that_is_a_folder_needs_no_client_of_buckets(tmp_path: Path, tiny: Experiment) -> None:
    script = (
        "import sys; from polyview.storage.home import *; from polyview.trials.ledger import *; home = open_home()\n"
        "record = Record.model_validate_json(sys.stdin.read())\n"
        "with locked(home.trials / 'lock'): Ledger(home.trials).write(record)\n"
        "print(len(Ledger(home.trials).all()), 'boto3' in sys.modules, 'obstore' in sys.modules)"
    )
    given = os.environ | {"POLYVIEW_HOME": str(tmp_path)}
    text = record_of(tiny).model_dump_json()
    said = subprocess.run([sys.executable, "-c", script], input=text, env=given, capture_output=True, text=True)
    assert said.stdout.split() == ["1", "False", "False"], said.stderr


def test_a_damaged_record_is_named_by_its_address(home: Home, tiny: Experiment) -> None:
    write(home.trials / tiny.digest / "record.json", json.dumps({"id": "x"}))
    with pytest.raises(UserError, match=rf"^{address(home.trials)}/{tiny.digest}/record\.json: not a trial's record"):
        Ledger(home.trials).read(tiny.digest)


def test_folders_are_opened_before_what_is_in_them_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NFS remembers for a while that a file is not there, unless its folder is opened."""
    (tmp_path / "trials" / "one").mkdir(parents=True)
    opened, system = list[Path](), os.open

    def note(path: Path, *rest: Any, **options: Any) -> int:
        opened.append(Path(path))
        return system(path, *rest, **options)

    monkeypatch.setattr(os, "open", note)
    refresh([tmp_path / "trials" / "two" / "record.json"])
    assert {tmp_path / "trials" / "two", tmp_path / "trials"} <= {*opened}
    opened.clear()
    assert files(tmp_path / "trials", "*/record.json") == []
    assert {tmp_path / "trials", tmp_path / "trials" / "one"} <= {*opened}
    opened.clear()
    assert files(tmp_path / "studies", "*") == []
    assert {tmp_path / "studies", tmp_path} <= {*opened}
