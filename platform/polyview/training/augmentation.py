"""Augmentation: how the pictures of a batch are varied, drawn for the whole of it whatever the number of workers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from polyview.errors import UserError
from polyview.recipe import Training
from polyview.rendering.cameras import Camera

TOLERANCE = 0.02  # degrees, as a rig rounds its steps to a hundredth
MAX_ASPECT = 4 / 3
ERASED_AREA, ERASED_ASPECT = (0.02, 0.33), 1 / 0.3


@dataclass(frozen=True)
class Share:
    """A worker's share of the global batch: rank `rank` of `size` workers."""

    rank: int = 0
    size: int = 1

    def of(self, items: Tensor) -> Tensor:
        """This worker's contiguous slice of the first dimension, which must divide by the number of workers."""
        each = len(items) // self.size
        return items[self.rank * each : (self.rank + 1) * each]


@dataclass(frozen=True, eq=False)
class Augmentation:
    """What is done to each picture of B samples seen by V views; what a recipe does not ask for is None.

    flipped (B,) bool; gain and offset of each channel (B, V, 3, 1, 1) each; warp (B, V, 2, 3), where each point of the
    new picture comes from; erased (B, V, 4), the centre and half the sides of a rectangle that loses its content. A
    picture's coordinates go from -1 to 1.
    """

    flipped: Tensor | None = None
    gain: Tensor | None = None
    offset: Tensor | None = None
    warp: Tensor | None = None
    erased: Tensor | None = None

    @classmethod
    def draw(cls, training: Training, samples: int, views: int, generator: torch.Generator) -> Augmentation:
        """The chances of one batch, for every view by itself, but for the flip, which is a sample's.

        All frames of a film have the same, so that what moves is the face.
        """
        warp = gain = offset = None
        if training.augment:
            warp, gain, offset = _draw_jitter(samples, views, generator)
        if training.crop:
            crop = _draw_crop(training.crop, samples, views, generator)
            warp = crop if warp is None else _after(crop, warp)
        erased = _draw_erased(training.erase, samples, views, generator) if training.erase else None
        flipped = torch.rand(samples, generator=generator) < 0.5 if training.flip else None
        return cls(flipped, gain, offset, warp, erased)

    def share(self, share: Share) -> Augmentation:
        """One worker's part."""
        return self._each(share.of)

    def to(self, device: torch.device) -> Augmentation:
        """The same on a device."""
        return self._each(lambda drawn: drawn.to(device, non_blocking=True))

    def _each(self, change: Callable[[Tensor], Tensor]) -> Augmentation:
        return Augmentation(*(None if drawn is None else change(drawn) for drawn in vars(self).values()))

    def apply(self, images: Tensor) -> Tensor:
        """Augment images (B, V, 3, S, S) or films (B, V, T, 3, S, S) in [0, 1], on the device that both are on.

        The border is repeated where the picture moved away.
        """
        # A store's pictures have their colours side by side; a warp reads planes faster.
        films = images.contiguous().unflatten(1, (-1, 1)) if images.dim() == 5 else images.contiguous()
        if self.flipped is not None:
            films = torch.where(self.flipped.view(-1, 1, 1, 1, 1, 1), films.flip(1, -1), films)
        if self.gain is not None and self.offset is not None:
            films = (films * self.gain[:, :, None]).add_(self.offset[:, :, None]).clamp_(0, 1)
        if self.warp is not None:
            films = _warped(films, self.warp)
        if self.erased is not None:
            films = _erased(films, self.erased)
        return films.reshape(images.shape)


def check_flip(cameras: Sequence[Camera]) -> None:
    """Raises `UserError` unless a mirrored face is seen by the same cameras, in the opposite order."""
    for camera, opposite in zip(cameras, reversed(cameras), strict=True):
        if abs(camera.yaw + opposite.yaw) > TOLERANCE or camera.pitch != opposite.pitch:
            raise UserError(
                f"training.flip: a mirrored face needs a camera opposite of {camera.name}, and the rig has none in its "
                "place; set training.flip: false"
            )


def _uniform(generator: torch.Generator, bound: float, *shape: int) -> Tensor:
    return (torch.rand(*shape, generator=generator) * 2 - 1) * bound


