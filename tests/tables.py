"""The tables as a test finds them: empty, but for the tenant `default`, whom the migrations make too."""

from __future__ import annotations

from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncSession

from genpulse.db import Database, utc_now
from genpulse.models import TenantRow, metadata
from genpulse.repositories import tenants
from genpulse.security import DEFAULT_TENANT


async def create_tables(database: Database) -> None:
    """Make them, without the migrations."""
    async with database.engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
    async with database.transaction() as session:
        await _add_default(session)


async def empty_tables(session: AsyncSession) -> None:
    """Forget whatever was written."""
    for table in reversed(metadata.sorted_tables):
        await session.execute(delete(table))
    await _add_default(session)


async def _add_default(session: AsyncSession) -> None:
    row = TenantRow(id=DEFAULT_TENANT, name=DEFAULT_TENANT, created_at=utc_now())
    await tenants.add(session, row, is_unlimited=True)
