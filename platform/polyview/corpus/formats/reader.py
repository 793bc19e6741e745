"""One file to one mesh, whatever its format."""

from __future__ import annotations

import codecs
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from polyview.corpus.formats import bnt, exchange, obj, off, ply, vrml
from polyview.corpus.formats.limits import FORMATS, Companions, format_of, inside, read_bytes, unpacked
from polyview.corpus.mesh import Mesh, MeshError

_READERS: dict[str, Callable[[bytes, Companions], Mesh]] = {
    ".obj": obj.read,
    ".wrl": vrml.read,
    ".bnt": bnt.read,
    ".ply": ply.read,
    ".off": off.read,
    **{suffix: partial(exchange.read, suffix=suffix) for suffix in (".stl", ".glb", ".gltf")},
}

_NO_PLACES = "without texture coordinates, and so drawn without the picture that is named for them"


def read_mesh(path: str, texture: str | None, root: str) -> Mesh:
    """The mesh in the file at `path`, with the texture given or the one that the file names.

    Both are relative to `root`, and nothing outside of it is read. The mesh has either a picture and its places in it,
    or colours, or neither. Raises `MeshError` that says what is wrong.
    """
    folder = Path(root).absolute()
    file = inside(folder, path)
    suffix = format_of(path)
    if suffix not in _READERS:
        raise MeshError(f"format {suffix or 'without a suffix'} is not among {' '.join(FORMATS)}")
    data = unpacked(read_bytes(file)).removeprefix(codecs.BOM_UTF8)
    mesh = _READERS[suffix](data, Companions(folder, file.parent, texture))
    if texture and mesh.uv is None:
        mesh = replace(mesh, guesses=(*mesh.guesses, _NO_PLACES))
    # Programs write white, or what the scanner guessed, beside the picture: colours serve where there is none.
    return mesh if mesh.uv is None or mesh.texture is None else replace(mesh, colors=None)
