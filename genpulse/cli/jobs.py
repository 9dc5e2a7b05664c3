"""`genpulse jobs …` and `genpulse models`: looking at generations and at the catalogue."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from rich.console import Console
from rich.table import Table

from genpulse.cli.connection import Connection
from genpulse.cli.progress import failure, follow
from genpulse.schemas.assets import Asset
from genpulse.schemas.generations import Generation
from genpulse.schemas.states import GenerationStatus

console = Console(highlight=False)

_COLOURS = {
    GenerationStatus.SUCCEEDED: "green",
    GenerationStatus.FAILED: "red",
    GenerationStatus.DEAD_LETTERED: "red",
    GenerationStatus.CANCELED: "dim",
    GenerationStatus.RUNNING: "cyan",
}


async def show_list(connection: Connection, *, limit: int, filters: Mapping[str, str | None]) -> None:
    """The newest generations."""
    async with connection.open() as client:
        generations = await client.generations(limit=limit, **filters)
    table = Table("id", "status", "progress", "operation", "model", "created")
    for one in generations:
        table.add_row(one.id, _status(one), f"{one.progress:.0%}", one.operation, one.model, _when(one.created_at))
    console.print(table)


async def show_one(connection: Connection, generation_id: str) -> None:
    """One generation in full."""
    async with connection.open() as client:
        _describe(await client.get(generation_id))


async def cancel(connection: Connection, generation_id: str) -> None:
    """Ask for a cancellation."""
    async with connection.open() as client:
        console.print(f"{generation_id}: {_status(await client.cancel(generation_id))}")


async def watch(connection: Connection, generation_id: str) -> None:
    """Follow a generation to its end. Raises ClientError when it does not succeed."""
    async with connection.open() as client:
        generation = await follow(client, await client.get(generation_id), console)
    if error := failure(generation):
        raise error
    _describe(generation)


async def show_models(connection: Connection) -> None:
    """The catalogue."""
    async with connection.open() as client:
        models = await client.models()
    table = Table("model", "operations", "price", "description")
    for model in models:
        price = f"{model.price.credits} / {model.price.unit}" if model.price else "–"
        table.add_row(model.id, "\n".join(model.operations), price, model.description)
    console.print(table)


def _describe(generation: Generation) -> None:
    console.print(f"[bold]{generation.id}[/]  {_status(generation)}  {generation.progress:.0%}")
    console.print(f"created {_when(generation.created_at)}", style="dim")
    for adaption in generation.adaptions:
        console.print(adaption.message, style="dim")
    table = Table("step", "operation", "model", "status", "attempts", "outputs")
    for step in generation.steps:
        outputs = "\n".join(f"{asset.id}  {describe_asset(asset)}" for asset in step.outputs)
        table.add_row(step.id, step.operation, step.model, step.status, str(len(step.attempts)), outputs)
    console.print(table)
    if generation.error:
        console.print(f"{generation.error.message} ({generation.error.code})", style="red")
    if generation.links.temporal:
        console.print(f"Temporal: {generation.links.temporal}", style="dim", soft_wrap=True)


def describe_asset(asset: Asset) -> str:
    """`256×256, 2.0 s at 8 fps, 13.4 kB`."""
    parts = []
    if asset.width and asset.height:
        parts.append(f"{asset.width}×{asset.height}")
    if asset.duration:
        parts.append(f"{asset.duration:g} s at {asset.fps:g} fps" if asset.fps else f"{asset.duration:g} s")
    parts.append(f"{asset.bytes / 1000:.1f} kB")
    return ", ".join(parts)


def _status(generation: Generation) -> str:
    return f"[{_COLOURS.get(generation.status, 'default')}]{generation.status}[/]"


def _when(instant: datetime) -> str:
    return f"{instant.astimezone():%Y-%m-%d %H:%M:%S}"
