"""What `genpulse doctor` examines: every dependency, then everything that must be true of what is stored."""

from __future__ import annotations

from collections.abc import AsyncIterator

from genpulse.doctor.dependencies import check_dependencies
from genpulse.doctor.findings import Finding
from genpulse.doctor.invariants import check_stored
from genpulse.settings import Settings

__all__ = ["Finding", "check_stored", "examine"]


async def examine(settings: Settings) -> AsyncIterator[Finding]:
    """Check one thing after another. What is stored is only looked at when it can be read."""
    database_is_fine = True
    async for finding in check_dependencies(settings):
        database_is_fine &= finding.ok or finding.subject not in ("database", "storage")
        yield finding
    if database_is_fine:
        async for finding in check_stored(settings):
            yield finding
