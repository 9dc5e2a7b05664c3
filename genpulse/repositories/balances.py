"""Credits: the accounts, and the lines of the ledger, which are only ever added."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from functools import cache
from typing import Any

from sqlalchemy import BigInteger, Boolean, ColumnElement, Select, bindparam, case, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.dml import ReturningUpdate
from sqlmodel import col

from genpulse.db import utc_now
from genpulse.ids import new_id
from genpulse.models import CreditAccountRow, CreditLotRow, CreditTransactionRow, TenantRow, metadata
from genpulse.schemas.credits import TransactionKind

_ACCOUNT = metadata.tables[CreditAccountRow.__tablename__]
_TRANSACTION = metadata.tables[CreditTransactionRow.__tablename__]
_LOT = metadata.tables[CreditLotRow.__tablename__]
_TENANT = metadata.tables[TenantRow.__tablename__]
_SUMS = ("available", "held", "spent", "granted")
#: What a line has of the account after it, by the account's names.
_TOLD_BY_ACCOUNT = {"number": "version", "available_after": "available", "held_after": "held"}
_COLUMNS = [one.name for one in _TRANSACTION.c]
_INTO_LEDGER = insert(_TRANSACTION).values({name: bindparam(f"line_{name}") for name in _COLUMNS})


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
        return any(getattr(self, name) for name in _SUMS)


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
    session: AsyncSession,
    tenant_id: str,
    entry: Entry,
    *,
    at: datetime,
    is_priced: bool = True,
    is_expiry_done: bool = False,
) -> Account | None:
    """Write a line, unless it would take what is not there. Return the account after it, or None, changing nothing.

    A hold is also refused beyond what the tenant may spend a day; where credits have expired, until those are taken
    away that are not held; and, for what has no price, unless the account is unlimited. A line that moves nothing is
    not written.
    """
    by = {f"by_{name}": getattr(entry, name) for name in (*_SUMS, "committed")}
    given = {"of_tenant": tenant_id, "at": at, "on_day": at.date(), **by}
    given |= {"is_priced": is_priced, "is_expiry_done": is_expiry_done}
    line = _line(tenant_id, entry, at) if entry.moves else None
    is_hold = entry.kind == "hold"
    if line is None:
        after = (await session.execute(_change(is_hold=is_hold, moves=False), given)).one_or_none()
    elif session.get_bind().dialect.name == "postgresql":
        after = (await session.execute(_change_with_line(is_hold=is_hold), given | line)).one_or_none()
    else:
        after = (await session.execute(_change(is_hold=is_hold, moves=True), given)).one_or_none()
        if after is not None:
            told = {f"line_{name}": getattr(after, source) for name, source in _TOLD_BY_ACCOUNT.items()}
            await session.execute(_INTO_LEDGER, line | told)
    if after is None:
        return None
    return Account(
        tenant_id=tenant_id,
        available=after.available,
        held=after.held,
        is_unlimited=after.is_unlimited,
        expires_at=after.expires_at,
        in_flight=after.in_flight,
        low_balance=after.low_balance,
        transaction_id=line["line_id"] if line else None,
    )


# The statements are put together once: doing that for each submission was a third of all that the API did for it.


@cache
def _change(*, is_hold: bool, moves: bool) -> ReturningUpdate[Any]:
    """The change of an account by `by_…`, where nothing stands against it; of whoever locks it alone, by nothing."""
    account, by = _ACCOUNT.c, {name: bindparam(f"by_{name}", type_=BigInteger) for name in (*_SUMS, "committed")}
    at, day = bindparam("at", type_=account.expires_at.type), bindparam("on_day", type_=account.day.type)
    # A line may come with the day before: it has waited for the account, or is of a host whose clock is behind.
    is_of_today = account.day >= day
    committed = case((is_of_today, account.committed), else_=0) + by["committed"]
    guards = [or_(account.is_unlimited, account.available + by["available"] >= 0)]
    if is_hold:
        per_day = _of_tenant(_TENANT.c.spend_per_day)
        guards.append(or_(per_day.is_(None), committed <= per_day))
        is_expiry_done = bindparam("is_expiry_done", type_=Boolean)
        guards.append(or_(is_expiry_done, account.expires_at.is_(None), account.expires_at > at))
        guards.append(or_(bindparam("is_priced", type_=Boolean), account.is_unlimited))
    changes: dict[str, Any] = {"version": account.version + int(moves)}
    if moves:
        changes |= {name: account[name] + by[name] for name in _SUMS}
        changes |= {
            "day": case((is_of_today, account.day), else_=day),
            "committed": case((committed > 0, committed), else_=0),
        }
    return (
        update(_ACCOUNT)
        .where(account.tenant_id == bindparam("of_tenant"), *guards)
        .values(changes)
        .returning(
            *(account[name] for name in ("available", "held", "version", "is_unlimited", "expires_at")),
            _of_tenant(_TENANT.c.in_flight).label("in_flight"),
            _of_tenant(_TENANT.c.low_balance).label("low_balance"),
        )
    )


@cache
def _change_with_line(*, is_hold: bool) -> Select[Any]:
    """Both in one statement, where the database can.

    Whatever else the tenant does waits for whoever has its account, so nobody goes back and forth meanwhile.
    """
    account = _change(is_hold=is_hold, moves=True).cte("account")
    own = [name for name in _COLUMNS if name not in _TOLD_BY_ACCOUNT]
    values = [bindparam(f"line_{name}", type_=_TRANSACTION.c[name].type) for name in own]
    row = select(*values, *(account.c[source] for source in _TOLD_BY_ACCOUNT.values()))
    written = insert(_TRANSACTION).from_select([*own, *_TOLD_BY_ACCOUNT], row).cte("line")
    return select(account).add_cte(written)


def _line(tenant_id: str, entry: Entry, at: datetime) -> dict[str, Any]:
    """The line's row, but for what the account tells."""
    return {
        "line_id": new_id("txn"),
        "line_tenant_id": tenant_id,
        "line_kind": entry.kind,
        **{f"line_{name}": getattr(entry, name) for name in _SUMS},
        "line_generation_id": entry.generation_id,
        "line_note": entry.note,
        "line_idempotency_key": entry.idempotency_key,
        "line_fingerprint": entry.fingerprint,
        "line_made_by": entry.made_by,
        "line_expires_at": entry.expires_at,
        "line_created_at": at,
    }


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


async def held_on(session: AsyncSession, generation_id: str, day: date) -> int:
    """How much of what is held for a generation was held on that day (UTC)."""
    query = select(func.coalesce(func.sum(_TRANSACTION.c.held), 0)).where(
        _TRANSACTION.c.generation_id == generation_id,
        _TRANSACTION.c.kind == "hold",
        _TRANSACTION.c.created_at >= datetime.combine(day, time(), tzinfo=UTC),
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
