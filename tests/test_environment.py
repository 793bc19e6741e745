from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from polyview.environment import PACKAGES, describe_environment, find_writable_places, git_commit
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
    shutil.copytree(REPOSITORY / "platform" / "polyview", package)
    script = "import polyview.environment as e; print(e.__file__, e.git_commit())"
    environment = os.environ | {"PYTHONPATH": str(package.parent)}
    said = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True, timeout=300
    ).stdout.split()
    assert said == [str(package / "environment.py"), "unknown"]


def test_libraries_keep_nothing_in_a_home_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("MPLCONFIGDIR", "NUMBA_CACHE_DIR", "XDG_CACHE_HOME", "RAY_AUTH_TOKEN")
    for name in (*names, "RAY_AUTH_TOKEN_PATH", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    find_writable_places()
    assert not {*names} & os.environ.keys()
    monkeypatch.setenv("HOME", str(tmp_path / "gone"))
    monkeypatch.setenv("XDG_CACHE_HOME", "/chosen")
    find_writable_places()
    assert os.environ["XDG_CACHE_HOME"] == "/chosen"
    assert os.access(os.environ["MPLCONFIGDIR"], os.W_OK)
    assert len(os.environ["RAY_AUTH_TOKEN"]) == 64
