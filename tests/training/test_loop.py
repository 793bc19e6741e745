from __future__ import annotations

import dataclasses
import itertools
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor

from polyview.recipe import Experiment
from polyview.rendering.store import ViewStore
from polyview.training.augmentation import Share
from polyview.training.batches import Batch
from polyview.training.checkpoint import Checkpoint, latest_checkpoint
from polyview.training.history import Epoch
from polyview.training.loop import Trainer, TrainingJob
from polyview.training.optimizer import schedule
from polyview.training.targets import Step

MakeJob = Callable[..., TrainingJob]
CPU = torch.device("cpu")
TEXT_FREE = {"objective__alignment": None, "objective__redundancy": None, "language__prompts": "none"}


def checkpoint_of(job: TrainingJob) -> Checkpoint:
    checkpoint = latest_checkpoint(job.folder)
    assert checkpoint is not None
    return checkpoint


def weights(job: TrainingJob) -> bytes:
    return (checkpoint_of(job).folder / "model.safetensors").read_bytes()


def losses(history: list[Epoch]) -> list[dict[str, float]]:
    """All that was measured but the time and what else it took."""
    return [{k: v for k, v in epoch.metrics.items() if "second" not in k and "system/" not in k} for epoch in history]


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_training_that_was_cut_short_goes_on_to_the_same_end_bit_by_bit(make_job: MakeJob, precision: str) -> None:
    changes = {"training__epochs": 3, "training__precision": precision}
    whole, cut = make_job("whole", **changes), make_job("cut", **changes)
    undisturbed = list(Trainer(whole, CPU).epochs())
    first = next(Trainer(cut, CPU).epochs())
    resumed = Trainer(cut, CPU)
    assert resumed.history == [first]
    rest = list(resumed.epochs())
    assert [epoch.epoch for epoch in rest] == [2, 3]
    assert losses([first, *rest]) == losses(undisturbed)
    assert weights(cut) == weights(whole)


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
@pytest.mark.parametrize(("epoch", "step"), [(0, 1), (0, 2), (1, 1)])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"language__prompts": "pseudo", "objective": {"joint": {}, "contrast": {}, "alignment": {}}},
        {"training__precision": "bf16", "training__ingest": "streaming"},
    ],
    ids=["labels", "pseudo-labels", "streaming"],
)
def test_training_that_is_warned_goes_on_from_that_very_step_to_the_same_end(
    make_job: MakeJob, killed_after: Any, epoch: int, step: int, changes: dict[str, Any]
) -> None:
    whole, cut = make_job("whole", **changes), make_job("cut", **changes)
    undisturbed = list(Trainer(whole, CPU).epochs())
    each = Trainer(cut, CPU).batches.steps
    with pytest.raises(RuntimeError, match="killed"):
        list(Trainer(cut, CPU).epochs(killed_after(epoch * each + step)))
    resumed, asked = Trainer(cut, CPU), itertools.count()
    assert (len(resumed.history), resumed.progress.steps) == (epoch, step)
    assert len(list(resumed.epochs(lambda: next(asked) < 0))) == 2 - epoch
    assert next(asked) == 2 * each - 1 - (epoch * each + step)  # the last step is the last checkpoint's
    assert losses(resumed.history) == losses(undisturbed)
    assert weights(cut) == weights(whole)
    assert [path.name for path in cut.folder.iterdir()] == ["epoch-0002"]


def test_a_finished_training_has_nothing_left_to_do(make_job: MakeJob) -> None:
    job = make_job(training__epochs=1)
    assert len(list(Trainer(job, CPU).epochs())) == 1
    before = weights(job)
    assert list(Trainer(job, CPU).epochs()) == []
    assert weights(job) == before


def test_training_lowers_the_loss(make_job: MakeJob) -> None:
    changes = {"objective__decorrelation": None, "objective__redundancy": None, "training__augment": False}
    history = list(Trainer(make_job(training__epochs=12, **changes), CPU).epochs())
    assert history[-1].metrics["loss"] < 0.8 * history[0].metrics["loss"]


def test_an_epoch_tells_each_term_and_their_weighted_sum(make_job: MakeJob) -> None:
    (epoch,) = Trainer(make_job(training__epochs=1), CPU).epochs()
    terms = {name: epoch.metrics[name] for name in ("decorrelation", "alignment", "redundancy")}
    weighted = 0.02 * terms["decorrelation"] + terms["alignment"] + 0.001 * terms["redundancy"]
    assert epoch.metrics["loss"] == pytest.approx(weighted, rel=1e-5)
    assert epoch.metrics["samples_per_second"] > 0


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_frozen_image_tower_trains_the_rest_and_has_no_share_of_the_gradient(
    make_job: MakeJob, accumulate: int
) -> None:
    job = make_job(training__epochs=1, training__accumulate=accumulate, model__image_layers=0)
    (epoch,) = Trainer(job, CPU).epochs()
    assert epoch.metrics["alignment"] > 0
    assert not any(name.startswith(("share/", "cosine/")) for name in epoch.metrics)


