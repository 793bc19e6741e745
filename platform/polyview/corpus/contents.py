"""Hashes of what files hold, so that faces are known by their contents and not by when they were written."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

from polyview.errors import UserError
from polyview.storage.mirror import expanded

AT_ONCE = 8
JUST_WRITTEN = 2_000_000_000  # nanoseconds, within which a file may change and keep its time
_TABLE = "create table if not exists {} (path text primary key, size integer, changed integer, digest text)"
_KNOWN = "select path, size, changed, digest from {} where path in (select value from json_each(?))"


def content_digests(paths: Iterable[Path]) -> dict[Path, str]:
    """Thirty-two hex digits of the BLAKE2 hash of each file that is there."""
    return remembered(paths, "contents", _digest)


def remembered(paths: Iterable[Path], table: str, read: Callable[[Path], str | None]) -> dict[Path, str]:
    """What `read` finds in each file that is there, where that is not None.

    A file of the same size and time of change as when it was last read is not read again: this is remembered in a
    table of `polyview/contents.db` in the user's cache folder, if that can be written. The time is that of the inode,
    which no program sets back.
    """
    states = {path: state for path in dict.fromkeys(paths) if (state := _state(path))}
    known = _remembered(states, table)
    found = {path: known[path][1] for path, state in states.items() if known.get(path, ((), ""))[0] == state}
    missing = [path for path in states if path not in found]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        now = dict(zip(missing, pool.map(read, missing), strict=True))
    old = time.time_ns() - JUST_WRITTEN
    _remember([(path, states[path], text) for path, text in now.items() if text and states[path][1] < old], table)
    return found | {path: text for path, text in now.items() if text}


def _state(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except (OSError, ValueError):
        # Generated faces have no file; a file that is gone is told by the renderer.
        return None
    return status.st_size, status.st_ctime_ns


def _digest(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    except OSError:
        return None


def _remembered(paths: Iterable[Path], table: str) -> Mapping[Path, tuple[tuple[int, int], str]]:
    with suppress(sqlite3.Error, OSError, UserError), closing(sqlite3.connect(_database(), timeout=5)) as database:
        database.execute(_TABLE.format(table))
        names = json.dumps([os.fspath(path) for path in paths])
        rows = database.execute(_KNOWN.format(table), [names])
        return {Path(path): ((size, changed), digest) for path, size, changed, digest in rows}
    return {}


def _remember(rows: Sequence[tuple[Path, tuple[int, int], str]], table: str) -> None:
    if not rows:
        return
    with suppress(sqlite3.Error, OSError, UserError), closing(sqlite3.connect(_database(), timeout=5)) as database:
        flat = [(str(path), *state, digest) for path, state, digest in rows]
        with database:
            database.execute(_TABLE.format(table))
            database.executemany(f"insert or replace into {table} values (?, ?, ?, ?)", flat)


def _database() -> Path:
    folder = expanded(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "XDG_CACHE_HOME") / "polyview"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / "contents.db"
