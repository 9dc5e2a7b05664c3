"""Generations: inserting, reading, and the guarded changes of their state."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, and_, case, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from genpulse.db import utc_now
from genpulse.models import EventRow, GenerationRow, TenantRow, metadata
from genpulse.repositories import deliveries
from genpulse.schemas.deadletters import DeadLetterFilter
from genpulse.schemas.states import ENTERED_FROM, FINAL, GenerationStatus, Operation, Priority
from genpulse.schemas.webhooks import EventFault, GenerationFacts

Event = tuple[str, dict[str, Any]]
"""Type and data of an event, before it has its number."""

# Writes name tables and not classes: the detour through the unit of work costs more than the statements themselves.
_GENERATION = metadata.tables[GenerationRow.__tablename__]
_INTO_EVENT = insert(metadata.tables[EventRow.__tablename__])
_IS_UNFINISHED = _GENERATION.c.status.not_in(FINAL)
#: Accepted, and not yet told to Temporal.
_IS_WAITING = and_(
    _GENERATION.c.status == GenerationStatus.QUEUED,
    _GENERATION.c.admitted_at.is_(None),
    _GENERATION.c.cancel_requested_at.is_(None),
)
_URGENCIES = {Priority.HIGH: 0, Priority.NORMAL: 1, Priority.LOW: 2}
_URGENCY = case(*((_GENERATION.c.priority == priority, rank) for priority, rank in _URGENCIES.items()))
#: What webhooks are told of a change comes back with the change itself: no reading, which would cost all generations.
_TOLD = [_GENERATION.c[name] for name in ("tenant_id", "version", "operation", "model", "error", "labels")]
_MOST_TEXT = 500  # of an error, in an event
_MAY_ENTER = {status: _GENERATION.c.status.in_(origins) for status, origins in ENTERED_FROM.items()}


async def get(session: AsyncSession, tenant_id: str, generation_id: str) -> GenerationRow | None:
    """One generation of the tenant."""
    query = select(GenerationRow).where(
        col(GenerationRow.id) == generation_id, col(GenerationRow.tenant_id) == tenant_id
    )
    return (await session.execute(query)).scalar_one_or_none()


async def page(
    session: AsyncSession,
    tenant_id: str,
    *,
    limit: int,
    starting_after: str | None = None,
    status: GenerationStatus | None = None,
    model: str | None = None,
    operation: Operation | None = None,
    error_code: str | None = None,
    created_after: datetime | None = None,
) -> Sequence[GenerationRow]:
    """The tenant's generations, newest first; at most `limit`."""
    query = select(GenerationRow).where(col(GenerationRow.tenant_id) == tenant_id)
    filters: list[ColumnElement[bool] | None] = [
        col(GenerationRow.id) < starting_after if starting_after else None,
        col(GenerationRow.status) == status if status else None,
        col(GenerationRow.model) == model if model else None,
        col(GenerationRow.operation) == operation if operation else None,
        col(GenerationRow.error)["code"].as_string() == error_code if error_code else None,
        col(GenerationRow.created_at) > created_after if created_after else None,
    ]
    query = query.where(*(one for one in filters if one is not None))
    return (await session.execute(query.order_by(col(GenerationRow.id).desc()).limit(limit))).scalars().all()


async def dead_letters(
    session: AsyncSession, tenant_id: str, wanted: DeadLetterFilter, *, limit: int, starting_after: str | None = None
) -> Sequence[GenerationRow]:
    """Those of the tenant's dead letters that the filter names, oldest first; at most `limit`."""
    query = select(GenerationRow).where(*_dead_letters(tenant_id, wanted))
    if starting_after is not None:
        query = query.where(col(GenerationRow.id) > starting_after)
    return (await session.execute(query.order_by(col(GenerationRow.id)).limit(limit))).scalars().all()


async def dead_letter_groups(
    session: AsyncSession, tenant_id: str, wanted: DeadLetterFilter
) -> list[tuple[str, str, str | None, int]]:
    """How many dead letters the filter names, by model, error code and provider; the largest group first."""
    error = col(GenerationRow.error)
    kinds = (col(GenerationRow.model), error["code"].as_string(), error["provider"].as_string())
    count = func.count().label("count")
    query = select(*kinds, count).where(*_dead_letters(tenant_id, wanted)).group_by(*kinds)
    return [tuple(row) for row in await session.execute(query.order_by(count.desc(), *kinds))]


def _dead_letters(tenant_id: str, wanted: DeadLetterFilter) -> list[ColumnElement[bool]]:
    error = col(GenerationRow.error)
    conditions: list[ColumnElement[bool] | None] = [
        col(GenerationRow.tenant_id) == tenant_id,
        col(GenerationRow.status) == GenerationStatus.DEAD_LETTERED,
        col(GenerationRow.id).in_(wanted.ids) if wanted.ids is not None else None,
        col(GenerationRow.model) == wanted.model if wanted.model else None,
        col(GenerationRow.operation) == wanted.operation if wanted.operation else None,
        error["code"].as_string() == wanted.code if wanted.code else None,
        error["provider"].as_string() == wanted.provider if wanted.provider else None,
        col(GenerationRow.created_at) > wanted.created_after if wanted.created_after else None,
        col(GenerationRow.created_at) < wanted.created_before if wanted.created_before else None,
        col(GenerationRow.parked_at) < wanted.parked_before if wanted.parked_before else None,
    ]
    return [one for one in conditions if one is not None]


