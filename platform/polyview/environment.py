"""What a result was made with: versions, commit and machine."""

from __future__ import annotations

import os
import platform
import subprocess
from functools import cache
from importlib import metadata

from polyview.paths import REPOSITORY

PACKAGES = ("polyview", "torch", "open_clip_torch", "timm", "ray", "optuna", "mlflow", "polars", "numpy", "numba")


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
    """The checkout's commit, `-dirty` if it has changes; "unknown" outside a checkout."""
    if not (REPOSITORY / "platform" / "polyview").is_dir():
        return "unknown"
    describe = ["git", "-C", str(REPOSITORY), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        return subprocess.run(describe, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"
