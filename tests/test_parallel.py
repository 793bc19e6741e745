"""Where Ray is looked for: an address that cannot be right is one line, and soon."""

from __future__ import annotations

import socket
from contextlib import closing

import pytest

from polyview.errors import UserError
from polyview.parallel import check_address


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
