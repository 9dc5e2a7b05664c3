"""`genpulse up`: the embedded stack in the foreground."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rich.console import Console

from genpulse.stack import EmbeddedStack, Ports, embedded_stack, read_admin_key

console = Console(highlight=False, soft_wrap=True)


async def run(data_dir: Path, ports: Ports, *, simulate: bool = False) -> None:
    """Run the stack until Ctrl-C or SIGTERM; a second one ends it at once."""
    first_start = read_admin_key(data_dir) is None
    with suppress(asyncio.CancelledError), terminating_like_interrupt():
        console.print("Starting GenPulse …", style="dim")
        async with embedded_stack(data_dir, ports=ports, simulate=simulate, report=_report) as stack:
            _greet(stack, show_key=first_start)
            try:
                await asyncio.Event().wait()
            finally:
                console.print(
                    "Stopping; running steps get time to finish. Ctrl-C again ends everything at once.", style="dim"
                )
    console.print("Stopped. `genpulse up` goes on from here.", style="dim")


@contextmanager
def terminating_like_interrupt() -> Iterator[None]:
    """Let SIGTERM do what Ctrl-C does: cancel the current task, so that everything is stopped on the way out."""
    task = asyncio.current_task()
    assert task is not None
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGTERM)


def _report(sentence: str) -> None:
    console.print(sentence, style="yellow")


def _greet(stack: EmbeddedStack, *, show_key: bool) -> None:
    lines = {"API and dashboard": stack.api_url, "API reference": f"{stack.api_url}/docs"}
    if stack.ui_url:
        lines["Temporal Web UI"] = stack.ui_url
    if show_key:
        lines["Admin key"] = f"[bold]{stack.admin_key}[/]"
    lines["Logs"] = str(stack.data_dir.path / "logs")
    console.print("[bold green]GenPulse is ready.[/]")
    for label, value in lines.items():
        console.print(f"  {label:<19}{value}")
    if show_key:
        console.print(f"The key is shown this once; it is kept in {stack.data_dir.path / 'secrets'}.", style="dim")
