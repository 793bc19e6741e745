"""When a training leaves a checkpoint, and that it is one of that moment however training goes on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch

from polyview.training.checkpoint import Snapshot, latest_checkpoint
from polyview.training.history import Progress
from polyview.training.loop import Trainer, TrainingJob
from polyview.training.saving import CheckpointTimes

MakeJob = Callable[..., TrainingJob]
CPU = torch.device("cpu")


def saved_as(job: TrainingJob) -> str | None:
    checkpoint = latest_checkpoint(job.folder)
    return checkpoint.folder.name if checkpoint else None


def test_a_training_of_less_than_the_time_has_one_checkpoint_at_its_end(make_job: MakeJob) -> None:
    job = make_job(training__epochs=3)
    assert [saved_as(job) for _ in Trainer(job, CPU).epochs()] == [None, None, "epoch-0003"]


def test_an_epoch_that_is_looked_at_has_its_checkpoint(make_job: MakeJob) -> None:
    job = dataclasses.replace(make_job(training__epochs=5), checkpoints=CheckpointTimes(epochs=2))
    found = [saved_as(job) for _ in Trainer(job, CPU).epochs()]
    assert found == [None, "epoch-0002", "epoch-0002", "epoch-0004", "epoch-0005"]


@pytest.mark.parametrize(("seconds", "in_mid_epoch"), [(0, False), (1e-9, True)])
def test_no_time_between_is_after_every_epoch_and_little_is_in_mid_epoch_too(
    make_job: MakeJob, seconds: float, in_mid_epoch: bool
) -> None:
    job = dataclasses.replace(make_job(training__epochs=6), checkpoints=CheckpointTimes(seconds))
    seen: set[str | None] = set()

    def look() -> bool:
        seen.add(saved_as(job))
        return False

    list(Trainer(job, CPU).epochs(look))
    names = {name for name in seen if name}
    assert any("-step-" not in name for name in names) or in_mid_epoch
    assert any("-step-" in name for name in names) == in_mid_epoch


def test_who_leaves_in_between_finds_what_was_trained(make_job: MakeJob) -> None:
    job = make_job(training__epochs=4)
    epochs = Trainer(job, CPU).epochs()
    next(epochs), next(epochs)
    assert saved_as(job) is None
    epochs.close()  # type: ignore[attr-defined]
    assert saved_as(job) == "epoch-0002"
    assert [epoch.epoch for epoch in Trainer(job, CPU).epochs()] == [3, 4]


@pytest.mark.parametrize("changes", [{}, {"training__ema": 0.9}])
def test_a_snapshot_is_of_its_moment(make_job: MakeJob, changes: dict[str, Any]) -> None:
    trainer = Trainer(make_job(training__epochs=2, **changes), CPU)
    epochs = trainer.epochs()
    next(epochs)
    then = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    moments = [one["exp_avg"].clone() for one in trainer.state.optimizer.state.values()]
    snapshot = Snapshot.take(
        trainer.model, trainer.state, trainer.job.experiment, trainer.source, trainer.history, Progress()
    )
    next(epochs)
    resumed = Trainer(make_job("resumed", training__epochs=2, **changes), CPU)
    checkpoint = snapshot.write(trainer.job.folder / "then")
    checkpoint.load_trainer(resumed.state)
    assert all(torch.equal(one, then[name]) for name, one in checkpoint.model_in_training().state_dict().items())
    assert any(not torch.equal(value, then[name]) for name, value in trainer.model.state_dict().items())
    loaded = [one["exp_avg"] for one in resumed.state.optimizer.state.values()]
    assert all(torch.equal(one, other) for one, other in zip(loaded, moments, strict=True))


def test_a_checkpoint_that_cannot_be_written_is_not_passed_over(make_job: MakeJob) -> None:
    job = make_job(training__epochs=1)
    job.folder.write_text("a file where the folder would be")
    with pytest.raises(OSError, match=r"trial"):
        list(Trainer(job, CPU).epochs())
