"""From a manifest's row to a mesh."""

from __future__ import annotations

from polyview.corpus.datasets import facekit, folder, synthetic
from polyview.corpus.mesh import Mesh


def load_mesh(path: str, texture: str | None, root: str) -> Mesh:
    """The mesh of one manifest row, checked; a function of its arguments (and of the files they name) alone.

    Raises `MeshError` that says why the mesh cannot be used.
    """
    if path.startswith(synthetic.SCHEME):
        mesh = synthetic.load(path)
    elif path.startswith(facekit.SCHEME):
        mesh = facekit.load(path, root)
    else:
        mesh = folder.load(path, texture, root)
    mesh.check()
    return mesh
