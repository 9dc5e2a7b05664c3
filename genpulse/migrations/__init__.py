"""Brings a database to the schema of this version; safe to run from several processes at once."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.engine import Connection, make_url
from sqlalchemy.ext.asyncio import AsyncEngine

from genpulse.db import Database

#: Whoever holds this advisory lock is migrating. The number is arbitrary, but must never change.
_MIGRATION_LOCK = 7_236_581_904

#: A migration that cannot get its table locks gives up instead of queueing in front of every other query.
_LOCK_TIMEOUT = "10s"


async def upgrade(url: str) -> None:
    """Apply every migration that the database lacks, all in one transaction."""
    _make_parent_folder(url)
    database = Database(url)
    try:
        async with database.engine.begin() as connection:
            await connection.run_sync(_upgrade)
    finally:
        await database.dispose()


async def is_current(engine: AsyncEngine) -> bool:
    """Tell whether the database has the schema that this version was written for."""
    async with engine.connect() as connection:
        return await connection.run_sync(_revision) == head()


def head() -> str | None:
    """The newest migration's revision."""
    return ScriptDirectory.from_config(_config()).get_current_head()


def _upgrade(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        # A second process waits here and then finds nothing left to do. On SQLite BEGIN IMMEDIATE does the same.
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})")
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'")
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    return config


def _make_parent_folder(url: str) -> None:
    # SQLite makes the file, not the folder that it lies in.
    target = make_url(url)
    if target.get_backend_name() == "sqlite" and target.database not in (None, "", ":memory:"):
        Path(str(target.database)).parent.mkdir(parents=True, exist_ok=True)
