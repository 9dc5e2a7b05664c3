"""The tables as a test finds them: empty, but for the tenant `default`, whom the migrations make too."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncSession

from genpulse.db import Database, utc_now
from genpulse.models import GenerationRow, StepRow, TenantRow, metadata
from genpulse.repositories import tenants
from genpulse.schemas.states import GenerationStatus, Operation, Priority, StepStatus
from genpulse.security import DEFAULT_TENANT


async def create_tables(database: Database) -> None:
    """Make them, without the migrations."""
    async with database.engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
    async with database.transaction() as session:
        await _add_default(session)


async def empty_tables(session: AsyncSession) -> None:
    """Forget whatever was written."""
    for table in reversed(metadata.sorted_tables):
        await session.execute(delete(table))
    await _add_default(session)


def generation_row(generation_id: str, **values: Any) -> GenerationRow:
    """One that waits, but for what is given."""
    now = utc_now()
    given: dict[str, Any] = {
        "tenant_id": DEFAULT_TENANT,
        "status": GenerationStatus.QUEUED,
        "operation": Operation.TEXT_TO_IMAGE,
        "model": "local/fake",
        "priority": Priority.NORMAL,
        "request": {},
        "adaptions": [],
        "labels": {},
        "request_id": "req_1",
        "created_at": now,
        "deadline_at": now + timedelta(hours=1),
    }
    return GenerationRow(id=generation_id, **(given | values))


def step_row(generation_id: str, **values: Any) -> StepRow:
    """The only step of one that waits, but for what is given."""
    given: dict[str, Any] = {
        "position": 0,
        "step_id": "main",
        "operation": Operation.TEXT_TO_IMAGE,
        "model": "local/fake",
        "queue": "gp-fake",
        "status": StepStatus.QUEUED,
        "input": {},
        "provider_options": {},
        "fallbacks": [],
    }
    return StepRow(generation_id=generation_id, **(given | values))


async def _add_default(session: AsyncSession) -> None:
    row = TenantRow(id=DEFAULT_TENANT, name=DEFAULT_TENANT, created_at=utc_now())
    await tenants.add(session, row, is_unlimited=True)
