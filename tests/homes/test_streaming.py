"""A trial whose machine has no room for the pictures it trains on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from polyview.mirror import files, place
from polyview.paths import Home
from polyview.recipe import with_overrides
from polyview.rendering.store import ViewStore, fetch_contents
from polyview.studies.ledger import Ledger, Record
from polyview.training.loop import Job, Trainer, fetch_pictures

pytestmark = pytest.mark.slow
SECONDS = 240


@pytest.fixture(scope="module")
def url(new_url: Callable[[], str]) -> str:
    return new_url()


@pytest.fixture(scope="module")
def record(polyview: Any, url: str, recipe_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Record:
    """A trial on faces that another machine has rendered; its own disk has none of them afterwards."""
    small = tmp_path_factory.mktemp("small")
    for disk, words in (
        (tmp_path_factory.mktemp("render"), ["render", str(recipe_file)]),
        (small, ["pretrain", str(recipe_file), "--set", "training.ingest=streaming"]),
    ):
        driver = polyview(disk, url, *words)
        _, errors = driver.communicate(timeout=SECONDS)
        assert driver.returncode == 0, errors
    names = {path.name for path in small.rglob("*")}
    assert "store.json" in names
    assert not [name for name in names if name.endswith(".arrow")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(small))
        (found,) = Ledger(Home(place(url)).trials).all()
    return found


def store_of(url: str) -> Path:
    (mark,) = files(place(f"{url}/views"), "*/*/store.json")
    return mark.parent.parent


def test_what_streams_from_a_bucket_trains_as_what_is_mapped(
    record: Record, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "large"))
    experiment, store = with_overrides(record.experiment, {"training.ingest": "mapped"}), store_of(url)
    fetch_pictures(experiment, store)
    assert list((tmp_path / "large").rglob("*.arrow"))
    mapped = Trainer(Job(experiment, store, record.train_subjects, tmp_path / "trial"), torch.device("cpu"))
    (epoch,) = mapped.epochs()
    assert record.experiment.training.ingest == "streaming"
    assert epoch.metrics["loss"] == pytest.approx(record.history[0].metrics["loss"], rel=1e-6)


def test_any_rows_read_by_their_places_are_those_of_the_whole_file(
    record: Record, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = np.random.default_rng(0).integers(0, 36, 50)
    found = []
    for disk in ("empty", "full"):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / disk))
        if disk == "full":
            fetch_pictures(with_overrides(record.experiment, {"training.ingest": "mapped"}), store_of(url))
        fetch_contents(store_of(url))
        store = ViewStore.open(store_of(url))
        found.append(store.gather(rows, store.cameras[::-1]))
    assert not list((tmp_path / "empty").rglob("*.arrow"))
    np.testing.assert_array_equal(*found)
