from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from polyview.errors import UserError
from polyview.recipe import Experiment, Modeling, with_overrides
from polyview.rendering.cameras import cameras
from polyview.rendering.sequences import open_samples
from polyview.rendering.store import ViewStore
from polyview.training.batches import Share
from polyview.training.loop import TrainingJob, make_batches
from polyview.training.streaming import Reader, stream

MakeJob = Callable[..., TrainingJob]
pytestmark = pytest.mark.usefixtures("local_ray")


@pytest.mark.parametrize("temporal", ["frame", "mean", "attention"])
def test_pictures_come_in_the_order_in_which_they_are_asked_for(
    tiny: Experiment, store_of: Callable[[Experiment], ViewStore], temporal: str
) -> None:
    changes = {"corpus.generator.subjects": 4, "corpus.generator.frames": 3, "model.temporal": temporal}
    experiment = with_overrides(tiny, changes)
    store, views = store_of(experiment).folder, cameras(experiment.rendering.views)
    samples = open_samples(store, experiment.model)
    batches = np.array_split(np.random.default_rng(0).permutation(len(samples)), 9)
    found = list(stream(store, experiment.model, views, batches))
    for rows, pictures in zip(batches, found, strict=True):
        np.testing.assert_array_equal(pictures, samples.gather(rows, views))


def test_what_streams_is_to_the_bit_what_is_mapped_for_every_share(make_job: MakeJob) -> None:
    mapped, streamed = (make_batches(make_job(training__ingest=ingest)) for ingest in ("mapped", "streaming"))
    for share in (Share(), Share(1, 2)):
        for one, other in zip(mapped.epoch(3, share), streamed.epoch(3, share), strict=True):
            assert torch.equal(one.images, other.images)
            assert one.sample_ids == other.sample_ids
            assert one.draw == other.draw


def test_an_epoch_may_be_left_after_a_batch_and_begun_again(make_job: MakeJob) -> None:
    batches = make_batches(make_job(training__ingest="streaming"))
    first = [next(iter(batches.epoch(0, Share()))) for _ in range(2)]
    assert torch.equal(first[0].images, first[1].images)


def test_cameras_that_are_added_to_a_store_can_be_read_where_it_was_read_before(
    tiny: Experiment, store_of: Callable[[Experiment], ViewStore], tmp_path: Path
) -> None:
    for count in (2, 3):
        part = store_of(with_overrides(tiny, {"rendering.views.count": count}))
        rig = cameras(part.rendering.views)
        shutil.copytree(part.folder, tmp_path / "store" / f"{count}-views")
        found = Reader(tmp_path / "store", Modeling(), rig)({"rows": [5, 0]})
        np.testing.assert_array_equal(found["views"], part.gather(np.array([5, 0]), rig))


def test_a_store_that_is_gone_is_named(make_job: MakeJob) -> None:
    job = make_job()
    nowhere = job.folder / "nowhere"
    with pytest.raises(UserError, match=f"{nowhere}: no complete view store"):
        list(itertools.islice(stream(nowhere, Modeling(), cameras(job.experiment.rendering.views), [np.arange(2)]), 1))
