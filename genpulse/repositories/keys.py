"""Keys of tenants: whose one is, which there are, and what becomes of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from genpulse.models import ApiKeyRow, TenantRow, metadata

# Writes name tables and not classes, see `generations`.
_KEY = metadata.tables[ApiKeyRow.__tablename__]


async def add(session: AsyncSession, row: ApiKeyRow) -> None:
    """Insert a new key."""
    await session.execute(insert(_KEY), [row.model_dump()])


async def get(session: AsyncSession, tenant_id: str, key_id: str) -> ApiKeyRow | None:
    """One key of the tenant."""
    query = select(ApiKeyRow).where(col(ApiKeyRow.id) == key_id, col(ApiKeyRow.tenant_id) == tenant_id)
    return (await session.execute(query)).scalar_one_or_none()


async def of_digest(session: AsyncSession, digest: str) -> tuple[ApiKeyRow, TenantRow] | None:
    """The key that has this digest, with its tenant: whoever shows a key does not say whose it is."""
    query = select(ApiKeyRow, TenantRow).join(TenantRow, col(TenantRow.id) == col(ApiKeyRow.tenant_id))
    found = (await session.execute(query.where(col(ApiKeyRow.digest) == digest))).one_or_none()
    return None if found is None else (found[0], found[1])


async def page(
    session: AsyncSession, tenant_id: str, *, limit: int, starting_after: str | None = None
) -> Sequence[ApiKeyRow]:
    """The tenant's keys, newest first, those that work no more included; at most `limit`."""
    query = select(ApiKeyRow).where(col(ApiKeyRow.tenant_id) == tenant_id)
    if starting_after is not None:
        query = query.where(col(ApiKeyRow.id) < starting_after)
    return (await session.execute(query.order_by(col(ApiKeyRow.id).desc()).limit(limit))).scalars().all()


async def replace(
    session: AsyncSession, tenant_id: str, key_id: str, *, by: str, at: datetime, until: datetime
) -> bool:
    """Another key goes on in its place, and this one ends. Return False where it works no more, or was replaced."""
    works = or_(_KEY.c.expires_at.is_(None), _KEY.c.expires_at > at)
    query = update(_KEY).where(_KEY.c.id == key_id, _KEY.c.tenant_id == tenant_id, works)
    query = query.where(_KEY.c.revoked_at.is_(None), _KEY.c.replaced_by.is_(None))
    return (
        await session.execute(query.values(replaced_by=by, expires_at=until).returning(_KEY.c.id))
    ).first() is not None


async def revoke(session: AsyncSession, tenant_id: str, key_id: str, *, at: datetime) -> None:
    """It works no more; since when does not change when that is said again."""
    query = update(_KEY).where(_KEY.c.id == key_id, _KEY.c.tenant_id == tenant_id, _KEY.c.revoked_at.is_(None))
    await session.execute(query.values(revoked_at=at))


async def note_use(session: AsyncSession, key_id: str, *, at: datetime, unless_since: datetime) -> None:
    """Somebody has shown it; unless that was noted since that instant."""
    seldom = or_(_KEY.c.last_used_at.is_(None), _KEY.c.last_used_at <= unless_since)
    await session.execute(update(_KEY).where(_KEY.c.id == key_id, seldom).values(last_used_at=at))
