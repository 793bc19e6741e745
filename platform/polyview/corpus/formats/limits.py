"""What a file may ask of this machine, and where it may point to."""

from __future__ import annotations

import gzip
import io
import math
import os
import time
import unicodedata
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePath, PurePosixPath
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from polyview.corpus.contents import JUST_WRITTEN
from polyview.corpus.mesh import MeshError

T = TypeVar("T")
FORMATS = (".obj", ".wrl", ".bnt", ".ply", ".stl", ".off", ".glb", ".gltf")
READING = 5
"""Another number wherever the same file is read as another mesh: its views are drawn anew, and trials run anew."""
LANDMARKS = (".bnd", ".lm3")
LARGEST_FILE = 256 << 20
LARGEST_FACES = 5_000_000
LARGEST_PICTURE = 16_384 * 16_384
LARGEST_TEXTURE = 64_000_000
"""Bytes, triangles, pixels on disk and in memory: well above any face scan, well below this machine's memory."""

LEADS_NOWHERE = "a link to what is not there: fetch it, as by git annex get or dvc pull"
_OF_BU4DFE = "bu4dfe_bnd"
_GZIP = b"\x1f\x8b"
_POINTER = b"version https://git-lfs.github.com/spec/v1"
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
        """Where the file called `name` in a mesh file is, or should be; raises `MeshError` where it may not be.

        Names are written on other machines: with a drive, an absolute path, in another case. What is not where the
        name leads is looked for beside the mesh, by its base name.
        """
        return self.beside(name) or inside(self.root, str(self.folder / _plain(name)), name)

    def beside(self, name: str, names: Callable[[Path], Mapping[str, str]] | None = None) -> Path | None:
        """The file called `name` in a mesh file, where the name leads or beside the mesh; None where it is not.

        names: how to list a folder, as of `in_any_case`.
        """
        for path in dict.fromkeys((_plain(name), PurePosixPath(_plain(name)).name)):
            with suppress(MeshError):
                inside(self.root, str(self.folder / path))
                file = in_any_case(self.folder, PurePosixPath(path), names or names_in)
                if file and is_file(inside(self.root, str(file))):
                    return file
        return None

    def picture(self, name: str | None) -> NDArray[np.uint8] | None:
        """(H, W, 3) the manifest's picture, or the one called `name` in the mesh file; raises `MeshError`."""
        if self.texture:
            return read_texture(inside(self.root, self.texture))
        return read_texture(self.find(name)) if name else None


def _plain(name: str) -> str:
    return name.strip().strip("\"'").replace("\\", "/")


def entries(folder: Path) -> list[Path]:
    """What lies in a folder, sorted, without what systems hide or leave behind."""
    return sorted(entry for entry in folder.iterdir() if not entry.name.startswith((".", "__MACOSX")))


def names_in(folder: Path) -> Mapping[str, str]:
    """The entries of a folder by their names without case and in one Unicode form; none of several that are alike."""
    try:
        return _while_unchanged(_names_in, folder)
    except OSError:
        return {}


def _while_unchanged(read: Callable[[Path], T], folder: Path) -> T:
    """What `read` finds in a folder, remembered while that stays as it is: its meshes are loaded one after another.

    The time is that of its inode, which no program sets back. Disks count time in ticks of up to two seconds: what has
    changed since may have the same time, so of a folder that has just changed nothing is remembered.
    """
    changed = folder.stat().st_ctime_ns
    return _remembered(read, folder, changed) if time.time_ns() - changed > JUST_WRITTEN else read(folder)


@lru_cache(maxsize=16)
def _remembered(read: Callable[[Path], T], folder: Path, changed: int) -> T:  # noqa: ARG001
    return read(folder)


def _names_in(folder: Path) -> Mapping[str, str]:
    names: dict[str, list[str]] = defaultdict(list)
    for entry in folder.iterdir():
        names[_spelling(entry.name)].append(entry.name)
    return {spelling: alike[0] for spelling, alike in names.items() if len(alike) == 1}


def in_any_case(folder: Path, path: PurePath, names: Callable[[Path], Mapping[str, str]] = names_in) -> Path | None:
    """The entry at `path` below `folder`, where case and Unicode form do not count if no entry has that very name.

    names: how to list a folder, such as with a memory of those that are listed.
    """
    found = folder
    for part in path.parts:
        name = part if os.path.lexists(found / part) else names(found).get(_spelling(part))
        if name is None:
            return None
        found /= name
    return found


def landmark_files(path: str, root: Path, names: Callable[[Path], Mapping[str, str]] = names_in) -> list[Path]:
    """Those of the mesh at `path` that are there, in any case; the first counts: beside it, or in BU-4DFE's own folder.

    names: how to list a folder, as of `in_any_case`.
    """
    mesh = PurePath(name_unpacked(path))
    places = [mesh.with_suffix(suffix + packed) for suffix in LANDMARKS for packed in ("", ".gz")]
    if mesh.suffix.lower() == ".wrl":
        folders = [name for spelling, name in names(root).items() if spelling.startswith(_OF_BU4DFE)]
        places += [PurePath(folder, *mesh.with_suffix(".bnd").parts[-3:]) for folder in sorted(folders)]
    found = ((place, in_any_case(root, place, names)) for place in places)
    return [file for place, file in found if file and is_file(file) and below(root, str(place))]


