"""Other tenants than `default`: made over HTTP, as an operator does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from fastapi import FastAPI

ALL_SCOPES = ["generate", "read", "manage"]


@dataclass(frozen=True)
class Made:
    """A tenant with a key."""

    tenant_id: str
    key_id: str
    secret: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.secret}"}


async def make_tenant(api: httpx.AsyncClient, **values: Any) -> str:
    """A new tenant; `api` has the admin key."""
    answer = await api.post("/v1/admin/tenants", json={"name": "acme", "credits": 1000} | values)
    assert answer.status_code == 201, answer.text
    tenant_id: str = answer.json()["id"]
    return tenant_id


async def make_key(api: httpx.AsyncClient, tenant_id: str, **values: Any) -> dict[str, Any]:
    """A new key of a tenant."""
    answer = await api.post(f"/v1/admin/tenants/{tenant_id}/keys", json={"scopes": ALL_SCOPES} | values)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def made_tenant(api: httpx.AsyncClient, *, key: dict[str, Any] | None = None, **values: Any) -> Made:
    """A new tenant with a key that may do all but administer."""
    tenant_id = await make_tenant(api, **values)
    made = await make_key(api, tenant_id, **(key or {}))
    return Made(tenant_id, made["id"], made["secret"])


@asynccontextmanager
async def calling(app: FastAPI, secret: str) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody with this key."""
    headers = {"Authorization": f"Bearer {secret}"}
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://api.test", headers=headers
    ) as one:
        yield one
