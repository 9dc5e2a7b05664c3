"""`genpulse doctor`."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape

from genpulse.cli.settings import load_settings
from genpulse.doctor import examine

console = Console(highlight=False, soft_wrap=True)


async def run() -> int:
    """Print every finding; return 1 when something is wrong."""
    wrong = 0
    async for finding in examine(load_settings()):
        mark = "[green]✓[/]" if finding.ok else "[red]✗[/]"
        console.print(f"{mark} [bold]{finding.subject}[/]  {escape(finding.sentence)}")
        wrong += not finding.ok
    console.print("[green]All is well.[/]" if not wrong else f"[red]{wrong} of these need attention.[/]")
    return 1 if wrong else 0
