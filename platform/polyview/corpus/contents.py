"""Hashes of what files hold, so that faces are known by their contents and not by when they were written."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import stat
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

from polyview.errors import UserError
from polyview.storage.mirror import expanded

AT_ONCE = 8
JUST_WRITTEN = 2_000_000_000  # nanoseconds, within which a file may change and keep its time
_TABLE = (
    "create table if not exists {} (path text primary key, inode integer, size integer, changed integer, found text)"
)
_KNOWN = "select path, inode, size, changed, found from {} where path in (select value from json_each(?))"

_State = tuple[int, int, int]
"""A file's inode, its size, and when that inode last changed: folders that change names keep the times of files."""


def content_digests(paths: Iterable[Path]) -> dict[Path, str]:
    """Thirty-two hex digits of the BLAKE2 hash of each file that is there."""
    return remembered(paths, "contents", _digest)


def remembered(paths: Iterable[Path], table: str, read: Callable[[Path], str | None]) -> dict[Path, str]:
    """What `read` finds in each file that is there, where that is not None.

    The same file, of the same size and time of change as when it was last read, is not read again: this is remembered
    in a table of `polyview/files.db` in the user's cache folder, if that can be written. The time is that of the inode,
    which no program sets back.
    """
    states = {path: state for path in dict.fromkeys(paths) if (state := _state(path))}
    known = _remembered(states, table)
    found = {path: known[path][1] for path, state in states.items() if known.get(path, ((), ""))[0] == state}
    missing = [path for path in states if path not in found]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        now = dict(zip(missing, pool.map(read, missing), strict=True))
    old = time.time_ns() - JUST_WRITTEN
    _remember([(path, states[path], text) for path, text in now.items() if text and states[path][-1] < old], table)
    return found | {path: text for path, text in now.items() if text}


def _state(path: Path) -> _State | None:
    try:
        status = path.stat()
    except (OSError, ValueError):
        # Generated faces have no file; a file that is gone is told by the renderer.
        return None
    if not stat.S_ISREG(status.st_mode):  # who opens a pipe waits for its writer
        return None
    return status.st_ino, status.st_size, status.st_ctime_ns


def _digest(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    except OSError:
        return None


def _remembered(paths: Iterable[Path], table: str) -> Mapping[Path, tuple[_State, str]]:
    with suppress(sqlite3.Error, OSError, UserError), closing(sqlite3.connect(_database(), timeout=5)) as database:
        database.execute(_TABLE.format(table))
        names = json.dumps([os.fspath(path) for path in paths])
        rows = database.execute(_KNOWN.format(table), [names])
        return {Path(path): ((inode, size, changed), found) for path, inode, size, changed, found in rows}
    return {}


def _remember(rows: Sequence[tuple[Path, _State, str]], table: str) -> None:
    if not rows:
        return
    with suppress(sqlite3.Error, OSError, UserError), closing(sqlite3.connect(_database(), timeout=5)) as database:
        flat = [(str(path), *state, found) for path, state, found in rows]
        with database:
            database.execute(_TABLE.format(table))
            database.executemany(f"insert or replace into {table} values (?, ?, ?, ?, ?)", flat)


def _database() -> Path:
    folder = expanded(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "XDG_CACHE_HOME") / "polyview"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / "files.db"
