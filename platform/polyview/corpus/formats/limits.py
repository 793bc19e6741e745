"""What a file may ask of this machine, and where it may point to."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from polyview.corpus.mesh import MeshError

FORMATS = (".obj", ".wrl", ".bnt", ".ply", ".stl", ".off", ".glb", ".gltf")
LARGEST_FILE = 256 << 20
LARGEST_FACES = 5_000_000
LARGEST_TEXTURE = 64_000_000
"""Bytes, triangles and pixels: well above any face scan, well below this machine's memory."""

_PICTURES = ("BMP", "JPEG", "PNG", "TIFF", "TGA", "PPM", "WEBP")


@dataclass(frozen=True)
class Companions:
    """The files that a mesh file may name: those in the dataset, seen from the mesh's own folder.

    texture: the picture that the manifest names, relative to root; it is used in place of any the file names.
    """

    root: Path
    folder: Path
    texture: str | None

    def find(self, name: str) -> Path:
        """The file called `name` in a mesh file; raises `MeshError` where it is not in the dataset's folder."""
        return inside(self.root, str(self.folder / name.strip().replace("\\", "/")), name)

    def picture(self, name: str | None) -> NDArray[np.uint8] | None:
        """(H, W, 3) the manifest's picture, or the one called `name` in the mesh file; raises `MeshError`."""
        if self.texture:
            return read_texture(inside(self.root, self.texture))
        return read_texture(self.find(name)) if name else None


def inside(root: Path, path: str, name: str | None = None) -> Path:
    """The file at `path` from `root`; raises `MeshError`, which calls it `name`, where that leads out of `root`."""
    place = below(root, path)
    if place is None:
        raise MeshError(f"{name or path!r} lies outside of the dataset's folder")
    return root / place


def below(root: Path, path: str) -> Path | None:
    """`path` as seen from `root`, without `..`; none where it leads out of it.

    A symbolic link below `root` is where its owner wants the file to be, so it is not resolved, wherever it leads.
    An absolute path is below `root` too if it lies where `root` itself or a link in it leads.
    """
    if "\0" in path:
        return None
    place = Path(os.path.normpath(root.absolute() / path))
    for start, name in _entrances(root):
        if place.is_relative_to(start):
            return name / place.relative_to(start)
    return None


def _entrances(root: Path) -> Iterator[tuple[Path, Path]]:
    """The folders that are `root`, or that a link in it leads to, each with its name in `root`."""
    yield Path(os.path.normpath(root.absolute())), Path()
    yield Path(os.path.realpath(root)), Path()
    if root.is_dir():
        yield from ((Path(os.path.realpath(entry)), Path(entry.name)) for entry in root.iterdir() if entry.is_symlink())


def is_file(file: Path) -> bool:
    """Whether there is such a file; a name that no file can have is none."""
    try:
        return file.is_file()
    except OSError:
        return False


def read_bytes(file: Path, largest: int = LARGEST_FILE) -> bytes:
    """All of a file, unless it is larger than `largest` bytes; raises `MeshError`."""
    if not is_file(file):
        raise MeshError("no such file")
    try:
        size = file.stat().st_size
        if size > largest:
            raise MeshError(f"{size >> 20} MiB, larger than the {largest >> 20} MiB that a mesh may have")
        return file.read_bytes()
    except OSError as error:
        raise MeshError(f"not readable: {error.strerror}") from None


def read_texture(file: Path) -> NDArray[np.uint8]:
    """A picture as (H, W, 3) RGB; raises `MeshError` where it is missing, broken or too large."""
    if not is_file(file):
        raise MeshError(f"texture {file.name} is missing")
    try:
        with Image.open(file, formats=_PICTURES) as image:
            return pixels(image, file.name)
    except MeshError:
        raise
    except Exception as error:  # Pillow's decoders raise whatever a broken picture leads them to
        raise MeshError(f"texture {file.name} is not readable: {' '.join(str(error).split())[:200]}") from None


def pixels(image: Image.Image, name: str) -> NDArray[np.uint8]:
    """The picture decoded as (H, W, 3) RGB, unless it is larger than a texture may be; raises `MeshError`."""
    if image.width * image.height > LARGEST_TEXTURE:
        raise MeshError(f"texture {name} has {image.width} x {image.height} pixels, more than {LARGEST_TEXTURE}")
    return np.asarray(image.convert("RGB"), dtype=np.uint8)


def check_face_count(count: int) -> None:
    """Raises `MeshError` where a mesh has more triangles than can be a face."""
    if count > LARGEST_FACES:
        raise MeshError(f"{count} faces, more than the {LARGEST_FACES} that a mesh may have")
