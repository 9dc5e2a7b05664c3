"""`genpulse jobs dead-letters|retry|discard`: deciding about what cannot go on by itself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Literal

import typer
from rich.console import Console

from genpulse.cli.connection import Connection
from genpulse.cli.jobs import describe_status, table_of_ids, when
from genpulse.client import Client, ClientError
from genpulse.schemas.deadletters import Bulk, BulkRefusal
from genpulse.schemas.states import GenerationStatus

console = Console(highlight=False)

Action = Literal["retry", "discard"]


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which dead letters are meant: these ids, or what a filter names, or all of them."""

    ids: list[str] = field(default_factory=list)
    filters: dict[str, str] = field(default_factory=dict)
    everything: bool = False

    def as_filter(self) -> dict[str, Any]:
        """The filter of a request. Raises ClientError where nothing is named, or too much."""
        if sum(map(bool, (self.ids, self.filters, self.everything))) != 1:
            raise ClientError("Name the generations, or filters such as --code, or --all.")
        return {"ids": self.ids} if self.ids else dict(self.filters)


async def show(connection: Connection, *, limit: int, code: str | None) -> None:
    """What waits for a decision, newest first, and how many there are of each kind."""
    async with connection.open() as client:
        waiting = await client.generations(limit=limit, status=GenerationStatus.DEAD_LETTERED, error_code=code)
        preview = await client.decide("retry", {"code": code} if code else {}, preview=True)
    table = table_of_ids("id", "since", "until", "why", "step")
    for one in waiting:
        if one.error is None or one.dead_letter is None:
            continue
        step = next((step.id for step in one.steps if step.error is not None), "")
        since, until = when(one.dead_letter.since), when(one.dead_letter.until)
        table.add_row(one.id, since, until, one.error.code, f"[dim]{step} of[/] {one.model}")
    console.print(table)
    _say_what(preview)


async def decide(connection: Connection, action: Action, wanted: Wanted, *, model: str | None, yes: bool) -> int:
    """Retry or discard. More than what was named by its id is shown first, and asked about unless `yes`."""
    chosen = wanted.as_filter()
    async with connection.open() as client:
        if len(wanted.ids) == 1:
            one = wanted.ids[0]
            generation = await (client.retry(one, model=model) if action == "retry" else client.discard(one))
            console.print(f"{generation.id}: {describe_status(generation)}")
            return 0
        preview = await client.decide(action, chosen, preview=True)
        _say_what(preview)
        if not preview.matched or not (yes or typer.confirm(f"{action.capitalize()} these {preview.matched:,}?")):
            return 0
        shown = chosen | {"parked_before": preview.as_of.isoformat()}
        done, refused = 0, list[BulkRefusal]()
        async for page in _pages(client, action, shown, model):
            done += page.done
            refused += page.refused
    for refusal in refused:
        console.print(f"{refusal.id}: {refusal.problem.detail}", style="yellow", markup=False)
    console.print(f"{done:,} {'go on' if action == 'retry' else 'ended as failed'}, {len(refused):,} refused.")
    return 1 if refused else 0


async def _pages(client: Client, action: Action, chosen: dict[str, Any], model: str | None) -> AsyncIterator[Bulk]:
    last_id: str | None = None
    while True:
        page = await client.decide(action, chosen, model=model, starting_after=last_id)
        yield page
        if not page.has_more:
            return
        last_id = page.last_id


def _say_what(preview: Bulk) -> None:
    for group in preview.groups:
        console.print(f"{group.count:>7,}  {group.model}  {group.code}  {group.provider or ''}".rstrip())
    console.print(f"{preview.matched:>7,}  in all")
