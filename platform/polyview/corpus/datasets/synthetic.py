"""Procedural heads: endless people, exact labels, no file."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from polyview.corpus.generated import GeneratedFace, as_scanned, generated_rows
from polyview.corpus.head import landmarks as at
from polyview.corpus.head.head import Person, moved, shape_count, shaped
from polyview.corpus.head.identity import draw_person
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
    head = moved(_person(face.seed, face.person), face.units())
    return as_scanned(head, face, np.array(at.NECK_PIVOT))


@lru_cache(maxsize=8)
def _person(seed: int, person: int) -> Person:
    return shaped(draw_person(seed, person, shape_count()))
