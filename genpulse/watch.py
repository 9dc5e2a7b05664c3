"""Waiting for generations to change: one query a moment for everybody who waits in this process, none for nobody."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable
from datetime import timedelta

import structlog

from genpulse.db import Database
from genpulse.errors import DependencyDown
from genpulse.repositories import generations

_INTERVAL = timedelta(milliseconds=200)

log = structlog.get_logger(__name__)


class Watch:
    """Tells when generations get events. Events are numbered without gaps, so a version says all about what is new."""

    def __init__(self, database: Database, *, interval: timedelta = _INTERVAL) -> None:
        self._database = database
        self._interval = interval.total_seconds()
        self._waiting: dict[str, dict[asyncio.Future[bool], int]] = defaultdict(dict)
        self._poller: asyncio.Task[None] | None = None
        self._stopped = False

    async def newer(self, generation_id: str, than: int) -> bool:
        """Return True once the generation has an event numbered above `than`, False when this process is to end.

        While the database is down it just takes longer.
        """
        if self._stopped:
            return False
        waiter: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting[generation_id][waiter] = than
        if self._poller is None:
            self._poller = asyncio.create_task(self._poll(), name="watch")
        try:
            return await waiter
        finally:
            self._forget(generation_id, waiter)

    def stop(self) -> None:
        """Release everybody who waits, now and from now on."""
        self._stopped = True
        self._release(waiter for waiters in self._waiting.values() for waiter in waiters)

    async def close(self) -> None:
        """Stop, and wait until the last query is over."""
        self.stop()
        if self._poller is not None:
            self._poller.cancel()
            await asyncio.wait([self._poller])

    def _forget(self, generation_id: str, waiter: asyncio.Future[bool]) -> None:
        waiters = self._waiting[generation_id]
        del waiters[waiter]
        if not waiters:
            del self._waiting[generation_id]

    async def _poll(self) -> None:
        try:
            await asyncio.sleep(self._interval)
            while self._waiting:
                await self._look()
                await asyncio.sleep(self._interval)
        finally:
            self._poller = None

    async def _look(self) -> None:
        try:
            async with self._database.reading() as session:
                versions = await generations.versions(session, list(self._waiting))
        except DependencyDown as error:
            log.warning("watch.waiting", reason=error.message)
            return
        for generation_id, version in versions.items():
            waiters = self._waiting.get(generation_id, {})
            self._release((waiter for waiter, seen in waiters.items() if version > seen), newer=True)

    @staticmethod
    def _release(waiters: Iterable[asyncio.Future[bool]], *, newer: bool = False) -> None:
        for waiter in waiters:
            if not waiter.done():  # it may have been cancelled, and not yet removed
                waiter.set_result(newer)
