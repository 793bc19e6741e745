"""Reading ahead: what comes, in which order, and what happens where reading fails or is left."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Generator

import pytest

from polyview.training.prefetch import AHEAD, prefetch


def test_items_come_in_their_order_and_all_of_them() -> None:
    assert list(prefetch(number for number in range(20))) == list(range(20))
    assert list(prefetch(number for number in range(0))) == []


def test_the_next_items_are_made_while_one_is_worked_on() -> None:
    made = [threading.Event() for _ in range(10)]

    def items() -> Generator[int]:
        for number, event in enumerate(made):
            event.set()
            yield number

    ahead = prefetch(items())
    assert next(ahead) == 0
    assert all(event.wait(60) for event in made[: AHEAD + 1])
    assert not made[AHEAD + 2].is_set()


def test_what_making_an_item_raises_is_raised_in_its_turn() -> None:
    def items() -> Generator[int]:
        yield from range(2)
        raise ValueError("the third cannot be read")

    ahead = prefetch(items())
    assert list(itertools.islice(ahead, 2)) == [0, 1]
    with pytest.raises(ValueError, match="the third cannot be read"):
        next(ahead)


def test_who_leaves_closes_what_items_are_made_of_and_leaves_no_thread() -> None:
    closed: list[bool] = []

    def items() -> Generator[int]:
        try:
            yield from itertools.count()
        finally:
            closed.append(True)

    before = threading.active_count()
    ahead = prefetch(items())
    next(ahead)
    ahead.close()
    assert closed == [True]
    assert threading.active_count() == before
