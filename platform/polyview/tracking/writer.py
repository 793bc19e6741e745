"""A thread that does one call after the other, so that whoever asks for them need not wait."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

Call = Callable[[], None]


class Writer:
    """Does calls in the order in which they are put; a call's error is raised by the next `finish`."""

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[Call] = queue.SimpleQueue()
        self._left = 0
        self._change = threading.Condition()
        self._error: BaseException | None = None
        self._dropping = False
        self._thread: threading.Thread | None = None

    def put(self, call: Call) -> None:
        """Have a call done soon."""
        with self._change:
            self._left += 1
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="mlflow", daemon=True)
                self._thread.start()
        self._calls.put(call)

    def finish(self, seconds: float | None = None) -> bool:
        """Wait until all is done, at most so many seconds, after which what is left is dropped; False if it was.

        Raises the first error of a call since the last time.
        """
        if threading.current_thread() is self._thread:
            return True
        with self._change:
            ended = self._change.wait_for(lambda: not self._left, seconds)
            self._dropping = not ended
            error, self._error = self._error, None
        if error:
            raise error
        return ended

    def _run(self) -> None:
        while True:
            call = self._calls.get()
            try:
                if not self._dropping:
                    call()
            except BaseException as error:
                self._error = self._error or error
            finally:
                with self._change:
                    self._left -= 1
                    self._dropping = self._dropping and self._left > 0
                    self._change.notify_all()
