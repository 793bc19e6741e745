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
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from ray.util import get_node_ip_address


@dataclass(frozen=True)
class Head:
    """A Ray of its own: where its dashboard answers, its token, and what programs on its machine find set."""

    address: str
    token: str
    environment: dict[str, str]

    @property
    def home(self) -> Path:
        return Path(self.environment["POLYVIEW_HOME"])


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

    def start(*options: str, cluster: dict[str, Any] | None = None) -> Head:
        folder = Path(tempfile.mkdtemp(prefix="head"))  # Ray's sockets allow no long path, as pytest's are
        folders.append(folder)
        port, ray_port, token = free_port(), free_port(), secrets.token_hex(16)
        ray_address = f"{get_node_ip_address()}:{ray_port}"
        given = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token, "POLYVIEW_HOME": str(folder / "home")}
        given |= {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "HOME": str(folder)}
        others = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "MLFLOW_"))}
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--disable-usage-stats"]
        command += [f"--port={ray_port}", f"--temp-dir={folder / 'ray'}", "--object-store-memory=100000000"]
        command += ["--dashboard-host=127.0.0.1", f"--dashboard-port={port}", "--dashboard-agent-listen-port=0"]
        if cluster is not None:
            file = folder / "ray_bootstrap_config.yaml"  # in the user's own folder, as Ray's launcher leaves it
            provider = cluster["provider"] | {"gcs_address": ray_address}
            file.write_text(json.dumps(cluster | {"provider": provider}))
            command += [f"--autoscaling-config={file}"]
            given |= {"AUTOSCALER_UPDATE_INTERVAL_S": "1", "RAY_FAKE_CLUSTER": "1"}
        with (folder / "log.txt").open("w") as log:
            # Its own session: Ctrl-C is for the tests, which then end it.
            streams = {"stdout": log, "stderr": log}
            head = subprocess.Popen([*command, *options], env=others | given, start_new_session=True, **streams)
        heads.append(head)
        address = f"http://127.0.0.1:{port}"
        wait_until_it_answers(address, head, folder / "log.txt")
        return Head(address, token, others | given | {"RAY_ADDRESS": ray_address})

    try:
        yield start
    finally:
        for head in heads:
            head.terminate()
            try:
                head.wait(3)
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
