"""Whose turn it is on the device: one caller at a time, in the order of asking."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Condition

_POLL_SECONDS = 1.0


class Slot:
    """A first-come, first-served lock whose waiting can be given up.

    The caller's own thread becomes the device thread while it holds the slot. Loading patches torch for the whole
    process and a pipeline object keeps the state of its run, so both happen only in here.
    """

    def __init__(self) -> None:
        self._queue: deque[object] = deque()
        self._changed = Condition()

    @contextmanager
    def hold(self, on_wait: Callable[[], None]) -> Iterator[None]:
        """Hold the slot for the block; `on_wait` is called about every second before, and may raise to leave."""
        ticket = object()
        with self._changed:
            self._queue.append(ticket)
        try:
            while not self._reached(ticket):
                on_wait()
            yield
        finally:
            with self._changed:
                self._queue.remove(ticket)
                self._changed.notify_all()

    def _reached(self, ticket: object) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self._queue[0] is ticket, _POLL_SECONDS)
