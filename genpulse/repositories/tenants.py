"""Tenants. Each has a credit account from the beginning."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from genpulse.models import CreditAccountRow, TenantRow, metadata

_TENANT = metadata.tables[TenantRow.__tablename__]
_INTO_ACCOUNT = insert(metadata.tables[CreditAccountRow.__tablename__])


async def add(session: AsyncSession, row: TenantRow, *, is_unlimited: bool = False) -> None:
    """A new tenant, with an account that is empty."""
    await session.execute(insert(_TENANT), [row.model_dump()])
    await session.execute(_INTO_ACCOUNT, [CreditAccountRow(tenant_id=row.id, is_unlimited=is_unlimited).model_dump()])


async def get(session: AsyncSession, tenant_id: str) -> TenantRow | None:
    """One tenant."""
    return (await session.execute(select(TenantRow).where(col(TenantRow.id) == tenant_id))).scalar_one_or_none()


async def page(session: AsyncSession, *, limit: int, starting_after: str | None = None) -> Sequence[TenantRow]:
    """Tenants, newest first; at most `limit`. Ids begin with the time, but for that of `default`, which comes last."""
    query = select(TenantRow)
    if starting_after is not None:
        query = query.where(col(TenantRow.id) < starting_after)
    return (await session.execute(query.order_by(col(TenantRow.id).desc()).limit(limit))).scalars().all()


async def change(session: AsyncSession, tenant_id: str, **values: Any) -> bool:
    """Change it. Return False where there is none."""
    query = update(_TENANT).where(_TENANT.c.id == tenant_id).values(**values).returning(_TENANT.c.id)
    return (await session.execute(query)).first() is not None


async def in_flight(session: AsyncSession, tenant_id: str) -> int | None:
    """How many of its generations may be under way at once, as it is now; None where there is no limit."""
    return (await session.execute(select(_TENANT.c.in_flight).where(_TENANT.c.id == tenant_id))).scalar_one_or_none()


async def weights(session: AsyncSession, tenant_ids: Collection[str]) -> dict[str, float]:
    """Their shares, of those that there are."""
    query = select(_TENANT.c.id, _TENANT.c.weight).where(_TENANT.c.id.in_(tenant_ids))
    return {row.id: row.weight for row in await session.execute(query)}
