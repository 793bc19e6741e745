"""Names on disk that are no text: manifests, records and reports hold names as UTF-8, which not every disk's are."""

from __future__ import annotations

import os
import sys

NOT_UTF8 = "its name is not UTF-8; rename it"


def is_text(name: str | os.PathLike[str]) -> bool:
    """Whether a name can be kept: Python reads the bytes that are not UTF-8 as signs that no text has."""
    try:
        os.fspath(name).encode()
    except UnicodeEncodeError:
        return False
    return True


def shown(name: str | os.PathLike[str]) -> str:
    """A name as text, with a sign in the place of each byte that is none."""
    return os.fsencode(name).decode(errors="replace")


def why_no_text(name: str | os.PathLike[str]) -> str:
    """What is wrong with a name that is no text, and what to do: it, or the encoding that Python was told to read."""
    try:
        os.fsencode(name).decode()
    except UnicodeDecodeError:
        return NOT_UTF8
    return f"Python reads names as {sys.getfilesystemencoding()} here, by its settings; set PYTHONUTF8=1"
