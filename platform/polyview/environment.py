"""What a result was made with: versions, commit and machine; and who sent a job that runs here."""

from __future__ import annotations

import json
import os
import platform
import secrets
import stat
import subprocess
import tempfile
from functools import cache
from importlib import metadata
from pathlib import Path

from polyview.errors import UserError
from polyview.storage.home import REPOSITORY

SENDER = "POLYVIEW_SENDER"  # what a job on a cluster is told of the machine that sent it
PACKAGES = ("polyview", "torch", "open_clip_torch", "timm", "ray", "optuna", "mlflow", "polars", "numpy", "numba")


def own_temporary_folder() -> Path:
    """Where this user's temporary files are, by a name that all processes of the user know."""
    return Path(tempfile.gettempdir()) / f"polyview-{os.getuid()}"


def is_own_folder(folder: Path) -> bool:
    """Whether a folder is this user's, made if it is missing: what somebody else has made may lead anywhere."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()


def find_writable_places() -> None:
    """Where the user's own folder cannot be written, have libraries keep what they keep there in a temporary one.

    As containers have it, and accounts without a home. Whoever has said where that is to be, is heard.
    """
    if os.access(Path.home(), os.W_OK):
        return
    place = own_temporary_folder()
    if not is_own_folder(place):
        place = Path(tempfile.mkdtemp(prefix="polyview-"))
    for name in ("MPLCONFIGDIR", "NUMBA_CACHE_DIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
        os.environ.setdefault(name, str(place))
    if "RAY_AUTH_TOKEN_PATH" not in os.environ:
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))


def draw_without_windows() -> None:
    """Have matplotlib draw as it does without a screen, whatever the environment names for another program.

    A notebook names a backend of its own to all that it starts, and matplotlib does not import where that is missing.
    """
    os.environ.pop("MPLBACKEND", None)


def reach_directly(*hosts: str) -> None:
    """Have libraries ask these hosts themselves, and not through a proxy that the environment names."""
    known = (os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or "").split(",")
    spared = ",".join(filter(None, dict.fromkeys([*known, *hosts])))
    os.environ |= {"no_proxy": spared, "NO_PROXY": spared}


@cache
def describe_environment() -> dict[str, str]:
    """Package versions, the git commit of this checkout (`-dirty` if changed), and the machine."""
    return {
        **{name: metadata.version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "git_commit": git_commit(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs",
    }


@cache
def git_commit() -> str:
    """The checkout's commit, `-dirty` if it has changes; a job's is its sender's; "unknown" outside a checkout."""
    if SENDER in os.environ:
        commit: str = json.loads(os.environ[SENDER])["commit"]
        return commit
    if not (REPOSITORY / "platform" / "polyview").is_dir():
        return "unknown"
    describe = ["git", "-C", str(REPOSITORY), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        return subprocess.run(describe, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def sender() -> str:
    """This machine as the jobs that it sends are told of it, as JSON."""
    return json.dumps({"python": _python(), "commit": git_commit()})


def check_arrival() -> None:
    """Raises `UserError` if this is a job whose sender has another Python, or which has no home to leave records in."""
    if SENDER not in os.environ:
        return
    theirs = json.loads(os.environ[SENDER])["python"]
    if theirs != _python():
        raise UserError(
            f"the cluster runs Python {_python()} and the machine that sent this job {theirs}; "
            "set both up with the same"
        )
    if not os.environ.get("POLYVIEW_HOME"):
        raise UserError(
            "POLYVIEW_HOME is not set on the cluster; before `ray start`, set it to a folder that all machines share, "
            "or to a bucket, as s3://bucket/path"
        )


def _python() -> str:
    return ".".join(platform.python_version_tuple()[:2])
