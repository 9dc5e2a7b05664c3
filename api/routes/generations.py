"""Submit generations, watch them, find them, cancel them."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.sse import EventSourceResponse
from pydantic import BaseModel, Field, SkipValidation, ValidationError

from api import openapi, problems
from api.admission import caller_of
from api.deps import (
    Cursor,
    GenerationId,
    IdempotencyKey,
    Maker,
    Reader,
    RequestId,
    ServicesDep,
    ViewsDep,
    Wait,
    cursor_of,
)
from api.events import HEADERS, event_stream
from api.headers import MAX_IDEMPOTENCY_KEY
from api.inputs import planned
from api.routing import KeyRoute
from api.submitting import Submitter
from genpulse import ledger
from genpulse.errors import GenPulseError, MalformedRequest, NotFound
from genpulse.failpoints import Failpoint
from genpulse.pricing import held_for
from genpulse.repositories import generations
from genpulse.schemas.generations import Estimate, EstimatedCost, EstimatedStep, Generation, GenerationCreate
from genpulse.schemas.pages import Page, Problem
from genpulse.schemas.plans import PlannedStep
from genpulse.schemas.states import FINAL, GenerationStatus, Operation
from genpulse.schemas.strict import Instant
from genpulse.submissions import request_cancel
from genpulse.views import find_generation, load_parts

MAX_BATCH = 100

_CANCELING = Failpoint("api.cancel")

_POLL_SECONDS = "2"
_JSON_PROBLEMS = openapi.problems(400, 402, 413, 415)
_EVENT_NUMBER: dict[str, Any] = {"pattern": "^[0-9]{0,9}$"}
_EVENTS = {"description": "The stream", "content": {"text/event-stream": {"schema": {"type": "string"}}}}

router = APIRouter(tags=["generations"], route_class=KeyRoute, responses=openapi.KEY_PROBLEMS)


async def _submitter(services: ServicesDep, caller: Maker, views: ViewsDep, own_id: RequestId) -> Submitter:
    return Submitter(services, views, caller, own_id)


SubmitterDep = Annotated[Submitter, Depends(_submitter)]


class BatchCreate(BaseModel):
    """Up to 100 submissions; each is accepted or refused on its own."""

    generations: list[Annotated[GenerationCreate, SkipValidation]] = Field(min_length=1, max_length=MAX_BATCH)


class BatchEntry(BaseModel):
    """What became of one submission: the generation, or the problem."""

    status: int
    generation: Generation | None
    problem: Problem | None


class Batch(BaseModel):
    """One entry for each submission, in their order."""

    object: Literal["batch"]
    data: list[BatchEntry]


@router.post(
    "/v1/generations",
    status_code=202,
    responses=_JSON_PROBLEMS | {200: {"description": "`Prefer: wait` was met: it has ended", "model": Generation}},
)
async def create_generation(
    body: GenerationCreate, response: Response, submitter: SubmitterDep, key: IdempotencyKey, wait: Wait
) -> Generation:
    """Submit one model call or a chain. It is written down before this answers, and then runs whatever fails."""
    submitted = await submitter.submit(body, key)
    generation = await submitter.wait(submitted.generation, wait) if wait else submitted.generation
    response.headers["Location"] = generation.links.self
    if submitted.replayed:
        response.headers["Idempotency-Replayed"] = "true"
    if wait:
        response.headers["Preference-Applied"] = f"wait={wait}"
        response.status_code = 200 if generation.status in FINAL else 202
    _hint(response, generation)
    return generation


@router.post("/v1/generations:batch", responses=_JSON_PROBLEMS)
async def create_batch(body: BatchCreate, request: Request, submitter: SubmitterDep, key: IdempotencyKey) -> Batch:
    """Submit many at once. An `Idempotency-Key` holds for each entry at its place: entry 3 gets `<key>/3`."""
    if key is not None and len(key) > MAX_IDEMPOTENCY_KEY - len(f"/{MAX_BATCH}"):
        raise MalformedRequest("The Idempotency-Key of a batch has at most 251 characters.", field="Idempotency-Key")
    where = problems.Occurrence(request.url.path, submitter.request_id)
    entries = [
        await _entry(submitter, one, f"{key}/{index}" if key else None, where)
        for index, one in enumerate(body.generations)
    ]
    return Batch(object="batch", data=entries)


@router.post("/v1/generations:estimate", responses=_JSON_PROBLEMS)
async def estimate_generation(body: GenerationCreate, services: ServicesDep, caller: Maker) -> Estimate:
    """What a request would run, steps that are added included, and what would be held for it. Nothing is run."""
    plan = await planned(services, caller, body, stores=False)
    steps = [_estimated(step) for step in plan.steps]
    held = None if any(step.held is None for step in steps) else sum(step.held or 0 for step in steps)
    async with services.database.reading() as session:
        balance = await ledger.balance_of(session, caller.tenant_id)
    return Estimate(
        object="estimate",
        steps=steps,
        adaptions=plan.adaptions,
        cost=EstimatedCost(held=held, unit="credit"),
        affordable=balance.unlimited or (held is not None and held <= balance.available),
    )


@router.get("/v1/generations")
async def list_generations(
    *,
    services: ServicesDep,
    caller: Reader,
    views: ViewsDep,
    cursor: Annotated[Cursor, Depends(cursor_of("gen"))],
    status: Annotated[GenerationStatus | None, Query()] = None,
    model: Annotated[str | None, Query(max_length=160, examples=["local/shapes"])] = None,
    operation: Annotated[Operation | None, Query()] = None,
    error_code: Annotated[str | None, Query(max_length=40, examples=["provider_unavailable"])] = None,
    created_after: Annotated[Instant | None, Query(examples=["2026-01-31T12:00:00Z"])] = None,
) -> Page[Generation]:
    """The tenant's generations, newest first."""
    async with services.database.reading() as session:
        rows = await generations.page(
            session,
            caller.tenant_id,
            limit=cursor.limit + 1,
            starting_after=cursor.starting_after,
            status=status,
            model=model,
            operation=operation,
            error_code=error_code,
            created_after=created_after,
        )
        shown = rows[: cursor.limit]
        parts = await load_parts(session, [row.id for row in shown])
    data = [views.generation(row, parts[row.id]) for row in shown]
    return Page[Generation](data=data, has_more=len(rows) > cursor.limit)


