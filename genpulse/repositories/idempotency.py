"""Idempotency-Key records: unique by tenant and key, so the database decides a race."""

from __future__ import annotations

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from genpulse.models import IdempotencyRow


async def get(session: AsyncSession, tenant_id: str, key: str) -> IdempotencyRow | None:
    """What the key made, if anything."""
    query = select(IdempotencyRow).where(col(IdempotencyRow.tenant_id) == tenant_id, col(IdempotencyRow.key) == key)
    return (await session.execute(query)).scalar_one_or_none()


async def add(session: AsyncSession, row: IdempotencyRow) -> None:
    """Record a key. Raises IntegrityError when another request was first."""
    await session.execute(insert(IdempotencyRow), [row.model_dump()])
