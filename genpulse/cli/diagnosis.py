"""`genpulse doctor` and `genpulse upkeep`."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import timedelta

from rich.console import Console
from rich.markup import escape

from genpulse.cli.settings import load_settings
from genpulse.doctor import Finding, examine
from genpulse.errors import DependencyDown, GenPulseError
from genpulse.settings import TemporalSettings

console = Console(highlight=False, soft_wrap=True)

#: A run may have to wait for the one before it; a duty gives up after a quarter of an hour.
_UPKEEP_WITHIN = timedelta(minutes=30)


async def run(*, as_json: bool) -> int:
    """Print every finding; return 1 when something is wrong."""
    findings: list[Finding] = []
    async for finding in examine(load_settings()):
        findings.append(finding)
        if not as_json:
            mark = "[green]✓[/]" if finding.ok else "[red]✗[/]"
            console.print(f"{mark} [bold]{finding.subject}[/]  {escape(finding.line)}")
    wrong = sum(not finding.ok for finding in findings)
    if as_json:
        print(json.dumps({"ok": not wrong, "findings": [asdict(one) for one in findings]}, indent=2))  # noqa: T201
    else:
        console.print("[green]All is well.[/]" if not wrong else f"[red]{wrong} of these need attention.[/]")
    return 1 if wrong else 0


async def upkeep() -> None:
    """Have a worker do upkeep once, now, and print what it did. Raises UpkeepFailed, DependencyDown."""
    from temporalio.client import WorkflowFailureError
    from temporalio.exceptions import ApplicationError
    from temporalio.service import RPCError, RPCStatusCode

    from genpulse.temporal import connect
    from genpulse.upkeep import run_now

    settings = load_settings()
    try:
        report = await run_now(await connect(settings.temporal), within=_UPKEEP_WITHIN)
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            raise UpkeepFailed("There is no schedule for it yet: start a worker of the queue gp-workflows.") from error
        raise _no_answer(settings.temporal) from error
    except RuntimeError as error:
        raise _no_answer(settings.temporal) from error
    except TimeoutError as error:
        raise UpkeepFailed("It has not been done in time. Does a worker serve the queue gp-upkeep?") from error
    except WorkflowFailureError as error:
        why = error.cause.message if isinstance(error.cause, ApplicationError) else str(error.cause)
        raise UpkeepFailed(why) from error
    for name, done in report.duties.items():
        counts = ", ".join(f"{what} {count}" for what, count in done.counts.items())
        console.print(f"[bold]{name}[/]  {counts or 'nothing to do'}")


class UpkeepFailed(GenPulseError, branch=True):
    """Upkeep could not be done, or not all of it; said at the terminal only."""


def _no_answer(settings: TemporalSettings) -> DependencyDown:
    return DependencyDown(f"Temporal does not answer at {settings.address}.")
