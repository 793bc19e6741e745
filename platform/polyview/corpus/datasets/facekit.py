"""ICT-FaceKit (Li et al., Learning Formation of Physically-Based Face Attributes, CVPR 2020): faces of a linear
model made from light-stage scans, in the model's own folder.

A face is neutral + sum of identity weights x (identity - neutral) + sum of unit weights x (shape - neutral).
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from polyview.corpus.complexion import draw_complexion
from polyview.corpus.datasets.facekit_model import find_model, read_model
from polyview.corpus.expressions import expressivity
from polyview.corpus.generated import GeneratedFace, as_scanned, generated_rows
from polyview.corpus.manifest import Found
from polyview.corpus.mesh import Mesh, MeshError
from polyview.errors import UserError
from polyview.recipe import Corpus, digest

SCHEME = "facekit:"
VERSION = 1

_LARGEST_WEIGHT = 2.0
_NECK_PIVOT = (0.0, -60.0, -10.0)


def scan(corpus: Corpus) -> Found:
    """The manifest rows that `corpus.generator` asks for; raises `UserError` where the model is not whole."""
    root = corpus.root or ""
    read_model(find_model(Path(root)))
    return generated_rows(corpus, SCHEME, model_version(root))


def load(path: str, root: str) -> Mesh:
    """The face that `path` describes, of the model at `root`. Raises `MeshError`."""
    try:
        model = read_model(find_model(Path(root)))
        face = GeneratedFace.parse(path, SCHEME, model_version(root))
    except UserError as error:
        raise MeshError(str(error)) from None
    left, right = (expressivity(face.seed, face.person) * face.units()).astype(np.float32)
    moved = (left @ model.left_units + right @ model.right_units).reshape(-1, 3)
    vertices = _person(root, face.seed, face.person) + moved
    mesh = Mesh(
        vertices=vertices,
        faces=model.faces,
        colors=_painted(root, face.seed, face.person),
        nose=vertices[model.nose].copy(),
    )
    return as_scanned(mesh, face, np.array(_NECK_PIVOT))


@lru_cache(maxsize=8)
def model_version(root: str) -> int:
    """Of the generator and of the model's files by name and size: another model's faces have other paths."""
    files = sorted((file.name, file.stat().st_size) for file in find_model(Path(root)).glob("*.obj"))
    return int(digest([VERSION, files])[:8], 16)


@lru_cache(maxsize=8)
def _person(root: str, seed: int, person: int) -> NDArray[np.float32]:
    """(V, 3) the face of this person at rest."""
    model = read_model(find_model(Path(root)))
    rng = np.random.default_rng([seed, person, 0])
    weights = np.clip(rng.normal(size=len(model.identities)), -_LARGEST_WEIGHT, _LARGEST_WEIGHT)
    return model.neutral + (weights.astype(np.float32) @ model.identities).reshape(-1, 3)


@lru_cache(maxsize=8)
def _painted(root: str, seed: int, person: int) -> NDArray[np.uint8]:
    """(V, 3) RGB: the model has no colours of its own, so that these are drawn like those of synthetic heads."""
    model = read_model(find_model(Path(root)))
    colours = draw_complexion(seed, person)
    palette = {
        "skin": colours.skin,
        "lips": colours.lips,
        "brows": colours.hair * 0.8,
        "hair": colours.hair,
        "teeth": np.array([232.0, 224, 206]),
        "gums": np.array([125.0, 52, 56]),
        "mouth": np.array([60.0, 20, 22]),
        "white": np.array([238.0, 234, 230]),
        "iris": colours.iris,
        "pupil": np.array([12.0, 10, 10]),
    }
    table = np.array([palette[name] for name in model.materials])
    return np.clip(table[model.material], 0, 255).astype(np.uint8)
