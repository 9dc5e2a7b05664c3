"""Dropping stored files that no asset needs any more: deleted ones, and leftovers of steps that did not finish."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import structlog

from genpulse.db import Database
from genpulse.errors import GenPulseError
from genpulse.repositories import assets
from genpulse.storage import Storage

#: A file is stored before the row that needs it; a day is more than any step takes in between. Content older than half
#: of that is written anew when it is stored again (`genpulse/storage.py`), so the sweep never meets a file just reused.
KEPT_FOR = timedelta(days=1)
_INTERVAL = timedelta(hours=1)
_BATCH = 500

log = structlog.get_logger(__name__)


class Sweeper:
    """Looks through storage every hour. Several at once do no harm."""

    def __init__(self, database: Database, storage: Storage, *, kept_for: timedelta = KEPT_FOR) -> None:
        self._database = database
        self._storage = storage
        self._kept_for = kept_for

    async def run(self) -> None:
        """Sweep until cancelled; what is down now is swept the next time."""
        while True:
            try:
                await self.sweep()
            except GenPulseError as error:
                log.warning("sweep.waiting", reason=error.message)
            await asyncio.sleep(_INTERVAL.total_seconds())

    async def sweep(self) -> int:
        """Drop every file that is old enough and that nothing refers to. Return how many."""
        dropped = 0
        batch: list[str] = []
        async for blob in self._storage.blobs(older_than=self._kept_for):
            batch.append(blob.sha256)
            if len(batch) == _BATCH:
                dropped += await self._drop_unused(batch)
                batch = []
        dropped += await self._drop_unused(batch)
        log.info("sweep.done", dropped=dropped)
        return dropped

    async def _drop_unused(self, batch: Sequence[str]) -> int:
        async with self._database.reading() as session:
            unused = set(batch) - await assets.blobs_in_use(session, batch)
        for sha256 in unused:
            await self._storage.delete(sha256)
        return len(unused)