async def enter(
    session: AsyncSession,
    generation_id: str,
    status: GenerationStatus,
    *events: Event,
    of: Iterable[GenerationStatus] | None = None,
    in_round: int | None = None,
    **values: Any,
) -> bool:
    """Move a generation into `status` if it is in a state that leads there, number the events of it, and have it told
    to the webhooks that want to know.

    `of` and `in_round` narrow down from where. Return False, changing nothing, where it is not there; the caller
    decides whether that is an error.
    """
    stamp: dict[str, Any] = {}
    if status == GenerationStatus.RUNNING:
        stamp = {"started_at": func.coalesce(_GENERATION.c.started_at, utc_now())}
    elif status in FINAL:
        stamp = {"finished_at": utc_now()}
    guards: list[ColumnElement[bool]] = [_MAY_ENTER[status]]
    if of is not None:
        guards.append(_GENERATION.c.status.in_(list(of)))
    if in_round is not None:
        guards.append(_GENERATION.c.round == in_round)
    changed = await _change(session, generation_id, and_(*guards), events, status=status, **stamp, **values)
    if changed is None:
        return False
    await deliveries.announce(session, changed.tenant_id, facts_of(changed, generation_id, status))
    return True


def facts_of(row: Any, generation_id: str, status: GenerationStatus) -> GenerationFacts:
    """What webhooks are told of a generation that has entered this status."""
    error = row.error and EventFault(code=row.error["code"], message=row.error["message"][:_MOST_TEXT])
    return GenerationFacts(
        id=generation_id,
        status=status,
        version=row.version,
        operation=row.operation,
        model=row.model,
        error=error,
        metadata=row.labels,
    )


async def has_ended(session: AsyncSession, generation_id: str) -> bool:
    """Whether it is in a final state, or is not there any more."""
    query = select(_GENERATION.c.id).where(_GENERATION.c.id == generation_id, _IS_UNFINISHED)
    return (await session.execute(query)).first() is None


async def touch(session: AsyncSession, generation_id: str, *events: Event, **values: Any) -> bool:
    """Change an unfinished generation without moving it, numbering the events. Return False if it has ended."""
    return await _change(session, generation_id, _IS_UNFINISHED, events, **values) is not None


async def _change(
    session: AsyncSession, generation_id: str, guard: ColumnElement[bool], events: Sequence[Event], **values: Any
) -> Row[Any] | None:
    # The update locks the row until the transaction ends, so the numbers are taken in the order of the commits.
    query = (
        update(_GENERATION)
        .where(_GENERATION.c.id == generation_id, guard)
        .values(version=_GENERATION.c.version + len(events), **values)
        .returning(*_TOLD)
    )
    changed = (await session.execute(query)).one_or_none()
    if changed is None:
        return None
    version: int = changed.version
    now = utc_now()
    rows = [
        {"generation_id": generation_id, "seq": seq, "type": kind, "data": data, "created_at": now}
        for seq, (kind, data) in enumerate(events, start=version - len(events) + 1)
    ]
    if rows:
        await session.execute(_INTO_EVENT, rows)
    return changed


async def undispatched(session: AsyncSession, *, before: datetime, limit: int) -> Sequence[GenerationRow]:
    """Generations accepted before that instant of which Temporal should know and does not yet.

    The first of each tenant, then the second of each, and so on: where many are due, nobody stands behind all of
    another's. Those that wait to be admitted are not among them, unless they are cancelled.
    """
    is_due = or_(_GENERATION.c.admitted_at.is_not(None), _GENERATION.c.cancel_requested_at.is_not(None))
    turn = func.row_number().over(partition_by=_GENERATION.c.tenant_id, order_by=(_URGENCY, _GENERATION.c.id))
    due = (
        select(_GENERATION.c.id, turn.label("turn"))
        .where(_GENERATION.c.dispatched_at.is_(None), is_due, _GENERATION.c.created_at <= before)
        .order_by("turn", _GENERATION.c.id)
        .limit(limit)
        .subquery()
    )
    query = select(GenerationRow).join(due, due.c.id == col(GenerationRow.id)).order_by(due.c.turn, due.c.id)
    return (await session.execute(query)).scalars().all()


async def count_admitted(session: AsyncSession, tenant_id: str) -> int:
    """How many of the tenant's generations are under way. Dead letters are not: they wait for a person."""
    query = select(func.count()).where(
        _GENERATION.c.tenant_id == tenant_id,
        _GENERATION.c.admitted_at.is_not(None),
        _IS_UNFINISHED,
        _GENERATION.c.status != GenerationStatus.DEAD_LETTERED,
    )
    return (await session.execute(query)).scalar_one()


