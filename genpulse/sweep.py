"""Dropping stored files that no asset needs any more: deleted ones, and leftovers of steps that did not finish."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import structlog

from genpulse.db import Database
from genpulse.repositories import assets
from genpulse.schemas.upkeep import DutyReport
from genpulse.storage import SHARDS, Storage
from genpulse.upkeep.pacing import DUTY_TIME, Watch

#: A file is stored before the row that needs it; a day is more than any step takes in between. Content older than half
#: of that is written anew when it is stored again (`genpulse/storage.py`), so the sweep never meets a file just reused.
KEPT_FOR = timedelta(days=1)
_BATCH = 500

log = structlog.get_logger(__name__)


class Sweeper:
    """Looks through storage. Several at once do no harm."""

    def __init__(
        self, database: Database, storage: Storage, *, kept_for: timedelta = KEPT_FOR, time: timedelta = DUTY_TIME
    ) -> None:
        self._database = database
        self._storage = storage
        self._kept_for = kept_for
        self._time = time

    async def sweep(self, begin_after: str = "") -> DutyReport:
        """Drop every file that is old enough and that nothing refers to, shard by shard of the storage."""
        watch, dropped = Watch(self._time), 0
        for shard in SHARDS:
            if shard <= begin_after:
                continue
            dropped += await self._sweep_shard(shard)
            if watch.is_over and shard != SHARDS[-1]:
                break
        else:
            shard = ""
        log.info("sweep.done", dropped=dropped, stopped_after=shard)
        return DutyReport(counts={"files": dropped}, stopped_after=shard)

    async def _sweep_shard(self, shard: str) -> int:
        dropped = 0
        batch: list[str] = []
        async for blob in self._storage.blobs(older_than=self._kept_for, shard=shard):
            batch.append(blob.sha256)
            if len(batch) == _BATCH:
                dropped += await self._drop_unused(batch)
                batch = []
        return dropped + await self._drop_unused(batch)

    async def _drop_unused(self, batch: Sequence[str]) -> int:
        if not batch:
            return 0
        async with self._database.reading() as session:
            unused = set(batch) - await assets.blobs_in_use(session, batch)
        for sha256 in unused:
            await self._storage.delete(sha256)
        return len(unused)