def test_another_seed_is_another_start(make_job: MakeJob) -> None:
    states = [Trainer(make_job(seed=seed), CPU).model.state_dict() for seed in (0, 0, 1)]
    same, other = ([torch.equal(states[0][k], states[n][k]) for k in states[0]] for n in (1, 2))
    assert all(same)
    assert not all(other)


def test_a_loss_that_is_not_finite_names_the_epoch_and_the_samples(make_job: MakeJob, tiny_store: ViewStore) -> None:
    with pytest.raises(FloatingPointError, match=r"the loss is (nan|inf) in epoch 1; the batch had ") as caught:
        list(Trainer(make_job(training__lr=1e30), CPU).epochs())
    named = str(caught.value).partition("the batch had ")[2].partition(", …")[0].split(", ")
    assert len(named) == 8
    assert set(named) <= set(tiny_store.sample_ids)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"objective__decorrelation": None},
        {"objective__alignment": None},
        {"objective__redundancy": None},
        {"objective__alignment": None, "objective__redundancy": None},
        {"objective__decorrelation": None, "objective__alignment": None},
        {"objective__decorrelation": None, "objective__redundancy": None, "model__fusion": "mean"},
        {"model__projector": []},
        TEXT_FREE,
        {"objective": {"joint": {}, "contrast": {}, "alignment": {}}, "language__prompts": "pseudo"},
        {"objective": {"contrast": {}}, "language__prompts": "pseudo"},
        {"objective": {"contrast": {}, "simclr": {}}, "language__prompts": "none"},
        {"objective": {"supervised": {}}},
        {"objective": {"contrast": {}, "alignment": {"weight": 0}, "supervised": {"weight": 0}}},
        {"objective": {"margin": {}, "triplet": {}}},
    ],
    ids=str,
)
def test_every_trained_parameter_has_a_gradient_and_every_frozen_one_stays(
    make_job: MakeJob, changes: dict[str, Any]
) -> None:
    trainer = Trainer(make_job(training__epochs=1, **changes), CPU)
    before = {name: weight.detach().clone() for name, weight in trainer.model.named_parameters()}
    trainer.assign(0)
    trainer.parallel.train()
    step = next(trainer.prepared(0))
    loss, *_ = trainer.loss(step.batch.images, step.targets)
    loss.backward()
    parameters = dict(trainer.model.named_parameters())
    assert {name for name, weight in parameters.items() if weight.requires_grad} == {
        name for name, weight in parameters.items() if weight.grad is not None
    }
    list(trainer.epochs())
    moved = {name for name, weight in parameters.items() if not torch.equal(weight.detach(), before[name])}
    assert moved
    assert all(parameters[name].requires_grad for name in moved)


@pytest.mark.parametrize("term", ["decorrelation", "alignment", "redundancy", "supervised"])
def test_a_term_of_weight_nothing_is_not_there(make_job: MakeJob, term: str) -> None:
    others = {"objective": {"decorrelation": {}, "alignment": {}, "redundancy": {}}, "training__epochs": 1}
    removed = make_job("removed", **others, **{f"objective__{term}": None})
    weightless = make_job("weightless", **others, **{f"objective__{term}": {"weight": 0}})
    for job in (removed, weightless):
        list(Trainer(job, CPU).epochs())
    of_removed, of_weightless = (
        load_file(checkpoint_of(job).folder / "model.safetensors") for job in (removed, weightless)
    )
    assert all(torch.equal(of_weightless[name], tensor) for name, tensor in of_removed.items())


def test_people_who_are_not_in_the_job_are_never_seen(make_job: MakeJob, tiny_store: ViewStore) -> None:
    everybody = make_job()
    some = TrainingJob(everybody.experiment, everybody.store, everybody.subjects[:6], everybody.folder)
    batches = Trainer(some, CPU).batches
    owner = dict(zip(tiny_store.sample_ids, tiny_store.labels("subject"), strict=True))
    drawn = [batch for epoch in range(5) for batch in batches.epoch(epoch, Share())]
    seen = {owner[sample] for batch in drawn for sample in batch.sample_ids}
    assert seen == set(some.subjects)


@given(steps=st.integers(1, 2000), warmup=st.floats(0, 0.99))
def test_the_learning_rate_rises_in_a_line_then_falls_to_nothing(steps: int, warmup: float) -> None:
    rates = [schedule(step, steps, warmup) for step in range(steps)]
    assert all(0 < rate <= 1 for rate in rates)
    rising = [rate for step, rate in enumerate(rates) if step < warmup * steps]
    falling = rates[len(rising) :]
    assert all(later > earlier for earlier, later in itertools.pairwise(rising))
    assert all(later <= earlier for earlier, later in itertools.pairwise(falling))
    slopes = [later - earlier for earlier, later in itertools.pairwise(rising)]
    assert max(slopes, default=0) - min(slopes, default=0) < 1e-9
    if len(falling) > 1:
        assert schedule(steps, steps, warmup) == pytest.approx(0, abs=1e-9)
    if not warmup:
        assert rates[0] == 1


