"""The pace that a forecast is made of."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import torch

from polyview.recipe import Experiment, with_overrides
from polyview.rendering.store import ViewStore
from polyview.studies.timing import _time_samples, _time_step, forecast
from polyview.training.loop import Trainer, TrainingJob
from polyview.trials.spec import TrialSpec


@pytest.mark.parametrize("interrupted", [0, 1, 3])
def test_a_pass_that_was_interrupted_is_not_the_pace(
    tiny: Experiment, tiny_store: ViewStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interrupted: int
) -> None:
    people = tuple(sorted(set(tiny_store.labels("subject"))))
    trainer = Trainer(TrainingJob(tiny, tiny_store.folder, people, tmp_path), torch.device("cpu"))
    encode, passes = trainer.model.encode_views, list[float]()

    def encode_views(images: Any) -> Any:
        begun = time.perf_counter()
        if len(passes) == interrupted:
            time.sleep(2)
        embeddings = encode(images)
        passes.append(time.perf_counter() - begun)
        return embeddings

    monkeypatch.setattr(trainer.model, "encode_views", encode_views)
    pace = 4 * _time_samples(trainer, 4)
    assert min(passes) <= pace < passes[interrupted] - 1


def test_the_step_of_an_epoch_that_has_one_is_timed_too(
    tiny: Experiment, tiny_store: ViewStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    people = tuple(sorted(set(tiny_store.labels("subject"))))
    whole = with_overrides(tiny, {"training.batch_size": len(tiny_store.sample_ids)})
    trainer = Trainer(TrainingJob(whole, tiny_store.folder, people, tmp_path), torch.device("cpu"))
    assert trainer.batches.steps == 1
    step, taken = trainer.train_step, list[float]()

    def train_step(*batch: Any) -> Any:
        begun = time.perf_counter()
        found = step(*batch)
        taken.append(time.perf_counter() - begun)
        return found

    monkeypatch.setattr(trainer, "train_step", train_step)
    assert _time_step(trainer) >= min(taken)


def test_trials_that_take_less_than_their_probes_are_not_said_to_take_no_time(
    tiny: Experiment, tiny_store: ViewStore, tmp_path: Path
) -> None:
    spec = TrialSpec(with_overrides(tiny, {"training.epochs": 0}), tiny_store.folder, tmp_path)
    assert forecast(spec, [spec.experiment], 1, 2).startswith("a few seconds for 1 trial, once")
    longer = with_overrides(tiny, {"training.epochs": 10**6})
    assert " for 2 trials, 2 at once" in (told := forecast(spec, [longer, longer], 1, 2))
    assert told.startswith("about ")
