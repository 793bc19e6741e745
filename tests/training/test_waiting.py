"""Nothing waits for a GPU in a step: no number on the device is looked at, until it is time to read what was measured.

A step is taken on tensors that have shapes and no values, so that whatever needs a value raises. What torch itself
waits for inside of one operation is not seen so: the eigenvectors in `redundancy` are such, once a step.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from polyview.training.averaging import WeightAverage
from polyview.training.loop import Trainer, TrainingJob
from polyview.training.measured import READ_STEPS, Measured
from polyview.training.optimizer import make_optimizer
from polyview.training.targets import Step

MakeJob = Callable[..., TrainingJob]
CPU = torch.device("cpu")


def without_values(parts: object, mode: FakeTensorMode) -> dict[str, Any]:
    """The tensors among an object's parts, with shapes alone."""
    return {name: mode.from_tensor(part) for name, part in vars(parts).items() if isinstance(part, Tensor)}


def forget_values(trainer: Trainer, mode: FakeTensorMode) -> None:
    """Leave a trainer's tensors their shapes alone."""
    for module in trainer.model.modules():
        for name, weight in module.named_parameters(recurse=False):
            fake = nn.Parameter(mode.from_tensor(weight.detach()), requires_grad=weight.requires_grad)
            setattr(module, name, fake)
        for name, buffer in module.named_buffers(recurse=False):
            setattr(module, name, mode.from_tensor(buffer))
    training = trainer.job.experiment.training
    with mode:
        average = WeightAverage(trainer.model, training.ema) if training.ema else None
        optimizer = make_optimizer(trainer.model, training)
    trainer.state = dataclasses.replace(trainer.state, optimizer=optimizer, average=average)
    trainer.angles = mode.from_tensor(trainer.angles)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"objective__redundancy__form": "full", "language__labelled": 0.25},
        {"objective": {"joint": {}, "contrast": {}, "alignment": {}}},
        {"objective": {"simclr": {}}, "language__prompts": "none"},
        {"objective": {"alignment": {}, "margin": {}, "triplet": {}}},
        {"objective": {"supervised": {}}, "training__accumulate": 2, "model__tower": "clip"},
        {"training__crop": 0.5, "training__erase": 0.5, "training__flip": True, "training__ema": 0.9},
        {"corpus__generator__frames": 3, "model__temporal": "attention", "model__frames": 3},
    ],
)
def test_no_value_on_the_device_is_looked_at_in_a_step(
    changes: dict[str, Any], make_job: MakeJob, store_of: Any, clip: str
) -> None:
    job = make_job(**{name: clip if value == "clip" else value for name, value in changes.items()})
    if job.experiment.model.temporal == "attention":
        job = dataclasses.replace(job, store=store_of(job.experiment).folder)
    trainer, mode = Trainer(job, CPU), FakeTensorMode()
    step = next(trainer.prepared(0))
    forget_values(trainer, mode)
    augmentation = dataclasses.replace(step.batch.augmentation, **without_values(step.batch.augmentation, mode))
    batch = dataclasses.replace(step.batch, views=mode.from_tensor(step.batch.views), augmentation=augmentation)
    targets = dataclasses.replace(step.targets, **without_values(step.targets, mode))
    trainer.parallel.train()
    measured = Measured(0, torch.device("cuda"), {}, 1e-3)
    with mode:
        measured.add(trainer.train_step(Step(batch, targets)), batch.sample_ids)
        if trainer.state.average:
            trainer.state.average.update(0)
        with pytest.raises(DataDependentOutputException):
            measured.read()


def test_what_was_measured_is_read_every_so_many_steps_and_the_first_step_that_failed_is_named() -> None:
    measured = Measured(2, torch.device("cuda"), {"loss": 10.0}, 1e9)
    for number in range(READ_STEPS - 1):
        measured.add({"loss": torch.tensor(1.0 if number < 7 else torch.nan)}, [f"sample {number}"])
    assert measured.totals == {"loss": 10.0}
    with pytest.raises(FloatingPointError, match=r"is nan in epoch 3; .* sample 7, …; training.lr is 1e\+09, and"):
        measured.add({"loss": torch.tensor(1.0)}, ["the last"])
    assert measured.totals == {"loss": 17.0}
