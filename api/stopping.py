"""Hearing early that the server is to stop: it waits for open answers, and an event stream does not end by itself."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def on_stop_signal(tell: Callable[[], None]) -> Iterator[None]:
    """Call `tell` in the event loop when a stop signal comes, before whoever handled the signal already."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals cannot be had here; the server then cuts its streams after its own patience
        return
    loop = asyncio.get_running_loop()
    former = {number: signal.getsignal(number) for number in _SIGNALS}

    def hear(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(tell)
        handler = former[signal.Signals(number)]
        if callable(handler):
            handler(number, frame)

    for number in _SIGNALS:
        signal.signal(number, hear)
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
