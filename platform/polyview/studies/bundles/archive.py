"""A folder as one zip, whose first file declares every other with its size and its hash: written and read strictly.

What is read was written by somebody else. Nothing is unpacked before all names and sizes are known to be sound, and
nothing but plain files that are declared ever is.
"""

from __future__ import annotations

import errno
import hashlib
import json
import stat
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal, TypeVar

from pydantic import Field, ValidationError

from polyview.errors import UserError
from polyview.recipe.schema import Model, Natural

CONTENTS = "bundle.json"
MOST_BYTES = 2**30
_MOST_CONTENTS = 2**24
_CHUNK = 2**20
_BROKEN = (OSError, EOFError, KeyError, RuntimeError, ValueError, struct.error, zipfile.BadZipFile, zlib.error)
"""What Python's zipfile raises for bytes that are no zip, or one that is cut off, encrypted or packed otherwise."""


class Member(Model):
    """A file of the archive: its path in it, its size in bytes and the SHA-256 of what it holds."""

    path: str
    size: Natural
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Contents(Model):
    """What the first file of an archive says of the others."""

    format: Literal[1] = 1
    members: tuple[Member, ...] = ()

    @property
    def size(self) -> int:
        """The bytes of all files together, unpacked."""
        return sum(member.size for member in self.members)


C = TypeVar("C", bound=Contents)


def is_bundle(path: Path) -> bool:
    """Whether a file is a zip that begins as a bundle does; many other kinds of files are zips."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()[:1] == [CONTENTS]
    except _BROKEN:
        return False


def members_of(folder: Path) -> tuple[Member, ...]:
    """The files below a folder, in their order."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return tuple(
        Member(path=path.relative_to(folder).as_posix(), size=path.stat().st_size, sha256=sha256(path))
        for path in files
    )


def pack(folder: Path, contents: Contents, out: Path) -> None:
    """Write the zip `out` of a folder's files, with `contents`, which declares them, as the first.

    The same files make the same bytes, so no file has a date but the first that a zip can have.
    """
    with zipfile.ZipFile(out, "w") as archive:

        def add(name: str, content: bytes) -> None:
            info = zipfile.ZipInfo(name)
            info.external_attr = (stat.S_IFREG | 0o644) << 16
            archive.writestr(info, content, zipfile.ZIP_DEFLATED)

        add(CONTENTS, contents.model_dump_json(indent=1).encode())
        for member in contents.members:
            add(member.path, (folder / member.path).read_bytes())


def read_contents(path: Path, kind: type[C]) -> C:
    """What an archive says that it holds, once its names and sizes are found to be just that; nothing is unpacked.

    Raises `UserError` that names the file which is not as declared.
    """
    with _opened(path) as archive:
        first, *others = archive.infolist() or [zipfile.ZipInfo()]
        if first.filename != CONTENTS:
            raise UserError(f"{path}: no bundle, as its first file is not {CONTENTS}")
        if first.file_size > _MOST_CONTENTS:
            raise UserError(f"{path}: {CONTENTS} would have {in_words(first.file_size)}, far more than a bundle's")
        contents = _parsed(path, b"".join(_chunks(archive, first)), kind)
    _check_members(path, others, contents.members)
    return contents


def unpack(path: Path, contents: Contents, folder: Path) -> None:
    """Put the files that `read_contents` has found declared below `folder`.

    Raises `UserError` that names the first which holds something else than is declared.
    """
    with _opened(path) as archive:
        for member in contents.members:
            target, seen = folder / member.path, hashlib.sha256()
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as file:
                for chunk in _chunks(archive, archive.getinfo(member.path)):
                    seen.update(chunk)
                    file.write(chunk)
            if seen.hexdigest() != member.sha256:
                raise UserError(f"{path}: {member.path} was changed: it is not what {CONTENTS} declares")


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """A zip; whatever is wrong with its bytes is one line."""
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; polyview bundle STUDY -o {path} makes one") from None
    except _BROKEN as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:  # where it is unpacked to
            raise
        reason = " ".join(str(error).split())
        raise UserError(f"{path}: not readable as a bundle, which polyview bundle makes: {reason}") from None


def _chunks(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[bytes]:
    """What a file of the archive holds, never more than the size that its head states."""
    with archive.open(info) as file:
        while chunk := file.read(_CHUNK):
            yield chunk


def _parsed(path: Path, content: bytes, kind: type[C]) -> C:
    told = json.loads(content)
    found, own = told.get("format") if isinstance(told, dict) else None, Contents().format
    if found != own:
        raise UserError(f"{path}: a bundle of format {found!r}, and this polyview reads format {own}; use a later one")
    try:
        return kind.model_validate_json(content)
    except ValidationError as error:
        place = ".".join(map(str, error.errors()[0]["loc"]))
        raise UserError(f"{path}: {CONTENTS} is not as a bundle has it: {place}: {error.errors()[0]['msg']}") from None


def _check_members(path: Path, infos: Sequence[zipfile.ZipInfo], members: Sequence[Member]) -> None:
    """Raises `UserError` that names the first file which is not sound, not declared, not there, or not of its size."""
    declared = {member.path: member.size for member in members}
    for name, count in Counter(info.filename.casefold() for info in infos).items():
        if count > 1 or name == CONTENTS:
            raise UserError(f"{path}: {name} is in it twice")
    for info in infos:
        if fault := _fault(info):
            raise UserError(f"{path}: {info.orig_filename!r} {fault}; a bundle has none, so nothing was unpacked")
        if info.filename not in declared:
            raise UserError(f"{path}: {info.filename} was added: {CONTENTS} does not declare it")
        if info.file_size != declared[info.filename]:
            size = declared[info.filename]
            raise UserError(f"{path}: {info.filename} has {info.file_size} bytes, and {CONTENTS} declares {size}")
    if missing := sorted(declared.keys() - {info.filename for info in infos}):
        raise UserError(f"{path}: {missing[0]} is missing: {CONTENTS} declares it")
    if (size := sum(declared.values())) > MOST_BYTES:
        raise UserError(f"{path}: {in_words(size)} unpacked, and {in_words(MOST_BYTES)} is the most; not unpacked")


def _fault(info: zipfile.ZipInfo) -> str | None:
    """What makes a name or a kind of file that no bundle has."""
    name, kind = info.orig_filename, stat.S_IFMT(info.external_attr >> 16)
    place = PurePosixPath(name)
    if place.is_absolute() or ".." in place.parts or "\\" in name or ":" in name:
        return "leads out of the bundle"
    if place.as_posix() != name or not name.isprintable() or name != info.filename:
        return "is no plain name of a file"
    if kind not in (0, stat.S_IFREG):
        return "is a link or another special file"
    return "is encrypted" if info.flag_bits & 1 else None


def sha256(path: Path) -> str:
    """The SHA-256 of a file, as `sha256sum` tells it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def in_words(size: int) -> str:
    """A number of bytes as people say it, as in 1.2 MB."""
    return f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e3:.1f} kB"
