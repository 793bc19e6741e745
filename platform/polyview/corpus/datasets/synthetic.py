"""Procedural heads: endless people, exact labels, no file."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np

from polyview.corpus.generated import GeneratedFace, as_scanned, generated_rows
from polyview.corpus.head import landmarks as at
from polyview.corpus.head.head import Person, moved, shape_count, shaped, template
from polyview.corpus.head.identity import draw_person
from polyview.corpus.head.surface import average_surface
from polyview.corpus.head.variety import Kind, draw_kind, more_varied, of_kind
from polyview.corpus.manifest import Found
from polyview.corpus.mesh import Mesh
from polyview.recipe import Corpus

SCHEME = "synthetic:"
VERSION = 1


def scan(corpus: Corpus) -> Found:
    """The manifest rows that `corpus.generator` asks for; nothing is ever skipped."""
    return generated_rows(corpus, SCHEME, VERSION)


def load(path: str) -> Mesh:
    """The head that `path` describes; the same path is always the same mesh. Raises `MeshError`."""
    face = GeneratedFace.parse(path, SCHEME, VERSION)
    person, units = _person(face.seed, face.person, face.variety), face.units()
    if not face.variety:
        return as_scanned(moved(person, units), face, np.array(at.NECK_PIVOT))
    kind, rng = _kind(face.seed, face.person, face.variety), face.random(1)
    head = of_kind(moved(person, units * kind.strength), person.vertices, kind, face.variety, rng)
    worse = replace(
        face,
        noise=face.noise + face.variety * rng.uniform(0, 0.15) * (rng.random() < 0.4),
        holes=face.holes + int(rng.integers(1, 5)) * (rng.random() < 0.25 * face.variety),
    )
    return as_scanned(head, worse, np.array(at.NECK_PIVOT))


@lru_cache(maxsize=8)
def _kind(seed: int, person: int, amount: float) -> Kind:
    shared = template()
    return draw_kind(seed, person, amount, shared.rest, average_surface().part, len(shared.units))


@lru_cache(maxsize=8)
def _person(seed: int, person: int, variety: float) -> Person:
    identity = draw_person(seed, person, shape_count())
    return shaped(more_varied(identity, seed, person, variety) if variety else identity)
