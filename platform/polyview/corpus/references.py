"""The files that a mesh file names: its materials, their pictures, its buffers."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import cache, partial
from pathlib import Path

from polyview.corpus.contents import remembered
from polyview.corpus.formats.gltf import spellings, tree_of
from polyview.corpus.formats.limits import READING, Companions, format_of, is_file, names_in, read_bytes, unpacked
from polyview.corpus.formats.materials import parse, text_of
from polyview.corpus.mesh import MeshError

_LIBRARY = re.compile(rb"mtllib[ \t]+([^\r\n]+)")
_URL = re.compile(rb'\burl\s*\[?\s*"([^"]+)"')
_PICTURE = re.compile(rb"^comment TextureFile[ \t]+([^\r\n]+)", re.MULTILINE)
_HEADER = 1 << 16
"""Bytes, within which the header of a PLY file ends."""


def references(meshes: Iterable[Path], root: Path) -> dict[Path, list[Path]]:
    """Of each mesh file the files in the dataset's folder `root` that it names and that are there, sorted.

    The files that a material library names in turn are among them. What is named by one that has not changed is
    remembered, as its content is.
    """
    meshes = list(meshes)
    first = _found(meshes, {mesh: mesh.parent for mesh in meshes}, root)
    libraries = {file: mesh.parent for mesh in meshes for file in first[mesh] if format_of(file.name) == ".mtl"}
    beside = _found(libraries, {file: file.parent for file in libraries}, root)
    seen_from_mesh = _found(libraries, libraries, root)

    def all_of(mesh: Path) -> list[Path]:
        further = [one for file in first[mesh] for one in (*beside.get(file, ()), *seen_from_mesh.get(file, ()))]
        return sorted({*first[mesh], *further})

    return {mesh: all_of(mesh) for mesh in meshes}


def _found(files: Iterable[Path], folders: Mapping[Path, Path], root: Path) -> dict[Path, list[Path]]:
    """Of each file those that it names, as seen from a folder, and that are there."""
    files, listing = list(files), cache(names_in)
    named = remembered(files, f"names_{READING}", _names)

    def there(file: Path) -> list[Path]:
        companions = Companions(root, folders[file], None)
        places = (companions.beside(name, listing) for name in json.loads(named.get(file, "[]")))
        return [place for place in places if place]

    return {file: there(file) for file in files}


def _names(file: Path) -> str | None:
    """What a file names, as JSON; None where it cannot be read."""
    readers: dict[str, Callable[[bytes], list[str]]] = {
        ".obj": _of_obj,
        ".mtl": _of_library,
        ".ply": _of_ply,
        ".wrl": _of_vrml,
        **{suffix: partial(_of_gltf, suffix=suffix) for suffix in (".glb", ".gltf")},
    }
    read = readers.get(format_of(file.name))
    if read is None or not is_file(file):
        return "[]"
    try:
        return json.dumps(list(dict.fromkeys(read(unpacked(read_bytes(file))))))
    except MeshError:
        return None


def _of_obj(data: bytes) -> list[str]:
    lines = [text_of(line).strip() for line in _LIBRARY.findall(data)]
    return [name for line in lines for name in (line, *line.split())]


def _of_library(data: bytes) -> list[str]:
    return [material.picture for material in parse(text_of(data)).values() if material.picture]


def _of_ply(data: bytes) -> list[str]:
    return [text_of(name).strip() for name in _PICTURE.findall(data[:_HEADER])]


def _of_vrml(data: bytes) -> list[str]:
    return [text_of(name) for name in _URL.findall(data)]


def _of_gltf(data: bytes, suffix: str) -> list[str]:
    with suppress(ValueError, TypeError, AttributeError, struct.error):
        content = tree_of(data, suffix)
        parts = [*content.get("buffers", ()), *content.get("images", ())]
        uris = [part["uri"] for part in parts if not part.get("uri", "data:").startswith("data:")]
        return [name for uri in uris for name in spellings(uri)]
    return []
