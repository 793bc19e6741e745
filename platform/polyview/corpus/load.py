"""From a manifest's row to a mesh."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace

from polyview.corpus.datasets import facekit, synthetic
from polyview.corpus.films import FilmGuess, common_nose, common_unit
from polyview.corpus.mesh import Mesh, MeshError, faults_of_the_mesh
from polyview.recipe import Geometry
from polyview.storage.mirror import resolve

_AS_IT_IS = Geometry()


def load_mesh(
    path: str,
    texture: str | None,
    root: str,
    geometry: Geometry = _AS_IT_IS,
    unit: float | None = None,
    film: FilmGuess | None = None,
) -> Mesh:
    """The mesh of one manifest row, prepared as `geometry` says and checked.

    root: the dataset's folder; one in a bucket has been fetched before.
    unit: millimetres per unit of this file, in place of the geometry's, where the row has it.
    film: what is guessed of the film that it is a frame of.

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
        mesh = prepared(mesh, landmarks, _with_unit(geometry, unit), film)
        mesh.check()
    return mesh


def guess_film(frames: Iterable[tuple[str, float | None]], root: str, geometry: Geometry) -> FilmGuess:
    """What these frames of one film, files with the units that their rows tell, show in common.

    Those that cannot be read are passed over.
    """
    from polyview.corpus.formats.landmarks import find_landmarks
    from polyview.corpus.formats.reader import read_mesh
    from polyview.corpus.geometry import shown_nose
    from polyview.corpus.orientation import guess_unit
    from polyview.corpus.tidy import tidied

    here, read, units, noses = str(resolve(root)), [], [], []
    for path, unit in frames:
        with suppress(MeshError), faults_of_the_mesh():
            mesh = replace(tidied(read_mesh(path, None, here)), colors=None, uv=None, texture=None)
            read.append((mesh, find_landmarks(path, here), _with_unit(geometry, unit)))
    for mesh, _, own in read:
        if own.unit == "auto":
            with suppress(MeshError), faults_of_the_mesh():
                units.append(guess_unit(mesh))
    film = FilmGuess(unit=common_unit(units))
    for mesh, landmarks, own in read:
        with suppress(MeshError), faults_of_the_mesh():
            noses.append(shown_nose(mesh, landmarks, own, film))
    return film.model_copy(update={"nose": common_nose(noses)})


def _with_unit(geometry: Geometry, unit: float | None) -> Geometry:
    return geometry.model_copy(update={"unit": unit}) if unit else geometry
