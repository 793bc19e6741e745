"""Labels of a few people: whose are read, what the others' samples are used for, and of whom a batch is made."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from torch import Tensor

from polyview.corpus.manifest import Manifest
from polyview.corpus.splits import labelled
from polyview.language.pseudolabels import SampleLabels
from polyview.recipe import Experiment, with_overrides
from polyview.rendering.store import ViewStore
from polyview.training.augmentation import Augmentation, Share
from polyview.training.checkpoint import latest_checkpoint
from polyview.training.classes import labelled_samples
from polyview.training.loop import Trainer, TrainingJob
from polyview.training.targets import Step

MakeJob = Callable[..., TrainingJob]
CPU = torch.device("cpu")
WHOLE = Share()
QUARTER = {"language__labelled": 0.25}  # 3 of 12 people
CLIP = {"objective": {"alignment": {}}}
RECIPES: dict[str, dict[str, Any]] = {
    "smile-vlm": {},
    "clip": CLIP,
    "supervised": {"objective": {"supervised": {}}},
    "affect-vlm": {"objective": {"alignment": {}, "margin": {}, "triplet": {}}},
    "pairs": {"objective": {"simclr": {}, "contrast": {}}},
    "pseudo": {"objective": {"joint": {}, "contrast": {}, "alignment": {}}, "language__unlabelled": "pseudo"},
    "pseudo and supervised": {"objective": {"supervised": {}}, "language__unlabelled": "pseudo"},
}


def weights(job: TrainingJob) -> bytes:
    checkpoint = latest_checkpoint(job.folder)
    assert checkpoint is not None
    return (checkpoint.folder / "model.safetensors").read_bytes()


def relabelled(store: ViewStore, folder: Path, change: Callable[[str, str], str]) -> Path:
    """The same pictures of the same people; `change` makes of a subject and an expression what the label says."""
    folder.mkdir()
    for path in store.folder.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    frame = store.manifest.frame
    labels = [change(*pair) for pair in frame.select("subject", "expression").iter_rows()]
    frame = frame.with_columns(pl.Series("expression", labels))
    Manifest(frame, store.manifest.root, store.manifest.fingerprint).save(folder / "manifest.parquet")
    return folder


def read(trainer: Trainer) -> np.ndarray[Any, np.dtype[np.bool_]]:
    return labelled_samples(trainer.job.experiment, trainer.batches.store, trainer.batches.rows)


def first_step(trainer: Trainer, chosen: Tensor) -> Step:
    """The first step, of these samples as they are in place of its own."""
    first = next(trainer.batches.epoch(0, WHOLE))
    views = torch.from_numpy(
        trainer.batches.store.gather(trainer.batches.rows[chosen.numpy()], trainer.batches.cameras)
    )
    batch = dataclasses.replace(first, chosen=chosen, views=views, augmentation=Augmentation())
    return Step(batch, trainer.targets(batch))


def terms_of(trainer: Trainer, step: Step) -> Mapping[str, Tensor]:
    return trainer.loss(step.batch.images, step.targets)[1]


@pytest.mark.parametrize("changes", RECIPES.values(), ids=RECIPES)
def test_the_labels_of_the_unlabelled_change_no_loss_and_no_weight(
    make_job: MakeJob, tiny_store: ViewStore, tmp_path: Path, changes: dict[str, Any]
) -> None:
    job = make_job("true", **changes, **QUARTER)
    few = labelled(job.subjects, 0.25, job.experiment.seed)
    other = relabelled(tiny_store, tmp_path / "nonsense", lambda who, label: label if who in few else "nonsense")
    wrong = dataclasses.replace(job, store=other, folder=tmp_path / "wrong")
    losses = [[epoch.metrics["loss"] for epoch in Trainer(one, CPU).epochs()] for one in (job, wrong)]
    assert losses[0] == losses[1]
    assert weights(job) == weights(wrong)


@pytest.mark.parametrize("changes", RECIPES.values(), ids=RECIPES)
def test_the_labels_of_the_labelled_matter(
    make_job: MakeJob, tiny_store: ViewStore, tmp_path: Path, changes: dict[str, Any]
) -> None:
    job = make_job("true", **changes, **QUARTER)
    few, classes = labelled(job.subjects, 0.25, job.experiment.seed), job.experiment.corpus.expressions
    following = dict(zip(classes, (*classes[1:], classes[0]), strict=True))
    turn = few[0]
    other = relabelled(tiny_store, tmp_path / "other", lambda who, label: following[label] if who == turn else label)
    wrong = dataclasses.replace(job, store=other, folder=tmp_path / "wrong")
    for one in (job, wrong):
        list(Trainer(one, CPU).epochs())
    assert weights(job) != weights(wrong)


@pytest.mark.parametrize("changes", RECIPES.values(), ids=RECIPES)
def test_an_epoch_has_as_many_steps_whoever_is_labelled(make_job: MakeJob, changes: dict[str, Any]) -> None:
    steps = {Trainer(make_job(**changes, language__labelled=share), CPU).batches.steps for share in (0.01, 0.5, 1.0)}
    assert steps == {36 // 8}


@pytest.mark.parametrize("share", [0.01, 0.25, 0.6, 0.9])
def test_a_whole_batch_is_labelled_and_as_many_others_come_beside_it(make_job: MakeJob, share: float) -> None:
    trainer = Trainer(make_job(language__labelled=share), CPU)
    readable = read(trainer)
    batches = [readable[batch.chosen.numpy()] for batch in trainer.batches.epoch(0, WHOLE)]
    assert {(len(labels), int(labels.sum())) for labels in batches} == {(16, 8)}


def test_all_samples_of_a_kind_are_drawn_equally_often(make_job: MakeJob) -> None:
    trainer = Trainer(make_job(**QUARTER), CPU)
    drawn = torch.cat([batch.chosen for batch in trainer.batches.epoch(1, WHOLE)]).numpy()
    times, readable = np.bincount(drawn, minlength=36), read(trainer)
    for kind in (readable, ~readable):
        assert times[kind].sum() == 4 * 8
        assert np.ptp(times[kind]) <= 1


@pytest.mark.parametrize("name", ["clip", "supervised"])
def test_where_every_term_needs_a_label_batches_are_of_the_labelled_alone(make_job: MakeJob, name: str) -> None:
    trainer = Trainer(make_job(**RECIPES[name], language__labelled=0.01), CPU)
    drawn = torch.cat([batch.chosen for batch in trainer.batches.epoch(0, WHOLE)]).numpy()
    assert len(set(drawn.tolist())) == 3
    assert read(trainer)[drawn].all()
    assert all(np.isfinite(epoch.metrics["loss"]) for epoch in trainer.epochs())


@pytest.mark.parametrize(
    "changes",
    [
        {"language__labelled": 1.0},
        {"objective": {"decorrelation": {}}, "language__labelled": 0.1},
        {"objective": {"simclr": {}, "contrast": {}}, "language__prompts": "none", "language__labelled": 0.1},
        {"language__labelled": 0.99},  # all of twelve
    ],
    ids=["all", "no term reads one", "no label is read", "rounded"],
)
def test_the_order_is_the_usual_one_where_labels_make_no_difference(make_job: MakeJob, changes: dict[str, Any]) -> None:
    usual, other = (Trainer(make_job(name, **more), CPU) for name, more in (("usual", {}), ("other", changes)))
    orders = [[batch.chosen.tolist() for batch in one.batches.epoch(1, WHOLE)] for one in (usual, other)]
    assert orders[0] == orders[1]


@pytest.mark.parametrize("name", ["smile-vlm", "clip", "supervised", "affect-vlm"])
def test_a_batch_without_a_labelled_sample_gives_zero_and_a_gradient_of_zero(make_job: MakeJob, name: str) -> None:
    trainer = Trainer(make_job(**RECIPES[name], **QUARTER), CPU)
    nobody = torch.from_numpy(np.flatnonzero(~read(trainer))[:8])
    step = first_step(trainer, nobody)
    trainer.parallel.train()
    loss, terms, _ = trainer.loss(step.batch.images, step.targets)
    silent = [term for term in terms if term in trainer.job.experiment.objective.label_terms]
    assert silent
    assert all(terms[term] == 0 for term in silent)
    loss.backward()
    trained = {name: one.grad for name, one in trainer.model.named_parameters() if one.requires_grad}
    assert all(gradient is not None for gradient in trained.values())
    only = len(silent) == len(terms)
    assert not only or all(not gradient.any() for gradient in trained.values() if gradient is not None)
    assert trainer.train_step(step)["loss"].isfinite()


def test_terms_with_text_see_what_they_would_see_of_the_labelled_alone(make_job: MakeJob) -> None:
    trainer = Trainer(make_job(**QUARTER, training__augment=False), CPU)
    chosen = next(trainer.batches.epoch(0, WHOLE)).chosen
    trainer.model.eval()  # batch norm would see the others
    alone = chosen[torch.from_numpy(read(trainer)[chosen.numpy()])]
    found, expected = (terms_of(trainer, first_step(trainer, some)) for some in (chosen, alone))
    for term in ("alignment", "redundancy"):
        torch.testing.assert_close(found[term], expected[term])
    assert found["decorrelation"] != expected["decorrelation"]


def test_a_sample_that_is_drawn_twice_is_one_to_the_terms_that_compare_views(make_job: MakeJob) -> None:
    recipe = {
        "objective": {"decorrelation": {}, "joint": {}, "simclr": {}, "alignment": {}},
        "training__augment": False,
    }
    trainer = Trainer(make_job(**recipe, **QUARTER), CPU)
    trainer.model.eval()
    once = torch.arange(6)
    twice = torch.cat([once, once[:2]])
    one, other = (terms_of(trainer, first_step(trainer, chosen)) for chosen in (once, twice))
    for term in ("decorrelation", "joint", "simclr"):
        torch.testing.assert_close(one[term], other[term])


def test_the_unlabelled_get_pseudo_labels_and_the_confident_of_them_are_known(make_job: MakeJob) -> None:
    changes = RECIPES["pseudo"] | {"language__pseudo__confident": 0.4, "training__epochs": 3}
    trainer = Trainer(make_job(**changes, **QUARTER), CPU)
    true = np.array(
        [
            trainer.job.experiment.corpus.expressions.index(trainer.batches.store.labels("expression")[row])
            for row in trainer.batches.rows
        ]
    )
    for _ in trainer.epochs():
        found, readable = trainer.sample_labels, read(trainer)
        assert isinstance(found, SampleLabels)
        assert found.known is not None
        np.testing.assert_array_equal(found.label[readable], true[readable])
        assert found.known[readable].all()
        assert found.known[~readable].sum() == round(0.4 * (~readable).sum())
        np.testing.assert_array_equal(found.confident, found.known)
        assert set(found.label) <= {0, 1, 2}


def test_until_the_first_assignment_the_labelled_are_all_that_text_is_read_of(make_job: MakeJob) -> None:
    trainer = Trainer(make_job(**RECIPES["pseudo"], **QUARTER, language__pseudo__start=1), CPU)
    known = []
    for _ in trainer.epochs():
        assert trainer.sample_labels is not None
        assert trainer.sample_labels.known is not None
        known.append(int(trainer.sample_labels.known.sum()))
    assert known == [9, 9 + 14]


@pytest.mark.parametrize("name", ["smile-vlm", "pseudo"])
def test_a_run_with_few_labels_goes_on_to_the_same_end_bit_by_bit(
    make_job: MakeJob, killed_after: Any, name: str
) -> None:
    whole, cut = (make_job(folder, **RECIPES[name], **QUARTER) for folder in ("whole", "cut"))
    list(Trainer(whole, CPU).epochs())
    with pytest.raises(RuntimeError, match="killed"):
        list(Trainer(cut, CPU).epochs(killed_after(2)))
    list(Trainer(cut, CPU).epochs())
    assert weights(cut) == weights(whole)


def test_who_is_labelled_is_the_same_for_any_number_of_workers(make_job: MakeJob) -> None:
    trainer = Trainer(make_job(**QUARTER), CPU)
    parts = [list(trainer.batches.epoch(0, Share(rank, 2))) for rank in (0, 1)]
    whole = list(trainer.batches.epoch(0, WHOLE))
    for one, left, right in zip(whole, *parts, strict=True):
        assert one.sample_ids == left.sample_ids + right.sample_ids
        assert torch.equal(one.images, torch.cat([left.images, right.images]))
        assert torch.equal(one.chosen, left.chosen)


def test_pseudo_labels_beside_labels_need_labels(tiny: Experiment) -> None:
    with pytest.raises(Exception, match="unlabelled: pseudo gives text to those without a label"):
        with_overrides(tiny, {"language.unlabelled": "pseudo", "language.prompts": "pseudo"})
