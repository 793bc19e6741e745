"""A head: the average surface, shaped by an identity, moved by action units, coloured."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from polyview.corpus.head import landmarks as at
from polyview.corpus.head.colour import Palette, make_palette, over_hairline, paint
from polyview.corpus.head.identity import Identity, shape_modes
from polyview.corpus.head.motion import Face, action_unit_fields, creases, opened_eyes
from polyview.corpus.head.surface import EYEBALL, FACE, Array, average_surface, eye_surface, smoothstep
from polyview.corpus.mesh import Mesh

Single = NDArray[np.float32]

_FOLD_SHADOW = 0.45


@dataclass(frozen=True, eq=False)
class Template:
    """All that every head shares; fields are flattened to (fields, 3 V) so that a head is a few matrix products."""

    rest: Single
    faces: NDArray[np.int32]
    modes: Single
    units: Single
    creases: Single
    left: Single
    palette: Palette
    outward: Single
    eyes: tuple[NDArray[np.intp], NDArray[np.intp]]
    lids: tuple[NDArray[np.intp], NDArray[np.intp]]
    nose: int


@cache
def template() -> Template:
    """The average head with its fields; made once per process."""
    surface = average_surface()
    face = Face(surface)
    rest = surface.vertices + opened_eyes(face)
    x, part = surface.anchors[:, 0], surface.part
    near_eye = (part == FACE) & (np.abs(face.across_eye) < 1.7) & (np.abs(face.above_eye) < 24) & (face.front > 0)
    outward = surface.vertices - np.array([0.0, 40.0, 0.0])
    outward[:, 1] = np.clip(outward[:, 1], 0, None)
    outward /= np.linalg.norm(outward, axis=1, keepdims=True) + 1e-9
    tip = (part == FACE) & (np.abs(x) < 2.5) & (np.abs(surface.vertices[:, 1]) < 5)
    return Template(
        rest=rest.astype(np.float32),
        faces=surface.faces,
        modes=shape_modes(face).reshape(-1, rest.size).astype(np.float32),
        units=action_unit_fields(face).reshape(-1, rest.size).astype(np.float32),
        creases=creases(face).astype(np.float32),
        left=smoothstep(-7.0, 7.0, x).astype(np.float32),
        palette=make_palette(face),
        outward=outward.astype(np.float32),
        eyes=_by_side(part == EYEBALL, x),
        lids=_by_side(near_eye, x),
        nose=int(np.argmax(np.where(tip, rest[:, 2], -np.inf))),
    )


@dataclass(frozen=True, eq=False)
class Person:
    """An identity's own head at rest, and how it moves; all float32.

    vertices (V, 3); colors (V, 3) in 0 to 255; eyes (2, 3), their centres; gains (2, units) of the left and the right
    half; units (units, 3 V) and creases (units, V) are what each action unit displaces, and how much it darkens
    """

    vertices: Single
    colors: Single
    eyes: Single
    gains: Single
    units: Single
    creases: Single


def shaped(identity: Identity) -> Person:
    """The head of `identity` at rest."""
    shared = template()
    vertices = shared.rest + (identity.shape.astype(np.float32) @ shared.modes).reshape(-1, 3)
    middles = [shared.rest[eye].mean(axis=0) for eye in shared.eyes]
    shifts = [vertices[eye].mean(axis=0) - middle for eye, middle in zip(shared.eyes, middles, strict=True)]
    # The hair starts to lift within its own edge: skin never does.
    hair = smoothstep(-1.0, 15.0, over_hairline(shared.palette, identity.complexion))
    thickness = hair * identity.complexion.hair_volume
    return Person(
        vertices=vertices + thickness.astype(np.float32)[:, None] * shared.outward,
        colors=paint(shared.palette, identity.complexion).astype(np.float32),
        eyes=np.array([(sign * at.EYE_X, *at.EYE_CENTRE) for sign in (1, -1)], dtype=np.float32) + shifts,
        gains=identity.gains.astype(np.float32),
        units=shared.units,
        creases=shared.creases,
    )


def moved(person: Person, units: NDArray[np.float64]) -> Mesh:
    """The head of `person` with these weights (units,), in the order of `ACTION_UNITS`."""
    shared = template()
    weights = person.gains * units.astype(np.float32)
    left, right = (weights @ person.units).reshape(2, -1, 3)
    left_folds, right_folds = weights @ person.creases
    vertices = person.vertices + right + shared.left[:, None] * (left - right)
    folds = right_folds + shared.left * (left_folds - right_folds)
    for sign, centre, lid in zip((1.0, -1.0), person.eyes, shared.lids, strict=True):
        vertices[lid] = _over_eyeball(vertices[lid], centre, sign)
    return Mesh(
        vertices=vertices,
        faces=shared.faces,
        colors=(person.colors * (1 - _FOLD_SHADOW * np.minimum(folds, 1))[:, None]).astype(np.uint8),
        nose=vertices[shared.nose].copy(),
    )


def shape_count() -> int:
    """How many modes of shape an identity has."""
    return len(template().modes)


def _by_side(mask: NDArray[np.bool_], x: Array) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    return np.flatnonzero(mask & (x > 0)), np.flatnonzero(mask & (x < 0))


def _over_eyeball(lid: Single, centre: Single, sign: float) -> Single:
    """Lids slide over the eyeball: what would sink into it is lifted out."""
    dx, dy = lid[:, 0] - centre[0], lid[:, 1] - centre[1]
    surface = centre[2] + eye_surface(dx, dy, sign, at.LID_THICKNESS)
    return np.stack([lid[:, 0], lid[:, 1], np.fmax(lid[:, 2], surface)], axis=1).astype(np.float32)
