"""What upkeep looks for, and what it removes: always some at a time, so that nobody has to wait for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import case, delete, exists, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from genpulse.db import utc_now
from genpulse.models import (
    AssetRow,
    AttemptRow,
    DeliveryRow,
    EventRow,
    GenerationRow,
    IdempotencyRow,
    StepRow,
    metadata,
)
from genpulse.schemas.generations import media_references
from genpulse.schemas.states import FINAL, Billing, GenerationStatus

# Writes name tables and not classes, see `generations`.
_GENERATION = metadata.tables[GenerationRow.__tablename__]
_STEP = metadata.tables[StepRow.__tablename__]
_ATTEMPT = metadata.tables[AttemptRow.__tablename__]
_EVENT = metadata.tables[EventRow.__tablename__]
_DELIVERY = metadata.tables[DeliveryRow.__tablename__]
_ASSET = metadata.tables[AssetRow.__tablename__]
_IDEMPOTENCY = metadata.tables[IdempotencyRow.__tablename__]

_IS_UNFINISHED = _GENERATION.c.status.not_in(FINAL)
_KEPT_EVENTS = ("output", "done")


@dataclass(frozen=True, kw_only=True)
class Quiet:
    """An unfinished generation of which nothing has been heard for a while; its `version` tells if that is still so."""

    id: str
    status: GenerationStatus
    version: int
    round: int


async def quiet(session: AsyncSession, *, before: datetime, after: str, limit: int) -> list[Quiet]:
    """Unfinished generations that Temporal was given, and of which there has been no event since, by their ids."""
    g = _GENERATION.c
    heard_of = exists().where(_EVENT.c.generation_id == g.id, _EVENT.c.seq == g.version, _EVENT.c.created_at > before)
    query = (
        select(g.id, g.status, g.version, g.round)
        .where(_IS_UNFINISHED, g.dispatched_at <= before, g.id > after, ~heard_of)
        .order_by(g.id)
        .limit(limit)
    )
    return [Quiet(**row) for row in (await session.execute(query)).mappings()]


async def claim(session: AsyncSession, row: Quiet) -> bool:
    """Lock a quiet generation until the transaction ends. Return False where something has happened to it meanwhile."""
    same = (_GENERATION.c.id == row.id, _GENERATION.c.version == row.version, _GENERATION.c.status == row.status)
    query = update(_GENERATION).where(*same).values(version=row.version).returning(_GENERATION.c.id)
    return (await session.execute(query)).first() is not None


async def forget_dispatch(session: AsyncSession, generation_id: str) -> None:
    """Temporal has it no more: the dispatcher gives it to it again."""
    query = update(_GENERATION).where(_GENERATION.c.id == generation_id)
    await session.execute(query.values(dispatched_at=None))


async def endings(session: AsyncSession, generation_ids: Sequence[str]) -> dict[str, datetime | None]:
    """Which of these generations there are, and when each ended; None where it has not."""
    query = select(_GENERATION.c.id, _GENERATION.c.finished_at).where(_GENERATION.c.id.in_(generation_ids))
    return {row.id: row.finished_at for row in await session.execute(query)}


# Attempts -------------------------------------------------------------------------------------------------------------


async def close_abandoned(session: AsyncSession, *, before: datetime, error: dict[str, Any]) -> int:
    """Close attempts begun before then whose generations have ended or wait for a person: nobody is on them.

    Of what was sent nobody knows what it will be billed. Return how many there were.
    """
    over = select(_GENERATION.c.id).where(_GENERATION.c.status.in_([*FINAL, GenerationStatus.DEAD_LETTERED]))
    billing = case((_ATTEMPT.c.sent_at.is_(None), Billing.NONE.value), else_=Billing.POSSIBLE.value)
    query = (
        update(_ATTEMPT)
        .where(_ATTEMPT.c.status == "running", _ATTEMPT.c.started_at <= before, _ATTEMPT.c.generation_id.in_(over))
        .values(
            status="failed",
            error=error,
            billing=func.coalesce(_ATTEMPT.c.billing, billing),
            finished_at=utc_now(),
        )
        .returning(_ATTEMPT.c.number)
    )
    return len((await session.execute(query)).all())


async def count_unanswered(session: AsyncSession, *, before: datetime) -> int:
    """How many calls were sent before then of which nobody knows what came of them."""
    a = _ATTEMPT.c
    query = select(func.count()).where(
        a.status == "running", a.sent_at <= before, a.provider_job_id.is_(None), a.answer.is_(None)
    )
    return (await session.execute(query)).scalar_one()


# Retention ------------------------------------------------------------------------------------------------------------


async def ended(
    session: AsyncSession, *, before: datetime, made_before: str, limit: int, after: str = ""
) -> Sequence[str]:
    """Generations that ended before then, by their ids; `made_before` is the first id that is too young to be one.

    Those of which an event is still on its way to a receiver are not among them.
    """
    g, d = _GENERATION.c, _DELIVERY.c
    is_being_told = exists().where(d.generation_id == g.id, d.finished_at.is_(None))
    query = select(g.id).where(
        g.id > after, g.id < made_before, g.status.in_(FINAL), g.finished_at < before, ~is_being_told
    )
    return (await session.execute(query.order_by(g.id).limit(limit))).scalars().all()


async def remove_generations(session: AsyncSession, generation_ids: Sequence[str]) -> None:
    """Forget generations with their steps, attempts, events and keys. Their outputs stay, without an owner."""
    await session.execute(delete(_GENERATION).where(_GENERATION.c.id.in_(generation_ids)))


async def thin_events(session: AsyncSession, generation_ids: Sequence[str]) -> int:
    """Forget how these generations came about; what each has made, and how it ended, stays. Return how many went."""
    query = delete(_EVENT).where(_EVENT.c.generation_id.in_(generation_ids), _EVENT.c.type.not_in(_KEPT_EVENTS))
    return len((await session.execute(query.returning(_EVENT.c.seq))).all())


async def remove_keys(session: AsyncSession, *, before: datetime, limit: int) -> int:
    """Forget idempotency keys that came before then. Return how many."""
    k = _IDEMPOTENCY.c
    rows = (await session.execute(select(k.tenant_id, k.key).where(k.created_at < before).limit(limit))).all()
    for row in rows:
        await session.execute(delete(_IDEMPOTENCY).where(k.tenant_id == row.tenant_id, k.key == row.key))
    return len(rows)


# Assets ---------------------------------------------------------------------------------------------------------------


async def assets_in_use(session: AsyncSession) -> set[str]:
    """The assets that generations which have not ended were given as inputs."""
    s = _STEP.c
    query = select(s.input, s.fallbacks).join(_GENERATION, _GENERATION.c.id == s.generation_id).where(_IS_UNFINISHED)
    used: set[str] = set()
    for step in await session.execute(query):
        for given in (step.input, *(one["input"] for one in step.fallbacks if "input" in one)):
            used.update(value["asset"] for _, value in media_references(given) if "asset" in value)
    return used


async def orphaned_outputs(session: AsyncSession, *, after: str, limit: int) -> Sequence[str]:
    """Outputs whose generations are gone, by their ids."""
    a = _ASSET.c
    query = select(a.id).where(a.generation_id.is_(None), a.position.is_not(None), a.id > after)
    return (await session.execute(query.order_by(a.id).limit(limit))).scalars().all()


async def old_uploads(session: AsyncSession, *, made_before: str, after: str, limit: int) -> Sequence[str]:
    """Uploads whose ids come before that one, by their ids."""
    a = _ASSET.c
    query = select(a.id).where(a.generation_id.is_(None), a.position.is_(None), a.id > after, a.id < made_before)
    return (await session.execute(query.order_by(a.id).limit(limit))).scalars().all()


async def remove_assets(session: AsyncSession, asset_ids: Sequence[str]) -> None:
    """Forget assets; the sweep drops their files."""
    await session.execute(delete(_ASSET).where(_ASSET.c.id.in_(asset_ids)))
