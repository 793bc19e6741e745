"""The pretraining loop in plain torch: one process by itself, or one of several in a process group."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import torch.distributed as dist
from pydantic import PlainSerializer, PlainValidator
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from polyview.language.prompts import prompts_for
from polyview.language.pseudolabels import SampleLabels
from polyview.modeling.model import Embeddings, MultiviewModel
from polyview.modeling.towers import tokenize
from polyview.objectives.objective import BatchEmbeddings, total_loss
from polyview.objectives.shares import gradient_products, gradient_shares
from polyview.recipe import Experiment, Training
from polyview.rendering.cameras import cameras
from polyview.rendering.sequences import open_samples
from polyview.rendering.store import fetch_contents, fetch_views
from polyview.storage.mirror import address, resolve
from polyview.training.batches import Batch, Batches, Share
from polyview.training.checkpoint import Source, TrainerState, latest_checkpoint, save_checkpoint
from polyview.training.classes import (
    classes_present,
    first_occurrences,
    known_classes,
    labelled_part,
    places,
    pseudo_classes,
    subject_numbers,
)
from polyview.training.collectives import gather, pool, synchronize_batch_norm, world_size
from polyview.training.history import Epoch, Progress
from polyview.training.precision import DTYPES, choose_precision
from polyview.training.usage import Usage

MAX_GRADIENT_NORM = 1.0
_OF_ONE_BATCH = ("share/", "cosine/")

# A path that is written as its address, and read on another machine.
StoredPath = Annotated[Path, PlainValidator(resolve), PlainSerializer(address)]


@dataclass(frozen=True)
class TrainingJob:
    """What to train: a recipe, on some of a store's subjects, with checkpoints in `folder`."""

    experiment: Experiment
    store: StoredPath
    subjects: tuple[str, ...]
    folder: StoredPath


def never() -> bool:
    """A machine that lasts."""
    return False


