"""What is not read, and why: other formats that a table names, or that lie among meshes as if they were such."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path, PurePath

from polyview.corpus.formats.limits import FORMATS, format_of

ARCHIVES = (".zip", ".rar", ".7z", ".tar", ".gz", ".tgz", ".bz2", ".xz")
PACKED = "an archive; unpack it first"
_MESHES = ".3ds .3mf .abc .blend .c4d .dae .fbx .ma .max .mb .pcd .usd .usda .usdc .usdz .vtk .vtp .x3d .xyz .ztl"
_FILMS = ".avi .m4v .mkv .mov .mp4 .mpeg .mpg .webm .wmv"
_LIKE_FACES = (*_MESHES.split(), *_FILMS.split())
"""Who has these among meshes expects faces of them, which of pictures, tables and landmarks nobody does."""


def is_archive(entry: Path) -> bool:
    return entry.suffix.lower() in ARCHIVES and not entry.is_dir()


def unread(path: str) -> str | None:
    """Why nothing is read from a file, if its name says so."""
    if format_of(path) in FORMATS:
        return None
    if _is_packed(path):
        return PACKED
    return f"format {format_of(path) or 'without a suffix'} is not among {' '.join(FORMATS)}"


def overlooked(files: Iterable[PurePath], meshes: Iterable[PurePath]) -> Iterator[tuple[PurePath, str]]:
    """The archives and the faces of other formats among `files`, and why they are not read.

    What is there once more is not meant: as a mesh of that name, or as the folder that an archive was unpacked to.
    """
    meshes = list(meshes)
    folders = {folder for mesh in meshes for folder in mesh.parents}
    there = {_called(place) for place in (*meshes, *folders)}
    for file in files:
        reason = unread(file.name)
        is_meant = _is_packed(file.name) or format_of(file.name) in _LIKE_FACES
        if reason and is_meant and _called(file) not in there:
            yield file, reason


def _is_packed(name: str) -> bool:
    """Whether it is an archive's name: of what gzip has packed alone, the name before `.gz` says what it is."""
    suffix = PurePath(name).suffix.lower()
    return suffix in ARCHIVES and (suffix != ".gz" or format_of(name) in ("", ".tar"))


def _called(place: PurePath) -> PurePath:
    """A place without what its name says of the format, in any case."""
    while place.suffix.lower() in (*ARCHIVES, *FORMATS, *_LIKE_FACES):
        place = place.with_suffix("")
    return place.with_name(place.name.casefold()) if place.name else place
