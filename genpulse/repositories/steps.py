"""Steps of generations, and their attempts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import case, func, insert, literal, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from genpulse.db import utc_now
from genpulse.models import AttemptRow, GenerationRow, StepRow, metadata
from genpulse.schemas.states import Billing, StepStatus

Row = TypeVar("Row", StepRow, AttemptRow)

# Writes name tables and not classes, see `generations`.
_STEP = metadata.tables[StepRow.__tablename__]
_ATTEMPT = metadata.tables[AttemptRow.__tablename__]


async def of_generations(session: AsyncSession, generation_ids: Sequence[str]) -> dict[str, list[StepRow]]:
    """Steps by generation, each list in chain order."""
    query = select(StepRow).where(col(StepRow.generation_id).in_(generation_ids))
    rows = (await session.execute(query.order_by(col(StepRow.generation_id), col(StepRow.position)))).scalars()
    return _grouped(rows)


async def attempts_of(session: AsyncSession, generation_ids: Sequence[str]) -> dict[str, list[AttemptRow]]:
    """Attempts by generation, in the order in which they began."""
    query = select(AttemptRow).where(col(AttemptRow.generation_id).in_(generation_ids))
    order = (col(AttemptRow.generation_id), col(AttemptRow.position), col(AttemptRow.number))
    return _grouped((await session.execute(query.order_by(*order))).scalars())


async def get(session: AsyncSession, generation_id: str, position: int) -> StepRow | None:
    """One step."""
    query = select(StepRow).where(col(StepRow.generation_id) == generation_id, col(StepRow.position) == position)
    return (await session.execute(query)).scalar_one_or_none()


async def lock(session: AsyncSession, generation_id: str) -> None:
    """Nobody else moves a step of the generation until the transaction ends."""
    query = select(_STEP.c.position).where(_STEP.c.generation_id == generation_id)
    await session.execute(query.order_by(_STEP.c.position).with_for_update())


async def move(
    session: AsyncSession, generation_id: str, position: int, to: StepStatus, *, of: Iterable[StepStatus], **values: Any
) -> StepRow | None:
    """Move a step into `to` if its status is one of `of`. Return it as it is then, or None where it was in another."""
    query = (
        update(_STEP)
        .where(_STEP.c.generation_id == generation_id, _STEP.c.position == position, _STEP.c.status.in_(list(of)))
        .values(status=to, **values)
        .returning(_STEP)
    )
    row = (await session.execute(query)).mappings().one_or_none()
    return StepRow(**row) if row else None


async def move_all(
    session: AsyncSession, generation_id: str, to: StepStatus, *, of: Iterable[StepStatus], **values: Any
) -> None:
    """Move every step of a generation that is in one of `of`."""
    query = update(_STEP).where(_STEP.c.generation_id == generation_id, _STEP.c.status.in_(list(of)))
    await session.execute(query.values(status=to, **values))


async def set_fallbacks(
    session: AsyncSession, generation_id: str, position: int, fallbacks: Sequence[dict[str, Any]]
) -> None:
    """Write down which models may take the step over, each with its input."""
    query = update(_STEP).where(_STEP.c.generation_id == generation_id, _STEP.c.position == position)
    await session.execute(query.values(fallbacks=list(fallbacks)))


async def open_attempt(
    session: AsyncSession, generation_id: str, position: int, *, provider: str, model: str, in_round: int
) -> int:
    """Begin the next attempt of a step; one that never reported back is closed as failed. Return its number."""
    row = {
        "generation_id": generation_id,
        "position": position,
        "provider": provider,
        "model": model,
        "round": in_round,
        "status": "running",
        "started_at": utc_now(),
    }
    values = [literal(value, _ATTEMPT.c[name].type) for name, value in row.items()]
    earlier = select(*values, func.coalesce(func.max(_ATTEMPT.c.number), 0) + 1).where(
        _ATTEMPT.c.generation_id == generation_id, _ATTEMPT.c.position == position
    )
    query = insert(_ATTEMPT).from_select([*row, "number"], earlier).returning(_ATTEMPT.c.number)
    number: int = (await session.execute(query)).scalar_one()
    if number > 1:
        await close_attempts(session, generation_id, position, before=number, status="failed", error=_LOST)
    return number


async def last_attempt(
    session: AsyncSession, generation_id: str, position: int, model_id: str, *, in_round: int
) -> AttemptRow | None:
    """The newest attempt of a step with this model in this round."""
    provider, _, model = model_id.partition("/")
    query = select(AttemptRow).where(
        col(AttemptRow.generation_id) == generation_id,
        col(AttemptRow.position) == position,
        col(AttemptRow.provider) == provider,
        col(AttemptRow.model) == model,
        col(AttemptRow.round) == in_round,
    )
    return (await session.execute(query.order_by(col(AttemptRow.number).desc()).limit(1))).scalar_one_or_none()


async def count_attempts(
    session: AsyncSession, generation_id: str, position: int, model_id: str, *, in_round: int
) -> int:
    """How many attempts of a step there were with this model in this round."""
    provider, _, model = model_id.partition("/")
    query = select(func.count()).where(
        _ATTEMPT.c.generation_id == generation_id,
        _ATTEMPT.c.position == position,
        _ATTEMPT.c.provider == provider,
        _ATTEMPT.c.model == model,
        _ATTEMPT.c.round == in_round,
    )
    return (await session.execute(query)).scalar_one()


async def note_attempt(
    session: AsyncSession, generation_id: str, position: int, number: int, *, unsent: bool = False, **values: object
) -> bool:
    """Write something down about a running attempt, with `unsent` only if nobody has sent it. Return whether it was."""
    query = update(_ATTEMPT).where(
        _ATTEMPT.c.generation_id == generation_id,
        _ATTEMPT.c.position == position,
        _ATTEMPT.c.number == number,
        _ATTEMPT.c.status == "running",
    )
    if unsent:
        query = query.where(_ATTEMPT.c.sent_at.is_(None))
    return (await session.execute(query.values(**values).returning(_ATTEMPT.c.number))).first() is not None


async def close_unsent(session: AsyncSession, generation_id: str, position: int, *, status: str) -> None:
    """Close the running attempts of a step that nobody has sent: from here on nobody can."""
    query = update(_ATTEMPT).where(
        _ATTEMPT.c.generation_id == generation_id,
        _ATTEMPT.c.position == position,
        _ATTEMPT.c.status == "running",
        _ATTEMPT.c.sent_at.is_(None),
    )
    await session.execute(query.values(status=status, billing=Billing.NONE.value, finished_at=utc_now()))


async def close_attempts(
    session: AsyncSession,
    generation_id: str,
    position: int | None = None,
    *,
    before: int | None = None,
    other_than: str | None = None,
    status: str,
    error: dict[str, Any] | None = None,
    usage: dict[str, Any] | None = None,
) -> bool:
    """Close the running attempts of a step, or of all steps.

    `before` leaves that attempt and later ones open, `other_than` those with that model.

    What one that comes to nothing is billed by then stays noted; else whoever was sent nothing bills nothing. Return
    whether there were any.
    """
    query = update(_ATTEMPT).where(_ATTEMPT.c.generation_id == generation_id, _ATTEMPT.c.status == "running")
    if position is not None:
        query = query.where(_ATTEMPT.c.position == position)
    if before is not None:
        query = query.where(_ATTEMPT.c.number < before)
    if other_than is not None:
        query = query.where(_ATTEMPT.c.provider + "/" + _ATTEMPT.c.model != other_than)
    values: dict[str, Any] = {"status": status, "error": error, "finished_at": utc_now()}
    if status != "succeeded":
        values["billing"] = func.coalesce(_ATTEMPT.c.billing, _BILLING_SO_FAR)
    if usage is not None:
        values["usage"] = usage
    closed = query.values(values).returning(_ATTEMPT.c.number)
    return (await session.execute(closed)).first() is not None


async def in_flight(session: AsyncSession, generation_ids: Sequence[str]) -> dict[tuple[str, int], AttemptRow]:
    """The calls of these generations that have been sent and have not ended, by generation and position."""
    query = select(AttemptRow).where(
        col(AttemptRow.generation_id).in_(generation_ids),
        col(AttemptRow.status) == "running",
        col(AttemptRow.sent_at).is_not(None),
    )
    return {(row.generation_id, row.position): row for row in (await session.execute(query)).scalars()}


async def jobs_in_flight(session: AsyncSession) -> dict[str, int]:
    """How many calls of each account have been sent and have not ended."""
    query = (
        select(_ATTEMPT.c.account, func.count())
        .where(_ATTEMPT.c.status == "running", _ATTEMPT.c.sent_at.is_not(None))
        .group_by(_ATTEMPT.c.account)
    )
    return dict((await session.execute(query)).all())


# Credits --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bill:
    """What a generation may cost, and what its steps have cost so far, in credits."""

    tenant_id: str
    created_at: datetime
    held: int
    charged: int


async def bill_of(session: AsyncSession, generation_id: str) -> Bill:
    """The sums over its steps."""
    g = metadata.tables[GenerationRow.__tablename__]
    held, charged = (func.coalesce(func.sum(_STEP.c[name]), 0) for name in ("held", "charged"))
    query = (
        select(g.c.tenant_id, g.c.created_at, held, charged)
        .where(g.c.id == generation_id, _STEP.c.generation_id == g.c.id)
        .group_by(g.c.tenant_id, g.c.created_at)
    )
    tenant_id, created_at, most, so_far = (await session.execute(query)).one()
    return Bill(tenant_id, created_at, int(most), int(so_far))


async def billed_when_canceled(session: AsyncSession, generation_id: str) -> Sequence[tuple[int, str, dict[str, Any]]]:
    """The cancelled attempts that a provider bills in full: position, model, and the quotes of the step."""
    query = select(_STEP.c.position, _ATTEMPT.c.provider + "/" + _ATTEMPT.c.model, _STEP.c.quotes).where(
        _STEP.c.generation_id == generation_id,
        _STEP.c.status != StepStatus.SUCCEEDED,
        _ATTEMPT.c.generation_id == generation_id,
        _ATTEMPT.c.position == _STEP.c.position,
        _ATTEMPT.c.status == "canceled",
        _ATTEMPT.c.billing == Billing.FULL.value,
    )
    return [(position, model, quotes or {}) for position, model, quotes in await session.execute(query)]


async def add_charge(session: AsyncSession, generation_id: str, position: int, *, charged: int, cost: int) -> None:
    """The step has cost so much more; what it is charged is never more than is held for it."""
    in_all = _STEP.c.charged + charged
    query = update(_STEP).where(_STEP.c.generation_id == generation_id, _STEP.c.position == position)
    capped = case((in_all > _STEP.c.held, _STEP.c.held), else_=in_all)
    await session.execute(query.values(charged=capped, cost=_STEP.c.cost + cost))


async def requote(
    session: AsyncSession, generation_id: str, position: int, quotes: Mapping[str, Any], *, held: int
) -> None:
    """The step may be done by other models than before, and may cost so much."""
    query = update(_STEP).where(_STEP.c.generation_id == generation_id, _STEP.c.position == position)
    await session.execute(query.values(quotes=dict(quotes), held=held))


_BILLING_SO_FAR = case((_ATTEMPT.c.sent_at.is_(None), Billing.NONE.value), else_=Billing.POSSIBLE.value)
_LOST = {
    "code": "provider_unavailable",
    "message": "The worker that ran this attempt was lost.",
    "retryable": True,
    "provider": None,
    "details": {},
}


def _grouped(rows: Iterable[Row]) -> dict[str, list[Row]]:
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        groups[row.generation_id].append(row)
    return groups
