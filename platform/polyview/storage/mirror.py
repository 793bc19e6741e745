"""A home on object storage: a folder of this machine that mirrors a bucket, which alone is the truth.

What is written takes its name in the bucket first and then here, so what has its name here has it there too. What is
read is fetched before, or asked after where it may have changed. For a home that is a folder all functions do nothing,
or what the file system does; where it may be shared, they look anew for what was not there a moment ago.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
import tarfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path, PosixPath, PurePosixPath
from typing import NamedTuple, TypeVar

from polyview.errors import UserError
from polyview.storage.bucket import SCHEMES, Bucket, Stamp, open_bucket

_URLS = " or ".join(f"{scheme}://bucket/path" for scheme in SCHEMES)
_AT_ONCE = 16
T = TypeVar("T")
R = TypeVar("R")


class CachedPath(PosixPath):
    """A path in this machine's mirror of a bucket; sent to another machine, it is the path in that one's mirror."""

    def __reduce__(self) -> tuple[Callable[[str], Path], tuple[str]]:
        return resolve, (address(self),)


class Span(NamedTuple):
    """Some bytes of a file that never changes, by where they begin."""

    path: Path
    start: int
    length: int


def resolve(named: str | Path) -> Path:
    """A path by what a user calls it: a URL is where this machine mirrors it. Raises `UserError` for other URLs."""
    text = str(named)
    misspelt = re.match(r"(s3|gs|gcs|az|https?|file):/*", text)
    if misspelt and "://" not in text:
        raise UserError(
            f"{text}: an address has two strokes, as in {misspelt[1]}://bucket/path; a folder of this name is ./{text}"
        )
    if "://" not in text:
        return Path(named)
    scheme, _, rest = text.rstrip("/").partition("://")
    parts = rest.split("/")
    if scheme not in SCHEMES or not parts[0]:
        raise UserError(f"{text}: neither a folder nor {_URLS}, which is all that polyview knows")
    if not all(parts) or {".", ".."} & set(parts):
        raise UserError(f"{text}: an empty part, `.` or `..` is no name in a bucket; write {scheme}://bucket/path")
    return CachedPath(_mirrors().joinpath(scheme, *_account(scheme), *parts))


def expanded(path: str | Path, named_by: str = "") -> Path:
    """A path with `~` and `~user` written out; raises `UserError` where there is no such user, or a variable is left.

    named_by: the key or variable that a user gave the path with.
    """
    variable = re.match(r"\$\w+|\$\{\w+\}", str(path))
    if variable and not Path(path).exists():
        key = f"{named_by}: " if named_by else ""
        raise UserError(
            f"{key}{path}: nothing has filled in {variable[0]}, as a shell does outside quotes; write it out"
        )
    try:
        return (path if isinstance(path, Path) else Path(path)).expanduser()  # which may be a cached one
    except RuntimeError:
        key, user = f"{named_by}: " if named_by else "", Path(path).parts[0].removeprefix("~")
        reason = f"there is no user {user}" if user else "this user's own folder is not known"
        raise UserError(f"{key}{path}: {reason}; write the path in full, from / on") from None


def address(path: Path) -> str:
    """What a user calls a path: its URL where it is in a mirror."""
    if not isinstance(path, CachedPath):
        return str(path)
    scheme, parts = _parts(path)
    return f"{scheme}://{'/'.join(parts)}"


def check_mirror(path: Path) -> None:
    """Raises `UserError` where a mirror's bucket is not there or cannot be written."""
    if isinstance(path, CachedPath):
        bucket, key = _object(path)
        bucket.check(f"{key}/" if key else "")


def upload(made: Path, path: Path, new: bool = False) -> None:
    """Upload the file `made` under the name of `path`.

    Raises `FileExistsError` where it is to be `new` and is not, and `UserError` where another process has taken over
    the work that it belongs to.
    """
    if not isinstance(path, CachedPath):
        return
    from polyview.storage.lease import check_leases

    bucket, key = _object(path)
    check_leases(bucket, key)
    if new:
        bucket.put(key, made.read_bytes(), tag=None)
    else:
        bucket.upload(made, key)


