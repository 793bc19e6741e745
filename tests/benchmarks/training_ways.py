"""The ways to train that `training.py` measures. Each is made ready once, and then takes turns of one epoch."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, default_collate

from polyview.modeling.towers import build_towers
from polyview.objectives.objective import BatchEmbeddings, total_loss
from polyview.recipe import Experiment, Training, with_overrides
from polyview.rendering.store import ViewStore
from polyview.training.augmentation import Augmentation, Share
from polyview.training.loop import MAX_GRADIENT_NORM, Trainer, TrainingJob, class_tokens
from polyview.training.optimizer import make_optimizer
from polyview.trials.scoring import default_device

ENDLESS = 1_000_000  # epochs, so that no turn is the last one
SINGLE: dict[str, Any] = {
    "rendering.views.count": 1,
    "model.projector": [],
    "model.fusion": "mean",
    "objective.decorrelation": None,
    "objective.redundancy": None,
    "training.augment": False,
}

Turn = Callable[[], float]
"""Trains one epoch, or reads it, and says how many samples a second that were."""


@dataclass(frozen=True)
class Place:
    """Where the views are, as a store and as pictures, and where checkpoints may go."""

    recipe: Experiment
    store: Path
    pictures: Path
    checkpoints: Path

    def trainer(self, **overrides: Any) -> Trainer:
        """A trainer of all the store's people, on the device that a trial would have."""
        recipe = with_overrides(self.recipe, {"training.epochs": ENDLESS, **overrides})
        people = tuple(sorted(set(ViewStore.open(self.store).labels("subject"))))
        return Trainer(TrainingJob(recipe, self.store, people, self.checkpoints), default_device())


def serve(connection: Connection, make: Callable[[Place], Turn], place: Place, threads: int) -> None:
    """Answer each word that comes with a turn's samples a second and the peak MiB of the device; the last is False."""
    torch.set_num_threads(threads)
    turn = make(place)
    while connection.recv():
        speed = turn()
        peak = torch.cuda.max_memory_allocated() / 2**20 if torch.cuda.is_available() else 0.0
        connection.send((speed, peak))


def ours(place: Place) -> Turn:
    """polyview's loop. An epoch's checkpoint, which it writes after the epoch, is not in its time."""
    epochs = place.trainer().epochs()
    return lambda: next(epochs).metrics["samples_per_second"]


def ours_with_one_view(place: Place) -> Turn:
    """polyview's loop on what open_clip's does: one view, no augmentation, CLIP's loss."""
    epochs = place.trainer(**SINGLE).epochs()
    return lambda: next(epochs).metrics["samples_per_second"]


def our_feeding(place: Place) -> Turn:
    """polyview's batches, read and augmented, without a step."""
    batches = place.trainer().batches
    return lambda: _timed(batches.steps * batches.batch_size, lambda: _exhaust(batches.epoch(0, Share())))


def in_memory(place: Place) -> Turn:
    """The bare step on an epoch of batches in memory, which it augments."""
    step = BareStep(place.trainer())
    batches = replace(step.trainer.batches, training=place.recipe.training.model_copy(update={"augment": False}))
    ready = [(batch.images, step.labels[batch.chosen]) for batch in batches.epoch(0, Share())]

    def epoch() -> None:
        for images, labels in ready:
            step(*step.prepare(augmented(images) if place.recipe.training.augment else images, labels))

    return lambda: _timed(len(ready) * batches.batch_size, epoch)


def on_device(place: Place) -> Turn:
    """The bare step on an epoch of batches that lie on the device, augmented and with their prompts chosen."""
    step = BareStep(place.trainer())
    batches = step.trainer.batches
    ready = [step.prepare(batch.images, step.labels[batch.chosen]) for batch in batches.epoch(0, Share())]

    def epoch() -> None:
        for prepared in ready:
            step(*prepared)

    return lambda: _timed(len(ready) * batches.batch_size, epoch)


def pictures(workers: int, place: Place) -> Turn:
    """The bare step on what a plain DataLoader reads and augments, in so many processes."""
    step, loader = BareStep(place.trainer()), _loader(place, workers)

    def epoch() -> None:
        for images, labels in loader:
            step(*step.prepare(images, labels))

    return lambda: _timed(len(loader) * place.recipe.training.batch_size, epoch)


def pictures_alone(workers: int, place: Place) -> Turn:
    """What a plain DataLoader reads and augments, without a step."""
    loader = _loader(place, workers)
    return lambda: _timed(len(loader) * place.recipe.training.batch_size, lambda: _exhaust(loader))


def open_clips(fused: bool, place: Place) -> Turn:
    """open_clip's own `train_one_epoch` and AdamW, on an epoch of single views and their tokens in memory.

    Its AdamW is not fused, ours is.
    """
    from open_clip import ClipLoss
    from open_clip_train.scheduler import cosine_lr
    from open_clip_train.train import train_one_epoch

    recipe, device = place.recipe, default_device()
    towers = build_towers(recipe.model, recipe.rendering.size).to(device)
    towers.output_dict = True
    groups, lr = _decayed_apart(towers, recipe), recipe.training.lr
    optimizer = torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.98), eps=1e-6, fused=fused)
    data = Loaded(_images_and_texts(place, towers))
    arguments = SimpleNamespace(
        device=device,
        precision="amp_bf16" if recipe.training.precision == "bf16" else "fp32",
        grad_clip_norm=MAX_GRADIENT_NORM,
        batch_size=recipe.training.batch_size,
        accum_freq=1,
        skip_scheduler=False,
        distill=False,
        horovod=False,
        rank=0,
        world_size=1,
        log_every_n_steps=100,
        wandb=False,
    )
    scheduler = cosine_lr(optimizer, lr, 1, ENDLESS)
    train = {"train": SimpleNamespace(set_epoch=lambda epoch: epoch, dataloader=data)}
    loss = ClipLoss(cache_labels=True)
    return lambda: _timed(
        data.num_samples, lambda: train_one_epoch(towers, train, loss, 0, optimizer, None, scheduler, None, arguments)
    )