class Trainer:
    """A model, its optimiser and its batches; `epochs` trains from the last checkpoint on.

    With a process group, every worker makes one of these from the same job; their step is that of one worker.
    """

    def __init__(self, job: TrainingJob, device: torch.device) -> None:
        experiment, training = job.experiment, job.experiment.training
        self.job, self.device = job, device
        self.share = Share(dist.get_rank(), world_size()) if dist.is_initialized() else Share()
        self.batches = make_batches(job)
        self.subject = torch.from_numpy(subject_numbers(self.batches)).to(device)
        self.tokens = class_tokens(experiment).to(device) if experiment.language.prompts != "none" else None
        self.angles = torch.tensor([[camera.yaw, camera.pitch] for camera in self.batches.cameras], device=device)
        torch.manual_seed(experiment.seed)
        self.model = MultiviewModel(experiment).to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        freeze_unused(self.model, experiment)
        self.precision = choose_precision(training.precision, device)
        scaler = torch.amp.GradScaler(device.type, enabled=self.precision == "fp16")
        self.state = TrainerState(make_optimizer(self.model, training), scaler)
        self.usage = Usage(device)
        self.history: list[Epoch] = []
        self.progress = Progress()
        self.source = Source(manifest=self.batches.store.manifest.fingerprint, subjects=job.subjects)
        checkpoint = latest_checkpoint(job.folder)
        if checkpoint:
            checkpoint.load_weights(self.model)
            checkpoint.load_trainer(self.state)
            self.history, self.progress = list(checkpoint.history), checkpoint.progress
        self.sample_labels = known_classes(experiment, self.batches)
        if checkpoint and experiment.language.assigns:
            self.sample_labels = checkpoint.pseudolabels
        synchronize_batch_norm(self.model)
        self.parallel: nn.Module = self.model
        if self.share.size > 1:
            self.parallel = DistributedDataParallel(self.model, broadcast_buffers=False)

    def epochs(self, warned: Callable[[], bool] = never) -> Iterator[Epoch]:
        """Train what is left of the recipe's epochs, one at a time; each is checkpointed before it is yielded.

        `warned` is asked in mid-epoch after each step whether this machine may soon be gone: then it is checkpointed.
        """
        for epoch in range(len(self.history), self.job.experiment.training.epochs):
            self.history.append(self._train_epoch(epoch, warned))
            self._save(Progress())
            yield self.history[-1]

    def _save(self, progress: Progress) -> None:
        if self.share.rank == 0:
            experiment, source = self.job.experiment, self.source
            made = self.sample_labels if experiment.language.assigns else None
            save_checkpoint(self.job.folder, self.model, self.state, experiment, source, self.history, progress, made)

    def assign(self, epoch: int) -> None:
        """Give the training samples pseudo-labels by the model as it is, if the recipe wants new ones in `epoch`."""
        experiment, language = self.job.experiment, self.job.experiment.language
        pseudo = language.pseudo
        if not language.assigns or epoch < pseudo.start or (epoch - pseudo.start) % pseudo.refresh:
            return
        if self.tokens is not None and (experiment.objective.label_terms or experiment.objective.pair_terms):
            self.sample_labels = pseudo_classes(self.model, self.batches, self.tokens, experiment, self.share)

    def _train_epoch(self, epoch: int, warned: Callable[[], bool]) -> Epoch:
        before, self.progress = self.progress, Progress()
        started, totals = time.perf_counter() - before.seconds, dict(before.totals)
        if not before.steps:
            self.assign(epoch)
        self.parallel.train()
        for step, batch in enumerate(self.batches.epoch(epoch, self.share, before.steps), before.steps):
            self._set_lr(epoch * self.batches.steps + step)
            last = step + 1 == self.batches.steps
            for name, value in self.train_step(batch, epoch, with_shares=last).items():
                totals[name] = totals.get(name, 0.0) + value
            if step + 1 < self.batches.steps and warned():
                self._save(Progress(steps=step + 1, totals=totals, seconds=time.perf_counter() - started))
        metrics = self._metrics(totals, time.perf_counter() - started)
        return Epoch(epoch=epoch + 1, ended=time.time(), metrics=metrics, precision=self.precision)

    def _metrics(self, totals: Mapping[str, float], seconds: float) -> dict[str, float]:
        """What an epoch is remembered by, of the sums of what its steps measured."""
        metrics = {
            name: total if name.startswith(_OF_ONE_BATCH) else total / self.batches.steps
            for name, total in totals.items()
        }
        samples = self.batches.steps * self.batches.size
        return metrics | {
            "lr": self.state.optimizer.param_groups[0]["lr"],
            "samples_per_second": samples / seconds,
            "seconds": seconds,
            **self.usage.read(),
        }

    def train_step(self, batch: Batch, epoch: int, with_shares: bool = False) -> dict[str, float]:
        """Take one step; returns the loss and each unweighted term, and on request each term's share of the gradient.

        Raises `FloatingPointError` if the loss is not finite.
        """
        loss, terms, views = self.loss(batch)
        if not math.isfinite(loss.item()):
            raise FloatingPointError(
                f"the loss is {loss.item()} in epoch {epoch + 1}; the batch had {', '.join(batch.sample_ids[:8])}, …"
            )
        shares = self._shares(terms, views) if with_shares else {}
        optimizer, scaler = self.state.optimizer, self.state.scaler
        optimizer.zero_grad(set_to_none=True)
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(self.model.parameters(), MAX_GRADIENT_NORM)
        scaler.step(optimizer)
        scaler.update()
        self.model.clamp_logit_scale()
        return {"loss": loss.item(), **{name: term.item() for name, term in terms.items()}, **shares}

    def _shares(self, terms: Mapping[str, Tensor], views: Tensor) -> dict[str, float]:
        products = pool(gradient_products(self.job.experiment.objective, terms, views))
        return gradient_shares([*terms], products)

    def loss(self, batch: Batch) -> tuple[Tensor, Mapping[str, Tensor], Tensor]:
        """The objective on the global batch of which `batch` is this worker's part, each of its terms, and the
        embeddings (n, V, D) of this worker's views, from which they were computed.
        """
        objective, assignment, chosen = self.job.experiment.objective, self.sample_labels, batch.chosen.numpy()
        if assignment is None:
            objective = objective.without_text()
            assignment = SampleLabels.each_its_own(len(self.batches.rows))
        label = torch.from_numpy(assignment.label[chosen])
        labelled = None if assignment.known is None else places(assignment.known[chosen])
        present, index = classes_present(label, labelled)
        tokens = None
        if self.tokens is not None and objective.text_terms:
            # One prompt a class and batch, so that none of a sample's own class is its negative.
            tokens = self.tokens[batch.draw % len(self.tokens), present.to(self.device)]
        with torch.autocast(self.device.type, DTYPES[self.precision], enabled=self.precision != "fp32"):
            embeddings: Embeddings = self.parallel(batch.images.to(self.device), self.angles, tokens)
        logits = embeddings.class_logits
        loss, terms = total_loss(
            objective,
            BatchEmbeddings(
                views=gather(embeddings.views),
                projections=gather(embeddings.projections),
                fused=gather(embeddings.fused),
                text=embeddings.text,
                prompt_index=index.to(self.device),
                logit_scale=embeddings.logit_scale,
                label=label.to(self.device),
                confident=torch.from_numpy(assignment.confident[chosen]).to(self.device),
                subject=self.subject[batch.chosen.to(self.device)],
                class_logits=None if logits is None else gather(logits),
                labelled=labelled,
                distinct=places(first_occurrences(chosen)),
            ),
        )
        if objective != self.job.experiment.objective:
            # Distributed gradients wait for all parameters, also for those whose terms rest.
            loss = loss + 0 * sum(weight.sum() for weight in self.model.parameters() if weight.requires_grad)
        return loss, terms, embeddings.views

    def _set_lr(self, step: int) -> None:
        training = self.job.experiment.training
        for group in self.state.optimizer.param_groups:
            group["lr"] = training.lr * schedule(step, self.batches.steps * training.epochs, training.warmup)


