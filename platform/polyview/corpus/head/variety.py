"""Heads of other kinds than the average one: what a model must not mind when it is to know faces that others made.

Other face models have other proportions, move other muscles by other amounts, are coloured otherwise or not at all,
and scans have their studio's light in their texture.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from polyview.corpus.head.identity import Identity
from polyview.corpus.head.surface import EYEBALL, LOWER_MOUTH, UPPER_MOUTH, Array
from polyview.corpus.mesh import Mesh

Single = NDArray[np.float32]

_WAVES = 6
_MOUTH = (UPPER_MOUTH, LOWER_MOUTH)


@dataclass(frozen=True, eq=False)
class Kind:
    """What makes one person's head of another kind; fields are (V, 3), or (V,) where they say so.

    shift: millimetres that the head at rest is displaced; scale: factor of its size
    gain: factor of each way in which an expression moves a place; strength: (units,) factor of each action unit
    tint: factor of the colours; flat: how much of a place's colour gives way to `coat`, a colour, (V,) from 0 to 1
    hidden: (V,) bool, what is left out
    """

    shift: Single
    scale: Single
    gain: Single
    strength: Single
    tint: Single
    flat: Single
    coat: Single
    hidden: NDArray[np.bool_]


def draw_kind(seed: int, person: int, amount: float, rest: Single, part: NDArray[np.integer], units: int) -> Kind:
    """The kind of head that this person has, the same for ever; an `amount` of 0 is the average one.

    `rest` (V, 3) and `part` (V,) are the average head's.
    """
    rng = np.random.default_rng([seed, person, 3])
    places = rest.astype(np.float64)
    flat, coat = _coat(rng, amount, part)
    return Kind(
        shift=(amount * (3.0 * _waves(rng, places, 70.0, 250.0) + _waves(rng, places, 30.0, 70.0))).astype(np.float32),
        scale=np.exp(amount * rng.uniform(-0.09, 0.09, 3)).astype(np.float32),
        gain=np.exp(0.3 * amount * _waves(rng, places, 50.0, 150.0)).astype(np.float32),
        strength=np.exp(amount * rng.uniform(-0.9, 0.2, units)).astype(np.float32),
        tint=_tint(rng, amount, places).astype(np.float32),
        flat=flat.astype(np.float32),
        coat=coat.astype(np.float32),
        hidden=_hidden(rng, amount, places, part),
    )


def more_varied(identity: Identity, seed: int, person: int, amount: float) -> Identity:
    """The same person with features further from the average, and other brows."""
    rng = np.random.default_rng([seed, person, 4])
    brows = identity.complexion.brows * np.exp(amount * rng.uniform(-0.4, 0.4))
    return replace(
        identity,
        shape=identity.shape * (1 + 0.5 * amount * rng.random()),
        complexion=replace(identity.complexion, brows=float(brows)),
    )


def of_kind(head: Mesh, rest: Single, kind: Kind, amount: float, rng: np.random.Generator) -> Mesh:
    """A head, of a person whose head at rest is `rest` (V, 3), made one of another kind; `rng` draws the light."""
    assert head.colors is not None
    assert head.nose is not None
    vertices = (rest + kind.gain * (head.vertices - rest) + kind.shift) * kind.scale
    tip = int(np.linalg.norm(head.vertices - head.nose, axis=1).argmin())
    own = head.colors.astype(np.float64)
    colours = own + kind.flat[:, None] * (kind.coat - own)
    colours = colours * kind.tint * _light(rng, amount, vertices)[:, None]
    return replace(
        head,
        vertices=vertices.astype(np.float32),
        faces=head.faces[~kind.hidden[head.faces].any(axis=1)],
        colors=np.clip(colours, 0, 255).astype(np.uint8),
        nose=(vertices[tip] + rng.normal(0, 2.5 * amount, 3)).astype(np.float32),
    )


def _waves(rng: np.random.Generator, places: Array, shortest: float, longest: float) -> Array:
    """(V, 3) a smooth random field around zero whose standard deviation is one; wavelengths in millimetres."""
    ways = rng.normal(size=(_WAVES, 3))
    ways *= 2 * np.pi / rng.uniform(shortest, longest, (_WAVES, 1)) / np.linalg.norm(ways, axis=1, keepdims=True)
    waves: Array = np.sin(places @ ways.T + rng.uniform(0, 2 * np.pi, _WAVES))
    return waves @ rng.normal(size=(_WAVES, 3)) * np.sqrt(2 / _WAVES)


def _coat(rng: np.random.Generator, amount: float, part: NDArray[np.integer]) -> tuple[Array, Array]:
    """How much of its colour a place loses, (V,), and to which: grey models, plain eyes, mouths without teeth."""
    coat = np.full(3, rng.uniform(110, 225)) * (1 + amount * rng.uniform(-0.08, 0.08, 3) * (rng.random() < 0.5))
    grey, muted = rng.random() < 0.35 * amount, rng.uniform(0, 0.6)
    flat = np.full(len(part), rng.uniform(0.85, 1.0) if grey else amount * muted * (rng.random() < 0.5))
    if rng.random() < 0.3 * amount:
        flat[part == EYEBALL] = 1.0
    if rng.random() < 0.3 * amount:
        flat[np.isin(part, _MOUTH)] = 1.0
    return flat, coat


def _tint(rng: np.random.Generator, amount: float, places: Array) -> Array:
    """(V, 3) factors: of the whole head's channels, and of spots and shades over the skin."""
    spots = _waves(rng, places, 12.0, 90.0)[:, :1]
    return np.exp(amount * (rng.uniform(-0.2, 0.1) + rng.uniform(-0.07, 0.07, 3) + rng.uniform(0, 0.1) * spots))


def _hidden(rng: np.random.Generator, amount: float, places: Array, part: NDArray[np.integer]) -> NDArray[np.bool_]:
    """(V,) what is left out: the inside of the mouth, the eyeballs, all but the face."""
    hidden = np.isin(part, _MOUTH) & (rng.random() < 0.2 * amount)
    tip = places[places[:, 2].argmax()]
    hidden |= (part == EYEBALL) & (rng.random() < 0.1 * amount)
    beyond = np.linalg.norm(places - tip, axis=1) > rng.uniform(85, 130)
    return hidden | (beyond & (rng.random() < 0.5 * amount))


def _light(rng: np.random.Generator, amount: float, vertices: Single) -> Array:
    """(V,) factors of a light from anywhere that the colours have in them already."""
    outward = vertices - vertices.mean(axis=0)
    outward = outward / (np.linalg.norm(outward, axis=1, keepdims=True) + 1e-9)
    to_light = rng.normal(size=3)
    shade: Array = 1 + amount * rng.uniform(0, 0.45) * (outward @ (to_light / np.linalg.norm(to_light)))
    return np.clip(shade, 0.25, 1.6)
