"""Dead letters: have them go on, or end them, one by one or all that a filter names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from fastapi import APIRouter, Body, Request

from api import openapi, problems
from api.deps import GenerationId, Maker, RequestId, ServicesDep, ViewsDep
from api.routing import KeyRoute
from api.services import Services
from genpulse.db import utc_now
from genpulse.deadletters import Decide, decide, discarding, retrying
from genpulse.errors import GenPulseError
from genpulse.failpoints import Failpoint
from genpulse.models import GenerationRow
from genpulse.repositories import generations
from genpulse.schemas.deadletters import (
    MAX_BULK,
    Bulk,
    BulkDiscard,
    BulkGroup,
    BulkRefusal,
    BulkRetry,
    DeadLetterFilter,
    RetryCreate,
)
from genpulse.schemas.generations import Generation
from genpulse.views import Views, find_generation

_DECIDING, _DECIDING_MANY = Failpoint("api.decide"), Failpoint("api.decide_many")
_JSON_PROBLEMS = openapi.problems(400, 413, 415)

router = APIRouter(tags=["generations"], route_class=KeyRoute, responses=openapi.KEY_PROBLEMS)


@router.post(
    "/v1/generations/{generation_id}/retry", status_code=202, responses=_JSON_PROBLEMS | openapi.problems(402, 404, 409)
)
async def retry_generation(
    generation_id: GenerationId,
    services: ServicesDep,
    caller: Maker,
    views: ViewsDep,
    body: Annotated[RetryCreate | None, Body()] = None,
) -> Generation:
    """Have a dead letter go on from the step that failed, keeping what had succeeded; 409 where it is none."""
    how = retrying(services.catalog, body.model if body else None, allowed=caller.models)
    return await _decided(services, caller.tenant_id, views, generation_id, how)


@router.post("/v1/generations/{generation_id}/discard", status_code=202, responses=openapi.problems(404, 409))
async def discard_generation(
    generation_id: GenerationId, services: ServicesDep, caller: Maker, views: ViewsDep
) -> Generation:
    """End a dead letter as `failed`, with the reason for which it was kept; 409 where it is none."""
    return await _decided(services, caller.tenant_id, views, generation_id, discarding)


@router.post("/v1/generations:retry", responses=_JSON_PROBLEMS)
async def retry_generations(
    body: BulkRetry, request: Request, services: ServicesDep, caller: Maker, own_id: RequestId
) -> Bulk:
    """Have all dead letters go on that a filter names, 100 a request. `preview` shows what would be hit."""
    many = _Many(services, caller.tenant_id, problems.Occurrence(request.url.path, own_id))
    return await many.decide("retry", body, retrying(services.catalog, body.model, allowed=caller.models))


@router.post("/v1/generations:discard", responses=_JSON_PROBLEMS)
async def discard_generations(
    body: BulkDiscard, request: Request, services: ServicesDep, caller: Maker, own_id: RequestId
) -> Bulk:
    """End all dead letters that a filter names, 100 a request. `preview` shows what would be hit."""
    many = _Many(services, caller.tenant_id, problems.Occurrence(request.url.path, own_id))
    return await many.decide("discard", body, discarding)


async def _decided(services: Services, tenant_id: str, views: Views, generation_id: str, how: Decide) -> Generation:
    async with _DECIDING, services.database.transaction() as session:
        await decide(session, tenant_id, generation_id, how)
    services.dispatcher.notify()
    async with services.database.reading() as session:
        row, parts = await find_generation(session, tenant_id, generation_id)
    return views.generation(row, parts)


class _Many:
    """Decides about many, each on its own."""

    def __init__(self, services: Services, tenant_id: str, where: problems.Occurrence) -> None:
        self._services = services
        self._tenant_id = tenant_id
        self._where = where

    async def decide(self, action: Literal["retry", "discard"], body: BulkDiscard, how: Decide) -> Bulk:
        as_of = utc_now()
        groups = await self._groups(body.filter)
        rows = [] if body.preview else await self._page(body)
        seen = rows[:MAX_BULK]
        refused = [one for row in seen if (one := await self._one(row.id, how)) is not None]
        self._services.dispatcher.notify()
        return Bulk(
            object="bulk",
            action=action,
            preview=body.preview,
            as_of=as_of,
            matched=sum(group.count for group in groups),
            groups=groups,
            done=len(seen) - len(refused),
            refused=refused,
            has_more=len(rows) > MAX_BULK,
            last_id=seen[-1].id if seen else None,
        )

    async def _groups(self, wanted: DeadLetterFilter) -> list[BulkGroup]:
        async with self._services.database.reading() as session:
            found = await generations.dead_letter_groups(session, self._tenant_id, wanted)
        return [BulkGroup(model=model, code=code, provider=provider, count=n) for model, code, provider, n in found]

    async def _page(self, body: BulkDiscard) -> Sequence[GenerationRow]:
        async with self._services.database.reading() as session:
            return await generations.dead_letters(
                session, self._tenant_id, body.filter, limit=MAX_BULK + 1, starting_after=body.starting_after
            )

    async def _one(self, generation_id: str, how: Decide) -> BulkRefusal | None:
        try:
            async with _DECIDING_MANY, self._services.database.transaction() as session:
                await decide(session, self._tenant_id, generation_id, how)
        except GenPulseError as error:
            return BulkRefusal(id=generation_id, problem=problems.problem_of(error, self._where))
        return None
