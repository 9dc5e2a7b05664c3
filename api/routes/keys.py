"""Keys of the caller's own tenant: made, shown once, rotated, revoked."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Response

from api import openapi
from api.deps import Cursor, KeyId, Manager, ServicesDep, ViewsDep, cursor_of
from api.routing import KeyRoute
from genpulse.db import utc_now
from genpulse.models import ApiKeyRow
from genpulse.repositories import keys
from genpulse.schemas.pages import Page
from genpulse.schemas.tenants import ApiKey, ApiKeyCreate, ApiKeyWithSecret, KeyRotation
from genpulse.tenancy import find_key, state_of

_JSON_PROBLEMS = openapi.problems(400, 413, 415)

router = APIRouter(prefix="/v1/keys", tags=["keys"], route_class=KeyRoute, responses=openapi.KEY_PROBLEMS)


@router.post("", status_code=201, responses=_JSON_PROBLEMS)
async def create_key(
    body: ApiKeyCreate, response: Response, services: ServicesDep, caller: Manager, views: ViewsDep
) -> ApiKeyWithSecret:
    """A new key, with no more than your own may do. The answer has the secret, this once."""
    async with services.database.transaction() as session:
        row, secret = await services.tenant_keys.create(session, caller.tenant_id, body, by=caller)
    response.headers["Location"] = f"{views.base_url}/v1/keys/{row.id}"
    return ApiKeyWithSecret(**key_facts(row), secret=secret)


@router.get("")
async def list_keys(
    services: ServicesDep, caller: Manager, cursor: Annotated[Cursor, Depends(cursor_of("key"))]
) -> Page[ApiKey]:
    """The tenant's keys, newest first, those that work no more included."""
    async with services.database.reading() as session:
        rows = await keys.page(session, caller.tenant_id, limit=cursor.limit + 1, starting_after=cursor.starting_after)
    data = [ApiKey(**key_facts(row)) for row in rows[: cursor.limit]]
    return Page[ApiKey](data=data, has_more=len(rows) > cursor.limit)


@router.get("/{key_id}", responses=openapi.problems(404))
async def get_key(key_id: KeyId, services: ServicesDep, caller: Manager) -> ApiKey:
    """One key, without its secret."""
    async with services.database.reading() as session:
        return ApiKey(**key_facts(await find_key(session, caller.tenant_id, key_id)))


@router.delete("/{key_id}", status_code=204, response_class=Response, responses=openapi.problems(404))
async def revoke_key(key_id: KeyId, services: ServicesDep, caller: Manager) -> None:
    """Revoke a key; revoking it again is harmless. Within five seconds it is refused everywhere."""
    async with services.database.transaction() as session:
        await services.tenant_keys.revoke(session, caller.tenant_id, key_id)
    services.keys.forget()


@router.post("/{key_id}/rotate", responses=_JSON_PROBLEMS | openapi.problems(404, 409))
async def rotate_key(
    key_id: KeyId, services: ServicesDep, caller: Manager, body: Annotated[KeyRotation | None, Body()] = None
) -> ApiKeyWithSecret:
    """A new key in place of this one, which still works until the overlap is over. The answer has the new secret."""
    async with services.database.transaction() as session:
        row, secret = await services.tenant_keys.rotate(
            session, caller.tenant_id, key_id, body or KeyRotation(), by=caller
        )
    services.keys.forget()
    return ApiKeyWithSecret(**key_facts(row), secret=secret)


def key_facts(row: ApiKeyRow) -> dict[str, Any]:
    """What is shown of a key."""
    return {
        "id": row.id,
        "object": "api_key",
        "name": row.name,
        "prefix": row.prefix,
        "last_four": row.last_four,
        "scopes": row.scopes,
        "models": row.models,
        "status": state_of(row, utc_now()),
        "expires_at": row.expires_at,
        "last_used_at": row.last_used_at,
        "revoked_at": row.revoked_at,
        "replaced_by": row.replaced_by,
        "created_at": row.created_at,
    }
