"""The circuit breaker of an account: when it opens, who may probe, what closes it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from genpulse.circuits import FAILURES_TO_OPEN, OPEN_FOR, Circuits
from genpulse.db import Database, utc_now
from genpulse.repositories import circuits as rows
from tests.tables import create_tables


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'genpulse.db'}")
    await create_tables(database)
    yield database
    await database.dispose()


@pytest.fixture
def circuits(database: Database) -> Circuits:
    return Circuits(database)


async def opened(circuits: Circuits, account: str = "kling") -> None:
    for _ in range(FAILURES_TO_OPEN):
        await circuits.failed(account, "down")


async def pass_time(database: Database, account: str = "kling") -> None:
    """As if the account had been left alone for long enough."""
    async with database.transaction() as session:
        await rows.change(session, account, opened_until=utc_now() - timedelta(seconds=1))


async def test_an_account_that_never_failed_is_closed(circuits: Circuits) -> None:
    assert (await circuits.of("kling")).state == "closed"
    assert await circuits.all() == {}


async def test_it_opens_after_failures_in_a_row(circuits: Circuits) -> None:
    for count in range(1, FAILURES_TO_OPEN):
        await circuits.failed("kling", "down")
        assert ((await circuits.of("kling")).state, (await circuits.of("kling")).failures) == ("closed", count)
    await circuits.failed("kling", "down again")
    circuit = await circuits.of("kling")
    assert (circuit.state, circuit.last_error) == ("open", "down again")
    assert timedelta() < circuit.left <= OPEN_FOR
    assert (await circuits.of("fal")).state == "closed"


async def test_an_answer_in_between_starts_the_count_anew(circuits: Circuits) -> None:
    for _ in range(FAILURES_TO_OPEN - 1):
        await circuits.failed("kling", "down")
    await circuits.worked("kling")
    await circuits.failed("kling", "down")
    assert ((await circuits.of("kling")).state, (await circuits.of("kling")).failures) == ("closed", 1)


async def test_failures_that_come_at_once_are_all_counted(circuits: Circuits) -> None:
    await asyncio.gather(*(circuits.failed("kling", "down") for _ in range(FAILURES_TO_OPEN)))
    assert ((await circuits.of("kling")).state, (await circuits.of("kling")).failures) == ("open", FAILURES_TO_OPEN)


async def test_one_at_a_time_probes(circuits: Circuits, database: Database) -> None:
    await opened(circuits)
    assert not await circuits.probe("kling", "call"), "nobody does while it is open"
    await pass_time(database)
    assert (await circuits.of("kling")).state == "half_open"
    assert sorted(await asyncio.gather(*(circuits.probe("kling", f"call-{n}") for n in range(5)))) == [False] * 4 + [
        True
    ]


async def test_a_probe_closes_it_or_opens_it_anew(circuits: Circuits, database: Database) -> None:
    await opened(circuits)
    await pass_time(database)
    assert await circuits.probe("kling", "call")
    await circuits.failed("kling", "still down")
    assert (await circuits.of("kling")).state == "open"
    await pass_time(database)
    assert await circuits.probe("kling", "call")
    await circuits.worked("kling")
    assert ((await circuits.of("kling")).state, (await circuits.of("kling")).failures) == ("closed", 0)


async def test_a_probe_that_was_lost_does_not_block_the_account(circuits: Circuits, database: Database) -> None:
    await opened(circuits)
    await pass_time(database)
    assert await circuits.probe("kling", "call")
    async with database.transaction() as session:
        await rows.change(session, "kling", probing_until=utc_now() - timedelta(seconds=1))
    assert await circuits.probe("kling", "call")


async def test_a_call_whose_worker_died_goes_on_with_its_probe(circuits: Circuits, database: Database) -> None:
    await opened(circuits)
    await pass_time(database)
    assert await circuits.probe("kling", "call")
    assert not await circuits.probe("kling", "another")
    assert await circuits.probe("kling", "call")


async def test_a_long_error_is_cut(circuits: Circuits) -> None:
    await circuits.failed("kling", "x" * 5000)
    assert len((await circuits.of("kling")).last_error or "") == 500