def schedule(step: int, steps: int, warmup: float) -> float:
    """The share of the peak learning rate at `step` of `steps`: linear warm-up over its share, then cosine to zero."""
    rising = warmup * steps
    if step < rising:
        return (step + 1) / (rising + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1.0, steps - rising)))


def make_batches(job: TrainingJob) -> Batches:
    """The batches of a job: the samples of its subjects, seen by its views."""
    experiment = job.experiment
    store = open_samples(job.store, experiment.model)
    views = cameras(experiment.rendering.views)
    if len(views) == 1 and experiment.objective.augment:
        # Each copy is augmented by itself, and the pair is what the losses compare.
        views = views * 2
    read = None
    if experiment.training.ingest == "streaming":
        from polyview.training.streaming import stream  # and with it Ray Data, which takes a second

        read = functools.partial(stream, job.store, experiment.model, views)
    rows = store.rows_of(job.subjects)
    labelled, with_others = labelled_part(experiment, store, rows)
    return Batches(
        store=store,
        rows=rows,
        cameras=views,
        batch_size=experiment.training.batch_size,
        seed=experiment.seed,
        augment=experiment.training.augment,
        read=read,
        labelled=labelled,
        with_others=with_others,
    )


def fetch_pictures(experiment: Experiment, *stores: Path) -> None:
    """Have here what a recipe reads of some stores: the views it looks at, or what the stores say if those stream."""
    for store in stores:
        if experiment.training.ingest == "streaming":
            fetch_contents(store)
        else:
            fetch_views(store, cameras(experiment.rendering.views))


def class_tokens(experiment: Experiment) -> Tensor:
    """The tokens of every class's prompts: (ensemble, classes, context) int64."""
    return torch.stack(
        [
            tokenize(experiment.model.tower, prompts_for(name, experiment.language))
            for name in experiment.corpus.expressions
        ],
        dim=1,
    )


def freeze_unused(model: MultiviewModel, experiment: Experiment) -> None:
    """Take what the recipe's loss does not reach out of training: distributed gradients wait for all the others."""
    objective = experiment.objective
    text_is_used = bool(objective.text_terms)
    for name, parameter in model.named_parameters():
        if name.startswith("projector."):
            used = bool(objective.projected_terms)
        elif name.startswith("fusion."):
            used = text_is_used or objective.supervised is not None
        elif name.startswith("classifier."):
            used = True
        elif name == "towers.logit_scale":
            used = objective.alignment is not None
        elif name == "towers.logit_bias":
            used = False
        else:
            used = name.startswith(("towers.visual.", "temporal.")) or objective.trains_text
        parameter.requires_grad_(used and parameter.requires_grad)


def make_optimizer(model: nn.Module, training: Training) -> torch.optim.Optimizer:
    """AdamW; biases, norms and the logit scale (all that is not a matrix) are not decayed."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups: Sequence[dict[str, object]] = [
        {"params": [parameter for parameter in trained if parameter.dim() > 1]},
        {"params": [parameter for parameter in trained if parameter.dim() <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=training.lr, weight_decay=training.weight_decay, betas=(0.9, 0.98), fused=True)
