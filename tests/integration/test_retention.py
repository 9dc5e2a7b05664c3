"""What is too old goes, with all that belongs to it; what is needed stays. On both databases."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta

import httpx
import pytest
from sqlalchemy import func, select, update
from sqlmodel import SQLModel

from api.services import Services
from genpulse.db import utc_now
from genpulse.ids import first_id, new_id
from genpulse.models import AssetRow, AttemptRow, DeliveryRow, EventRow, GenerationRow, IdempotencyRow, StepRow
from genpulse.repositories import assets
from genpulse.schemas.upkeep import DutyReport
from genpulse.settings import RetentionSettings
from genpulse.upkeep import Retention
from tests.integration.conftest import SHAPE, Run, plant_asset, submit

AT_ONCE = 1e-9  # days, or hours
UPSCALE = {"operation": "image-upscale", "model": "local/upscale", "input": {"scale": 2}}


@pytest.fixture
def expire(services: Services) -> Callable[..., object]:
    async def run(**settings: float) -> dict[str, int]:
        """Until everything made so far is older than that instant."""
        last = new_id("gen")
        while first_id("gen", utc_now() - timedelta(days=AT_ONCE)) <= last:  # noqa: ASYNC110 - a millisecond
            await asyncio.sleep(0)
        retention = Retention(services.database, RetentionSettings(events_days=0).model_copy(update=settings))
        report = await retention.expire()
        assert report.stopped_after == ""
        return {what: count for what, count in report.counts.items() if count}

    return run


async def count(services: Services, *tables: type[SQLModel]) -> list[int]:
    async with services.database.reading() as session:
        return [(await session.execute(select(func.count()).select_from(table))).scalar_one() for table in tables]


async def test_everything_is_kept_by_default_but_old_keys(
    api: httpx.AsyncClient, services: Services, run: Callable[[str], Run]
) -> None:
    made = await submit(api, key="order-1")
    await run(made["id"]).succeed()
    retention = Retention(services.database, RetentionSettings())
    assert {what for what, count in (await retention.expire()).counts.items() if count} == set()
    long_ago = utc_now() - timedelta(hours=25)
    async with services.database.transaction() as session:
        await session.execute(update(IdempotencyRow).values(created_at=long_ago))
        await session.execute(update(GenerationRow).values(created_at=long_ago, finished_at=long_ago))
    assert (await retention.expire()).counts["idempotency_keys"] == 1
    assert await count(services, GenerationRow, StepRow, AttemptRow, AssetRow, IdempotencyRow) == [1, 1, 1, 1, 0]
    again = await submit(api, key="order-1")
    assert again["id"] != made["id"], "the key is free again"


async def test_a_generation_goes_with_all_that_belongs_to_it(
    api: httpx.AsyncClient, services: Services, run: Callable[[str], Run], expire
) -> None:
    done, waiting = await submit(api, key="order-1"), await submit(api)
    await run(done["id"]).succeed()
    assert await expire(generations_days=AT_ONCE) == {"generations": 1, "outputs": 1}
    assert (await api.get(f"/v1/generations/{done['id']}")).status_code == 404
    assert (await api.get(f"/v1/generations/{waiting['id']}")).status_code == 200
    assert await count(services, GenerationRow, StepRow, AttemptRow, EventRow, AssetRow, IdempotencyRow) == [
        1, 1, 0, 0, 0, 0,
    ]  # fmt: skip


async def test_an_output_that_something_unfinished_needs_is_kept_until_that_has_ended(
    api: httpx.AsyncClient, services: Services, run: Callable[[str], Run], expire
) -> None:
    done = await submit(api)
    await run(done["id"]).succeed()
    [output] = (await api.get(f"/v1/generations/{done['id']}")).json()["outputs"]
    needing = await submit(api, UPSCALE | {"input": {"image": {"asset": output["id"]}, "scale": 2}})
    assert await expire(generations_days=AT_ONCE) == {"generations": 1}
    assert (await api.get(f"/v1/assets/{output['id']}")).status_code == 200
    await run(needing["id"]).end("canceled")
    assert await expire(generations_days=AT_ONCE) == {"generations": 1, "outputs": 1}


async def test_a_generation_of_which_a_receiver_has_not_been_told_is_kept(
    api: httpx.AsyncClient, services: Services, run: Callable[[str], Run], expire
) -> None:
    made = await submit(api, SHAPE | {"webhook": {"url": "https://receiver.example/hook"}})
    await run(made["id"]).succeed()
    assert (await count(services, DeliveryRow))[0] > 0
    assert await expire(generations_days=AT_ONCE) == {}
    async with services.database.transaction() as session:
        await session.execute(update(DeliveryRow).values(status="failed", finished_at=utc_now()))
    assert await expire(generations_days=AT_ONCE) == {"generations": 1, "outputs": 1}
    assert await count(services, DeliveryRow) == [0]


async def test_old_uploads_go_where_that_is_wanted_unless_they_are_needed(
    api: httpx.AsyncClient, services: Services, expire
) -> None:
    old = utc_now() - timedelta(days=3)
    needed = await plant_asset(services, id=first_id("ast", old))
    await plant_asset(services, id=first_id("ast", old + timedelta(seconds=1)))
    fresh = await plant_asset(services)
    await submit(api, UPSCALE | {"input": {"image": {"asset": needed.id}, "scale": 2}})
    assert await expire() == {}
    assert await expire(uploads_days=2) == {"uploads": 1}
    async with services.database.reading() as session:
        kept = await assets.page(session, "default", limit=10)
    assert {one.id for one in kept} == {needed.id, fresh.id}
    assert await expire(uploads_days=AT_ONCE) == {}, "what has just come may be about to be named"


async def test_events_are_thinned_and_the_stream_still_ends(
    api: httpx.AsyncClient, services: Services, run: Callable[[str], Run], expire
) -> None:
    done, waiting = await submit(api), await submit(api)
    await run(done["id"]).succeed()
    await run(waiting["id"]).begin()
    assert (await expire(events_days=AT_ONCE))["events"] == 4
    told = (await api.get(f"/v1/generations/{done['id']}/events")).text
    assert [line for line in told.splitlines() if line.startswith("event:")] == ["event: output", "event: done"]
    assert (await count(services, EventRow))[0] == 2 + 2, "what goes on keeps all of its own"
    assert await expire(events_days=AT_ONCE) == {}


async def test_a_run_that_had_no_time_says_where_the_next_one_goes_on(
    api: httpx.AsyncClient, services: Services, run: Callable[[str], Run]
) -> None:
    made = await submit(api)
    await run(made["id"]).succeed()
    settings = RetentionSettings(events_days=AT_ONCE)
    hurried = Retention(services.database, settings, time=timedelta(0))
    assert await hurried.expire("gen_0") == DutyReport(counts={"outputs": 0}, stopped_after="gen_0")
