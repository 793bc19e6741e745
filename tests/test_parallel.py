"""Where Ray is looked for, an address that cannot be right being one line, and soon; and where it says things."""

from __future__ import annotations

import os
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


def test_a_ray_that_does_not_let_this_user_in_is_told_soon_and_in_one_line(tmp_path: Path) -> None:
    """Another user's, whose token this user does not have, by its address and as what `auto` finds; and a dead one."""
    folder = Path(tempfile.mkdtemp(prefix="p", dir="/tmp"))  # a name of pytest's is too long for Ray's sockets
    others = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    hold = f"""
import ray
ray.init(address="local", include_dashboard=False, num_cpus=1, object_store_memory=80_000_000, _temp_dir="{folder}/r")
print(ray.get_runtime_context().gcs_address, flush=True)
input()
"""
    theirs = subprocess.Popen(
        [sys.executable, "-c", hold], env=others, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert theirs.stdout is not None
        address = theirs.stdout.readline().strip()
        here = others | {"HOME": str(tmp_path), "RAY_AUTH_TOKEN": "another"}
        refused = "Ray runs there and does not let this user in, as another user's does; unset RAY_ADDRESS"
        assert refused in one_line(here | {"RAY_ADDRESS": address})
        assert one_line(here | {"RAY_ADDRESS": "auto"}).startswith("RAY_ADDRESS=auto: Ray runs there and does not let")
    finally:
        theirs.communicate("\n", timeout=60)
        shutil.rmtree(folder, ignore_errors=True)


def test_what_listens_and_is_no_ray_is_told_soon_and_in_one_line() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        told = one_line(os.environ | {"RAY_ADDRESS": address})
    assert told.startswith(f"RAY_ADDRESS={address} did not answer within 25 s: no cluster is there; unset RAY_ADDRESS")


def one_line(environment: dict[str, str]) -> str:
    """What a process says that starts Ray, and nothing but that."""
    script = """
from polyview.errors import UserError
from polyview.parallel import start_ray
try:
    start_ray()
except UserError as error:
    print(error)
"""
    told = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert not told.stderr
    (line,) = told.stdout.splitlines()
    return line


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
