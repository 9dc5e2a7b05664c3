"""Deliveries: each event on its way to each endpoint, and the tries."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from genpulse.db import utc_now
from genpulse.ids import new_id
from genpulse.models import DeliveryAttemptRow, DeliveryRow, metadata
from genpulse.repositories import webhooks
from genpulse.schemas.webhooks import CreditsFacts, GenerationFacts, Message, WebhookFacts, event_of

# Writes name tables and not classes, see `generations`.
_DELIVERY = metadata.tables[DeliveryRow.__tablename__]
_ATTEMPT = metadata.tables[DeliveryAttemptRow.__tablename__]
_LOST = "The worker that sent it was lost before it could note the answer."


async def announce(session: AsyncSession, tenant_id: str, facts: GenerationFacts) -> None:
    """A generation has entered this status: have it told to each endpoint that wants to know, if any."""
    kind = event_of(facts.status)
    receivers = await webhooks.listening(session, tenant_id, kind, generation_id=facts.id)
    if receivers:
        await tell(session, tenant_id, kind, facts, receivers, generation_id=facts.id)


async def tell(
    session: AsyncSession,
    tenant_id: str,
    kind: str,
    facts: GenerationFacts | WebhookFacts | CreditsFacts,
    receivers: Sequence[str],
    *,
    generation_id: str | None = None,
) -> list[DeliveryRow]:
    """Put an event on its way to these endpoints."""
    now = utc_now()
    payload = Message(type=kind, timestamp=now, data=facts).model_dump_json()
    rows = [
        DeliveryRow(
            id=new_id("evt"),
            tenant_id=tenant_id,
            webhook_id=receiver,
            generation_id=generation_id,
            type=kind,
            payload=payload,
            status="pending",
            next_attempt_at=now,
            created_at=now,
        )
        for receiver in receivers
    ]
    if rows:
        await session.execute(insert(_DELIVERY), [row.model_dump() for row in rows])
    return rows


async def get(session: AsyncSession, tenant_id: str, webhook_id: str, delivery_id: str) -> DeliveryRow | None:
    """One delivery to an endpoint of the tenant."""
    query = select(DeliveryRow).where(
        col(DeliveryRow.id) == delivery_id,
        col(DeliveryRow.webhook_id) == webhook_id,
        col(DeliveryRow.tenant_id) == tenant_id,
    )
    return (await session.execute(query)).scalar_one_or_none()


async def get_any(session: AsyncSession, delivery_id: str) -> DeliveryRow | None:
    """One delivery of whatever tenant; for whoever sends it."""
    query = select(DeliveryRow).where(col(DeliveryRow.id) == delivery_id)
    return (await session.execute(query)).scalar_one_or_none()


async def page(
    session: AsyncSession,
    tenant_id: str,
    webhook_id: str,
    *,
    limit: int,
    starting_after: str | None = None,
    status: str | None = None,
) -> Sequence[DeliveryRow]:
    """What was told to an endpoint of the tenant, newest first; at most `limit`."""
    query = select(DeliveryRow).where(
        col(DeliveryRow.webhook_id) == webhook_id, col(DeliveryRow.tenant_id) == tenant_id
    )
    if starting_after is not None:
        query = query.where(col(DeliveryRow.id) < starting_after)
    if status is not None:
        query = query.where(col(DeliveryRow.status) == status)
    return (await session.execute(query.order_by(col(DeliveryRow.id).desc()).limit(limit))).scalars().all()


async def attempts_of(session: AsyncSession, delivery_ids: Sequence[str]) -> dict[str, list[DeliveryAttemptRow]]:
    """Tries by delivery, in order."""
    query = select(DeliveryAttemptRow).where(col(DeliveryAttemptRow.delivery_id).in_(delivery_ids))
    groups: dict[str, list[DeliveryAttemptRow]] = defaultdict(list)
    order = (col(DeliveryAttemptRow.delivery_id), col(DeliveryAttemptRow.number))
    for row in (await session.execute(query.order_by(*order))).scalars():
        groups[row.delivery_id].append(row)
    return groups


async def open_attempt(session: AsyncSession, delivery_id: str, *, in_round: int, at: datetime) -> int | None:
    """Begin a try, and return its number; None where the delivery is over, or goes on in another round."""
    query = update(_DELIVERY).where(*_open(delivery_id, in_round)).values(attempts=_DELIVERY.c.attempts + 1)
    number: int | None = (await session.execute(query.returning(_DELIVERY.c.attempts))).scalar_one_or_none()
    if number is None:
        return None
    lost = update(_ATTEMPT).where(_ATTEMPT.c.delivery_id == delivery_id, _ATTEMPT.c.duration_ms.is_(None))
    await session.execute(lost.values(duration_ms=0, error=_LOST))
    await session.execute(insert(_ATTEMPT), [{"delivery_id": delivery_id, "number": number, "started_at": at}])
    return number


async def close_attempt(session: AsyncSession, delivery_id: str, number: int, **values: Any) -> None:
    """A try has ended."""
    query = update(_ATTEMPT).where(_ATTEMPT.c.delivery_id == delivery_id, _ATTEMPT.c.number == number)
    await session.execute(query.values(**values))


async def postpone(session: AsyncSession, delivery_id: str, *, in_round: int, to: datetime) -> bool:
    """Another try follows. Return False where the delivery is over, or goes on in another round."""
    query = update(_DELIVERY).where(*_open(delivery_id, in_round)).values(next_attempt_at=to)
    return (await session.execute(query.returning(_DELIVERY.c.id))).first() is not None


async def finish(session: AsyncSession, delivery_id: str, status: str, *, in_round: int, at: datetime) -> bool:
    """It has arrived, or no other try follows. Return False where it is over, or goes on in another round."""
    query = update(_DELIVERY).where(*_open(delivery_id, in_round))
    ended = query.values(status=status, next_attempt_at=None, finished_at=at).returning(_DELIVERY.c.id)
    return (await session.execute(ended)).first() is not None


async def give_up(session: AsyncSession, webhook_id: str, *, at: datetime) -> None:
    """Nothing more is sent there: whatever was on its way has failed."""
    query = update(_DELIVERY).where(_DELIVERY.c.webhook_id == webhook_id, _DELIVERY.c.status == "pending")
    await session.execute(query.values(status="failed", next_attempt_at=None, finished_at=at))


async def has_arrived_since(session: AsyncSession, webhook_id: str, since: datetime) -> bool:
    """Whether the endpoint has taken anything since then."""
    query = select(_DELIVERY.c.id).where(
        _DELIVERY.c.webhook_id == webhook_id, _DELIVERY.c.status == "delivered", _DELIVERY.c.finished_at > since
    )
    return (await session.execute(query.limit(1))).first() is not None


async def send_again(session: AsyncSession, tenant_id: str, delivery_id: str, *, at: datetime) -> None:
    """A person wants it to be tried now, whatever came of it."""
    query = update(_DELIVERY).where(_DELIVERY.c.id == delivery_id, _DELIVERY.c.tenant_id == tenant_id)
    await session.execute(query.values(status="pending", finished_at=None, **_anew(at)))


async def begin_anew(session: AsyncSession, delivery_id: str, *, in_round: int, at: datetime) -> bool:
    """Temporal has it no more, and is told again. Return False where it is over, or goes on in another round."""
    query = update(_DELIVERY).where(*_open(delivery_id, in_round)).values(**_anew(at))
    return (await session.execute(query.returning(_DELIVERY.c.id))).first() is not None


async def under_way(session: AsyncSession, *, before: datetime, after: str, limit: int) -> Sequence[DeliveryRow]:
    """Those that have not arrived, and of which Temporal was told before then, by their ids."""
    query = select(DeliveryRow).where(
        col(DeliveryRow.status) == "pending", col(DeliveryRow.dispatched_at) <= before, col(DeliveryRow.id) > after
    )
    return (await session.execute(query.order_by(col(DeliveryRow.id)).limit(limit))).scalars().all()


async def undispatched(session: AsyncSession, *, before: datetime, limit: int) -> Sequence[DeliveryRow]:
    """Those made before that instant of which Temporal has not been told, oldest first."""
    query = select(DeliveryRow).where(col(DeliveryRow.dispatched_at).is_(None), col(DeliveryRow.created_at) <= before)
    return (await session.execute(query.order_by(col(DeliveryRow.id)).limit(limit))).scalars().all()


async def mark_dispatched(session: AsyncSession, rows: Sequence[DeliveryRow]) -> None:
    """Temporal has been told; unless a person has asked for one again meanwhile."""
    now = utc_now()
    for row in rows:
        query = update(_DELIVERY).where(_DELIVERY.c.id == row.id, _DELIVERY.c.round == row.round)
        await session.execute(query.values(dispatched_at=now))


def _open(delivery_id: str, in_round: int) -> list[ColumnElement[bool]]:
    return [_DELIVERY.c.id == delivery_id, _DELIVERY.c.status == "pending", _DELIVERY.c.round == in_round]


def _anew(at: datetime) -> dict[str, Any]:
    return {"round": _DELIVERY.c.round + 1, "next_attempt_at": at, "dispatched_at": None}