def upload_folder(made: Path, path: Path) -> None:
    """Upload the folder `made` as one object, a tar: in a bucket no folder appears whole."""
    if isinstance(path, CachedPath):
        with _beside(path) as temporary:
            with tarfile.open(temporary, "w") as tar:
                tar.add(made, arcname=".")
            upload(temporary, path)


def fetch_folder(path: Path, folder: Path) -> None:
    """Make `folder` of what `upload_folder` has uploaded."""
    unpacked = folder.with_name(f".{folder.name}")
    shutil.rmtree(unpacked, ignore_errors=True)
    with _beside(path) as temporary:
        _download(path, temporary)
        with tarfile.open(temporary) as tar:
            tar.extractall(unpacked, filter="data")
    unpacked.rename(folder)


def refresh(paths: Iterable[Path]) -> None:
    """Have small files here as they are in the bucket, or on other machines of a shared folder, now, or not at all."""
    named = list(paths)
    _each(_refresh, [path for path in named if isinstance(path, CachedPath)])
    for folder in dict.fromkeys(path.parent for path in named if not isinstance(path, CachedPath)):
        _look_anew(folder)


def fetch(path: Path) -> Path:
    """The same path, with the file here: one that never changes is fetched once."""
    if is_away(path):
        with _beside(path) as temporary:
            _download(path, temporary)
            temporary.replace(path)
    return path


def fetch_all(folder: Path, *patterns: str) -> None:
    """Have the files of a folder here, pattern by pattern, or all that are in it and below it.

    Of the whole folder nothing stays that the bucket has no more, or that was made anew there.
    """
    if isinstance(folder, CachedPath):
        with alone(folder):
            _fetch_all(folder, patterns)


def fetch_once(folder: Path, version: str) -> None:
    """As `fetch_all`, for all of a folder, unless a process of this machine has fetched that `version` of it."""
    if not isinstance(folder, CachedPath):
        return
    with alone(folder):
        mark = folder / ".fetched"
        if not mark.exists() or mark.read_text() != version:
            _fetch_all(folder, ())
            mark.write_text(version)


def _fetch_all(folder: CachedPath, patterns: Sequence[str]) -> None:
    # What has its name here has it in the bucket, so whatever is new since this look is no matter.
    here = {path: _stamp(path) for path in _named(folder.rglob("*"))}
    there = _stamps(folder)
    for path, stamp in here.items():
        if stamp != there.get(path):
            path.unlink(missing_ok=True)
            _remove_emptied(path.parent, folder)
    for pattern in patterns:
        _each(fetch, [path for path in there if _fits(path, folder, pattern)])
    if not patterns:
        _each(fetch, [path for path in there if not path.name.startswith(".")])


def _remove_emptied(folder: Path, below: Path) -> None:
    """Take away a folder in which nothing is, and those around it; a bucket has none of them."""
    while folder != below:
        try:
            folder.rmdir()
        except OSError:
            return
        folder = folder.parent


def is_away(path: Path) -> bool:
    """Whether a file is not here, and may be in a bucket."""
    return isinstance(path, CachedPath) and not path.exists()


def read_spans(spans: Iterable[Span]) -> list[bytes]:
    """What is there in files that are in a bucket, without fetching the files."""
    return _each(_read_span, spans)


def files(folder: Path, pattern: str) -> list[Path]:
    """The files of a folder that fit a pattern, in their order; in a mirror those that the bucket has."""
    if not isinstance(folder, CachedPath):
        _look_anew(folder)
        above, _, _ = pattern.rpartition("/")
        for found in folder.glob(above) if above else ():
            _look_anew(found)
        return sorted(_named(folder.glob(pattern)))
    return [path for path in _stamps(folder) if _fits(path, folder, pattern)]


def remove(path: Path) -> None:
    """Delete a file, or a folder and all that is in it; in a bucket also what `upload_folder` has made of one."""
    if isinstance(path, CachedPath):
        bucket, key = _object(path)
        _each(bucket.delete, [key, *bucket.stamps(f"{key}/")])
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def move(folder: Path, to: Path, but: str) -> None:
    """Give all that is in a folder another folder, except the file named `but`; in a bucket one after the other."""
    if isinstance(folder, CachedPath):
        bucket, key = _object(folder)
        for name in bucket.stamps(f"{key}/"):
            if name != f"{key}/{but}":
                bucket.move(name, _object(to)[1] + name.removeprefix(key))
    to.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir() if folder.exists() else ():
        if path.name != but:
            path.rename(to / path.name)


