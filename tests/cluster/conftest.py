from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests


@dataclass(frozen=True)
class Head:
    """A Ray of its own: its dashboard's address, its token, and the home of the jobs that it runs."""

    address: str
    token: str
    home: Path


def free_port() -> int:
    """A port that nobody listens on, and none of those that Ray gives to its workers."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if not 10002 <= port <= 19999:
            return port


@pytest.fixture(scope="package")
def start_head() -> Iterator[Callable[..., Head]]:
    """Starts heads as `cluster.yaml` does, with a dashboard on this machine alone that asks for a token."""
    folders: list[Path] = []
    heads: list[subprocess.Popen[bytes]] = []

    def start(*options: str, cluster: Mapping[str, Any] | None = None) -> Head:
        folder = Path(tempfile.mkdtemp(prefix="head"))  # Ray's sockets allow no long path, as pytest's are
        folders.append(folder)
        port, token = free_port(), secrets.token_hex(16)
        given = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token, "POLYVIEW_HOME": str(folder / "home")}
        given |= {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "HOME": str(folder)}
        others = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "MLFLOW_"))}
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--disable-usage-stats"]
        command += ["--port=0", f"--temp-dir={folder / 'ray'}", "--object-store-memory=100000000"]
        command += ["--dashboard-host=127.0.0.1", f"--dashboard-port={port}", "--dashboard-agent-listen-port=0"]
        if cluster is not None:
            file = folder / "ray_bootstrap_config.yaml"  # in the user's own folder, as Ray's launcher leaves it
            file.write_text(json.dumps(cluster))
            command += [f"--autoscaling-config={file}"]
            given |= {"AUTOSCALER_UPDATE_INTERVAL_S": "1", "RAY_FAKE_CLUSTER": "1"}
        with (folder / "log.txt").open("w") as log:
            # Its own session: Ctrl-C is for the tests, which then end it.
            streams = {"stdout": log, "stderr": log}
            head = subprocess.Popen([*command, *options], env=others | given, start_new_session=True, **streams)
        heads.append(head)
        address = f"http://127.0.0.1:{port}"
        wait_until_it_answers(address, head, folder / "log.txt")
        return Head(address, token, folder / "home")

    try:
        yield start
    finally:
        for head in heads:
            head.terminate()
            try:
                head.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(head.pid, signal.SIGKILL)
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)


def wait_until_it_answers(address: str, head: subprocess.Popen[bytes], log: Path, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and head.poll() is None:
        try:
            requests.get(f"{address}/api/version", timeout=5)
            return
        except requests.RequestException:
            time.sleep(0.2)
    raise AssertionError(f"{address} does not answer: {log.read_text()[-2000:]}")


@pytest.fixture(scope="package")
def head(start_head: Callable[..., Head]) -> Head:
    """A cluster of this machine alone."""
    return start_head("--num-cpus=1")
