"""How long trials will take on this machine, from a few steps of one of them."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from polyview.recipe import Experiment
from polyview.training.classes import known_classes
from polyview.training.loop import Trainer, TrainingJob
from polyview.trials.spec import TrialSpec
from polyview.trials.watcher import duration
from polyview.wording import counted

STEPS = 2
SAMPLES = 32
MOST_SECONDS = 10.0
FEW_SECONDS = 5.0  # below which trials take as long as their probes


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
        training = experiment.training.total_steps(self.steps) * self.step_seconds
        return share * (training + self.samples * self.sample_seconds)


def forecast(spec: TrialSpec, experiments: Sequence[Experiment], cpus: int, concurrent: int) -> str:
    """What trials of these recipes take where `concurrent` run at once, in words; `spec` is one like them."""
    pace, together = measure_pace(spec, cpus), min(concurrent, len(experiments))
    seconds = sum(map(pace.seconds, experiments)) / together
    takes = "a few seconds" if seconds < FEW_SECONDS else f"about {duration(seconds)}"
    at_once = f", {together} at once" if len(experiments) > 1 else ""
    trials = f"{counted(len(experiments), 'trial')}{at_once}"
    return (
        f"{takes} for {trials}, once their workers have started and where nothing else runs; a step takes "
        f"{1000 * pace.step_seconds:.0f} ms here, and what the probes take is not counted"
    )


def measure_pace(spec: TrialSpec, cpus: int) -> Pace:
    """Embed one sample of a trial and train a few steps, on `cpus` threads; nothing of it is kept.

    Where the steps would take longer than `MOST_SECONDS` they are guessed: a gradient takes twice its embedding.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(cpus)
    try:
        with tempfile.TemporaryDirectory() as folder:
            train, test = spec.sides()
            job = TrainingJob(spec.experiment, spec.store, train.subjects, Path(folder))
            return _pace(Trainer(job, torch.device("cpu")), len(test.store.rows_of(test.subjects)))
    finally:
        torch.set_num_threads(threads)


def _pace(trainer: Trainer, test_samples: int) -> Pace:
    batches = trainer.batches
    sample_seconds = _time_samples(trainer, 1)
    step_seconds = 3 * sample_seconds * batches.size
    if step_seconds * (1 + STEPS) < MOST_SECONDS:
        step_seconds = _time_step(trainer)
        sample_seconds = _time_samples(trainer, min(SAMPLES, len(batches.rows)))
    samples = len(batches.rows) + test_samples
    return Pace(step_seconds, sample_seconds, batches.steps, samples, len(batches.cameras))


def _time_samples(trainer: Trainer, count: int) -> float:
    """The seconds that each of so many samples takes to embed: the shortest of a few times."""
    images = trainer.batches.images(np.arange(count), trainer.device)
    trainer.model.eval()
    seconds = []
    with torch.inference_mode():
        for _ in range(4):
            started = time.perf_counter()
            trainer.model.encode_views(images)
            seconds.append(time.perf_counter() - started)
    return min(seconds) / count


def _time_step(trainer: Trainer) -> float:
    """The seconds of a step; the known classes stand in for pseudo-labels, which need all faces embedded first."""
    experiment = trainer.job.experiment
    language = experiment.language.model_copy(update={"prompts": "label"})
    labels = known_classes(experiment.model_copy(update={"language": language}), trainer.batches)
    trainer.sample_labels = trainer.sample_labels or labels
    trainer.model.train()
    first, *others = trainer.prepared(0, 1 + STEPS)
    trainer.train_step(first)
    started = time.perf_counter()
    for step in others:
        trainer.train_step(step)
    return (time.perf_counter() - started) / len(others)