def _draw_jitter(samples: int, views: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """A warp, a gain and an offset.

    Turn within 10 degrees, zoom within 10 %, shift within 5 % of the picture, light within 20 %.
    """

    def uniform(bound: float, *shape: int) -> Tensor:
        return _uniform(generator, bound, samples, views, *shape)

    angle, zoom, shift = uniform(math.radians(10)), 1 + uniform(0.1), uniform(0.1, 2)
    cos, sin = angle.cos() * zoom, angle.sin() * zoom
    warp = torch.stack(
        [torch.stack([cos, -sin, shift[..., 0]], dim=-1), torch.stack([sin, cos, shift[..., 1]], dim=-1)], dim=-2
    )
    gain = 1 + uniform(0.2, 1, 1, 1) + uniform(0.05, 3, 1, 1)
    return warp, gain, uniform(0.1, 1, 1, 1)


def _draw_crop(least: float, samples: int, views: int, generator: torch.Generator) -> Tensor:
    """The warp of a random crop (B, V, 2, 3): of `least` to all of the area, its sides as 3 to 4 at most.

    As in Szegedy et al. 2015, "Going Deeper with Convolutions"; a side that is longer than the picture is shortened.
    """
    area = 1 - (1 - least) * torch.rand(samples, views, generator=generator)
    aspect = _uniform(generator, math.log(MAX_ASPECT), samples, views).exp()
    sides = torch.stack([(area * aspect).sqrt(), (area / aspect).sqrt()], dim=-1).clamp_(max=1)
    centre = _uniform(generator, 1, samples, views, 2) * (1 - sides)
    return torch.cat([torch.diag_embed(sides), centre[..., None]], dim=-1)


def _draw_erased(probability: float, samples: int, views: int, generator: torch.Generator) -> Tensor:
    """Rectangles (B, V, 4): the centre and half the sides, which are zero where nothing is erased.

    Area and sides are those of Zhong et al. 2020, "Random Erasing Data Augmentation".
    """
    low, high = ERASED_AREA
    area = low + (high - low) * torch.rand(samples, views, generator=generator)
    aspect = _uniform(generator, math.log(ERASED_ASPECT), samples, views).exp()
    sides = torch.stack([(area * aspect).sqrt(), (area / aspect).sqrt()], dim=-1).clamp_(max=1)
    centre = _uniform(generator, 1, samples, views, 2) * (1 - sides)
    is_erased = torch.rand(samples, views, 1, generator=generator) < probability
    return torch.cat([centre, sides * is_erased], dim=-1)


def _after(first: Tensor, then: Tensor) -> Tensor:
    """The warp (..., 2, 3) that looks up where `then` looks, and from that place where `first` looks."""
    turn = first[..., :2] @ then[..., :2]
    shift = first[..., :2] @ then[..., 2:] + first[..., 2:]
    return torch.cat([turn, shift], dim=-1)


def _warped(films: Tensor, warp: Tensor) -> Tensor:
    """Films (B, V, T, 3, S, S), each picture taken from where its view's warp (B, V, 2, 3) leads."""
    grid = _affine_grid(warp.flatten(0, 1).repeat_interleave(films.shape[2], dim=0), films.shape[-1])
    warped = functional.grid_sample(films.flatten(0, 2), grid, padding_mode="border", align_corners=False)
    return warped.reshape(films.shape)


def _erased(films: Tensor, erased: Tensor) -> Tensor:
    """Films (B, V, T, 3, S, S) whose rectangles (B, V, 4) have each picture's mean colour."""
    places = _centres(films.shape[-1], films.device)
    centre, half = erased[..., :2, None], erased[..., 2:, None]
    across, down = ((places - centre).abs() < half).unbind(-2)  # (B, V, S) each
    inside = (down[..., :, None] & across[..., None, :])[:, :, None, None]
    return torch.where(inside, films.mean(dim=(-2, -1), keepdim=True), films)


def _centres(size: int, device: torch.device) -> Tensor:
    """Where the centres of a row's pixels are, (size,), from -1 to 1."""
    return (2 * torch.arange(size, device=device) + 1) / size - 1


def _affine_grid(warp: Tensor, size: int) -> Tensor:
    """torch's `affine_grid` of warps (N, 2, 3) for square pictures, (N, size, size, 2), in a tenth of its time.

    What a row and what a column adds is computed once each, and each coordinate is a plane.
    """
    centres = _centres(size, warp.device)
    across = warp[..., 0, None] * centres
    down = warp[..., 1, None] * centres + warp[..., 2, None]
    return (down[..., None] + across[..., None, :]).permute(0, 2, 3, 1)
