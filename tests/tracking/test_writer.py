"""What a thread that writes in the background promises to whoever waits for it, or does not."""

import threading

import pytest

from polyview.tracking.writer import Writer


def test_calls_are_done_in_their_order() -> None:
    writer, done = Writer(), list[int]()
    for number in range(100):
        writer.put(lambda number=number: done.append(number))  # type: ignore[misc]
    assert writer.finish()
    assert done == list(range(100))


def test_nobody_waits_for_a_call_and_what_is_left_after_the_time_is_dropped() -> None:
    writer, gate, done = Writer(), threading.Event(), list[str]()
    writer.put(lambda: (gate.wait(), done.append("first"))[1])
    writer.put(lambda: done.append("second"))
    assert not writer.finish(0.01)
    gate.set()
    writer.finish()
    writer.put(lambda: done.append("third"))
    assert writer.finish()
    assert done == ["first", "third"]


def test_an_error_of_a_call_is_raised_once_and_stops_no_other() -> None:
    writer, done = Writer(), list[str]()
    writer.put(lambda: {}["absent"])
    writer.put(lambda: done.append("next"))
    with pytest.raises(KeyError, match="absent"):
        writer.finish()
    assert writer.finish()
    assert done == ["next"]
