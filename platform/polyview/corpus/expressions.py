"""Performances for generated faces: who shows which expression, by which action units, how strongly.

Expressions are combinations of action units of the Facial Action Coding System as in EMFACS
(Friesen and Ekman, 1983): happiness 6+12, sadness 1+4+15, surprise 1+2+5+26, fear 1+2+4+5+7+20+26,
anger 4+5+7+23, disgust 9+15+16. Units that often come along are added by chance.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polyview.errors import UserError
from polyview.recipe import EXPRESSIONS, Generator

ACTION_UNITS = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 16, 17, 20, 23, 25, 26)
Activations = dict[int, float]


@dataclass(frozen=True)
class _Prototype:
    """The action units of an expression, each with its usual strength."""

    core: Mapping[int, float]
    companions: Mapping[int, float]


_PROTOTYPES = {
    "neutral": _Prototype({}, {}),
    "anger": _Prototype({4: 1.0, 5: 0.6, 7: 0.8, 23: 1.0}, {17: 0.5, 10: 0.3}),
    "disgust": _Prototype({9: 1.0, 15: 0.5, 16: 0.6}, {10: 0.8, 4: 0.4, 25: 0.4}),
    "fear": _Prototype({1: 1.0, 2: 0.6, 4: 0.6, 5: 1.0, 7: 0.3, 20: 1.0, 26: 0.4}, {25: 0.5}),
    "happiness": _Prototype({6: 0.9, 12: 1.0}, {25: 0.8, 26: 0.2}),
    "sadness": _Prototype({1: 1.0, 4: 0.5, 15: 1.0}, {17: 0.6, 7: 0.3}),
    "surprise": _Prototype({1: 1.0, 2: 1.0, 5: 0.9, 26: 1.0}, {25: 0.4}),
}
# What a face at rest does unasked; lips that part are seen at once, so they part less.
_NUISANCE = {unit: 0.02 if unit in (10, 16, 25, 26) else 0.12 for unit in ACTION_UNITS}


def subject_name(person: int) -> str:
    """What a generated person is called."""
    return f"s{person:03d}"


@dataclass(frozen=True)
class Frame:
    """One generated face: what it is called and what it shows; angles in degrees."""

    person: int
    expression: str
    sequence: int
    frame: int
    intensity: float
    activations: Activations
    yaw: float
    pitch: float

    @property
    def subject(self) -> str:
        return subject_name(self.person)

    @property
    def sequence_id(self) -> str:
        return f"{self.subject}_{self.expression}_{self.sequence}"

    @property
    def sample_id(self) -> str:
        return f"{self.sequence_id}_{self.frame:02d}"


def perform(generator: Generator, expressions: Sequence[str]) -> Iterator[Frame]:
    """Every frame that `generator` asks for, in the given expressions.

    A frame depends on the generator's settings and on its own person, expression and sequence, and on no
    other frame. Raises `UserError` for an expression that cannot be generated.
    """
    unknown = [name for name in expressions if name not in _PROTOTYPES]
    if unknown:
        raise UserError(
            f"corpus.expressions: {', '.join(unknown)} cannot be generated; known are {', '.join(EXPRESSIONS)}"
        )
    for person in range(generator.subjects):
        for expression in expressions:
            for sequence in range(generator.sequences):
                yield from _sequence(generator, person, expression, sequence)


def expressivity(seed: int, person: int) -> NDArray[np.float64]:
    """How strongly a person moves: (2, units) factors around 1, for the left and the right half of the face."""
    rng = np.random.default_rng([seed, person, 1])
    strength = rng.uniform(0.75, 1.15, len(ACTION_UNITS))
    asymmetry = np.clip(rng.normal(0.0, 0.05, len(ACTION_UNITS)), -0.12, 0.12)
    return np.stack([strength * (1 + asymmetry), strength * (1 - asymmetry)])


def _sequence(generator: Generator, person: int, expression: str, sequence: int) -> Iterator[Frame]:
    rng = np.random.default_rng([generator.seed, person, zlib.crc32(expression.encode()), sequence])
    apex = rng.uniform(*generator.apex)
    peak = _peak(rng, expression, apex, generator.variety)
    nuisance = {unit: float(rng.uniform(0, _NUISANCE[unit])) for unit in ACTION_UNITS if rng.random() < 0.3}
    yaw, pitch = np.clip(rng.normal(0.0, generator.pose, 2), -3 * generator.pose, 3 * generator.pose)
    for frame in range(generator.frames):
        envelope = float(np.sin(np.pi * (frame + 0.5) / generator.frames))
        shown = {unit: peak.get(unit, 0.0) * envelope + nuisance.get(unit, 0.0) for unit in ACTION_UNITS}
        yield Frame(
            person=person,
            expression=expression,
            sequence=sequence,
            frame=frame,
            intensity=0.0 if expression == "neutral" else envelope * apex,
            activations={unit: round(min(weight, 1.0), 3) for unit, weight in shown.items() if weight >= 0.0005},
            yaw=round(float(yaw), 2),
            pitch=round(float(pitch), 2),
        )


def _peak(rng: np.random.Generator, expression: str, apex: float, variety: float) -> Activations:
    prototype = _PROTOTYPES[expression]
    shown = dict(prototype.core)
    shown.update((unit, weight) for unit, weight in prototype.companions.items() if rng.random() < 0.5)
    least = 0.8 - 0.3 * variety
    return {unit: min(apex * weight * rng.uniform(least, 1.15), 1.0) for unit, weight in shown.items()}
