"""Where outputs live: everything polyview writes is under one home folder."""

from __future__ import annotations

import fcntl
import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from polyview.errors import UserError

REPOSITORY = Path(__file__).resolve().parents[2]


def bundled(folder: str) -> Path:
    """A folder of recipes (`experiments`, `ablations`): in the installed package, or in the checkout it runs from."""
    installed = Path(__file__).parent / folder
    return installed if installed.is_dir() else REPOSITORY / folder


@dataclass(frozen=True)
class Home:
    """The layout of one home: `views/`, `trials/`, `studies/` and `mlflow.db`."""

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
        """MLflow's store: `MLFLOW_TRACKING_URI` if set, else SQLite in the home."""
        return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{self.root / 'mlflow.db'}"

    @property
    def artifacts(self) -> Path:
        return self.root / "mlartifacts"


def open_home() -> Home:
    """The home at `POLYVIEW_HOME`, or `./outputs`; made if missing. Raises `UserError` if it cannot be written."""
    named = os.environ.get("POLYVIEW_HOME") or "outputs"
    if "://" in named:
        raise UserError(f"POLYVIEW_HOME={named}: the home must be a folder that is mounted here, not a URL")
    root = Path(named).expanduser().resolve()
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=root):
            pass
    except OSError as error:
        raise UserError(
            f"{root}: the home folder cannot be written ({error.strerror}); set POLYVIEW_HOME to a folder that can"
        ) from None
    return Home(root)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its name when the block ends well, and vanishes when it does not.

    The file may be read by whom the umask lets read, as if it had been opened by its own name.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{path.suffix}")
    temporary.touch(exist_ok=False)
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def locked(path: Path, wait: bool = True) -> Iterator[None]:
    """Hold the lock file `path` for this process; a process that dies lets go.

    Waits for whoever holds it, or raises `BlockingIOError` at once. The lock holds among the processes of one machine.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
