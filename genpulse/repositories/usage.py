"""Usage: what the steps of generations that have ended were, made and cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import ColumnElement, func, literal_column, select
from sqlalchemy.ext.asyncio import AsyncSession

from genpulse.db import utc_day
from genpulse.models import AssetRow, AttemptRow, GenerationRow, StepRow, metadata
from genpulse.schemas.states import FINAL
from genpulse.schemas.usage import AdminDimension

_GENERATION = metadata.tables[GenerationRow.__tablename__]
_STEP = metadata.tables[StepRow.__tablename__]
_ATTEMPT = metadata.tables[AttemptRow.__tablename__]
_ASSET = metadata.tables[AssetRow.__tablename__]

#: More groups than this are more than anybody reads; narrower dates have fewer.
MOST_GROUPS = 10_000


@dataclass(frozen=True, kw_only=True)
class Group:
    """A group by its dimensions, and its sums."""

    by: dict[str, Any]
    steps: int
    outputs: int
    charged: int
    cost: int


async def grouped(
    session: AsyncSession,
    by: Sequence[AdminDimension],
    *,
    tenant_id: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> list[Group]:
    """Sums over steps that have begun, of one tenant or of all, in the order of the dimensions.

    At most one more than MOST_GROUPS.
    """
    last = (
        select(func.max(_ATTEMPT.c.number))
        .where(_ATTEMPT.c.generation_id == _STEP.c.generation_id, _ATTEMPT.c.position == _STEP.c.position)
        .correlate(_STEP)
        .scalar_subquery()
    )
    made = (
        select(func.count())
        .where(_ASSET.c.generation_id == _STEP.c.generation_id, _ASSET.c.position == _STEP.c.position)
        .correlate(_STEP)
        .scalar_subquery()
    )
    conditions: list[ColumnElement[bool] | None] = [
        _GENERATION.c.status.in_(FINAL),
        _GENERATION.c.tenant_id == tenant_id if tenant_id is not None else None,
        _GENERATION.c.finished_at >= since if since else None,
        _GENERATION.c.finished_at < until if until else None,
    ]
    steps = (
        select(
            utc_day(_GENERATION.c.finished_at).label("day"),
            (_ATTEMPT.c.provider + "/" + _ATTEMPT.c.model).label("model"),
            _ATTEMPT.c.provider.label("provider"),
            _GENERATION.c.api_key_id.label("key"),
            _GENERATION.c.tenant_id.label("tenant"),
            made.label("outputs"),
            _STEP.c.charged,
            _STEP.c.cost,
        )
        .join(_GENERATION, _GENERATION.c.id == _STEP.c.generation_id)
        .join(
            _ATTEMPT,
            (_ATTEMPT.c.generation_id == _STEP.c.generation_id)
            & (_ATTEMPT.c.position == _STEP.c.position)
            & (_ATTEMPT.c.number == last),
        )
        .where(*(one for one in conditions if one is not None))
        .subquery()
    )
    kinds = [steps.c[name] for name in by]
    sums = [func.count(), *(func.sum(steps.c[name]) for name in ("outputs", "charged", "cost"))]
    query = select(*kinds, *sums).select_from(steps)
    if kinds:
        query = query.group_by(*kinds).order_by(*kinds)
    rows = await session.execute(query.having(func.count() > literal_column("0")).limit(MOST_GROUPS + 1))
    return [_group(by, tuple(row)) for row in rows]


def _group(by: Sequence[AdminDimension], row: tuple[Any, ...]) -> Group:
    values = dict(zip(by, row, strict=False))
    if "day" in values:
        values["day"] = date.fromisoformat(values["day"])
    count, outputs, charged, cost = (int(one) for one in row[len(by) :])
    return Group(by=values, steps=count, outputs=outputs, charged=charged, cost=cost)
