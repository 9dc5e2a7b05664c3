"""What has had its time goes: generations, their events, idempotency keys, uploads, outputs that belong to nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from genpulse import ledger
from genpulse.db import Database, utc_now
from genpulse.failpoints import Failpoint
from genpulse.ids import first_id
from genpulse.repositories import balances, upkeep
from genpulse.schemas.upkeep import DutyReport
from genpulse.settings import RetentionSettings
from genpulse.upkeep.pacing import DUTY_TIME, Watch

_BATCH = 200
#: An upload may be on its way into a request, or to a cloud, that no row tells of.
_UPLOADS_AT_LEAST = timedelta(days=1)

log = structlog.get_logger(__name__)

Finder = Callable[[AsyncSession, str], Awaitable[Sequence[str]]]
"""Finds the next ids after one."""


class Retention:
    """Removes in small transactions, oldest first. Several at once do no harm."""

    def __init__(self, database: Database, settings: RetentionSettings, *, time: timedelta = DUTY_TIME) -> None:
        self._database = database
        self._settings = settings
        self._time = time

    @Failpoint("upkeep.expire")
    async def expire(self, begin_after: str = "") -> DutyReport:
        """Remove what is too old by the settings. `begin_after` is the generation up to which events were thinned."""
        watch, counts = Watch(self._time), Counter[str]()
        await self._credits(watch, counts)
        await self._generations(watch, counts)
        await self._keys(watch, counts)
        await self._assets(watch, counts)
        stopped_after = await self._events(watch, counts, begin_after)
        log.info("upkeep.expired", **counts)
        return DutyReport(counts=counts, stopped_after=stopped_after)

    async def _credits(self, watch: Watch, counts: Counter[str]) -> None:
        """Those whose time is over; who spends in between has them taken away then."""
        last, now = "", utc_now()
        while not watch.is_over:
            async with self._database.reading() as session:
                tenants = await balances.expiring(session, before=now, after=last, limit=_BATCH)
            if not tenants:
                return
            for last in tenants:
                async with self._database.transaction() as session:
                    counts["credits"] += await ledger.expire(session, last)

    async def _generations(self, watch: Watch, counts: Counter[str]) -> None:
        if not self._settings.generations_days:
            return
        before = utc_now() - timedelta(days=self._settings.generations_days)
        while not watch.is_over:
            async with self._database.transaction() as session:
                old = await upkeep.ended(session, before=before, made_before=first_id("gen", before), limit=_BATCH)
                if not old:
                    return
                await upkeep.remove_generations(session, old)
            counts["generations"] += len(old)

    async def _keys(self, watch: Watch, counts: Counter[str]) -> None:
        before = utc_now() - timedelta(hours=self._settings.idempotency_hours)
        while not watch.is_over:
            async with self._database.transaction() as session:
                removed = await upkeep.remove_keys(session, before=before, limit=_BATCH)
            counts["idempotency_keys"] += removed
            if removed < _BATCH:
                return

    async def _assets(self, watch: Watch, counts: Counter[str]) -> None:
        counts["outputs"] += await self._remove_assets(watch, _orphaned)
        if self._settings.uploads_days:
            age = max(timedelta(days=self._settings.uploads_days), _UPLOADS_AT_LEAST)
            counts["uploads"] += await self._remove_assets(watch, _uploaded_before(first_id("ast", utc_now() - age)))

    async def _remove_assets(self, watch: Watch, find: Finder) -> int:
        """Except those that something unfinished still needs."""
        removed, last = 0, ""
        while not watch.is_over:
            async with self._database.transaction() as session:
                page = await find(session, last)
                if not page:
                    break
                used = await upkeep.assets_in_use(session)
                unused = [one for one in page if one not in used]
                await upkeep.remove_assets(session, unused)
            removed, last = removed + len(unused), page[-1]
        return removed

    async def _events(self, watch: Watch, counts: Counter[str], last: str) -> str:
        """Return after which generation there was no more time."""
        if not self._settings.events_days:
            return ""
        before = utc_now() - timedelta(days=self._settings.events_days)
        while not watch.is_over:
            async with self._database.transaction() as session:
                old = await upkeep.ended(
                    session, before=before, made_before=first_id("gen", before), limit=_BATCH, after=last
                )
                if not old:
                    return ""
                counts["events"] += await upkeep.thin_events(session, old)
            last = old[-1]
        return last


async def _orphaned(session: AsyncSession, after: str) -> Sequence[str]:
    return await upkeep.orphaned_outputs(session, after=after, limit=_BATCH)


def _uploaded_before(first: str) -> Finder:
    async def find(session: AsyncSession, after: str) -> Sequence[str]:
        return await upkeep.old_uploads(session, made_before=first, after=after, limit=_BATCH)

    return find
