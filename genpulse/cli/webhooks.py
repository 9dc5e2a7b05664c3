"""`genpulse webhooks …`: where events are sent, and what became of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape

from genpulse.cli.connection import Connection
from genpulse.cli.jobs import table_of_ids, when
from genpulse.client import Client, ClientError
from genpulse.schemas.webhooks import Delivery, Webhook

console = Console(highlight=False)

_COLOURS = {"pending": "cyan", "delivered": "green", "failed": "red"}
#: A try takes up to twenty seconds, and a moment to begin.
_PATIENCE_SECONDS = 30.0
_PAUSE = 0.3


async def show_list(connection: Connection) -> None:
    """The standing webhooks."""
    async with connection.open() as client:
        found = await client.webhooks()
    table = table_of_ids("id", "state", "where", "events")
    for one in found:
        about = f"\n[dim]{escape(one.description)}[/]" if one.description else ""
        table.add_row(one.id, _state(one), f"{escape(one.url)}{about}", "\n".join(one.events) or "all")
    console.print(table)


async def add(connection: Connection, target: str, *, events: Sequence[str], description: str) -> None:
    """A new webhook, and its secret."""
    async with connection.open() as client:
        made = await client.add_webhook(target, events=events, description=description)
    _show_secret(made.id, made.secret)


async def enable(connection: Connection, webhook_id: str) -> None:
    """Events again."""
    async with connection.open() as client:
        webhook = await client.change_webhook(webhook_id, enabled=True)
    console.print(f"{webhook.id}: {_state(webhook)}")


async def remove(connection: Connection, webhook_id: str) -> None:
    """No events any more."""
    async with connection.open() as client:
        await client.remove_webhook(webhook_id)
    console.print(f"{webhook_id}: deleted")


async def rotate(connection: Connection, webhook_id: str, *, overlap_seconds: int) -> None:
    """A new secret."""
    async with connection.open() as client:
        made = await client.rotate_webhook(webhook_id, overlap_seconds=overlap_seconds)
    _show_secret(made.id, made.secret)
    if made.previous_secret_until is not None:
        console.print(f"The former one signs too until {when(made.previous_secret_until)}.")


async def ping(connection: Connection, webhook_id: str) -> None:
    """Send something. Raises ClientError when it does not arrive."""
    async with connection.open() as client:
        await _follow(client, await client.ping_webhook(webhook_id))


async def redeliver(connection: Connection, webhook_id: str, delivery_id: str) -> None:
    """Send an event again. Raises ClientError when it does not arrive."""
    async with connection.open() as client:
        await _follow(client, await client.redeliver(webhook_id, delivery_id))


async def show_deliveries(connection: Connection, webhook_id: str, *, limit: int, status: str | None) -> None:
    """What was sent to a webhook."""
    async with connection.open() as client:
        found = await client.deliveries(webhook_id, limit=limit, status=status)
    table = table_of_ids("id", "status", "what", "created", "tries", "last")
    for one in found:
        state = f"[{_COLOURS[one.status]}]{one.status}[/]"
        about = f"{one.type}\n[dim]{one.generation_id or ''}[/]"
        table.add_row(one.id, state, about, when(one.created_at), str(len(one.attempts)), _last(one))
    console.print(table)


async def _follow(client: Client, delivery: Delivery) -> None:
    """Wait for one more try than there was."""
    tries, deadline = len(delivery.attempts), time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        delivery = await client.delivery(delivery.webhook_id, delivery.id)
        if delivery.status == "delivered":
            console.print(f"{delivery.id}: [green]delivered[/], it answered {delivery.attempts[-1].status_code}")
            return
        if len(delivery.attempts) > tries and delivery.attempts[-1].error is not None:
            raise ClientError(f"{delivery.id} has not arrived. {delivery.attempts[-1].error}")
        await asyncio.sleep(_PAUSE)
    raise ClientError(f"{delivery.id} has not been tried yet; is there a worker for gp-webhooks?")


def _show_secret(webhook_id: str, secret: str) -> None:
    console.print(f"{webhook_id}\n{secret}", soft_wrap=True)
    console.print("Keep the secret: it is not shown again.", style="dim")


def _state(webhook: Webhook) -> str:
    if not webhook.enabled:
        return f"[red]disabled[/]: {webhook.disabled_reason}"
    if webhook.failing_since is not None:
        return f"[yellow]failing[/] since {when(webhook.failing_since)}"
    return "[green]enabled[/]"


def _last(delivery: Delivery) -> str:
    if not delivery.attempts:
        return ""
    attempt = delivery.attempts[-1]
    said = escape(attempt.error) if attempt.error else str(attempt.status_code or "under way")
    return f"{said}\n[dim]next {when(delivery.next_attempt_at)}[/]" if delivery.next_attempt_at else said
