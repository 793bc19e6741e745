"""Where outputs live: everything polyview writes is under one home folder."""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from polyview.errors import UserError
from polyview.storage.mirror import CachedPath, check_mirror, expanded, leased, resolve, upload

REPOSITORY = Path(__file__).resolve().parents[3]


def bundled(folder: str) -> Path:
    """A folder of recipes (`experiments`, `ablations`): in the installed package, or in the checkout it runs from."""
    installed = Path(__file__).parents[1] / folder
    return installed if installed.is_dir() else REPOSITORY / folder


@dataclass(frozen=True)
class Home:
    """The layout of one home: `views/`, `trials/`, `studies/` and `mlflow.db`.

    root: a folder, which is a mirror where the home is on object storage (see `mirror`).
    """

    root: Path

    @property
    def stores(self) -> Path:
        return self.root / "views"

    @property
    def trials(self) -> Path:
        return self.root / "trials"

    @property
    def studies(self) -> Path:
        return self.root / "studies"

    @property
    def tracking_uri(self) -> str:
        """MLflow's store: `MLFLOW_TRACKING_URI` if set, else SQLite in the home.

        SQLite cannot live in a bucket: it stays in the mirror, and another machine's is filled from the records.
        """
        return os.environ.get("MLFLOW_TRACKING_URI") or sqlite_uri(self.root / "mlflow.db")

    @property
    def tracking_address(self) -> str:
        """MLflow's store as it may be shown: without a name and a password."""
        return re.sub(r"//[^/@]*@", "//", self.tracking_uri)

    @property
    def artifacts(self) -> Path:
        return Path(self.root, "mlartifacts")


def sqlite_uri(file: Path) -> str:
    """The address of an SQLite database, of whatever signs its path has."""
    if not {"%", "?"} & {*str(file)}:
        return f"sqlite:///{file}"
    from sqlalchemy import URL  # and with it a quarter of a second

    return URL.create("sqlite", database=str(file)).render_as_string()


def open_home() -> Home:
    """The home at `POLYVIEW_HOME`, a folder or as s3://bucket/path, or `./outputs`; a folder is made if missing.

    Raises `UserError` if it cannot be written, or is below the folder of a user that there is not.
    """
    home = named_home()
    check_writable(home.root)
    return home


def existing_home() -> Home:
    """The home as `open_home` has it, to be read only: it may lie where nothing can be written.

    Raises `UserError` if it is not there.
    """
    home = named_home()
    if isinstance(home.root, CachedPath):
        check_writable(home.root)
    check_exists(home.root)
    return home


def check_exists(root: Path, named_by: str = "POLYVIEW_HOME") -> None:
    """Raises `UserError` if no home's folder is there; a home in a bucket needs none."""
    if isinstance(root, CachedPath):
        return
    if root.exists() and not root.is_dir():
        raise UserError(f"{root}: is no folder, so that no home can be there; set {named_by} to one")
    if not root.is_dir():
        raise UserError(
            f"{root}: no home is there; polyview ablate STUDY makes it, or {named_by} names that in which a "
            "study has run"
        )


def named_home() -> Home:
    return Home(expanded(resolve(os.environ.get("POLYVIEW_HOME") or "outputs"), "POLYVIEW_HOME").resolve())


def check_writable(root: Path) -> None:
    """Make a home's folder if it is missing; raises `UserError` if it, or the bucket it mirrors, cannot be written."""
    remedy = "XDG_CACHE_HOME" if isinstance(root, CachedPath) else "POLYVIEW_HOME"
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=root):
            pass
    except OSError as error:
        raise UserError(
            f"{root}: the home folder cannot be written ({error.strerror}); set {remedy} to a folder that can"
        ) from None
    check_mirror(root)


def check_output(path: Path, is_own: Callable[[Path], bool]) -> None:
    """Raises `UserError` where a file cannot be written, or something would be lost that is not as `is_own` has it."""
    if not path.name:
        raise UserError("-o takes the name of a file")
    if path.is_dir():
        raise UserError(f"{path}: is a folder; -o takes the name of a file in it")
    if path.exists() and not (path.is_file() and is_own(path)):
        raise UserError(f"{path}: is there, and is nothing that this command writes; -o takes another name")
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise UserError(f"{path}: cannot be written; -o takes a file in a folder that can")


@contextmanager
def replacing(path: Path, new: bool = False) -> Iterator[Path]:
    """A temporary path beside `path` that takes its name when the block ends well, and vanishes when it does not.

    The file may be read by whom the umask lets read, as if it had been opened by its own name. In a mirror it takes
    its name in the bucket first; raises `FileExistsError` there where it is to be `new` and is not.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{path.suffix}")
    temporary.touch(exist_ok=False)
    try:
        yield temporary
        upload(temporary, path, new)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def locked(path: Path, wait: bool = True) -> Iterator[None]:
    """Hold the lock file `path` for this process; a process that dies lets go.

    Waits for whoever holds it, or raises `BlockingIOError`. The lock holds among the processes of one machine; in a
    mirror it is a lease, which holds among all machines and lasts some seconds longer than a process that dies.
    """
    if isinstance(path, CachedPath):
        with leased(path, wait):
            yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
