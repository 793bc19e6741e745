from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from polyview.corpus.manifest import Manifest
from polyview.errors import UserError
from polyview.recipe import Experiment, with_overrides
from polyview.rendering.store import ViewStore
from polyview.training.checkpoint import latest_checkpoint
from polyview.training.loop import Trainer, TrainingJob
from polyview.training.saving import CheckpointTimes

MakeJob = Callable[..., TrainingJob]
CPU = torch.device("cpu")
MULTIVIEW_VLM: dict[str, Any] = {
    "objective": {"joint": {}, "contrast": {}, "alignment": {}},
    "language.prompts": "pseudo",
}
WITHOUT_LABELS = {
    "kmeans": MULTIVIEW_VLM,
    "sinkhorn": MULTIVIEW_VLM | {"language.pseudo.assign": "sinkhorn"},
    "later": MULTIVIEW_VLM | {"language.pseudo.start": 1},
    "no text": {"objective": {"decorrelation": {}, "contrast": {}, "simclr": {}}, "language.prompts": "none"},
}


def job_of(tiny: Experiment, store: ViewStore, folder: Path, changes: dict[str, Any]) -> TrainingJob:
    return TrainingJob(with_overrides(tiny, changes), store.folder, tuple(sorted(set(store.labels("subject")))), folder)


def weights(job: TrainingJob) -> bytes:
    checkpoint = latest_checkpoint(job.folder)
    assert checkpoint is not None
    return (checkpoint.folder / "model.safetensors").read_bytes()


def with_labels(store: ViewStore, folder: Path, labels: Sequence[str]) -> ViewStore:
    """The same pictures of the same people, whose labels say something else."""
    folder.mkdir()
    for shard in store.folder.glob("shard-*.arrow"):
        (folder / shard.name).write_bytes(shard.read_bytes())
    frame = store.manifest.frame.with_columns(pl.Series("expression", labels))
    manifest = Manifest(frame, store.manifest.root, store.manifest.fingerprint)
    manifest.save(folder / "manifest.parquet")
    for name in ("store.json", "rejected.parquet"):
        (folder / name).write_bytes((store.folder / name).read_bytes())
    return ViewStore.open(folder)


@pytest.mark.parametrize("changes", WITHOUT_LABELS.values(), ids=WITHOUT_LABELS)
def test_without_labels_as_supervision_no_label_is_ever_read(
    tiny: Experiment, tiny_store: ViewStore, tmp_path: Path, changes: dict[str, Any]
) -> None:
    nonsense = with_labels(tiny_store, tmp_path / "nonsense", ["no expression"] * len(tiny_store))
    true, wrong = (
        job_of(tiny, store, tmp_path / name, changes) for store, name in ((tiny_store, "true"), (nonsense, "wrong"))
    )
    for job in (true, wrong):
        list(Trainer(job, CPU).epochs())
    assert weights(true) == weights(wrong)


def test_with_labels_as_supervision_they_matter(tiny: Experiment, tiny_store: ViewStore, tmp_path: Path) -> None:
    labels = tiny_store.manifest.frame["expression"].to_list()
    permuted = with_labels(tiny_store, tmp_path / "permuted", labels[1:] + labels[:1])
    true, wrong = (job_of(tiny, store, tmp_path / store.folder.name, {}) for store in (tiny_store, permuted))
    for job in (true, wrong):
        list(Trainer(job, CPU).epochs())
    assert weights(true) != weights(wrong)


def test_prompts_that_do_not_fit_the_tower_are_refused_before_training(
    tiny: Experiment, tiny_store: ViewStore, tmp_path: Path
) -> None:
    own = {name: [f"{name} face " * times] for name, times in (("neutral", 1), ("happiness", 1), ("surprise", 20))}
    changes = {"language.own": own, "language.ensemble": 1, "language.prompts": "pseudo"}
    with pytest.raises(UserError, match="is longer than the 24 tokens that tiny-resnet reads"):
        Trainer(job_of(tiny, tiny_store, tmp_path / "trial", changes), CPU)


def test_fewer_samples_than_classes_are_refused(tiny: Experiment, tiny_store: ViewStore, tmp_path: Path) -> None:
    changes = MULTIVIEW_VLM | {
        "training.batch_size": 2,
        "corpus.expressions": ["neutral", "happiness", "surprise", "x"],
    }
    job = job_of(tiny, tiny_store, tmp_path / "trial", changes)
    alone = dataclasses.replace(job, subjects=job.subjects[:1])
    with pytest.raises(UserError, match="3 training samples cannot be spread over 4 classes"):
        next(Trainer(alone, CPU).epochs())


@pytest.mark.slow
@pytest.mark.parametrize("method", ["sinkhorn", "kmeans"])
@pytest.mark.parametrize(("start", "refresh"), [(0, 1), (0, 2), (1, 2)])
def test_a_pseudo_run_that_was_cut_short_goes_on_to_the_same_end_bit_by_bit(
    tiny: Experiment, tiny_store: ViewStore, tmp_path: Path, method: str, start: int, refresh: int
) -> None:
    changes = MULTIVIEW_VLM | {
        "training.epochs": 4,
        "language.pseudo": {"assign": method, "start": start, "refresh": refresh, "confident": 0.6},
    }
    whole, cut = (job_of(tiny, tiny_store, tmp_path / name, changes) for name in ("whole", "cut"))
    list(Trainer(whole, CPU).epochs())
    for _ in range(4):
        next(Trainer(cut, CPU).epochs())
    assert weights(cut) == weights(whole)


def test_pseudo_labels_last_until_the_next_refresh_and_stay_with_the_checkpoint(
    tiny: Experiment, tiny_store: ViewStore, tmp_path: Path
) -> None:
    changes = MULTIVIEW_VLM | {"training.epochs": 4, "language.pseudo.refresh": 2, "training.lr": 0.05}
    job = job_of(tiny, tiny_store, tmp_path / "trial", changes)
    trainer = Trainer(dataclasses.replace(job, checkpoints=CheckpointTimes(epochs=1)), CPU)
    labels = []
    for _ in trainer.epochs():
        checkpoint = latest_checkpoint(trainer.job.folder)
        assert checkpoint is not None
        assert checkpoint.pseudolabels is not None
        assert trainer.sample_labels is not None
        np.testing.assert_array_equal(checkpoint.pseudolabels.label, trainer.sample_labels.label)
        np.testing.assert_array_equal(checkpoint.pseudolabels.confident, trainer.sample_labels.confident)
        labels.append(checkpoint.pseudolabels.label.tolist())
    assert labels[0] == labels[1] != labels[2] == labels[3]
    assert len(labels[0]) == len(trainer.batches.rows)
    assert set(labels[0]) <= {0, 1, 2}


def test_until_the_first_assignment_the_terms_with_text_rest(
    tiny: Experiment, tiny_store: ViewStore, tmp_path: Path
) -> None:
    changes = MULTIVIEW_VLM | {"training.epochs": 3, "language.pseudo.start": 2}
    trainer = Trainer(job_of(tiny, tiny_store, tmp_path / "trial", changes), CPU)
    told = [sorted(name for name in epoch.metrics if name in changes["objective"]) for epoch in trainer.epochs()]
    assert told == [["contrast", "joint"], ["contrast", "joint"], ["alignment", "contrast", "joint"]]
