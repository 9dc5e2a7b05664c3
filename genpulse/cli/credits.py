"""`genpulse credits …`: what a tenant has, where it went, and adding to it."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.markup import escape

from genpulse.cli.connection import Connection
from genpulse.cli.jobs import table_of_ids, when
from genpulse.schemas.credits import Credits

console = Console(highlight=False)


async def show(connection: Connection, tenant: str | None) -> None:
    """The balance."""
    async with connection.open() as client:
        balance = await client.credits(tenant)
    console.print(f"[bold]{_available(balance)}[/] available, {balance.held:,} held")
    for one in balance.expiring:
        console.print(f"{one.amount:,} of them expire {when(one.expires_at)}", style="dim")


async def show_ledger(connection: Connection, tenant: str | None, *, limit: int, **filters: str | None) -> None:
    """Every change of it."""
    async with connection.open() as client:
        found = await client.transactions(tenant, limit=limit, **filters)
    table = table_of_ids("for", "when", "kind", "change", "balance")
    for one in found:
        subject = (one.generation_id or one.id) + (f"\n[dim]{escape(one.note)}[/]" if one.note else "")
        change = f"{_signed(one.available)}\n[dim]{_signed(one.held)}{' held' if one.held else ''}[/]"
        balance = f"{one.balance.available:,}\n[dim]{one.balance.held:,} held[/]"
        table.add_row(subject, when(one.created_at), one.kind, change, balance)
    console.print(table)


async def show_usage(connection: Connection, by: str) -> None:
    """What it was spent on."""
    async with connection.open() as client:
        usage = await client.usage(by)
    dimensions: list[str] = [name for name in ("day", "model", "provider", "key") if name in by.split(",")]
    table = table_of_ids(*(dimensions or [""]), "steps", "outputs", "credits")
    for row in usage.data:
        groups = [str(getattr(row, name) or "–") for name in dimensions] or ["all"]
        table.add_row(*groups, f"{row.steps:,}", f"{row.outputs:,}", f"{row.charged:,}")
    console.print(table)
    console.print(f"[bold]{usage.total:,}[/] credits")


async def change(connection: Connection, tenant: str, kind: str, *, once: str | None = None, **values: Any) -> None:
    """A grant, a refund, or a correction."""
    async with connection.open() as client:
        made = await client.change_credits(tenant, kind=kind, key=once, **values)
    console.print(f"{made.id}: {made.kind} {_signed(made.available)}, now {made.balance.available:,} available")


def _available(balance: Credits) -> str:
    return f"{balance.available:,}" + (" (unlimited)" if balance.unlimited else "")


def _signed(amount: int) -> str:
    return f"{amount:+,}" if amount else ""
