from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from polyview.training.averaging import WeightAverage
from polyview.training.checkpoint import latest_checkpoint, open_checkpoint
from polyview.training.loop import Trainer, TrainingJob

MakeJob = Callable[..., TrainingJob]
CPU = torch.device("cpu")


def test_an_average_keeps_its_decay_once_enough_steps_are_behind_it() -> None:
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    average = WeightAverage(model, 0.5)
    nn.init.ones_(model.weight)
    for step in range(100, 103):
        average.update(step)
    assert float(average.weights["weight"]) == pytest.approx(1 - 0.5**3)


def test_a_short_trainings_average_is_not_that_of_its_start() -> None:
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    average = WeightAverage(model, 0.9999)
    nn.init.ones_(model.weight)
    for step in range(20):
        average.update(step)
    assert float(average.weights["weight"]) > 0.99


def test_what_is_evaluated_is_the_average_of_what_every_step_made(make_job: MakeJob) -> None:
    trainer = Trainer(make_job(training__ema=0.6, training__epochs=1), CPU)
    average = {name: value.double() for name, value in trainer.model.state_dict().items()}
    weights: list[dict[str, Tensor]] = []
    step = trainer.train_step

    def remember(*arguments: Any, **more: Any) -> dict[str, Tensor]:
        found = step(*arguments, **more)
        weights.append({name: value.clone() for name, value in trainer.model.state_dict().items()})
        return found

    trainer.train_step = remember  # type: ignore[method-assign]
    list(trainer.epochs())
    for number, made in enumerate(weights):
        kept = min(0.6, (1 + number) / (10 + number))
        average = {name: kept * value + (1 - kept) * made[name].double() for name, value in average.items()}
    evaluated = open_checkpoint(trainer.job.folder).load_model().state_dict()
    for name, value in evaluated.items():
        if value.is_floating_point():
            torch.testing.assert_close(value.double(), average[name], rtol=1e-5, atol=1e-6)
        else:
            assert torch.equal(value, weights[-1][name])
    last = load_file(open_checkpoint(trainer.job.folder).folder / "last_weights.safetensors")
    assert all(torch.equal(last[name], weights[-1][name]) for name in last)


def test_an_average_changes_nothing_of_the_training(make_job: MakeJob) -> None:
    plain, averaged = Trainer(make_job("plain"), CPU), Trainer(make_job("averaged", training__ema=0.9), CPU)
    list(plain.epochs())
    list(averaged.epochs())
    one, other = plain.model.state_dict(), averaged.model.state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.slow
def test_an_average_and_what_a_tower_drops_go_on_from_that_very_step_bit_by_bit(
    make_job: MakeJob, killed_after: Callable[[int], Callable[[], bool]], clip: str
) -> None:
    changes = {
        "model__tower": clip,
        "model__patch_dropout": 0.5,
        "training__ema": 0.9,
        "training__steps": 7,
        "training__epochs": None,
        "training__persons": 4,
        "training__crop": 0.5,
        "training__erase": 0.5,
        "training__flip": True,
        "training__layer_decay": 0.7,
        "training__accumulate": 2,
    }
    whole, cut = make_job("whole", **changes), make_job("cut", **changes)
    list(Trainer(whole, CPU).epochs())
    with pytest.raises(RuntimeError, match="killed"):
        list(Trainer(cut, CPU).epochs(killed_after(2)))
    torch.manual_seed(123)
    list(Trainer(cut, CPU).epochs())
    for name in ("model.safetensors", "last_weights.safetensors"):
        one, other = (next(_files(job, name)) for job in (whole, cut))
        assert one == other, name


def _files(job: TrainingJob, name: str) -> Iterator[bytes]:
    checkpoint = latest_checkpoint(job.folder)
    assert checkpoint is not None
    yield (checkpoint.folder / name).read_bytes()