def _spelling(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


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
        yield from _while_unchanged(_links, root)


def _links(root: Path) -> tuple[tuple[Path, Path], ...]:
    """The links in a folder: where each leads, and its name."""
    return tuple((Path(os.path.realpath(entry)), Path(entry.name)) for entry in root.iterdir() if entry.is_symlink())


def is_broken_link(place: Path) -> bool:
    """Whether a link is there, and what it leads to is not."""
    return place.is_symlink() and not place.exists()


def is_file(file: Path) -> bool:
    """Whether there is such a file; a name that no file can have is none."""
    try:
        return file.is_file()
    except OSError:
        return False


def read_bytes(file: Path, largest: int = LARGEST_FILE) -> bytes:
    """All of a file, unless it is larger than `largest` bytes; raises `MeshError`."""
    if not is_file(file):
        raise MeshError(LEADS_NOWHERE if is_broken_link(file) else "no such file")
    try:
        size = file.stat().st_size
        if size > largest:
            raise MeshError(f"{size >> 20} MiB, larger than the {largest >> 20} MiB that a mesh may have")
        data = file.read_bytes()
    except OSError as error:
        raise MeshError(f"not readable: {error.strerror}") from None
    if data.startswith(_POINTER):
        raise MeshError("a pointer of git-lfs, and not the file that it stands for: run git lfs pull in its folder")
    return data


def format_of(path: str) -> str:
    """The suffix that says how a file is read, in small letters: `.wrl` for face.WRL, and for face.wrl.gz."""
    return PurePosixPath(name_unpacked(path).lower()).suffix


def name_unpacked(name: str) -> str:
    """The name without the `.gz` of what gzip has packed: face.WRL for face.WRL.gz, and for itself."""
    return name[:-3] if name.lower().endswith(".gz") else name


def reading_of(paths: Iterable[str]) -> int:
    """`READING` if any of these paths is a mesh file's; 0 if none is, as where heads are generated."""
    return READING if any(format_of(path) in FORMATS for path in paths) else 0


def unpacked(data: bytes) -> bytes:
    """What gzip has packed, or the data themselves; raises `MeshError` where they are cut, broken or too large."""
    if not data.startswith(_GZIP):
        return data
    try:
        with gzip.open(io.BytesIO(data)) as file:
            whole = file.read(LARGEST_FILE + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise MeshError(f"not readable as gzip: {error}: the file is cut or broken") from None
    if len(whole) > LARGEST_FILE:
        raise MeshError(f"unpacked it is larger than the {LARGEST_FILE >> 20} MiB that a mesh may have")
    return whole


def read_texture(file: Path) -> NDArray[np.uint8]:
    """A picture as (H, W, 3) RGB; raises `MeshError` where it is missing, broken or too large."""
    if not is_file(file):
        raise MeshError(f"texture {file.name} is missing: put it beside the mesh")
    try:
        with Image.open(file, formats=_PICTURES) as image:
            return pixels(image, file.name)
    except MeshError:
        raise
    except Exception as error:  # Pillow's decoders raise whatever a broken picture leads them to
        if _is_pointer(file):
            raise MeshError(f"texture {file.name} is a pointer of git-lfs: run git lfs pull in its folder") from None
        raise MeshError(f"texture {file.name} is not readable: {' '.join(str(error).split())[:200]}") from None


def _is_pointer(file: Path) -> bool:
    with suppress(OSError), file.open("rb") as opened:
        return opened.read(len(_POINTER)) == _POINTER
    return False


def pixels(image: Image.Image, name: str) -> NDArray[np.uint8]:
    """The picture decoded as (H, W, 3) RGB, unless it is larger than a texture may be; raises `MeshError`."""
    if image.width * image.height > LARGEST_PICTURE:
        raise MeshError(f"texture {name} has {image.width} x {image.height} pixels, more than {LARGEST_PICTURE}")
    reduction = math.ceil(math.sqrt(image.width * image.height / LARGEST_TEXTURE))
    if reduction > 1:
        image.draft("RGB", (image.width // reduction, image.height // reduction))  # a JPEG is decoded smaller
        image = image.reduce(max(1, math.ceil(math.sqrt(image.width * image.height / LARGEST_TEXTURE))))
    if image.mode.startswith("I"):  # grey in 16 bits, which Pillow's own conversion cuts off at 255
        image = Image.fromarray((np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8))
    return np.asarray(image.convert("RGB"), dtype=np.uint8)


def check_face_count(count: int) -> None:
    """Raises `MeshError` where a mesh has more triangles than can be a face."""
    if count > LARGEST_FACES:
        raise MeshError(f"{count} faces, more than the {LARGEST_FACES} that a mesh may have")
