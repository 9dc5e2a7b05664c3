"""Credits: the accounts, and the lines of the ledger, which are only ever added."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, case, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from genpulse.db import utc_now
from genpulse.ids import new_id
from genpulse.models import CreditAccountRow, CreditLotRow, CreditTransactionRow, TenantRow, metadata
from genpulse.schemas.credits import TransactionKind

_ACCOUNT = metadata.tables[CreditAccountRow.__tablename__]
_TRANSACTION = metadata.tables[CreditTransactionRow.__tablename__]
_LOT = metadata.tables[CreditLotRow.__tablename__]
_TENANT = metadata.tables[TenantRow.__tablename__]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A line to be written: what it moves between the four accounts, which sums to zero.

    `committed` is by how much it changes what counts towards the day's limit.
    """

    kind: TransactionKind
    available: int = 0
    held: int = 0
    spent: int = 0
    granted: int = 0
    committed: int = 0
    generation_id: str | None = None
    note: str = ""
    idempotency_key: str | None = None
    fingerprint: str | None = None
    made_by: str | None = None
    expires_at: datetime | None = None

    @property
    def moves(self) -> bool:
        return any((self.available, self.held, self.spent, self.granted))


@dataclass(frozen=True, kw_only=True)
class Account:
    """An account after a line, with what its tenant's limits have to do with it. Its row is locked until the end."""

    tenant_id: str
    available: int
    held: int
    is_unlimited: bool
    expires_at: datetime | None
    in_flight: int | None
    low_balance: int | None
    transaction_id: str | None = None

    @property
    def balance(self) -> int:
        return self.available + self.held


async def get(session: AsyncSession, tenant_id: str) -> CreditAccountRow | None:
    """A tenant's account as it is now."""
    query = select(CreditAccountRow).where(col(CreditAccountRow.tenant_id) == tenant_id)
    return (await session.execute(query.execution_options(populate_existing=True))).scalar_one_or_none()


async def post(
    session: AsyncSession, tenant_id: str, entry: Entry, *, at: datetime, is_hold_of_unpriced: bool = False
) -> Account | None:
    """Write a line, unless it would take what is not there. Return the account after it, or None, changing nothing.

    A hold is also refused beyond what the tenant may spend a day, where credits have expired that are still counted,
    and, for what has no price, unless the account is unlimited. A line that moves nothing is not written.
    """
    committed = case((_ACCOUNT.c.day == at.date(), _ACCOUNT.c.committed), else_=0) + entry.committed
    guards = [or_(_ACCOUNT.c.is_unlimited, _ACCOUNT.c.available + entry.available >= 0)]
    if entry.kind == "hold":
        per_day = _of_tenant(_TENANT.c.spend_per_day)
        guards.append(or_(per_day.is_(None), committed <= per_day))
        guards.append(or_(_ACCOUNT.c.expires_at.is_(None), _ACCOUNT.c.expires_at > at))
    if is_hold_of_unpriced:
        guards.append(_ACCOUNT.c.is_unlimited)
    changes: dict[str, Any] = {}
    if entry.moves:
        changes = {name: _ACCOUNT.c[name] + getattr(entry, name) for name in ("available", "held", "spent", "granted")}
        changes |= {"day": at.date(), "committed": case((committed > 0, committed), else_=0)}
    query = (
        update(_ACCOUNT)
        .where(_ACCOUNT.c.tenant_id == tenant_id, *guards)
        .values(version=_ACCOUNT.c.version + int(entry.moves), **changes)
        .returning(
            *(_ACCOUNT.c[name] for name in ("available", "held", "version", "is_unlimited", "expires_at")),
            _of_tenant(_TENANT.c.in_flight).label("in_flight"),
            _of_tenant(_TENANT.c.low_balance).label("low_balance"),
        )
    )
    after = (await session.execute(query)).one_or_none()
    if after is None:
        return None
    written = await _write(session, tenant_id, entry, after, at) if entry.moves else None
    return Account(
        tenant_id=tenant_id,
        available=after.available,
        held=after.held,
        is_unlimited=after.is_unlimited,
        expires_at=after.expires_at,
        in_flight=after.in_flight,
        low_balance=after.low_balance,
        transaction_id=written,
    )


async def _write(session: AsyncSession, tenant_id: str, entry: Entry, after: Any, at: datetime) -> str:
    row = CreditTransactionRow(
        id=new_id("txn"),
        tenant_id=tenant_id,
        number=after.version,
        kind=entry.kind,
        available=entry.available,
        held=entry.held,
        spent=entry.spent,
        granted=entry.granted,
        available_after=after.available,
        held_after=after.held,
        generation_id=entry.generation_id,
        note=entry.note,
        idempotency_key=entry.idempotency_key,
        fingerprint=entry.fingerprint,
        made_by=entry.made_by,
        expires_at=entry.expires_at,
        created_at=at,
    )
    await session.execute(insert(_TRANSACTION), [row.model_dump()])
    return row.id


