"""`genpulse jobs …` and `genpulse models`: looking at generations and at the catalogue."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from genpulse.cli.connection import Connection
from genpulse.cli.progress import failure, follow
from genpulse.schemas.assets import Asset
from genpulse.schemas.catalog import Model, Price
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
    table = table_of_ids("id", "status", "what", "created")
    for one in generations:
        table.add_row(one.id, describe_status(one), f"{one.operation}\n[dim]{one.model}[/]", when(one.created_at))
    console.print(table)


async def show_one(connection: Connection, generation_id: str) -> None:
    """One generation in full."""
    async with connection.open() as client:
        _describe(await client.get(generation_id))


async def cancel(connection: Connection, generation_id: str) -> None:
    """Ask for a cancellation."""
    async with connection.open() as client:
        console.print(f"{generation_id}: {describe_status(await client.cancel(generation_id))}")


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
    table = table_of_ids("model", "operations", "price", "description")
    for model in models:
        table.add_row(model.id, "\n".join(model.operations), "\n".join(_prices(model)), model.description)
    console.print(table)


def _prices(model: Model) -> Iterator[str]:
    """In credits: that of the model, and those of operations that cost something else."""
    if model.price or not model.operation_prices:
        yield _span(model.price) if model.price else "–"
    yield from (f"{operation}: {_span(price)}" for operation, price in model.operation_prices.items())


def _span(price: Price) -> str:
    """From the least to the most that a unit costs."""
    figures = [figure / price.per for figure in (price.credits, *(rate.credits for rate in price.rates))]
    span = dict.fromkeys(f"{figure:g}" for figure in (min(figures), max(figures)))
    return f"{'–'.join(span)} / {price.unit}"


def table_of_ids(first: str, *others: str) -> Table:
    """A table whose first column holds ids, which are there to be copied whole."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column(first, no_wrap=True)
    for header in others:
        table.add_column(header, overflow="fold")
    return table


def _describe(generation: Generation) -> None:
    console.print(f"[bold]{generation.id}[/]  {describe_status(generation)}  created {when(generation.created_at)}")
    for adaption in generation.adaptions:
        console.print(f"  {adaption.message}", style="dim", soft_wrap=True)
    for step in generation.steps:
        tries = f", {len(step.attempts)} attempts" if len(step.attempts) > 1 else ""
        console.print(f"  [bold]{step.id}[/]  {step.operation} on {step.model}: {step.status}{tries}", soft_wrap=True)
        for asset in step.outputs:
            console.print(f"    {asset.id}  {describe_asset(asset)}", soft_wrap=True)
    if generation.error:
        console.print(f"  {generation.error.message} ({generation.error.code})", style="red", soft_wrap=True)
    if generation.links.temporal:
        console.print(f"  {generation.links.temporal}", style="dim", soft_wrap=True)


def describe_asset(asset: Asset) -> str:
    """`256×256, 2.0 s at 8 fps, 13.4 kB`."""
    parts = []
    if asset.width and asset.height:
        parts.append(f"{asset.width}×{asset.height}")
    if asset.duration:
        parts.append(f"{asset.duration:g} s at {asset.fps:g} fps" if asset.fps else f"{asset.duration:g} s")
    parts.append(f"{asset.bytes / 1000:.1f} kB")
    return ", ".join(parts)


def describe_status(generation: Generation) -> str:
    done = f" {generation.progress:.0%}" if generation.status == GenerationStatus.RUNNING else ""
    return f"[{_COLOURS.get(generation.status, 'default')}]{generation.status}{done}[/]"


def when(instant: datetime) -> str:
    return f"{instant.astimezone():%m-%d %H:%M}"
