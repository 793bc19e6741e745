"""ICT-FaceKit (Li et al., CVPR 2020): real face geometry, its identities and its expressions."""

from __future__ import annotations

import polars as pl

from polyview.corpus.mesh import Mesh, MeshError
from polyview.errors import UserError
from polyview.recipe import Corpus

SCHEME = "facekit:"


def scan(corpus: Corpus) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The manifest rows that `corpus.generator` asks for."""
    raise UserError(f"corpus.root: {corpus.root} cannot be read yet")


def load(path: str, root: str) -> Mesh:
    """The face that `path` describes, of the model at `root`."""
    raise MeshError(f"{path} in {root} cannot be read yet")