def test_the_learning_rate_that_an_epoch_tells_is_the_schedules(make_job: MakeJob, tiny: Experiment) -> None:
    trainer = Trainer(make_job(training__epochs=2), CPU)
    told = [epoch.metrics["lr"] for epoch in trainer.epochs()]
    steps = trainer.batches.steps
    assert told == pytest.approx([1e-3 * schedule(last, 2 * steps, 0.1) for last in (steps - 1, 2 * steps - 1)])
    assert tiny.training.lr == 1e-3


def test_so_many_steps_are_taken_however_many_an_epoch_has(make_job: MakeJob) -> None:
    trainer = Trainer(make_job(training__epochs=None, training__steps=6), CPU)
    taken = []
    step = trainer.train_step

    def count(one: Step, **more: Any) -> dict[str, Tensor]:
        taken.append(len(trainer.history))
        return step(one, **more)

    trainer.train_step = count  # type: ignore[method-assign]
    history = list(trainer.epochs())
    each = trainer.batches.steps
    assert taken == [0] * each + [1] * (6 - each)
    assert [(epoch.epoch, epoch.of) for epoch in history] == [(1, 2), (2, 2)]
    assert history[-1].metrics["lr"] == pytest.approx(1e-3 * schedule(5, 6, 0.1))


def test_steps_of_whole_epochs_are_those_epochs(make_job: MakeJob) -> None:
    epochs = make_job("epochs", training__epochs=2)
    steps = make_job("steps", training__epochs=None, training__steps=2 * Trainer(epochs, CPU).batches.steps)
    assert losses(list(Trainer(steps, CPU).epochs())) == losses(list(Trainer(epochs, CPU).epochs()))
    assert weights(steps) == weights(epochs)


def test_what_is_dropped_depends_on_the_step_and_the_worker_and_on_nothing_else(make_job: MakeJob, clip: str) -> None:
    trainer = Trainer(make_job(model__tower=clip, model__patch_dropout=0.5), CPU)
    trainer.parallel.train()
    first, second = itertools.islice(trainer.prepared(0), 2)
    trainer.state.optimizer.step = lambda *_: None  # type: ignore[method-assign, assignment]
    found = {}
    for name, step, rank, seed in (
        ("first", first, 0, 1),
        ("again", first, 0, 2),
        ("another worker", first, 1, 1),
        ("another step", Step(dataclasses.replace(first.batch, draw=second.batch.draw), first.targets), 0, 1),
    ):
        torch.manual_seed(seed)
        trainer.share = Share(rank, 2)
        found[name] = float(trainer.train_step(step)["decorrelation"])
    assert found["first"] == found["again"]
    assert len(set(found.values())) == 3


def test_checkpoints_of_a_folder_are_those_of_its_job(make_job: MakeJob) -> None:
    job = make_job(training__epochs=2)
    list(Trainer(job, CPU).epochs())
    checkpoint = latest_checkpoint(job.folder)
    assert checkpoint is not None
    assert checkpoint.experiment == job.experiment
    assert [path.name for path in job.folder.iterdir()] == ["epoch-0002"]


def test_while_an_epoch_ends_the_next_is_read_and_its_targets_are_of_the_labels_that_are_known_then(
    make_job: MakeJob,
) -> None:
    trainer = Trainer(make_job(training__epochs=3), CPU)
    each, epochs, began = trainer.batches.steps, trainer.batches.epoch, threading.Event()

    def noted(epoch: int, *asked: Any) -> Iterator[Batch]:
        yield from epochs(epoch, *asked)
        if epoch == 0:
            began.set()

    trainer.batches.__dict__["epoch"] = noted
    ahead = trainer.prepared(0)
    first = [step.batch.sample_ids for step in itertools.islice(ahead, each)]
    assert began.wait(60)
    assert trainer.sample_labels is not None
    trainer.sample_labels = dataclasses.replace(trainer.sample_labels, label=trainer.sample_labels.label * 0)
    second = list(ahead)
    assert first == [batch.sample_ids for batch in epochs(0, Share())]
    later = [batch.sample_ids for epoch in (1, 2) for batch in epochs(epoch, Share())]
    assert [step.batch.sample_ids for step in second] == later
    assert not any(step.targets.label.any() for step in second)


def test_steps_from_the_middle_of_one_epoch_to_the_middle_of_another_are_those_of_the_whole(make_job: MakeJob) -> None:
    trainer = Trainer(make_job(training__epochs=3), CPU)
    whole = [step.batch.sample_ids for step in trainer.prepared(0)]
    assert len(whole) == 3 * trainer.batches.steps
    for first, last in ((1, len(whole) - 1), (trainer.batches.steps, len(whole)), (2, 2)):
        assert [step.batch.sample_ids for step in trainer.prepared(first, last)] == whole[first:last]
