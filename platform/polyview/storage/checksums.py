"""What the files of a folder held when they were written, as `sha256sum --check SHA256SUMS` reads it too."""

from __future__ import annotations

import hashlib
from pathlib import Path

CHECKSUMS = "SHA256SUMS"


def write_checksums(folder: Path) -> None:
    """Note what each file of a folder holds."""
    lines = [f"{_digest(path)}  {path.name}\n" for path in sorted(folder.iterdir()) if path.is_file()]
    (folder / CHECKSUMS).write_text("".join(lines))


def changed_file(folder: Path) -> str | None:
    """The first file of a folder that is gone or is not as it was written; None where nothing was noted."""
    noted = folder / CHECKSUMS
    if not noted.is_file():
        return None
    for line in noted.read_text().splitlines():
        digest, _, name = line.partition("  ")
        if not (folder / name).is_file() or _digest(folder / name) != digest:
            return name
    return None


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
