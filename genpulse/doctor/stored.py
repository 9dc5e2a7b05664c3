"""Looking at what is stored: every invariant of the database, and every file that it refers to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Mapped
from sqlmodel import col

from genpulse.db import Database
from genpulse.doctor.findings import Finding
from genpulse.doctor.invariants import invariants, look
from genpulse.errors import AssetUnavailable
from genpulse.models import AssetRow
from genpulse.settings import Settings
from genpulse.storage import SHARDS, Storage

#: A stack may be at work meanwhile: what is broken is looked at again after that, and only then said.
SECOND_LOOK = timedelta(seconds=2)
FILES = ("I27", "The bytes of every asset and poster are in the storage")

_MOST = 1000  # of what is lost: more are not looked at again, and not counted
_ANY_AGE = timedelta(days=-1)  # by the storage's clock, which may be ahead of ours


async def check_stored(settings: Settings, *, second_look: timedelta = SECOND_LOOK) -> AsyncIterator[Finding]:
    """One finding for each invariant."""
    database = Database(settings.database_url, pool_size=1)
    try:
        for invariant in invariants():
            checked, broken = await look(database, invariant)
            if broken and second_look:
                await asyncio.sleep(second_look.total_seconds())
                checked, broken = await look(database, invariant)
            yield Finding.of_invariant(
                invariant.id, invariant.sentence, subject="stored", checked=checked, broken=broken
            )
        checked, broken = await _look_at_files(database, Storage.from_settings(settings))
        yield Finding.of_invariant(*FILES, subject="stored", checked=checked, broken=broken)
    finally:
        await database.dispose()


async def _look_at_files(database: Database, storage: Storage) -> tuple[int, list[str]]:
    """Shard by shard, so that each file is not asked for by itself and never all of them are in memory."""
    checked = 0
    lost: list[str] = []
    for shard in SHARDS:
        sizes = {blob.sha256: blob.bytes async for blob in storage.blobs(older_than=_ANY_AGE, shard=shard)}
        by_content = await _assets(database, *_within(col(AssetRow.sha256), shard))
        by_poster = await _assets(database, *_within(col(AssetRow.poster_sha256), shard))
        checked += len(by_content) + len(by_poster)
        lost += [one.id for one in by_content if sizes.get(one.sha256) != one.bytes]
        lost += [one.id for one in by_poster if one.poster_sha256 not in sizes]
    # What was stored or deleted while we looked is not lost.
    suspects = await _assets(database, col(AssetRow.id).in_(lost[:_MOST])) if lost else []
    return checked, [one.id for one in suspects if not await _is_whole(storage, one)]


def _within(column: Mapped[str] | Mapped[str | None], shard: str) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return column >= shard, column < f"{shard}g"  # names are hexadecimal


async def _assets(database: Database, *conditions: ColumnElement[bool]) -> Sequence[AssetRow]:
    async with database.reading() as session:
        return (await session.execute(select(AssetRow).where(*conditions))).scalars().all()


async def _is_whole(storage: Storage, asset: AssetRow) -> bool:
    try:
        if asset.poster_sha256 is not None:
            await storage.size(asset.poster_sha256)
        return await storage.size(asset.sha256) == asset.bytes
    except AssetUnavailable:
        return False
