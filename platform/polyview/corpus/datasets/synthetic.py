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
from polyview.corpus.head.variety import Kind, as_performed, draw_kind, of_kind
from polyview.corpus.manifest import Found
from polyview.corpus.mesh import Mesh
from polyview.recipe import Corpus

SCHEME = "synthetic:"
VERSION = 1
VERSION_OF_VARIETY = 2
_MORE_APART = 0.35


def scan(corpus: Corpus) -> Found:
    """The manifest rows that `corpus.generator` asks for; nothing is ever skipped."""
    return generated_rows(corpus, SCHEME, VERSION_OF_VARIETY if corpus.generator.variety else VERSION)


def load(path: str) -> Mesh:
    """The head that `path` describes; the same path is always the same mesh. Raises `MeshError`."""
    face = GeneratedFace.parse(path, SCHEME, VERSION_OF_VARIETY if "variety=" in path else VERSION)
    if not face.variety:
        return as_scanned(moved(_person(face.seed, face.person), face.units()), face, np.array(at.NECK_PIVOT))
    person, kind = _person_of_kind(face.seed, face.person, face.variety)
    rng = face.random(1)
    shown = as_performed(face.units(), kind, face.variety, rng)
    head = of_kind(moved(person, shown), person.vertices, kind, face.variety, rng)
    worse = replace(
        face,
        noise=face.noise + face.variety * rng.uniform(0, 0.15) * (rng.random() < 0.4),
        holes=face.holes + int(rng.integers(1, 5)) * (rng.random() < 0.25 * face.variety),
    )
    return as_scanned(head, worse, np.array(at.NECK_PIVOT))


@lru_cache(maxsize=8)
def _person(seed: int, person: int) -> Person:
    return shaped(draw_person(seed, person, shape_count()))


@lru_cache(maxsize=8)
def _person_of_kind(seed: int, person: int, amount: float) -> tuple[Person, Kind]:
    identity = draw_person(seed, person, shape_count())
    own = shaped(replace(identity, shape=identity.shape * (1 + _MORE_APART * amount)))
    kind = draw_kind(seed, person, amount, template().rest, average_surface())
    return replace(own, units=kind.units, creases=kind.creases), kind