async def lock(session: AsyncSession, tenant_id: str) -> Account | None:
    """Nobody else changes the account, or has a generation of the tenant begin, until the transaction ends."""
    return await post(session, tenant_id, Entry(kind="adjust"), at=utc_now())


async def limit(session: AsyncSession, tenant_id: str) -> None:
    """From now on the account may not go below zero."""
    await session.execute(update(_ACCOUNT).where(_ACCOUNT.c.tenant_id == tenant_id).values(is_unlimited=False))


# The ledger -----------------------------------------------------------------------------------------------------------


async def transaction(session: AsyncSession, transaction_id: str) -> CreditTransactionRow:
    """One line, which exists."""
    query = select(CreditTransactionRow).where(col(CreditTransactionRow.id) == transaction_id)
    return (await session.execute(query)).scalar_one()


async def made_with(session: AsyncSession, tenant_id: str, idempotency_key: str) -> CreditTransactionRow | None:
    """The line that was written with this key, if any."""
    query = select(CreditTransactionRow).where(
        col(CreditTransactionRow.tenant_id) == tenant_id,
        col(CreditTransactionRow.idempotency_key) == idempotency_key,
    )
    return (await session.execute(query)).scalar_one_or_none()


async def page(
    session: AsyncSession,
    tenant_id: str,
    *,
    limit: int,
    starting_after: str | None = None,
    kind: str | None = None,
    generation_id: str | None = None,
) -> Sequence[CreditTransactionRow]:
    """Lines of the tenant's ledger, newest first; at most `limit`."""
    query = select(CreditTransactionRow).where(col(CreditTransactionRow.tenant_id) == tenant_id)
    if starting_after is not None:
        last = select(_TRANSACTION.c.number).where(
            _TRANSACTION.c.id == starting_after, _TRANSACTION.c.tenant_id == tenant_id
        )
        query = query.where(col(CreditTransactionRow.number) < last.scalar_subquery())
    if kind is not None:
        query = query.where(col(CreditTransactionRow.kind) == kind)
    if generation_id is not None:
        query = query.where(col(CreditTransactionRow.generation_id) == generation_id)
    return (await session.execute(query.order_by(col(CreditTransactionRow.number).desc()).limit(limit))).scalars().all()


async def charged_for(session: AsyncSession, tenant_id: str, generation_id: str) -> int:
    """What a generation has cost by the ledger: captured, less what was given back."""
    query = select(func.coalesce(func.sum(_TRANSACTION.c.spent), 0)).where(
        _TRANSACTION.c.tenant_id == tenant_id, _TRANSACTION.c.generation_id == generation_id
    )
    return int((await session.execute(query)).scalar_one())


# Credits that expire --------------------------------------------------------------------------------------------------


async def add_lot(
    session: AsyncSession, tenant_id: str, transaction_id: str, amount: int, expires_at: datetime
) -> None:
    """So many of the account's credits expire then."""
    row = CreditLotRow(transaction_id=transaction_id, tenant_id=tenant_id, remaining=amount, expires_at=expires_at)
    await session.execute(insert(_LOT), [row.model_dump()])
    await note_expiry(session, tenant_id)


async def lots(session: AsyncSession, tenant_id: str) -> Sequence[CreditLotRow]:
    """What is left that expires, soonest first."""
    query = select(CreditLotRow).where(col(CreditLotRow.tenant_id) == tenant_id, col(CreditLotRow.remaining) > 0)
    order = (col(CreditLotRow.expires_at), col(CreditLotRow.transaction_id))
    return (await session.execute(query.order_by(*order).execution_options(populate_existing=True))).scalars().all()


async def shrink_lot(session: AsyncSession, transaction_id: str, by: int) -> None:
    """So much of it has been spent, or has expired."""
    query = update(_LOT).where(_LOT.c.transaction_id == transaction_id)
    await session.execute(query.values(remaining=_LOT.c.remaining - by))


async def note_expiry(session: AsyncSession, tenant_id: str) -> None:
    """Write down when the next credits of the account expire."""
    soonest = select(func.min(_LOT.c.expires_at)).where(_LOT.c.tenant_id == tenant_id, _LOT.c.remaining > 0)
    query = update(_ACCOUNT).where(_ACCOUNT.c.tenant_id == tenant_id)
    await session.execute(query.values(expires_at=soonest.scalar_subquery()))


async def expiring(session: AsyncSession, *, before: datetime, after: str, limit: int) -> Sequence[str]:
    """Ids of tenants with credits that have expired by then, in order."""
    query = select(_ACCOUNT.c.tenant_id).where(_ACCOUNT.c.expires_at <= before, _ACCOUNT.c.tenant_id > after)
    return (await session.execute(query.order_by(_ACCOUNT.c.tenant_id).limit(limit))).scalars().all()


def _of_tenant(column: ColumnElement[Any]) -> ColumnElement[Any]:
    return select(column).where(_TENANT.c.id == _ACCOUNT.c.tenant_id).correlate(_ACCOUNT).scalar_subquery()
