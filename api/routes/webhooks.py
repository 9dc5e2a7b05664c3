"""Webhooks: endpoints, their secrets, and what became of each event that was sent to them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any, cast

from fastapi import APIRouter, Body, Depends, Query, Response

from api import openapi
from api.deps import Cursor, DeliveryId, Manager, Reader, ServicesDep, ViewsDep, WebhookId, cursor_of
from api.routing import KeyRoute
from api.services import Services
from genpulse.db import utc_now
from genpulse.models import DeliveryAttemptRow, DeliveryRow, WebhookRow, WebhookSecretRow
from genpulse.repositories import deliveries, webhooks
from genpulse.schemas.generations import GenerationId
from genpulse.schemas.pages import Page
from genpulse.schemas.webhooks import (
    Delivery,
    DeliveryAttempt,
    DeliveryDetail,
    DeliveryStatus,
    DisabledBecause,
    RequestSecret,
    SecretRotation,
    Webhook,
    WebhookCreate,
    WebhookUpdate,
    WebhookWithSecret,
)
from genpulse.webhooks.endpoints import find_delivery, find_webhook, ping, redeliver

_JSON_PROBLEMS = openapi.problems(400, 413, 415)

router = APIRouter(prefix="/v1/webhooks", tags=["webhooks"], route_class=KeyRoute, responses=openapi.KEY_PROBLEMS)


@router.post("", status_code=201, responses=_JSON_PROBLEMS | openapi.problems(409))
async def create_webhook(
    body: WebhookCreate, response: Response, services: ServicesDep, caller: Manager, views: ViewsDep
) -> WebhookWithSecret:
    """Have the events of all generations sent to a URL. The answer has the secret, this once; at most 20."""
    async with services.database.transaction() as session:
        row, secret = await services.endpoints.create(session, caller.tenant_id, body)
    response.headers["Location"] = f"{views.base_url}/v1/webhooks/{row.id}"
    return WebhookWithSecret(**_facts(row), secret=secret)


@router.get("")
async def list_webhooks(
    services: ServicesDep,
    caller: Reader,
    cursor: Annotated[Cursor, Depends(cursor_of("whk"))],
    generation: Annotated[GenerationId | None, Query(description="The webhook that came with this request")] = None,
) -> Page[Webhook]:
    """The tenant's webhooks, newest first; or, with `generation`, the one of that request."""
    async with services.database.reading() as session:
        rows = await webhooks.page(
            session,
            caller.tenant_id,
            limit=cursor.limit + 1,
            starting_after=cursor.starting_after,
            generation_id=generation,
        )
    data = [Webhook(**_facts(row)) for row in rows[: cursor.limit]]
    return Page[Webhook](data=data, has_more=len(rows) > cursor.limit)


# Before those of one webhook, so that `secret` is not taken for an id.


@router.get("/secret", responses=openapi.problems(409))
async def get_webhook_secret(services: ServicesDep, caller: Manager) -> RequestSecret:
    """What signs the events of webhooks that come with a request and have no secret of their own."""
    row = await services.endpoints.request_secret(services.database, caller.tenant_id)
    return _request_secret(services, row)


@router.post("/secret/rotate", responses=_JSON_PROBLEMS)
async def rotate_webhook_secret(
    services: ServicesDep, caller: Manager, body: Annotated[SecretRotation | None, Body()] = None
) -> RequestSecret:
    """Replace it. Until the overlap is over the former one signs too."""
    wanted = body or SecretRotation()
    row = await services.endpoints.rotate_request_secret(services.database, caller.tenant_id, wanted)
    return _request_secret(services, row)


@router.get("/{webhook_id}", responses=openapi.problems(404))
async def get_webhook(webhook_id: WebhookId, services: ServicesDep, caller: Reader) -> Webhook:
    """One webhook, without its secret."""
    async with services.database.reading() as session:
        return Webhook(**_facts(await find_webhook(session, caller.tenant_id, webhook_id)))


@router.patch("/{webhook_id}", responses=_JSON_PROBLEMS | openapi.problems(404))
async def update_webhook(webhook_id: WebhookId, body: WebhookUpdate, services: ServicesDep, caller: Manager) -> Webhook:
    """Change what is given. `"enabled": true` has a disabled one get events again, from now on."""
    async with services.database.transaction() as session:
        return Webhook(**_facts(await services.endpoints.change(session, caller.tenant_id, webhook_id, body)))


@router.delete("/{webhook_id}", status_code=204, response_class=Response, responses=openapi.problems(404))
async def delete_webhook(webhook_id: WebhookId, services: ServicesDep, caller: Manager) -> None:
    """Delete a webhook, with its log. What was on its way there is not sent any more."""
    async with services.database.transaction() as session:
        row = await find_webhook(session, caller.tenant_id, webhook_id)
        await webhooks.remove(session, caller.tenant_id, row.id)


