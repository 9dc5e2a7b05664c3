"""`genpulse tenants …`: who uses the service, and within which limits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape

from genpulse.cli.connection import Connection
from genpulse.cli.jobs import table_of_ids
from genpulse.cli.keys import show_secret
from genpulse.client import ClientError
from genpulse.schemas.tenants import Tenant

console = Console(highlight=False)

#: Of the first key of a tenant.
_SCOPES = ["generate", "read", "manage"]


async def show_list(connection: Connection) -> None:
    """All of them, the newest first."""
    async with connection.open() as client:
        found = await client.tenants()
    table = table_of_ids("id", "name", "state", "weight", "limits")
    for one in found:
        state = "[red]suspended[/]" if one.suspended else "[green]active[/]"
        table.add_row(one.id, escape(one.name), state, f"{one.weight:g}", _limits(one))
    console.print(table)


async def create(connection: Connection, **values: Any) -> None:
    """A tenant with a key."""
    async with connection.open() as client:
        made = await client.create_tenant(**values)
        console.print(f"[bold]{made.id}[/]  {escape(made.name)}")
        show_secret(await client.create_key(made.id, name="first", scopes=_SCOPES))


async def change(connection: Connection, tenant: str, **values: Any) -> None:
    """Other limits."""
    async with connection.open() as client:
        changed = await client.change_tenant(tenant, **values)
    console.print(f"[bold]{changed.id}[/]  {escape(changed.name)}  weight {changed.weight:g}\n{_limits(changed)}")


def limits_of(given: Sequence[str] | None, models: Sequence[str] | None) -> dict[str, Any] | None:
    """`in_flight=5` as what the API takes; nothing behind the sign takes a limit away. Raises ClientError."""
    limits: dict[str, Any] = {"models": list(models)} if models else {}
    for one in given or ():
        name, sign, number = one.partition("=")
        if not sign or (number and not number.isdecimal()):
            raise ClientError(f"--limit {one}: write it as in_flight=5, or in_flight= to take the limit away.")
        limits[name] = int(number) if number else None
    return limits or None


def _limits(tenant: Tenant) -> str:
    limits = {name: value for name, value in tenant.limits.model_dump().items() if value is not None}
    return "\n".join(
        f"{name} {value:,}" if isinstance(value, int) else f"{name} {', '.join(value)}"
        for name, value in limits.items()
    )