class BareStep:
    """polyview's step written out, as one would without its loop: the same model and losses, an optimiser like its."""

    def __init__(self, trainer: Trainer) -> None:
        assert trainer.sample_labels is not None
        assert trainer.tokens is not None
        self.trainer, self.model, self.tokens = trainer, trainer.model.train(), trainer.tokens
        self.labels = torch.from_numpy(trainer.sample_labels.label)
        self.experiment = trainer.job.experiment
        self.optimizer = make_optimizer(self.model, self.experiment.training)

    def prepare(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Images on the device, the prompts of the classes that are there, and which of them is whose."""
        device = self.trainer.device
        present, index = labels.unique(return_inverse=True)
        return images.to(device), self.tokens[0, present.to(device)], index.to(device)

    def __call__(self, images: Tensor, tokens: Tensor, index: Tensor) -> None:
        with torch.autocast(images.device.type, torch.bfloat16, self.experiment.training.precision == "bf16"):
            seen = self.model(images, self.trainer.angles, tokens)
        batch = BatchEmbeddings(
            views=seen.views,
            projections=seen.projections,
            fused=seen.fused,
            text=seen.text,
            prompt_index=index,
            logit_scale=seen.logit_scale,
            label=index,
            subject=index,
            confident=torch.ones_like(index, dtype=torch.bool),
        )
        loss, _ = total_loss(self.experiment.objective, batch)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), MAX_GRADIENT_NORM)
        self.optimizer.step()
        self.model.clamp_logit_scale()


class Pictures(Dataset[tuple[Tensor, int]]):
    """The views of a store's samples as PNG files, and their classes."""

    def __init__(self, files: Sequence[Sequence[Path]], classes: Sequence[int]) -> None:
        self.files, self.classes = files, classes

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        views = [torch.from_numpy(np.array(Image.open(file))) for file in self.files[row]]
        return torch.stack(views).permute(0, 3, 1, 2).float().div_(255), self.classes[row]


class Loaded(list[tuple[Tensor, Tensor]]):
    """Batches in memory with the two numbers that open_clip asks of a loader."""

    @property
    def num_batches(self) -> int:
        return len(self)

    @property
    def num_samples(self) -> int:
        return sum(len(images) for images, _ in self)


def augmented(images: Tensor) -> Tensor:
    """Images (B, V, 3, S, S) as polyview's batches would have them."""
    return Augmentation.draw(Training(), *images.shape[:2], torch.default_generator).apply(images)


def write_pictures(store: ViewStore, folder: Path) -> None:
    """Every view as a PNG file."""
    folder.mkdir()
    for row in range(len(store)):
        for number, view in enumerate(store.gather(np.array([row]), store.cameras)[0]):
            Image.fromarray(view).save(_picture(folder, row, number))


def _picture(folder: Path, row: int, view: int) -> Path:
    return folder / f"{row:06d}-{view}.png"


def _loader(place: Place, workers: int) -> DataLoader[tuple[Tensor, int]]:
    store, recipe = ViewStore.open(place.store), place.recipe
    files = [[_picture(place.pictures, row, view) for view in range(len(store.cameras))] for row in range(len(store))]
    classes = [recipe.corpus.expressions.index(name) for name in store.labels("expression")]
    return DataLoader(
        Pictures(files, classes),
        batch_size=recipe.training.batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=torch.cuda.is_available(),
        collate_fn=_collated if recipe.training.augment else default_collate,
    )


def _collated(samples: list[tuple[Tensor, int]]) -> tuple[Tensor, Tensor]:
    images, classes = default_collate(samples)
    return augmented(images), classes


def _images_and_texts(place: Place, towers: Any) -> list[tuple[Tensor, Tensor]]:
    trainer = place.trainer(**SINGLE)
    labels, tokens = BareStep(trainer).labels, class_tokens(trainer.job.experiment)[0]
    mean, std = (torch.tensor(value).view(3, 1, 1) for value in (towers.visual.image_mean, towers.visual.image_std))
    return [
        ((batch.images[:, 0] - mean) / std, tokens[labels[batch.chosen]]) for batch in trainer.batches.epoch(0, Share())
    ]


def _decayed_apart(towers: nn.Module, recipe: Experiment) -> list[dict[str, Any]]:
    weights = list(towers.parameters())
    return [
        {"params": [weight for weight in weights if weight.dim() < 2], "weight_decay": 0.0},
        {"params": [weight for weight in weights if weight.dim() > 1], "weight_decay": recipe.training.weight_decay},
    ]


def _exhaust(batches: Iterable[object]) -> None:
    for _ in batches:
        pass


def _timed(samples: int, work: Callable[[], None]) -> float:
    _wait_for_device()
    started = time.perf_counter()
    work()
    _wait_for_device()
    return samples / (time.perf_counter() - started)


def _wait_for_device() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
