from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from polyview.errors import UserError
from polyview.rendering.store import ViewStore
from polyview.training.batches import Augmentation, Batches, Share

WHOLE = Share()


@pytest.fixture(scope="module")
def batches(tiny_store: ViewStore) -> Batches:
    """Every sample of the store, in batches of eight."""
    return Batches(
        store=tiny_store,
        rows=np.arange(len(tiny_store)),
        cameras=tiny_store.cameras,
        batch_size=8,
        seed=0,
        augment=True,
    )


def order(batches: Batches, epoch: int) -> list[str]:
    return [sample for batch in batches.epoch(epoch, WHOLE) for sample in batch.sample_ids]


@settings(deadline=None, max_examples=40)
@given(
    workers=st.sampled_from([1, 2, 4]),
    seed=st.integers(0, 2**31),
    epoch=st.integers(0, 1000),
    batch_size=st.sampled_from([4, 8, 12]),
    augment=st.booleans(),
)
def test_the_workers_shares_together_are_the_batch_of_one_worker(
    batches: Batches, workers: int, seed: int, epoch: int, batch_size: int, augment: bool
) -> None:
    drawn = dataclasses.replace(batches, seed=seed, batch_size=batch_size, augment=augment)
    shares = zip(*(drawn.epoch(epoch, Share(rank, workers)) for rank in range(workers)), strict=True)
    for whole, parts in zip(drawn.epoch(epoch, WHOLE), shares, strict=True):
        assert torch.equal(torch.cat([part.images for part in parts]), whole.images)
        assert tuple(sample for part in parts for sample in part.sample_ids) == whole.sample_ids
        assert {part.draw for part in parts} == {whole.draw}
        assert all(torch.equal(part.chosen, whole.chosen) for part in parts)


def test_an_epoch_has_each_sample_at_most_once_and_drops_less_than_a_batch(batches: Batches) -> None:
    seen = order(batches, 0)
    assert len(seen) == len(set(seen)) == batches.steps * 8
    assert len(batches.rows) - len(seen) < 8


def test_the_order_is_another_in_every_epoch_and_seed_and_the_same_when_asked_again(batches: Batches) -> None:
    orders = {tuple(order(dataclasses.replace(batches, seed=seed), epoch)) for seed in (0, 1) for epoch in (0, 1, 2)}
    assert len(orders) == 6
    assert order(batches, 1) == order(dataclasses.replace(batches), 1)


def test_unaugmented_images_are_the_stores_and_their_places_stand_beside_them(batches: Batches) -> None:
    plain = dataclasses.replace(batches, augment=False)
    batch = next(plain.epoch(3, WHOLE))
    rows = np.array([plain.store.sample_ids.index(sample) for sample in batch.sample_ids])
    stored = plain.store.gather(rows, plain.cameras)
    np.testing.assert_array_equal(
        (batch.images * 255).round().numpy().astype(np.uint8), stored.transpose(0, 1, 4, 2, 3)
    )
    assert plain.rows[batch.chosen.numpy()].tolist() == rows.tolist()


def test_augmentation_changes_every_view_by_itself_and_stays_in_range(batches: Batches) -> None:
    same = dataclasses.replace(batches, cameras=batches.cameras[:1] * 2)
    augmented = next(same.epoch(0, WHOLE)).images
    assert 0 <= augmented.min() <= augmented.max() <= 1
    assert (augmented[:, 0] - augmented[:, 1]).abs().amax(dim=(1, 2, 3)).min() > 0.02
    plain = next(dataclasses.replace(same, augment=False).epoch(0, WHOLE)).images
    assert torch.equal(plain[:, 0], plain[:, 1])
    # Small: what is seen remains the face.
    assert (augmented - plain).abs().mean() < 0.2


@pytest.mark.parametrize("size", [9, 32])
def test_augmentation_is_torchs_own_affine_warp_of_the_lit_picture(size: int) -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(4, 2, size, size, 3, generator=generator).permute(0, 1, 4, 2, 3)
    drawn = Augmentation.draw(4, 2, generator)
    lit = (images * drawn.gain + drawn.offset).clamp(0, 1).flatten(0, 1)
    grid = functional.affine_grid(drawn.warp.flatten(0, 1), [8, 3, size, size], align_corners=False)
    warped = functional.grid_sample(lit, grid, padding_mode="border", align_corners=False)
    torch.testing.assert_close(drawn.apply(images), warped.unflatten(0, (4, 2)))


def test_all_frames_of_a_film_are_augmented_alike() -> None:
    generator = torch.Generator().manual_seed(0)
    films = torch.rand(4, 2, 5, 3, 9, 9, generator=generator)
    drawn = Augmentation.draw(4, 2, generator)
    augmented = drawn.apply(films)
    for frame in range(5):
        torch.testing.assert_close(augmented[:, :, frame], drawn.apply(films[:, :, frame]))


def test_a_batch_larger_than_the_samples_is_refused(batches: Batches) -> None:
    with pytest.raises(UserError, match=r"training.batch_size is 64 and there are 36 samples"):
        dataclasses.replace(batches, batch_size=64)