async def limited_tenant_of(session: AsyncSession, generation_id: str) -> str | None:
    """The generation's tenant, where only so many of its generations may be under way at once."""
    tenant = metadata.tables[TenantRow.__tablename__]
    query = select(tenant.c.id).where(
        _GENERATION.c.id == generation_id, tenant.c.id == _GENERATION.c.tenant_id, tenant.c.in_flight.is_not(None)
    )
    return (await session.execute(query)).scalar_one_or_none()


async def hold_back(session: AsyncSession, generation_id: str) -> None:
    """It waits to be admitted."""
    await session.execute(update(_GENERATION).where(_GENERATION.c.id == generation_id).values(admitted_at=None))


async def admit(session: AsyncSession, tenant_id: str, *, limit: int) -> int:
    """Have the next ones of the tenant begin, the most urgent first, then the oldest. Return how many.

    Whoever is being cancelled at this moment is passed over, not waited for: its canceller may wait for us.
    """
    waiting = (
        select(_GENERATION.c.id)
        .where(_GENERATION.c.tenant_id == tenant_id, _IS_WAITING)
        .order_by(_URGENCY, _GENERATION.c.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    ids = (await session.execute(waiting)).scalars().all()
    if ids:
        await _stamp(session, ids, "admitted_at")
    return len(ids)


async def count_ahead(session: AsyncSession, row: GenerationRow) -> int:
    """How many of the tenant's begin before one that waits."""
    urgency = _URGENCIES[row.priority]
    is_before = or_(urgency > _URGENCY, and_(_URGENCY.in_([urgency]), _GENERATION.c.id < row.id))
    query = select(func.count()).where(_GENERATION.c.tenant_id == row.tenant_id, _IS_WAITING, is_before)
    return (await session.execute(query)).scalar_one()


async def admit_overdue(session: AsyncSession, *, limit: int) -> int:
    """Have those begin whose deadline has passed while they waited, so that they end. Return how many."""
    ids = (await session.execute(_overdue(limit))).scalars().all()
    if ids:
        await _stamp(session, ids, "admitted_at")
    return len(ids)


async def has_overdue(session: AsyncSession) -> bool:
    """Whether the deadline of one has passed while it waited."""
    return (await session.execute(_overdue(1))).first() is not None


def _overdue(limit: int) -> Select[Any]:
    return select(_GENERATION.c.id).where(_IS_WAITING, _GENERATION.c.deadline_at <= utc_now()).limit(limit)


async def mark_dispatched(session: AsyncSession, generation_ids: Sequence[str]) -> None:
    """Temporal has them."""
    await _stamp(session, generation_ids, "dispatched_at")


async def cancels_unsent(session: AsyncSession, *, limit: int) -> Sequence[str]:
    """Ids of dispatched generations whose cancellation Temporal has not heard of."""
    query = select(col(GenerationRow.id)).where(
        col(GenerationRow.cancel_requested_at).is_not(None),
        col(GenerationRow.cancel_sent_at).is_(None),
        col(GenerationRow.dispatched_at).is_not(None),
    )
    return (await session.execute(query.order_by(col(GenerationRow.id)).limit(limit))).scalars().all()


async def mark_cancel_sent(session: AsyncSession, generation_ids: Sequence[str]) -> None:
    """Temporal has been told to cancel them."""
    await _stamp(session, generation_ids, "cancel_sent_at")


async def resolutions_unsent(session: AsyncSession, *, limit: int) -> Sequence[GenerationRow]:
    """Dead letters about which a person has decided, and whose workflows have not heard of it.

    Not those that are to go on and wait to be admitted.
    """
    query = select(GenerationRow).where(
        col(GenerationRow.resolution).is_not(None),
        col(GenerationRow.resolution_sent_at).is_(None),
        col(GenerationRow.admitted_at).is_not(None),
    )
    # As they are now: the session may have read one before a person decided about it.
    query = query.order_by(col(GenerationRow.id)).limit(limit).execution_options(populate_existing=True)
    return (await session.execute(query)).scalars().all()


async def mark_resolution_sent(session: AsyncSession, rows: Sequence[GenerationRow]) -> None:
    """Their workflows have been told; unless it has become a dead letter again, and somebody has decided again."""
    for row in rows:
        query = update(_GENERATION).where(_GENERATION.c.id == row.id, _GENERATION.c.round == row.round)
        await session.execute(query.values(resolution_sent_at=utc_now()))


async def _stamp(session: AsyncSession, generation_ids: Sequence[str], column: str) -> None:
    query = update(_GENERATION).where(_GENERATION.c.id.in_(generation_ids)).values({column: utc_now()})
    await session.execute(query)


async def count_open(session: AsyncSession) -> dict[str, int]:
    """How many have not ended, by status."""
    query = select(_GENERATION.c.status, func.count()).where(_IS_UNFINISHED).group_by(_GENERATION.c.status)
    return {status.value: count for status, count in await session.execute(query)}


async def versions(session: AsyncSession, generation_ids: Sequence[str]) -> dict[str, int]:
    """How many events each of these generations has."""
    query = select(col(GenerationRow.id), col(GenerationRow.version)).where(col(GenerationRow.id).in_(generation_ids))
    return {row.id: row.version for row in await session.execute(query)}
