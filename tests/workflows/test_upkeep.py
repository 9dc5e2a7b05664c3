"""UpkeepWorkflow on a server with virtual time: every duty is done whether or not another one could be."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio.client import Client, WorkflowFailureError
from temporalio.exceptions import ApplicationError
from temporalio.worker import Worker
from temporalio.workflow import _Definition

from activities.upkeep import UpkeepActivities
from genpulse.schemas.upkeep import UpkeepOrder, UpkeepReport
from genpulse.settings import RetentionSettings
from genpulse.sweep import Sweeper
from genpulse.upkeep import WORKFLOW_TYPE, Reconciler, Retention
from tests.workflows.conftest import House
from workflows.upkeep import RECONCILING, TIDYING, UpkeepWorkflow


def duties(house: House, client: Client) -> UpkeepActivities:
    async def connect() -> Client:
        return client

    return UpkeepActivities(
        Reconciler(house.database, connect, kept_for=timedelta(days=7)),
        Sweeper(house.database, house.storage),
        Retention(house.database, RetentionSettings()),
    )


@asynccontextmanager
async def working(house: House, queue: str) -> AsyncIterator[Client]:
    client = house.environment.client
    async with (
        Worker(client, task_queue=f"{queue}-workflows", workflows=[UpkeepWorkflow]),
        Worker(client, task_queue=queue, activities=duties(house, client).all()),
    ):
        yield client


async def run(client: Client, queue: str) -> UpkeepReport:
    return await client.execute_workflow(
        UpkeepWorkflow.run, UpkeepOrder(queue=queue), id=f"upkeep-{queue}", task_queue=f"{queue}-workflows"
    )


async def test_every_duty_reports(house: House) -> None:
    generation_id, _ = await house.run()
    queue = str(uuid.uuid4())
    async with working(house, queue) as client:
        report = await run(client, queue)
    assert list(report.duties) == [*RECONCILING, *TIDYING]
    assert (report.failures, report.stopped_after) == ({}, {})
    assert report.tidied_at is not None
    assert report.duties["attempts"].counts == {"closed": 0, "unanswered": 0}
    assert report.duties["storage"].counts == {"files": 0}
    row, _ = await house.rows(generation_id)
    assert row.status == "succeeded"


async def test_a_duty_that_cannot_be_done_keeps_no_other_one_from_it_and_is_said(house: House, tmp_path: Path) -> None:
    await house.run()
    blobs = tmp_path / "assets" / "blobs"
    blobs.rename(tmp_path / "elsewhere")
    blobs.write_text("a file where the folder should be")
    queue = str(uuid.uuid4())
    async with working(house, queue) as client:
        with pytest.raises(WorkflowFailureError) as failed:
            await run(client, queue)
    cause = failed.value.cause
    assert isinstance(cause, ApplicationError) and cause.type == "upkeep_failed"
    report = UpkeepReport.model_validate(cause.details[0])
    assert set(report.failures) == {"storage"}
    assert list(report.duties) == [*RECONCILING, "retention"]


def test_the_schedule_names_the_workflow() -> None:
    assert _Definition.must_from_class(UpkeepWorkflow).name == WORKFLOW_TYPE
