"""`genpulse keys …`: who may call, and what."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.markup import escape

from genpulse.cli.connection import Connection
from genpulse.cli.jobs import table_of_ids, when
from genpulse.schemas.tenants import ApiKey, ApiKeyWithSecret

console = Console(highlight=False)

_COLOURS = {"active": "green", "expired": "yellow", "revoked": "red"}


async def show_list(connection: Connection, tenant: str | None) -> None:
    """The keys of the caller's tenant, or of another one."""
    async with connection.open() as client:
        found = await client.keys(tenant)
    table = table_of_ids("id", "state", "key", "may", "last used", "for")
    for one in found:
        scopes = "\n".join([*one.scopes, *(f"[dim]{model}[/]" for model in one.models or ())])
        used = when(one.last_used_at) if one.last_used_at else "never"
        table.add_row(one.id, _state(one), f"{one.prefix}…{one.last_four}", scopes, used, escape(one.name))
    console.print(table)


async def create(connection: Connection, tenant: str | None, **values: Any) -> None:
    """A new key, and its secret."""
    async with connection.open() as client:
        show_secret(await client.create_key(tenant, **values))


async def rotate(connection: Connection, key_id: str, *, overlap_seconds: int) -> None:
    """A new key in place of one."""
    async with connection.open() as client:
        show_secret(await client.rotate_key(key_id, overlap_seconds=overlap_seconds))
        former = await client.key(key_id)
    if former.expires_at is not None:
        console.print(f"{key_id} works until {when(former.expires_at)}.")


async def revoke(connection: Connection, key_id: str, tenant: str | None) -> None:
    """A key that works no more."""
    async with connection.open() as client:
        await client.revoke_key(key_id, tenant)
    console.print(f"{key_id}: revoked")


def show_secret(made: ApiKeyWithSecret) -> None:
    """The key, this once."""
    console.print(f"{made.id}\n{made.secret}", soft_wrap=True)
    console.print("Keep it: it is not shown again.", style="dim")


def _state(key: ApiKey) -> str:
    until = f"\n[dim]until {when(key.expires_at)}[/]" if key.status == "active" and key.expires_at else ""
    return f"[{_COLOURS[key.status]}]{key.status}[/]{until}"
