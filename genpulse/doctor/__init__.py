"""What `genpulse doctor` examines: every dependency, then everything that must be true of what is stored and runs."""

from __future__ import annotations

from collections.abc import AsyncIterator

from genpulse.doctor.dependencies import check_dependencies
from genpulse.doctor.findings import Finding
from genpulse.doctor.stored import check_stored
from genpulse.settings import Settings

__all__ = ["Finding", "check_stored", "examine"]


async def examine(settings: Settings) -> AsyncIterator[Finding]:
    """Check one thing after another. What is stored, and what runs, is only looked at when it can be read."""
    down: set[str] = set()
    async for finding in check_dependencies(settings):
        if not finding.ok:
            down.add(finding.subject)
        yield finding
    if down & {"database", "storage"}:
        return
    async for finding in check_stored(settings):
        yield finding
    if "Temporal" in down:
        return
    # Here, because this alone needs Temporal's library, which takes its time to load.
    from genpulse.doctor.running import check_running

    async for finding in check_running(settings):
        yield finding