@router.post("/{webhook_id}/rotate", responses=_JSON_PROBLEMS | openapi.problems(404))
async def rotate_secret(
    webhook_id: WebhookId,
    services: ServicesDep,
    caller: Manager,
    body: Annotated[SecretRotation | None, Body()] = None,
) -> WebhookWithSecret:
    """Replace the secret; the answer has the new one, this once. Until the overlap is over the former one signs too."""
    wanted = body or SecretRotation()
    async with services.database.transaction() as session:
        row, secret = await services.endpoints.rotate(session, caller.tenant_id, webhook_id, wanted)
    return WebhookWithSecret(**_facts(row), secret=secret)


@router.post("/{webhook_id}/ping", status_code=202, responses=openapi.problems(404, 409))
async def ping_webhook(webhook_id: WebhookId, services: ServicesDep, caller: Manager) -> Delivery:
    """Send a `webhook.ping`, which is tried once; the delivery tells what came of it. 409 while it is disabled."""
    async with services.database.transaction() as session:
        row = await ping(session, caller.tenant_id, webhook_id)
    services.dispatcher.notify()
    return Delivery(**_course(row, ()))


@router.get("/{webhook_id}/deliveries", responses=openapi.problems(404))
async def list_deliveries(
    webhook_id: WebhookId,
    services: ServicesDep,
    caller: Reader,
    cursor: Annotated[Cursor, Depends(cursor_of("evt"))],
    status: Annotated[DeliveryStatus | None, Query()] = None,
) -> Page[Delivery]:
    """What was sent to a webhook, newest first, with every try."""
    async with services.database.reading() as session:
        await find_webhook(session, caller.tenant_id, webhook_id)
        rows = await deliveries.page(
            session,
            caller.tenant_id,
            webhook_id,
            limit=cursor.limit + 1,
            starting_after=cursor.starting_after,
            status=status,
        )
        shown = rows[: cursor.limit]
        tries = await deliveries.attempts_of(session, [row.id for row in shown])
    data = [Delivery(**_course(row, tries.get(row.id, ()))) for row in shown]
    return Page[Delivery](data=data, has_more=len(rows) > cursor.limit)


@router.get("/{webhook_id}/deliveries/{delivery_id}", responses=openapi.problems(404))
async def get_delivery(
    webhook_id: WebhookId, delivery_id: DeliveryId, services: ServicesDep, caller: Reader
) -> DeliveryDetail:
    """One event on its way to a webhook, with every try and what is sent."""
    async with services.database.reading() as session:
        row = await find_delivery(session, caller.tenant_id, webhook_id, delivery_id)
        tries = await deliveries.attempts_of(session, [row.id])
    return DeliveryDetail(**_course(row, tries.get(row.id, ())), payload=json.loads(row.payload))


@router.post("/{webhook_id}/deliveries/{delivery_id}/redeliver", status_code=202, responses=openapi.problems(404, 409))
async def redeliver_event(
    webhook_id: WebhookId, delivery_id: DeliveryId, services: ServicesDep, caller: Manager
) -> Delivery:
    """Send an event again, now, under the same id, whatever came of it before. 409 while the webhook is disabled."""
    async with services.database.transaction() as session:
        row = await redeliver(session, caller.tenant_id, webhook_id, delivery_id)
        tries = await deliveries.attempts_of(session, [row.id])
    services.dispatcher.notify()
    return Delivery(**_course(row, tries.get(row.id, ())))


def _facts(row: WebhookRow) -> dict[str, Any]:
    replaced = row.previous_until is not None and row.previous_until > utc_now()
    return {
        "id": row.id,
        "object": "webhook",
        "url": row.url,
        "events": row.events,
        "description": row.description,
        "generation_id": row.generation_id,
        "enabled": row.disabled_at is None,
        "disabled_at": row.disabled_at,
        "disabled_reason": cast("DisabledBecause | None", row.disabled_reason),
        "failing_since": row.failing_since,
        "previous_secret_until": row.previous_until if replaced else None,
        "created_at": row.created_at,
    }


def _request_secret(services: Services, row: WebhookSecretRow) -> RequestSecret:
    replaced = row.previous_until is not None and row.previous_until > utc_now()
    return RequestSecret(
        object="webhook_secret",
        secret=services.endpoints.shown(row),
        previous_secret_until=row.previous_until if replaced else None,
    )


def _course(row: DeliveryRow, tries: Sequence[DeliveryAttemptRow]) -> dict[str, Any]:
    return {
        "id": row.id,
        "object": "delivery",
        "webhook_id": row.webhook_id,
        "generation_id": row.generation_id,
        "type": row.type,
        "status": row.status,
        "attempts": [DeliveryAttempt.model_validate(one, from_attributes=True) for one in tries],
        "next_attempt_at": row.next_attempt_at,
        "created_at": row.created_at,
        "finished_at": row.finished_at,
    }
