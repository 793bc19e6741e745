"""One file to one mesh, whatever its format."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from polyview.corpus.formats import bnt, exchange, obj, vrml
from polyview.corpus.formats.limits import FORMATS, Companions, inside, read_bytes
from polyview.corpus.mesh import Mesh, MeshError

_READERS: dict[str, Callable[[bytes, Companions], Mesh]] = {
    ".obj": obj.read,
    ".wrl": vrml.read,
    ".bnt": bnt.read,
    **{suffix: partial(exchange.read, suffix=suffix) for suffix in FORMATS if suffix not in (".obj", ".wrl", ".bnt")},
}


def read_mesh(path: str, texture: str | None, root: str) -> Mesh:
    """The mesh in the file at `path`, with the texture given or the one that the file names.

    Both are relative to `root`, and nothing outside of it is read. Raises `MeshError` that says what is wrong.
    """
    file = inside(Path(root), path)
    reader = _READERS.get(file.suffix.lower())
    if reader is None:
        raise MeshError(f"format {file.suffix or 'without a suffix'} is not among {' '.join(FORMATS)}")
    return reader(read_bytes(file), Companions(Path(root), file.parent, texture))
