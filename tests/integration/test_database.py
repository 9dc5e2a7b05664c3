"""What a database that is away, stops or is not up yet means to whoever asks it."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import text

from genpulse.db import Database
from genpulse.errors import DependencyDown
from tests.integration.conftest import database_url
from tests.servers.postgres import PostgresServer, postgres_server

_SSL_REQUEST = 80877103
_LONG = """
    WITH RECURSIVE numbers(number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM numbers WHERE number < 2000000)
    SELECT count(*) FROM numbers
"""  # a second of work, or half of it


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with postgres_server(durable=True) as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
async def either_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return await database_url(request, tmp_path)


@asynccontextmanager
async def database_at(url: str) -> AsyncIterator[Database]:
    database = Database(url)
    try:
        yield database
    finally:
        await database.dispose()


async def one(database: Database) -> int:
    async with database.reading() as session:
        return int((await session.execute(text("SELECT 1"))).scalar_one())


@asynccontextmanager
async def refusing(state: str) -> AsyncIterator[str]:
    """The URL of a server that answers everybody with this SQLSTATE, in PostgreSQL's protocol."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        length, code = struct.unpack("!II", await reader.readexactly(8))
        if code == _SSL_REQUEST:
            writer.write(b"N")
            length, code = struct.unpack("!II", await reader.readexactly(8))
        await reader.readexactly(length - 8)
        fields = b"".join(
            name + value.encode() + b"\0" for name, value in ((b"S", "FATAL"), (b"C", state), (b"M", "no"))
        )
        writer.write(b"E" + struct.pack("!I", len(fields) + 5) + fields + b"\0")
        writer.close()

    listening = await asyncio.start_server(refuse, "127.0.0.1", 0)
    async with listening:
        port = listening.sockets[0].getsockname()[1]
        yield f"postgresql+asyncpg://postgres@127.0.0.1:{port}/x"


@pytest.mark.parametrize("state", ["57P03", "57P02", "57P01", "53300", "08004"])
async def test_a_server_that_cannot_serve_is_a_dependency_that_is_down(state: str) -> None:
    async with refusing(state) as url, database_at(url) as database:
        with pytest.raises(DependencyDown):
            await one(database)


async def test_after_an_immediate_stop_the_pool_is_renewed(server: PostgresServer) -> None:
    async with database_at(await server.create_database()) as database:
        assert await asyncio.gather(*(one(database) for _ in range(8))) == [1] * 8
        await asyncio.to_thread(server.stop_at_once)
        with pytest.raises(DependencyDown):
            await one(database)
        await asyncio.to_thread(server.start)
        # Of the eight connections at most the first one used is still a dead one; then all are replaced.
        lost = 0
        for _ in range(8):
            try:
                assert await one(database) == 1
            except DependencyDown:
                lost += 1
        assert lost <= 1


async def test_a_stop_in_the_middle_of_a_transaction_undoes_it(server: PostgresServer) -> None:
    async with database_at(await server.create_database()) as database:
        async with database.transaction() as session:
            await session.execute(text("CREATE TABLE kept (number int)"))
        with pytest.raises(DependencyDown):  # noqa: PT012
            async with database.transaction() as session:
                await session.execute(text("INSERT INTO kept VALUES (1)"))
                await asyncio.to_thread(server.stop_at_once)
        await asyncio.to_thread(server.start)
        async with database.transaction() as session:
            await session.execute(text("INSERT INTO kept VALUES (2)"))
        async with database.reading() as session:
            assert (await session.execute(text("SELECT number FROM kept"))).scalars().all() == [2]


async def test_a_task_cancelled_in_the_middle_of_a_statement_keeps_no_lock(either_url: str) -> None:
    async with database_at(either_url) as database:
        async with database.transaction() as session:
            await session.execute(text("CREATE TABLE kept (number int)"))
            await session.execute(text("INSERT INTO kept VALUES (1)"))
        at_work = asyncio.Event()

        async def change() -> None:
            async with database.transaction() as session:
                await session.execute(text("UPDATE kept SET number = 2"))
                at_work.set()
                await session.execute(text(_LONG))

        changing = asyncio.create_task(change())
        await at_work.wait()
        await asyncio.sleep(0.05)
        changing.cancel()
        with pytest.raises(asyncio.CancelledError) as kept:  # whose traceback keeps the statement
            await changing
        async with database.transaction() as session:
            assert (await session.execute(text("UPDATE kept SET number = number + 2 RETURNING number"))).scalar() == 3
        assert kept.tb is not None
