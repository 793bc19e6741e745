"""From a manifest's row to a mesh."""

from __future__ import annotations

from polyview.corpus.datasets import facekit, synthetic
from polyview.corpus.mesh import Mesh, faults_of_the_mesh
from polyview.recipe import Geometry
from polyview.storage.mirror import resolve

_AS_IT_IS = Geometry()


def load_mesh(
    path: str, texture: str | None, root: str, geometry: Geometry = _AS_IT_IS, unit: float | None = None
) -> Mesh:
    """The mesh of one manifest row, prepared as `geometry` says and checked.

    root: the dataset's folder; one in a bucket has been fetched before.
    unit: millimetres per unit of this file, in place of the geometry's, where the row has it.

    A function of its arguments alone (and of the files they name). Raises `MeshError` that says why the mesh
    cannot be used.
    """
    # The readers bring a compiler, which takes a second to import; who only reads a store should not wait for it.
    from polyview.corpus.formats.landmarks import find_landmarks
    from polyview.corpus.formats.reader import read_mesh
    from polyview.corpus.geometry import prepared
    from polyview.corpus.tidy import tidied

    here = str(resolve(root)) if root else root
    if path.startswith(synthetic.SCHEME):
        mesh, landmarks = synthetic.load(path), None
    elif path.startswith(facekit.SCHEME):
        mesh, landmarks = facekit.load(path, here), None
    else:
        mesh, landmarks = tidied(read_mesh(path, texture, here)), find_landmarks(path, here)
    with faults_of_the_mesh():
        mesh = prepared(mesh, landmarks, geometry.model_copy(update={"unit": unit}) if unit else geometry)
        mesh.check()
    return mesh
