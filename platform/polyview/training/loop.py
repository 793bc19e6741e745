"""The pretraining loop in plain torch: one process by itself, or one of several in a process group."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from polyview.language.prompts import prompts_for
from polyview.language.pseudolabels import SampleLabels
from polyview.modeling.model import Embeddings, MultiviewModel
from polyview.modeling.towers import tokenize
from polyview.objectives.objective import BatchEmbeddings, total_loss
from polyview.objectives.shares import gradient_products, gradient_shares
from polyview.recipe import Experiment
from polyview.recipe.objective import Objective
from polyview.rendering.cameras import cameras
from polyview.rendering.sequences import open_samples
from polyview.rendering.store import fetch_contents, fetch_views
from polyview.training.augmentation import Share
from polyview.training.averaging import WeightAverage
from polyview.training.batches import Batch, Batches
from polyview.training.checkpoint import (
    Checkpoint,
    Snapshot,
    Source,
    TrainerState,
    checkpoint_name,
    latest_checkpoint,
)
from polyview.training.classes import known_classes, labelled_part, pseudo_classes
from polyview.training.collectives import agree, first_says, gather, pool, synchronize_batch_norm, world_size
from polyview.training.history import Epoch, Progress
from polyview.training.measured import Measured
from polyview.training.optimizer import make_optimizer, schedule
from polyview.training.precision import DTYPES, choose_precision, float32_products
from polyview.training.prefetch import on_device
from polyview.training.provenance import provenance_of_start
from polyview.training.saving import USUAL_TIMES, CheckpointTimes, CheckpointWriter
from polyview.training.sharding import shard, whole
from polyview.training.targets import Step, Targets
from polyview.training.usage import Usage

MAX_GRADIENT_NORM = 1.0
_OF_ONE_BATCH = ("share/", "cosine/")


@dataclass(frozen=True)
class TrainingJob:
    """What to train: a recipe, on some of a store's subjects, with checkpoints in `folder`."""

    experiment: Experiment
    store: Path
    subjects: tuple[str, ...]
    folder: Path
    checkpoints: CheckpointTimes = USUAL_TIMES


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
        self.sharded = training.sharding == "fsdp" and self.share.size > 1
        self.batches = make_batches(job)
        self.tokens = class_tokens(experiment) if experiment.language.prompts != "none" else None
        self.angles = torch.tensor([[camera.yaw, camera.pitch] for camera in self.batches.cameras], device=device)
        checkpoint = agreed_checkpoint(job.folder, device)
        torch.manual_seed(experiment.seed)
        self.model = checkpoint.model_in_training() if checkpoint else MultiviewModel(experiment)
        freeze_unused(self.model, experiment)
        synchronize_batch_norm(self.model)
        if self.sharded:
            shard(self.model, device)
        else:
            self.model.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.precision = choose_precision(training.precision, device, experiment.rendering.size)
        scaler = torch.amp.GradScaler(device.type, enabled=self.precision == "fp16")
        average = WeightAverage(self.model, training.ema) if training.ema else None
        self.state = TrainerState(make_optimizer(self.model, training), scaler, average)
        self.peaks: list[float] = [group["lr"] for group in self.state.optimizer.param_groups]
        self.steps = training.total_steps(self.batches.steps)
        self.usage = Usage(device)
        self.history: list[Epoch] = []
        self.progress = Progress()
        start = checkpoint.start if checkpoint else provenance_of_start(experiment.model)
        self.source = Source(manifest=self.batches.store.manifest.fingerprint, subjects=job.subjects, start=start)
        if checkpoint:
            checkpoint.load_trainer(self.state)
            self.history, self.progress = list(checkpoint.history), checkpoint.progress
        self.sample_labels = known_classes(experiment, self.batches)
        if checkpoint and experiment.language.assigns:
            self.sample_labels = checkpoint.pseudolabels
        if training.compile:
            self.model.compile()
        self.parallel: nn.Module = self.model
        if self.share.size > 1 and not self.sharded:
            self.parallel = DistributedDataParallel(self.model, broadcast_buffers=False)

    def epochs(self, warned: Callable[[], bool] = never) -> Iterator[Epoch]:
        """Train what is left of the recipe's epochs, one at a time.

        It is checkpointed as the job says, at the end, and where the caller leaves. `warned` is asked after each step
        whether this machine may soon be gone: then it is checkpointed too.
        """
        times, epochs = self.job.checkpoints, math.ceil(self.steps / self.batches.steps)
        done = len(self.history) * self.batches.steps + self.progress.steps
        with CheckpointWriter(self.job.folder) as writer, closing(self.prepared(done)) as ahead:
            for epoch in range(len(self.history), epochs):
                self.history.append(self._train_epoch(epoch, ahead, warned, writer))
                ended = epoch + 1
                saved = self._agreed(ended == epochs or times.is_due_after(ended, writer.since) or warned())
                if saved:
                    self._save(writer, Progress())
                if ended == epochs or times.is_looked_at(ended):
                    writer.wait()
                try:
                    yield self.history[-1]
                except GeneratorExit:
                    if not saved:
                        self._save(writer, Progress())
                    raise

    def _agreed(self, is_due: bool) -> bool:
        """Whether a checkpoint is due: of a sharded model, all workers make it, when the first one says so."""
        return first_says(is_due) if self.sharded else is_due

    def _save(self, writer: CheckpointWriter, progress: Progress) -> None:
        if self.share.rank and not self.sharded:
            return
        experiment = self.job.experiment
        made = self.sample_labels if experiment.language.assigns else None
        snapshot = Snapshot.take(self.model, self.state, experiment, self.source, self.history, progress, made)
        if self.share.rank == 0:
            writer.write(snapshot)

    def assign(self, epoch: int) -> None:
        """Give the training samples pseudo-labels by the model as it is, if the recipe wants new ones in `epoch`."""
        experiment, language = self.job.experiment, self.job.experiment.language
        pseudo = language.pseudo
        if not language.assigns or epoch < pseudo.start or (epoch - pseudo.start) % pseudo.refresh:
            return
        if self.tokens is not None and (experiment.objective.label_terms or experiment.objective.pair_terms):
            tokens = self.tokens.to(self.device)
            self.sample_labels = pseudo_classes(self.model, self.batches, tokens, experiment, self.share)

    def _train_epoch(
        self, epoch: int, ahead: Iterator[Step], warned: Callable[[], bool], writer: CheckpointWriter
    ) -> Epoch:
        before, self.progress = self.progress, Progress()
        started = time.perf_counter() - before.seconds
        measured = Measured(epoch, self.device, dict(before.totals), self.job.experiment.training.lr)
        if not before.steps:
            self.assign(epoch)
        self.parallel.train()
        begin = epoch * self.batches.steps
        steps = min(self.batches.steps, self.steps - begin)
        for number, step in enumerate(islice(ahead, steps - before.steps), before.steps):
            self._set_lr(begin + number)
            measured.add(self.train_step(step, with_shares=number + 1 == steps), step.batch.sample_ids)
            if self.state.average:
                self.state.average.update(begin + number)
            if number + 1 < steps and self._agreed(warned() or self.job.checkpoints.is_due(writer.since)):
                seconds = time.perf_counter() - started
                self._save(writer, Progress(steps=number + 1, totals=dict(measured.read()), seconds=seconds))
        metrics = self._metrics(measured.read(), begin, steps, time.perf_counter() - started)
        of = math.ceil(self.steps / self.batches.steps)
        return Epoch(epoch=epoch + 1, ended=time.time(), metrics=metrics, precision=self.precision, of=of)

    def _metrics(self, totals: Mapping[str, float], begin: int, steps: int, seconds: float) -> dict[str, float]:
        """What an epoch of so many steps from `begin` on is remembered by, of the sums of what they measured."""
        metrics = {name: total if name.startswith(_OF_ONE_BATCH) else total / steps for name, total in totals.items()}
        training = self.job.experiment.training
        return metrics | {
            "lr": training.lr * schedule(begin + steps - 1, self.steps, training.warmup),
            "samples_per_second": steps * self.batches.size / seconds,
            "seconds": seconds,
            **self.usage.read(),
        }

    def prepared(self, first: int, last: int | None = None) -> Generator[Step]:
        """This worker's part of a training's steps from `first` up to and without `last`, or to its end, on the device.

        What follows is read meanwhile, also past the end of an epoch. Targets are made in their turn: pseudo-labels may
        be new in the next epoch.
        """
        with closing(on_device(self._read(first, self.steps if last is None else last), self.device)) as batches:
            for batch in batches:
                yield Step(batch, self.targets(batch).to(self.device))

    def _read(self, first: int, last: int) -> Generator[Batch]:
        each = self.batches.steps
        for epoch in range(first // each, math.ceil(last / each)):
            begin = epoch * each
            yield from self.batches.epoch(epoch, self.share, max(first - begin, 0), min(last - begin, each))

    def targets(self, batch: Batch) -> Targets:
        """What a batch's samples are to be told by now."""
        labels = self.sample_labels or SampleLabels.each_its_own(len(self.batches.rows))
        tokens = self.tokens if self._objective.text_terms else None
        return Targets.of(batch, labels, self.batches.owners, tokens)

    def train_step(self, step: Step, with_shares: bool = False) -> dict[str, Tensor]:
        """Take one step; returns the loss and each unweighted term, and on request each term's share of the gradient.

        They are scalars on the device, where nothing is waited for.
        """
        # What a tower drops depends on the step and the worker alone, so a training that was cut short drops the same.
        torch.manual_seed(step.batch.draw + (self.share.rank << 30))
        optimizer, scaler = self.state.optimizer, self.state.scaler
        optimizer.zero_grad(set_to_none=True)
        with float32_products(self.precision):
            loss, terms, views = self.loss(step.batch.images, step.targets)
            shares = self._shares(terms, views) if with_shares else {}
            self.backward(scaler.scale(loss))
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(self.model.parameters(), MAX_GRADIENT_NORM)
        scaler.step(optimizer)
        scaler.update()
        self.model.clamp_logit_scale()
        return {"loss": loss.detach(), **{name: term.detach() for name, term in terms.items()}, **shares}

    def _shares(self, terms: Mapping[str, Tensor], views: Tensor) -> dict[str, Tensor]:
        if not views.requires_grad:  # the image tower is frozen, and no term teaches it anything
            return {}
        products = pool(gradient_products(self.job.experiment.objective, terms, views))
        return gradient_shares([*terms], products)

    def loss(self, images: Tensor, targets: Targets) -> tuple[Tensor, Mapping[str, Tensor], Tensor]:
        """The objective on the global batch of which `images` are this worker's part, each of its terms, and the
        embeddings (n, V, D) of this worker's views, from which they were computed.
        """
        objective, dtype = self._objective, DTYPES[self.precision]
        with torch.autocast(self.device.type, dtype, enabled=dtype != torch.float32):
            embeddings: Embeddings = self.parallel(images, self.angles, targets.tokens)
        logits = embeddings.class_logits
        loss, terms = total_loss(
            objective,
            BatchEmbeddings(
                views=gather(embeddings.views),
                projections=gather(embeddings.projections),
                fused=gather(embeddings.fused),
                text=embeddings.text,
                prompt_index=targets.prompt_index,
                logit_scale=whole(embeddings.logit_scale),
                label=targets.label,
                confident=targets.confident,
                subject=targets.subject,
                class_logits=None if logits is None else gather(logits),
                labelled=targets.labelled,
                distinct=targets.distinct,
            ),
        )
        if objective != self.job.experiment.objective and isinstance(self.parallel, DistributedDataParallel):
            # It waits for all parameters, also for those whose terms rest.
            loss = loss + 0 * sum(weight.sum() for weight in self.model.parameters() if weight.requires_grad)
        return loss, terms, embeddings.views

    def backward(self, loss: Tensor) -> None:
        """Give each trained parameter its gradient, which is zero where the terms that reach it rest."""
        loss.backward()
        for weight in self.model.parameters():
            if weight.requires_grad and weight.grad is None:
                weight.grad = torch.zeros_like(weight)

    @property
    def _objective(self) -> Objective:
        """What is trained now: terms with text rest until there are labels to tell which."""
        objective = self.job.experiment.objective
        return objective if self.sample_labels else objective.without_text()

    def _set_lr(self, step: int) -> None:
        share = schedule(step, self.steps, self.job.experiment.training.warmup)
        for group, peak in zip(self.state.optimizer.param_groups, self.peaks, strict=True):
            group["lr"] = peak * share


def agreed_checkpoint(folder: Path, device: torch.device) -> Checkpoint | None:
    """The newest checkpoint in a trial's folder that the first worker sees: others' machines may not list it yet."""
    found = latest_checkpoint(folder)
    place = (len(found.history), found.progress.steps) if found else (0, 0)
    epochs, steps = agree(torch.tensor(place, device=device)).tolist()
    return Checkpoint(folder / checkpoint_name(epochs, steps)) if epochs or steps else None


def make_batches(job: TrainingJob) -> Batches:
    """The batches of a job: the samples of its subjects, seen by its views."""
    experiment = job.experiment
    store = open_samples(job.store, experiment.model)
    views = cameras(experiment.rendering.views)
    if len(views) == 1 and experiment.objective.augmented_terms:
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
        training=experiment.training,
        seed=experiment.seed,
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
            used = text_is_used or "supervised" in objective.terms
        elif name.startswith("classifier."):
            used = "supervised" in objective.terms
        elif name == "towers.logit_scale":
            used = "alignment" in objective.terms
        elif name == "towers.logit_bias":
            used = False
        else:
            used = name.startswith(("towers.visual.", "temporal.")) or objective.trains_text
        parameter.requires_grad_(used and parameter.requires_grad)
