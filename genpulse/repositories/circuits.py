"""Circuit breakers of provider accounts, one row each; the database decides who may probe."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from genpulse.models import CircuitRow, metadata

# Writes name tables and not classes, see `generations`.
_CIRCUIT = metadata.tables[CircuitRow.__tablename__]
_MOST_TEXT = 500


async def get(session: AsyncSession, account: str) -> CircuitRow | None:
    """The account's circuit; None where nothing has ever failed."""
    query = select(CircuitRow).where(col(CircuitRow.account) == account)
    return (await session.execute(query)).scalar_one_or_none()


async def everyone(session: AsyncSession) -> Sequence[CircuitRow]:
    """All circuits that have ever seen a failure."""
    return (await session.execute(select(CircuitRow))).scalars().all()


async def add(session: AsyncSession, account: str) -> None:
    """A closed circuit. Raises IntegrityError when the account has one."""
    await session.execute(insert(_CIRCUIT), [{"account": account, "failures": 0}])


async def note_failure(session: AsyncSession, account: str, error: str) -> int:
    """One more failure in a row; return how many there were, 0 where the account has no circuit yet."""
    statement = (
        update(_CIRCUIT)
        .where(_CIRCUIT.c.account == account)
        .values(failures=_CIRCUIT.c.failures + 1, last_error=error[:_MOST_TEXT])
        .returning(_CIRCUIT.c.failures)
    )
    return (await session.execute(statement)).scalar_one_or_none() or 0


async def change(session: AsyncSession, account: str, **values: Any) -> None:
    await session.execute(update(_CIRCUIT).where(_CIRCUIT.c.account == account).values(**values))


async def claim_probe(session: AsyncSession, account: str, call: str, *, now: datetime, until: datetime) -> bool:
    """Have this call be the one that tries whether the account works again; false while another one does."""
    probing_until = _CIRCUIT.c.probing_until
    free = or_(probing_until.is_(None), probing_until <= now, _CIRCUIT.c.probing_by == call)
    statement = update(_CIRCUIT).where(_CIRCUIT.c.account == account, _CIRCUIT.c.opened_until <= now, free)
    result = await session.execute(statement.values(probing_until=until, probing_by=call).returning(_CIRCUIT.c.account))
    return result.first() is not None