@router.get("/v1/generations/{generation_id}", responses=openapi.problems(404))
async def get_generation(
    generation_id: GenerationId,
    response: Response,
    services: ServicesDep,
    caller: Reader,
    views: ViewsDep,
) -> Generation:
    """One generation, as it is now. While it is unfinished, `Retry-After` says when to ask again."""
    async with services.database.reading() as session:
        row, parts = await find_generation(session, caller.tenant_id, generation_id)
    generation = views.generation(row, parts)
    _hint(response, generation)
    return generation


@router.post("/v1/generations/{generation_id}/cancel", status_code=202, responses=openapi.problems(404, 409))
async def cancel_generation(
    generation_id: GenerationId, services: ServicesDep, caller: Maker, views: ViewsDep
) -> Generation:
    """Ask for a generation to be cancelled; asking again is harmless. 409 when it has succeeded or failed."""
    async with _CANCELING, services.database.transaction() as session:
        await request_cancel(session, caller.tenant_id, generation_id)
    services.dispatcher.notify()
    async with services.database.reading() as session:
        row, parts = await find_generation(session, caller.tenant_id, generation_id)
    return views.generation(row, parts)


@router.get(
    "/v1/generations/{generation_id}/events",
    response_class=Response,
    responses=openapi.problems(400, 404)
    | {200: _EVENTS, 204: {"description": "There is nothing after this event, and there will not be"}},
)
async def watch_generation(
    *,
    request: Request,
    generation_id: GenerationId,
    services: ServicesDep,
    caller: Reader,
    views: ViewsDep,
    last_event_id: Annotated[
        str,
        Query(description="As the header Last-Event-ID, where none can be sent", json_schema_extra=_EVENT_NUMBER),
    ] = "",
    resumed: Annotated[
        str, Header(alias="Last-Event-ID", description="Go on after this event", json_schema_extra=_EVENT_NUMBER)
    ] = "",
) -> Response:
    """Server-sent events: `status`, `progress`, `attempt`, `output`, `done`. Ends after `done`."""
    seen = _event_number(resumed or last_event_id)
    async with services.database.reading() as session:
        row = await generations.get(session, caller.tenant_id, generation_id)
    if row is None:
        raise NotFound(f"There is no generation {generation_id}.")
    if row.status in FINAL and seen >= row.version:
        return Response(status_code=204)  # the one answer after which a browser does not come back
    told = event_stream(services, views, row, seen, partial(caller_of, request))
    return EventSourceResponse(told, headers=HEADERS)


def _event_number(given: str) -> int:
    if given and not (given.isascii() and given.isdigit() and len(given) < 10):
        raise MalformedRequest("Last-Event-ID must be the id of an event of this stream.", field="Last-Event-ID")
    return int(given or 0)


def _estimated(step: PlannedStep) -> EstimatedStep:
    models = [step.model, *(one.model for one in step.fallbacks)]
    return EstimatedStep(
        id=step.id,
        operation=step.operation,
        model=step.model,
        fallbacks=models[1:],
        held=None if step.unpriced else held_for(step.quotes.values()),
    )


def _hint(response: Response, generation: Generation) -> None:
    if generation.status not in FINAL:
        response.headers["Retry-After"] = _POLL_SECONDS


async def _entry(submitter: Submitter, raw: Any, key: str | None, where: problems.Occurrence) -> BatchEntry:
    try:
        submitted = await submitter.submit(GenerationCreate.model_validate(raw), key)
    except GenPulseError as error:
        problem = problems.problem_of(error, where)
    except ValidationError as error:
        problem = problems.invalid(error.errors(), where)
    else:
        return BatchEntry(status=202, generation=submitted.generation, problem=None)
    return BatchEntry(status=problem.status, generation=None, problem=problem)
