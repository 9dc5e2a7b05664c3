"""Events of generations, read in their order."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from genpulse.models import EventRow


async def after(session: AsyncSession, generation_id: str, seq: int, *, limit: int = 500) -> Sequence[EventRow]:
    """Events of a generation with a number above `seq`, at most `limit`."""
    query = select(EventRow).where(col(EventRow.generation_id) == generation_id, col(EventRow.seq) > seq)
    return (await session.execute(query.order_by(col(EventRow.seq)).limit(limit))).scalars().all()
