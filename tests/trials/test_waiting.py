"""What is said while a cluster has no machine yet: when, and in which words."""

from __future__ import annotations

import pytest

from polyview.trials.capacity import Demand, Node
from polyview.trials.waiting import MachineWait

ONE_GPU = Demand(workers=1, cpus=8, gpus=1)


def said_within(seconds: int, machines: list[Node], until: int | None = None) -> list[tuple[int, str]]:
    """What is said, and after how many seconds, if the clock is looked at every five; nothing waits from `until` on."""
    said: list[tuple[int, str]] = []
    now = 0
    waiting = MachineWait(
        ONE_GPU, lambda: until is None or now < until, lambda: machines, lambda text: said.append((now, text))
    )
    for now in range(0, seconds, 5):
        waiting.look(now)
    return said


def test_it_is_said_what_is_asked_for_what_is_there_and_for_how_long() -> None:
    (first, *_) = said_within(60, [Node(0, 0), Node(16, 0)])
    assert first == (
        30,
        "waiting for machines, 30 s by now: a worker needs 8 CPUs and 1 GPUs; of those that are there (0 CPUs and "
        "0 GPUs, 16 CPUs and 0 GPUs) none is large enough",
    )


def test_it_is_said_again_more_and_more_rarely_and_at_last_what_may_be_wrong() -> None:
    said = said_within(3 * 3600, [Node(0, 0)])
    assert [moment for moment, _ in said[:6]] == [30, 120, 300, 600, 1200, 1800]
    assert ["quota" in text for _, text in said[:6]] == [False, False, False, True, True, True]


def test_machines_that_others_use_are_told_from_machines_that_are_not_there() -> None:
    assert said_within(60, [Node(8, 1)])[0][1].endswith("(8 CPUs and 1 GPUs) none is free")


@pytest.mark.parametrize("until", [0, 25])
def test_nothing_is_said_where_machines_come_soon(until: int) -> None:
    assert said_within(600, [Node(8, 1)], until) == []
