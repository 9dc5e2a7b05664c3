"""The migrations lead from an empty database to the tables' metadata, on both engines, however many run at once."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import CheckConstraint, inspect, text
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError, IntegrityError

from genpulse import ledger, migrations
from genpulse.db import Database
from genpulse.migrations import is_current, upgrade
from genpulse.models import metadata
from genpulse.repositories import balances
from genpulse.schemas.credits import CreditChange
from tests.integration.conftest import database_url
from tests.servers.postgres import PostgresServer


@pytest.fixture(params=["sqlite", "postgresql"])
async def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return await database_url(request, tmp_path / "folder")


async def test_an_empty_database_becomes_what_the_tables_say(url: str) -> None:
    await upgrade(url)
    assert await _inspect(url, _differences) == []


async def test_check_constraints_are_those_of_the_tables(url: str) -> None:
    # Alembic does not compare these.
    await upgrade(url)
    wanted = {
        table.name: {str(one.name) for one in table.constraints if isinstance(one, CheckConstraint)}
        for table in metadata.sorted_tables
    }
    assert await _inspect(url, _check_constraints) == wanted


@pytest.mark.parametrize("change", ["UPDATE credit_transaction SET note = 'x'", "DELETE FROM credit_transaction"])
async def test_the_ledger_is_only_added_to(url: str, change: str) -> None:
    await upgrade(url)
    database = Database(url)
    try:
        async with database.transaction() as session:
            wanted = CreditChange(amount=5, note="kept")
            line = await ledger.write_change(session, "default", wanted, made_by="admin")
        with pytest.raises(IntegrityError, match="only ever added to"):
            async with database.transaction() as session:
                await session.execute(text(change))
        async with database.reading() as session:
            assert (await balances.transaction(session, line.id)).note == "kept"
    finally:
        await database.dispose()


async def test_migrating_again_changes_nothing(url: str) -> None:
    await upgrade(url)
    await upgrade(url)
    assert await _inspect(url, _differences) == []


async def test_a_database_is_current_once_it_is_migrated(url: str) -> None:
    database = Database(url)
    try:
        if url.startswith("sqlite"):
            Path(url.removeprefix("sqlite+aiosqlite:///")).parent.mkdir()
        assert not await is_current(database.engine)
        await upgrade(url)
        assert await is_current(database.engine)
    finally:
        await database.dispose()


async def test_processes_that_migrate_at_once_all_succeed(url: str) -> None:
    code = "import asyncio, sys; from genpulse.migrations import upgrade; asyncio.run(upgrade(sys.argv[1]))"
    processes = [await asyncio.create_subprocess_exec(sys.executable, "-c", code, url) for _ in range(4)]
    assert [await process.wait() for process in processes] == [0, 0, 0, 0]
    assert await _inspect(url, _differences) == []


async def test_a_migration_gives_up_when_a_table_stays_locked(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrations, "_LOCK_TIMEOUT", "100ms")
    url = await postgres.create_database()
    await upgrade(url)
    database = Database(url)
    try:
        async with database.engine.begin() as connection:
            await connection.execute(text("LOCK TABLE alembic_version IN ACCESS EXCLUSIVE MODE"))
            with pytest.raises(DBAPIError, match="lock timeout"):
                await upgrade(url)
    finally:
        await database.dispose()


async def _inspect(url: str, look: Any) -> Any:
    database = Database(url)
    try:
        async with database.engine.connect() as connection:
            return await connection.run_sync(look)
    finally:
        await database.dispose()


def _differences(connection: Connection) -> list[Any]:
    context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
    return list(compare_metadata(context, metadata))


def _check_constraints(connection: Connection) -> dict[str, set[str]]:
    inspector = inspect(connection)
    return {
        table.name: {str(one["name"]) for one in inspector.get_check_constraints(table.name)}
        for table in metadata.sorted_tables
    }
