from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from polyview.environment import PACKAGES, describe_environment, git_commit
from polyview.storage.home import REPOSITORY


def test_the_environment_names_versions_the_commit_and_the_machine() -> None:
    found = describe_environment()
    assert {name: found[name] for name in PACKAGES} == {name: metadata.version(name) for name in PACKAGES}
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert found["git_commit"] == git_commit()
    assert f"{os.cpu_count()} CPUs" in found["machine"]


@pytest.mark.skipif(not (REPOSITORY / ".git").exists(), reason="not a checkout")
def test_the_commit_is_the_checkouts() -> None:
    command = ["git", "-C", str(REPOSITORY), "rev-parse", "HEAD"]
    head = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    assert head.startswith(git_commit().removesuffix("-dirty"))


def test_outside_of_a_checkout_the_commit_is_unknown(tmp_path: Path) -> None:
    package = tmp_path / "site-packages" / "polyview"
    package.mkdir(parents=True)
    for name in ("__init__", "environment", "errors", "mirror", "paths"):
        shutil.copy(REPOSITORY / "platform" / "polyview" / f"{name}.py", package)
    script = "import polyview.environment as e; print(e.__file__, e.git_commit())"
    environment = os.environ | {"PYTHONPATH": str(package.parent)}
    said = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True, timeout=300
    ).stdout.split()
    assert said == [str(package / "environment.py"), "unknown"]
