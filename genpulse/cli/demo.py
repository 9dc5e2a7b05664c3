"""`genpulse demo`: one chain on this machine, from a sentence to an upscaled video."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from genpulse.cli.generate import make_folder, save
from genpulse.cli.progress import failure, follow
from genpulse.cli.up import terminating_like_interrupt
from genpulse.client import Client
from genpulse.schemas.assets import Asset
from genpulse.schemas.generations import Generation, Step
from genpulse.stack import EmbeddedStack, StackError, embedded_stack

console = Console(highlight=False)

#: Kept from run to run, like any stack's: `genpulse up --data-dir .genpulse-demo` shows every demo that ran here.
DATA_DIR = Path(".genpulse-demo")
OUT = Path("genpulse-demo")
UI_PORT = 8233
"""Where `genpulse up` puts the Temporal Web UI."""

CHAIN: dict[str, Any] = {
    "steps": [
        {
            "id": "still",
            "model": "local/shapes",
            "operation": "text-to-image",
            "input": {"prompt": "a red circle on a blue background", "seed": 7},
        },
        {
            "id": "clip",
            "model": "local/motion",
            "operation": "image-to-video",
            "input": {"image": {"step": "still"}, "prompt": "moving right", "duration": 2, "seed": 7},
        },
        {
            "id": "hd",
            "operation": "video-upscale",
            "input": {"video": {"step": "clip"}, "scale": 4},
        },
    ],
    # A machine on which the chain does not end by itself should say so and not wait for an hour.
    "deadline_seconds": 600,
    "metadata": {"made-by": "genpulse demo"},
}


async def run() -> None:
    """Start a stack, run the chain, save and list what every step made, stop the stack."""
    with terminating_like_interrupt():
        console.print("Starting Temporal, the API and the workers …", style="dim")
        async with embedded_stack(DATA_DIR, report=_report) as stack:
            async with Client(stack.api_url, stack.admin_key) as client:
                generation = await stack.guard(_run_chain(client, stack))
                files = await _save_all(client, generation)
            console.print(_table(generation, files))
            _conclude(generation)


async def _run_chain(client: Client, stack: EmbeddedStack) -> Generation:
    submitted = await client.submit(CHAIN)
    if submitted.links.temporal:
        console.print(f"Its workflow: {submitted.links.temporal}", style="dim", soft_wrap=True)
    generation = await follow(client, submitted, console)
    if error := failure(generation):
        logs = "\n\n".join(
            f"{stack.data_dir.log_file(name)}:\n{stack.data_dir.log_tail(name)}" for name in ("worker", "worker-gpu")
        )
        raise StackError(f"{error.message}\n\n{logs}")
    return generation


async def _save_all(client: Client, generation: Generation) -> dict[str, list[Path]]:
    make_folder(OUT)
    return {step.id: await save(client, step.outputs, OUT, stem=step.id) for step in generation.steps}


def _table(generation: Generation, files: dict[str, list[Path]]) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for header in ("step", "model", "seconds", "size", "frames", "file"):
        table.add_column(header, no_wrap=True)
    for step in generation.steps:
        for asset, file in zip(step.outputs, files[step.id], strict=True):
            size = f"{asset.width}×{asset.height}"
            table.add_row(step.id, step.model, _seconds(step), size, _frames(asset), str(file))
    return table


def _conclude(generation: Generation) -> None:
    assert generation.finished_at is not None
    console.print(f"The chain took {_in_seconds(generation.finished_at - generation.created_at)} s.")
    # The stack stops now, and with it the Web UI on its free port; this is where it will be.
    workflow = f"http://127.0.0.1:{UI_PORT}/namespaces/default/workflows/{generation.id}"
    console.print(
        f"To look at it again: genpulse up --data-dir {DATA_DIR}, then {workflow}", style="dim", soft_wrap=True
    )


def _seconds(step: Step) -> str:
    if step.started_at is None or step.finished_at is None:
        return "–"
    return _in_seconds(step.finished_at - step.started_at)


def _in_seconds(duration: timedelta) -> str:
    return f"{duration.total_seconds():.1f}"


def _frames(asset: Asset) -> str:
    if not asset.duration or not asset.fps:
        return "–"
    return f"{round(asset.duration * asset.fps)} at {asset.fps:g} fps"


def _report(sentence: str) -> None:
    console.print(sentence, style="yellow")
