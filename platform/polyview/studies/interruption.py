"""How a run ends early: a signal ends it in order, and a second one ends it at once."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

import psutil

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SAME_SECONDS = 0.5  # `timeout` and batch systems send one signal twice, to the process and to its group
LAST_SECONDS = 5.0


class Interrupted(KeyboardInterrupt):
    """The run is to end as for Ctrl-C, whichever signal asked for it."""


class _Received:
    """The first signal and when it came, and what remains to be done if a second one comes."""

    number: int | None = None
    at: float = 0.0
    last_acts: tuple[Callable[[], None], ...] = ()


def handle_signals() -> None:
    """Let Ctrl-C, SIGTERM and SIGHUP raise `Interrupted` in the main thread; those that are ignored stay ignored."""
    _Received.number = None
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _on_signal)


def exit_code() -> int | None:
    """The exit code that says which signal ended the run, 128 and its number; None if none has."""
    return None if _Received.number is None else 128 + _Received.number


def signal_name() -> str:
    """The name of the signal that ended the run, as in SIGTERM; that of Ctrl-C where none was handled here."""
    return signal.Signals(_Received.number or signal.SIGINT).name


@contextmanager
def last_act(act: Callable[[], None]) -> Iterator[None]:
    """Call `act` also where a second signal ends the process in this block."""
    before = _Received.last_acts
    _Received.last_acts = (*before, act)
    try:
        yield
    finally:
        _Received.last_acts = before


def _on_signal(number: int, _frame: FrameType | None) -> None:
    now = time.monotonic()
    if _Received.number is None:
        _Received.number, _Received.at = number, now
        raise Interrupted
    if now - _Received.at > SAME_SECONDS:
        _end_at_once(128 + number)


def _end_at_once(code: int) -> None:
    """End this process and all that it has started; the last acts have some seconds, in a thread of their own."""
    try:
        for child in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):  # it may end with one that was killed before it
                child.kill()
        acts = threading.Thread(target=lambda: [act() for act in _Received.last_acts], daemon=True)
        acts.start()
        acts.join(LAST_SECONDS)
    finally:
        os._exit(code)