@contextmanager
def leased(path: CachedPath, wait: bool) -> Iterator[None]:
    """Hold the lease that stands for the folder of `path`; see `lease`."""
    from polyview.storage import lease

    with lease.leased(*_object(path), wait):
        yield


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep this machine's other processes from fetching the same."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".fetching").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _mirrors() -> Path:
    return expanded(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "XDG_CACHE_HOME").resolve() / "polyview"


def _account(scheme: str) -> list[str]:
    """The folder between a scheme and its buckets: at Azure two accounts may have containers of one name."""
    return [os.environ.get("AZURE_STORAGE_ACCOUNT_NAME", "unnamed")] if scheme == "az" else []


def _parts(path: Path) -> tuple[str, tuple[str, ...]]:
    """The scheme of a mirrored path, and its bucket and what leads on from there."""
    scheme, *parts = path.relative_to(_mirrors()).parts
    return scheme, tuple(parts[len(_account(scheme)) :])


def _object(path: Path) -> tuple[Bucket, str]:
    """Where a path is in which bucket; raises `UserError` where no client for buckets is installed."""
    scheme, (name, *parts) = _parts(path)
    try:
        return open_bucket(scheme, name), "/".join(parts)
    except ModuleNotFoundError as error:
        raise UserError(f"{address(path)}: needs the package {error.name}; pip install 'polyview[{scheme}]'") from None


def _stamps(folder: CachedPath) -> dict[Path, Stamp]:
    """All that the bucket has of a folder, in its order, but for what no file can be called.

    Such as the empty objects that a cloud's own pages make for folders, whose names end in a stroke.
    """
    bucket, key = _object(folder)
    prefix = f"{key}/" if key else ""
    found = {name.removeprefix(prefix): stamp for name, stamp in bucket.stamps(prefix).items()}
    return {folder / name: stamp for name, stamp in found.items() if not {"", ".", ".."} & {*name.split("/")}}


def _stamp(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_size, int(found.st_mtime)


def _fits(path: Path, folder: Path, pattern: str) -> bool:
    """Whether `glob` would find it in the folder, and it is not hidden."""
    same_depth = len(path.relative_to(folder).parts) == len(PurePosixPath(pattern).parts)
    return same_depth and path.match(pattern) and not path.name.startswith(".")


def _look_anew(folder: Path) -> bool:
    """Open a folder, which has NFS ask the server for what it had remembered not to be there; False if it is not."""
    try:
        os.close(os.open(folder, os.O_RDONLY | os.O_DIRECTORY))
    except FileNotFoundError:
        # The folder itself may be what is remembered so.
        return folder != folder.parent and _look_anew(folder.parent) and folder.is_dir()
    except OSError:  # told by whoever reads there
        return False
    return True


def _refresh(path: Path) -> None:
    bucket, key = _object(path)
    known = path.read_bytes() if path.exists() else None
    found = bucket.content(key, known)
    if found is None:
        # Where another process here has written it meanwhile, it is in the bucket, and the next look brings it back.
        path.unlink(missing_ok=True)
    elif found != known:
        with _beside(path) as temporary:
            temporary.write_bytes(found)
            temporary.replace(path)


def _download(path: Path, to: Path) -> None:
    bucket, key = _object(path)
    bucket.download(key, to)


def _read_span(span: Span) -> bytes:
    bucket, key = _object(span.path)
    return bucket.read(key, span.start, span.length)


def _each(work: Callable[[T], R], things: Iterable[T]) -> list[R]:
    """Do it to all, several at once; raises what the first of them raises."""
    waiting = list(things)
    if not waiting:  # as in all that a home in a folder asks for, at every batch that is read
        return []
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(work, waiting))


def _named(paths: Iterable[Path]) -> Iterator[Path]:
    """The files that have their own name, and are not of somebody who still writes."""
    return (path for path in paths if path.is_file() and not path.name.startswith("."))


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(path.with_name(f".{path.name}.{secrets.token_hex(4)}"))
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)
