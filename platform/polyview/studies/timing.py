"""How long trials will take on this machine, from a few steps of one of them."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch

from polyview.recipe import Experiment
from polyview.training.classes import known_classes
from polyview.training.loop import Trainer, TrainingJob
from polyview.trials.trial import TrialSpec, default_device
from polyview.trials.watcher import duration

STEPS = 2


@dataclass(frozen=True)
class Pace:
    """What a recipe's trial costs here: seconds of a step, and of one sample's embedding for the probes.

    steps: of an epoch; samples: of both sides; views: of a sample.
    """

    step_seconds: float
    sample_seconds: float
    steps: int
    samples: int
    views: int

    def seconds(self, experiment: Experiment) -> float:
        """What a trial of the same faces takes, with its own epochs and views; the probes' fits are not counted."""
        share = experiment.rendering.views.count / self.views
        training = experiment.training.epochs * self.steps * self.step_seconds
        return share * (training + self.samples * self.sample_seconds)


def forecast(spec: TrialSpec, experiments: Sequence[Experiment], cpus: int, concurrent: int) -> str:
    """What trials of these recipes take where `concurrent` run at once, in words; `spec` is one like them."""
    pace, together = measure_pace(spec, cpus), min(concurrent, len(experiments))
    seconds = sum(map(pace.seconds, experiments)) / together
    step = f"{1000 * pace.step_seconds:.0f} ms"
    return f"about {duration(seconds)} for {len(experiments)} trials, {together} at once; a step takes {step} here"


def measure_pace(spec: TrialSpec, cpus: int) -> Pace:
    """Train a few steps of a trial on `cpus` threads and embed a batch; nothing of it is kept.

    Pseudo-labels would need all faces embedded first, so the steps take the known classes in their place.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(cpus)
    try:
        with tempfile.TemporaryDirectory() as folder:
            train, test = spec.sides()
            job = TrainingJob(spec.experiment, spec.store, train.subjects, Path(folder))
            return _time_steps(Trainer(job, default_device()), len(test.store.rows_of(test.subjects)))
    finally:
        torch.set_num_threads(threads)


def _time_steps(trainer: Trainer, test_samples: int) -> Pace:
    batches = trainer.batches
    labelled = trainer.job.experiment.model_copy(
        update={"language": trainer.job.experiment.language.model_copy(update={"prompts": "label"})}
    )
    trainer.sample_labels = trainer.sample_labels or known_classes(labelled, batches)
    first, *others = islice(batches.epoch(0, trainer.share), 1 + STEPS)
    trainer.train_step(first, 0)  # the first one prepares the kernels
    started = time.perf_counter()
    for batch in others:
        trainer.train_step(batch, 0)
    step_seconds = (time.perf_counter() - started) / max(len(others), 1)
    started = time.perf_counter()
    with torch.inference_mode():
        trainer.model.eval().encode_views(first.images.to(trainer.device))
    return Pace(
        step_seconds=step_seconds,
        sample_seconds=(time.perf_counter() - started) / len(first.images),
        steps=batches.steps,
        samples=len(batches.rows) + test_samples,
        views=len(batches.cameras),
    )
