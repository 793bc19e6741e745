"""Ports that tests may serve on, or find closed."""

from __future__ import annotations

import socket


def free_port() -> int:
    """A port that nobody listens on, and none of those that Ray gives to its workers."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if not 10002 <= port <= 19999:
            return port
