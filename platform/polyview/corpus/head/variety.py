"""Heads of other kinds than the average one: what a model must not mind when it is to know faces that others made.

Other face models have other proportions, move other muscles by other amounts, are coloured otherwise or not at all,
and scans have their studio's light in their texture.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from polyview.corpus.expressions import ACTION_UNITS
from polyview.corpus.head.motion import Face, Muscle, action_unit_fields, creases
from polyview.corpus.head.surface import EYEBALL, LOWER_MOUTH, UPPER_MOUTH, Array, Surface
from polyview.corpus.mesh import Mesh

Single = NDArray[np.float32]

_WAVES = 6
_MOUTH = (UPPER_MOUTH, LOWER_MOUTH)
# Logarithms of the factors between which all action units of a region move alike: brows, eyes, nose and mouth.
_REGIONS = (
    ((1, 2, 4), (-1.2, 0.1)),
    ((5, 6, 7), (-0.8, 0.3)),
    ((9, 10), (-0.6, 0.3)),
    ((12, 14, 15, 16, 17, 20, 23, 25, 26), (-0.7, 0.3)),
)
# What comes along with an action unit where a scanned person shows it, and how much of that at most.
_COMPANIONS = {
    1: {2: 0.4},
    2: {1: 0.4},
    4: {7: 0.3},
    5: {1: 0.3, 2: 0.3},
    9: {10: 1.0, 25: 0.8, 4: 0.3},
    10: {25: 0.6, 9: 0.3},
    12: {25: 0.6, 6: 0.4},
    15: {17: 0.5},
    16: {25: 0.6},
    17: {15: 0.3},
    20: {16: 0.8, 25: 0.8},
    23: {17: 0.4, 25: 0.2},
    26: {25: 0.6},
}
_LIPS_PART, _JAW_DROP = ACTION_UNITS.index(25), ACTION_UNITS.index(26)


@dataclass(frozen=True, eq=False)
class Kind:
    """What makes one person's head of another kind; fields are (V, 3), or (V,) where they say so.

    shift: millimetres that the head at rest is displaced; scale: factor of its size
    gain: factor of each way in which an expression moves a place
    units, creases: what each action unit displaces, and how much it darkens, as in `Person`
    performance: (units, units) how much of each action unit (columns) is shown where one (rows) is asked for
    rest: (units,) what is added to each unit, whatever is asked for
    tint: factor of the colours; flat: how much of a place's colour gives way to `coat`, a colour, (V,) from 0 to 1
    hidden: (V,) bool, what is left out
    """

    shift: Single
    scale: Single
    gain: Single
    units: Single
    creases: Single
    performance: Single
    rest: Single
    tint: Single
    flat: Single
    coat: Single
    hidden: NDArray[np.bool_]


def draw_kind(seed: int, person: int, amount: float, rest: Single, surface: Surface) -> Kind:
    """The kind of head that this person has, the same for ever; an `amount` of 0 is the average one.

    `rest` (V, 3) and `surface` are the average head's.
    """
    rng = np.random.default_rng([seed, person, 3])
    places, part = rest.astype(np.float64), surface.part
    flat, coat = _coat(rng, amount, part)
    face, muscles = Face(surface), [_muscle(rng, amount) for _ in ACTION_UNITS]
    units = len(ACTION_UNITS)
    return Kind(
        shift=(2.5 * amount * _waves(rng, places, 70.0, 250.0)).astype(np.float32),
        scale=np.exp(amount * rng.uniform(-0.09, 0.09, 3)).astype(np.float32),
        gain=np.exp(0.2 * amount * _waves(rng, places, 50.0, 150.0)).astype(np.float32),
        units=action_unit_fields(face, muscles).reshape(units, -1).astype(np.float32),
        creases=(creases(face, muscles) * (1 - amount * rng.uniform(0, 1))).astype(np.float32),
        performance=_performance(rng, amount).astype(np.float32),
        rest=(amount * rng.uniform(0, 0.3, units) * (rng.random(units) < 0.3)).astype(np.float32),
        tint=_tint(rng, amount, places).astype(np.float32),
        flat=flat.astype(np.float32),
        coat=coat.astype(np.float32),
        hidden=_hidden(rng, amount, places, part),
    )


def as_performed(units: Array, kind: Kind, amount: float, rng: np.random.Generator) -> Array:
    """What a person of this kind shows, (units,), who is asked for `units`; `rng` draws whether the mouth opens."""
    shown = units @ kind.performance + kind.rest
    shown[_LIPS_PART] += amount * rng.uniform(0, 0.6) * (rng.random() < 0.3)
    shown[_JAW_DROP] += amount * rng.uniform(0, 0.2) * (rng.random() < 0.1)
    return np.clip(shown, 0, 1)


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


def _muscle(rng: np.random.Generator, amount: float) -> Muscle:
    outward, upward = amount * rng.normal(0, 2.5, 2)
    aside, up, forward = np.exp(amount * rng.normal(0, 0.25, 3))
    return Muscle((outward, upward), float(np.exp(amount * rng.uniform(-0.25, 0.25))), (aside, up, forward))


def _performance(rng: np.random.Generator, amount: float) -> Array:
    """(units, units) how much of each action unit (columns) is shown where one (rows) is asked for."""
    shown = np.zeros((len(ACTION_UNITS), len(ACTION_UNITS)))
    for units, strengths in _REGIONS:
        region = rng.uniform(*strengths)
        for unit in units:
            place = ACTION_UNITS.index(unit)
            shown[place, place] = np.exp(amount * (region + rng.uniform(-0.35, 0.35)))
    for unit, others in _COMPANIONS.items():
        for other, most in others.items():
            along = rng.uniform(0, most) * (rng.random() < 0.5)
            shown[ACTION_UNITS.index(unit), ACTION_UNITS.index(other)] = amount * along
    return shown


def _waves(rng: np.random.Generator, places: Array, shortest: float, longest: float) -> Array:
    """(V, 3) a smooth random field around zero whose standard deviation is one; wavelengths in millimetres."""
    ways = rng.normal(size=(_WAVES, 3))
    ways *= 2 * np.pi / rng.uniform(shortest, longest, (_WAVES, 1)) / np.linalg.norm(ways, axis=1, keepdims=True)
    waves: Array = np.sin(places @ ways.T + rng.uniform(0, 2 * np.pi, _WAVES))
    return waves @ rng.normal(size=(_WAVES, 3)) * np.sqrt(2 / _WAVES)


def _coat(rng: np.random.Generator, amount: float, part: NDArray[np.integer]) -> tuple[Array, Array]:
    """How much of its colour a place loses, (V,), and to which: grey models, plain eyes, mouths without teeth."""
    coat = np.full(3, rng.uniform(110, 225)) * (1 + amount * rng.uniform(-0.08, 0.08, 3) * (rng.random() < 0.5))
    grey, muted = rng.random() < 0.15 * amount, rng.uniform(0, 0.6)
    flat = np.full(len(part), rng.uniform(0.85, 1.0) if grey else amount * muted * (rng.random() < 0.5))
    if rng.random() < 0.1 * amount:
        flat[part == EYEBALL] = 1.0
    if rng.random() < 0.1 * amount:
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
