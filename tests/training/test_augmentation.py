from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from polyview.errors import UserError
from polyview.recipe import Training
from polyview.rendering.cameras import Camera
from polyview.training.augmentation import Augmentation, check_flip

SIZE = 24
PLAIN = Training(augment=False)


def pictures(samples: int = 6, views: int = 3) -> Tensor:
    return torch.rand(samples, views, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))


def drawn(training: Training, samples: int = 6, views: int = 3, seed: int = 0) -> Augmentation:
    return Augmentation.draw(training, samples, views, torch.Generator().manual_seed(seed))


def with_(**changes: object) -> Training:
    return PLAIN.model_copy(update=changes)


def test_what_is_not_wanted_changes_no_bit() -> None:
    assert torch.equal(drawn(PLAIN).apply(pictures()), pictures())


def test_what_came_later_draws_after_what_was_there() -> None:
    """A recipe without crop, erase and flip is augmented as it always was, and one with them has the same jitter."""
    more = drawn(Training(erase=0.5, flip=True))
    for name in ("gain", "offset", "warp"):
        assert torch.equal(getattr(more, name), getattr(drawn(Training()), name))


def test_a_flip_mirrors_the_pictures_and_swaps_the_cameras_of_about_half_of_the_faces() -> None:
    images = pictures(200)
    augmentation = drawn(with_(flip=True), 200)
    assert augmentation.flipped is not None
    assert 70 < int(augmentation.flipped.sum()) < 130
    found = augmentation.apply(images.clone())
    for sample in range(200):
        expected = images[sample].flip(-1).flip(0) if augmentation.flipped[sample] else images[sample]
        assert torch.equal(found[sample], expected)


def test_films_are_mirrored_without_running_backwards() -> None:
    films = torch.rand(2, 3, 4, 3, SIZE, SIZE)
    found = Augmentation(flipped=torch.tensor([True, False])).apply(films.clone())
    assert torch.equal(found[0], films[0].flip(-1).flip(0))
    assert torch.equal(found[1], films[1])


@pytest.mark.parametrize("rig", [(0.0,), (-30.0, 30.0), (-60.0, 0.0, 60.0), (0.0, 0.0)])
def test_a_rig_that_is_its_own_mirror_image_can_flip(rig: tuple[float, ...]) -> None:
    check_flip([Camera(yaw, 0.0) for yaw in rig])


@pytest.mark.parametrize("rig", [(10.0,), (-30.0, 0.0, 20.0), (0.0, 30.0)])
def test_any_other_rig_is_refused_in_one_line(rig: tuple[float, ...]) -> None:
    with pytest.raises(UserError, match=r"training.flip: a mirrored face needs a camera opposite of yaw") as caught:
        check_flip([Camera(yaw, 0.0) for yaw in rig])
    assert "\n" not in str(caught.value)


@given(least=st.floats(0.05, 0.95), seed=st.integers(0, 1000))
def test_a_crop_lies_within_the_picture_and_has_the_area_that_is_asked(least: float, seed: int) -> None:
    warp = drawn(with_(crop=least), seed=seed).warp
    assert warp is not None
    corners = torch.tensor([[-1.0, -1, 1], [1, 1, 1]])
    assert (warp @ corners.T).abs().max() <= 1 + 1e-5
    sides = warp.diagonal(dim1=-2, dim2=-1)
    # A side that would be longer than the picture is cut, and the area with it.
    assert sides.prod(-1).min() >= least * 3 / 4 - 1e-5
    assert sides.prod(-1).max() <= 1
    aspect = sides[..., 0] / sides[..., 1]
    assert aspect.min() >= 3 / 4 - 1e-5
    assert aspect.max() <= 4 / 3 + 1e-5


def test_a_crop_is_what_is_cut_out_made_as_large_as_the_picture() -> None:
    """The right upper quarter, by hand."""
    picture = pictures(1, 1)
    warp = torch.tensor([[[[0.5, 0, 0.5], [0, 0.5, -0.5]]]])
    quarter = picture[0, 0, :, : SIZE // 2, SIZE // 2 :]
    grown = functional.interpolate(quarter[None], scale_factor=2, mode="bilinear", align_corners=False)[0]
    inner = slice(2, -2)  # at its border, a crop sees what lies beyond it
    found = Augmentation(warp=warp).apply(picture.clone())[0, 0]
    torch.testing.assert_close(found[:, inner, inner], grown[:, inner, inner])


def test_crop_and_jitter_make_one_warp_which_is_one_after_the_other() -> None:
    """On a slope, which bilinear sampling keeps, where neither leaves the picture."""
    both = drawn(Training(crop=0.3), 40, 1, seed=3)
    jitter = drawn(Training(), 40, 1, seed=3)
    assert both.warp is not None
    assert jitter.warp is not None
    point = torch.tensor([0.1, -0.2, 1.0])
    moved = jitter.warp @ point
    crop = both.warp[..., :2] @ torch.linalg.inv(jitter.warp[..., :2])
    shift = both.warp[..., 2:] - crop @ jitter.warp[..., 2:]
    torch.testing.assert_close(both.warp @ point, (crop @ moved[..., None] + shift)[..., 0])
    assert crop[..., 0, 1].abs().max() < 1e-5
    assert crop.diagonal(dim1=-2, dim2=-1).max() <= 1 + 1e-5


@pytest.mark.parametrize("probability", [0.25, 1.0])
def test_a_rectangle_of_as_many_views_as_asked_becomes_their_mean_colour(probability: float) -> None:
    images = pictures(200)
    found = drawn(with_(erase=probability), 200).apply(images.clone())
    changed = (found != images).any(dim=2).flatten(0, 1)  # (N, S, S)
    erased = changed.any(dim=(1, 2))
    assert abs(float(erased.float().mean()) - probability) < 0.06
    for picture, place in zip(images.flatten(0, 1)[erased], changed[erased], strict=True):
        rows, columns = place.any(dim=1).nonzero().flatten(), place.any(dim=0).nonzero().flatten()
        assert place.sum() == len(rows) * len(columns) == (rows[-1] - rows[0] + 1) * (columns[-1] - columns[0] + 1)
        assert 0.005 < place.float().mean() < 0.4
        assert picture.shape == (3, SIZE, SIZE)
    first = int(erased.nonzero()[0])
    mean = images.flatten(0, 1)[first].mean(dim=(1, 2))
    torch.testing.assert_close(found.flatten(0, 1)[first][:, changed[first]].T[0], mean)


def test_a_workers_part_is_cut_out_of_all_that_is_drawn() -> None:
    from polyview.training.augmentation import Share

    whole = drawn(Training(crop=0.5, erase=0.5, flip=True), 8)
    parts = [whole.share(Share(rank, 2)) for rank in range(2)]
    for field in dataclasses.fields(Augmentation):
        together = torch.cat([getattr(part, field.name) for part in parts])
        assert torch.equal(together, getattr(whole, field.name))
