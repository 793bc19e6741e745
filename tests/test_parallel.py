"""Where Ray is looked for, an address that cannot be right being one line, and soon; and where it says things."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import pytest

from polyview.errors import UserError
from polyview.parallel import check_address, own_log


def test_a_dashboards_address_is_no_rays() -> None:
    with pytest.raises(UserError, match=r"^RAY_ADDRESS=http://127\.0\.0\.1:8265 is a dashboard, .*`polyview submit`"):
        check_address("http://127.0.0.1:8265")


@pytest.mark.parametrize("host", ["127.0.0.1", "nowhere.invalid", "[::1]"])
def test_a_head_that_is_gone_is_told_at_once(host: str) -> None:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        address = f"{host}:{taken.getsockname()[1]}"
        with pytest.raises(UserError, match=r"^RAY_ADDRESS=.* does not answer \(.*\): no cluster is there; unset"):
            check_address(address)


def test_a_port_that_answers_and_what_ray_finds_by_itself_are_left_to_ray() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        check_address(f"127.0.0.1:{server.getsockname()[1]}")
    for address in ("auto", "local", "ray://127.0.0.1"):
        check_address(address)


def test_what_ray_says_itself_is_found_where_this_process_has_started_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = Path(tempfile.mkdtemp(prefix="p", dir="/tmp"))  # a name of pytest's is too long for Ray's sockets
    monkeypatch.setenv("RAY_TMPDIR", str(short))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setitem(sys.modules, "ray", sys.modules.get("ray", sys))
    assert own_log() is None
    logs = short / "ray" / "session_latest" / "logs"
    logs.mkdir(parents=True)
    assert own_log() == logs
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert own_log() is None
    monkeypatch.delenv("RAY_ADDRESS")
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path / ("a" * 40)))
    assert own_log() != logs
    shutil.rmtree(short)


@pytest.mark.slow
@pytest.mark.parametrize("way", ["killed", "stopped", "ended"])
def test_a_run_that_is_ended_from_outside_says_how_to_go_on(way: str) -> None:
    script = """
import os, sys
from polyview.parallel import start_ray, stop_ray
start_ray()
if sys.argv[1] == "killed":  # as the system does where memory is short, and Ray itself where its node is lost
    os.kill(os.getpid(), 9)
if sys.argv[1] == "stopped":
    stop_ray()
"""
    ended = subprocess.run([sys.executable, "-c", script, way], capture_output=True, text=True)
    told = "polyview: this run was ended from outside, or Ray's node was"
    assert (told in ended.stderr) == (way == "killed")
    assert (ended.returncode != 0) == (way == "killed")
    assert "lost objects" not in ended.stdout + ended.stderr
