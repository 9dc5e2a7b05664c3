"""Tenants and their first keys: for those who run the service."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from api import openapi
from api.deps import Cursor, KeyId, Operator, ServicesDep, TenantId, ViewsDep, cursor_of
from api.routes.keys import key_facts
from api.routing import KeyRoute
from genpulse.models import TenantRow
from genpulse.repositories import keys, tenants
from genpulse.schemas.pages import Page
from genpulse.schemas.tenants import (
    ApiKey,
    ApiKeyCreate,
    ApiKeyWithSecret,
    Limits,
    Tenant,
    TenantCreate,
    TenantUpdate,
)
from genpulse.tenancy import change_tenant, create_tenant, find_tenant

_JSON_PROBLEMS = openapi.problems(400, 413, 415)

router = APIRouter(prefix="/v1/admin/tenants", tags=["tenants"], route_class=KeyRoute, responses=openapi.KEY_PROBLEMS)


@router.post("", status_code=201, responses=_JSON_PROBLEMS)
async def add_tenant(
    body: TenantCreate, response: Response, services: ServicesDep, caller: Operator, views: ViewsDep
) -> Tenant:
    """A new tenant. It has no keys yet."""
    async with services.database.transaction() as session:
        row = await create_tenant(session, body, by=caller.name)
    response.headers["Location"] = f"{views.base_url}/v1/admin/tenants/{row.id}"
    return _shown(row)


@router.get("")
async def list_tenants(
    services: ServicesDep, _caller: Operator, cursor: Annotated[Cursor, Depends(cursor_of("ten"))]
) -> Page[Tenant]:
    """All tenants, newest first; `default`, which has always been there, comes last."""
    async with services.database.reading() as session:
        rows = await tenants.page(session, limit=cursor.limit + 1, starting_after=cursor.starting_after)
    return Page[Tenant](data=[_shown(row) for row in rows[: cursor.limit]], has_more=len(rows) > cursor.limit)


@router.get("/{tenant_id}", responses=openapi.problems(404))
async def get_tenant(tenant_id: TenantId, services: ServicesDep, _caller: Operator) -> Tenant:
    """One tenant, with what limits it."""
    async with services.database.reading() as session:
        return _shown(await find_tenant(session, tenant_id))


@router.patch("/{tenant_id}", responses=_JSON_PROBLEMS | openapi.problems(404))
async def update_tenant(tenant_id: TenantId, body: TenantUpdate, services: ServicesDep, _caller: Operator) -> Tenant:
    """Change what is given. It holds in every process within five seconds; what runs goes on."""
    async with services.database.transaction() as session:
        row = await change_tenant(session, tenant_id, body)
    services.keys.forget()
    return _shown(row)


@router.post("/{tenant_id}/keys", status_code=201, responses=_JSON_PROBLEMS | openapi.problems(404))
async def create_tenant_key(
    tenant_id: TenantId, body: ApiKeyCreate, services: ServicesDep, caller: Operator
) -> ApiKeyWithSecret:
    """A key for a tenant. The answer has the secret, this once."""
    async with services.database.transaction() as session:
        tenant = await find_tenant(session, tenant_id)
        row, secret = await services.tenant_keys.create(session, tenant.id, body, by=caller)
    return ApiKeyWithSecret(**key_facts(row), secret=secret)


@router.get("/{tenant_id}/keys", responses=openapi.problems(404))
async def list_tenant_keys(
    tenant_id: TenantId,
    services: ServicesDep,
    _caller: Operator,
    cursor: Annotated[Cursor, Depends(cursor_of("key"))],
) -> Page[ApiKey]:
    """The keys of a tenant, newest first, those that work no more included."""
    async with services.database.reading() as session:
        await find_tenant(session, tenant_id)
        rows = await keys.page(session, tenant_id, limit=cursor.limit + 1, starting_after=cursor.starting_after)
    data = [ApiKey(**key_facts(row)) for row in rows[: cursor.limit]]
    return Page[ApiKey](data=data, has_more=len(rows) > cursor.limit)


@router.delete("/{tenant_id}/keys/{key_id}", status_code=204, response_class=Response, responses=openapi.problems(404))
async def revoke_tenant_key(tenant_id: TenantId, key_id: KeyId, services: ServicesDep, _caller: Operator) -> None:
    """Revoke a key of a tenant, such as one that has leaked; revoking it again is harmless."""
    async with services.database.transaction() as session:
        await services.tenant_keys.revoke(session, tenant_id, key_id)
    services.keys.forget()


def _shown(row: TenantRow) -> Tenant:
    return Tenant(
        id=row.id,
        object="tenant",
        name=row.name,
        weight=row.weight,
        limits=Limits.model_validate(row, from_attributes=True),
        low_balance=row.low_balance,
        suspended=row.suspended_at is not None,
        suspended_at=row.suspended_at,
        created_at=row.created_at,
    )
