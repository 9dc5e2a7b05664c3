"""The simulated world's time: the machine's, or one that a test sets."""

from __future__ import annotations

import asyncio
import time


class Clock:
    """Real time, in seconds since 1970."""

    def now(self) -> float:
        return time.time()

    async def sleep_until(self, moment: float) -> None:
        # The event loop has a clock of its own, and may wake a moment early by this one.
        while (left := moment - self.now()) > 0:  # noqa: ASYNC110 - there is no event of time
            await asyncio.sleep(left)


class ManualClock(Clock):
    """Time that stands still until a test advances it; whoever sleeps wakes then."""

    def __init__(self, start: float = 1_700_000_000) -> None:
        self._now = start
        self._moved = asyncio.Event()

    def now(self) -> float:
        return self._now

    def advance(self, seconds: float) -> None:
        self._now += seconds
        self._moved.set()
        self._moved = asyncio.Event()

    async def sleep_until(self, moment: float) -> None:
        while self._now < moment:
            await self._moved.wait()
