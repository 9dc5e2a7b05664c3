"""The database: one transaction at a time, the same on SQLite and PostgreSQL."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext, suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any

from sqlalchemy import JSON, DateTime, Dialect, String, event
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import Connection, make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, InvalidatePoolError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator

from genpulse.errors import DependencyDown
from genpulse.failpoints import Failpoint

#: JSON that PostgreSQL can index and compare; None is SQL NULL, not a JSON null.
Json = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")

#: SQLSTATEs: the connection failed, two transactions stood in each other's way, something has run out (connections,
#: too), it was told to stop or is starting up, or a statement took too long.
_AWAY = ("08", "40", "53", "57")
#: Of everything that asks the database; where it matters what is written, there is another one with a name of its own.
_WRITING, _READING = Failpoint("database.write"), Failpoint("database.read")
_REST_SECONDS = 1.0  # after which a pooled connection is tried before it is used
_RETURNED_AT = "genpulse_returned_at"
_SQLITE_PRAGMAS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = NORMAL",  # with WAL a power cut may lose the last commits, a crashed process none
    "PRAGMA busy_timeout = 15000",
    "PRAGMA foreign_keys = ON",
)


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC instant; SQLite forgets zones, so they are put back on reading."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("naive datetime: give it a zone")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        return value.replace(tzinfo=UTC) if value is not None and value.tzinfo is None else value


class utc_day(FunctionElement[str]):  # noqa: N801 - a function of SQL
    """The day of an instant in UTC, as `2026-01-31`, whatever zone the connection has."""

    type = String()
    inherit_cache = True


@compiles(utc_day)
def _day_of_text(element: utc_day, compiler: SQLCompiler, **options: Any) -> str:
    return f"substr({compiler.process(element.clauses, **options)}, 1, 10)"


@compiles(utc_day, "postgresql")
def _day_of_instant(element: utc_day, compiler: SQLCompiler, **options: Any) -> str:
    return f"to_char({compiler.process(element.clauses, **options)} AT TIME ZONE 'UTC', 'YYYY-MM-DD')"


def utc_now() -> datetime:
    """The present instant, aware."""
    return datetime.now(UTC)


class Database:
    """A pool of connections. Business code gets a session and never commits; whoever opened it does, here."""

    def __init__(self, url: str, *, pool_size: int = 10) -> None:
        self.engine = _create_engine(url, pool_size)
        # SQLite has one writer, and who waits for it in SQLite tries now and then: with many, some are never lucky. So
        # the tasks of a process stand in line here, and only processes compete there.
        self._writers = asyncio.Semaphore(1) if _is_sqlite(url) else nullcontext()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        """One transaction that may write; committed at the end, rolled back on any error."""
        async with _WRITING, self._writers, self._session(writes=True) as session:
            yield session
            await session.commit()

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncSession]:
        """One transaction that only reads; never waits for a writer on SQLite."""
        async with _READING, self._session(writes=False) as session:
            yield session

    @asynccontextmanager
    async def _session(self, *, writes: bool) -> AsyncIterator[AsyncSession]:
        try:
            async with AsyncSession(self.engine, expire_on_commit=False) as session:
                await session.connection(execution_options={"genpulse_writes": writes})
                yield session
        except (OperationalError, InterfaceError, PoolTimeout, OSError) as error:
            raise DependencyDown("The database does not answer; try again shortly.") from error
        except DBAPIError as error:
            if error.connection_invalidated or _is_away(error):
                raise DependencyDown("The database has not done it; try again shortly.") from error
            raise

    async def dispose(self) -> None:
        """Close every connection."""
        await self.engine.dispose()


def _is_away(error: DBAPIError) -> bool:
    """Whether PostgreSQL answered, but only to say that it cannot serve: the driver's class does not tell."""
    return str(getattr(error.orig, "sqlstate", None)).startswith(_AWAY)


def _is_sqlite(url: str) -> bool:
    return make_url(url).get_backend_name() == "sqlite"


def _create_engine(url: str, pool_size: int) -> AsyncEngine:
    if not _is_sqlite(url):
        engine = create_async_engine(url, pool_size=pool_size, max_overflow=pool_size)
        event.listen(engine.sync_engine, "checkin", _note_return)
        event.listen(engine.sync_engine, "checkout", partial(_ping_after_rest, engine.dialect))
        return engine
    engine = create_async_engine(url)
    event.listen(engine.sync_engine, "connect", _prepare_sqlite)
    event.listen(engine.sync_engine, "begin", _begin_sqlite)
    event.listen(engine.sync_engine, "invalidate", _roll_back)
    return engine


def _note_return(_connection: Any, entry: ConnectionPoolEntry) -> None:
    entry.info[_RETURNED_AT] = time.monotonic()


def _ping_after_rest(dialect: Dialect, connection: Any, entry: ConnectionPoolEntry, _proxy: object) -> None:
    """Replace a connection that was lost while it rested.

    SQLAlchemy's own ping before every use is three of the seven round trips of a short transaction. A connection that
    was in use a moment ago is as likely to be lost in the middle of the transaction as before it.
    """
    returned_at = entry.info.get(_RETURNED_AT)
    if returned_at is None or time.monotonic() - returned_at < _REST_SECONDS:
        return
    try:
        dialect.do_ping(connection)
    except dialect.loaded_dbapi.Error as error:
        if dialect.is_disconnect(error, connection, None):
            raise InvalidatePoolError from error  # the pool replaces it, and those as old as it
        raise


def _prepare_sqlite(connection: Any, _entry: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # we begin transactions ourselves, see below
    cursor = connection.cursor()
    for pragma in _SQLITE_PRAGMAS:
        cursor.execute(pragma)
    cursor.close()


def _roll_back(connection: Any, _entry: ConnectionPoolEntry, _cause: BaseException | None) -> None:
    """Give the write lock back before the connection of a cancelled task is closed.

    SQLite puts the closing off until the last statement is gone, and the traceback of the cancellation keeps the
    statement that was interrupted: until the garbage collector passes, nobody could write.
    """
    with suppress(connection.dbapi.Error):  # the connection is thrown away in any case
        connection.rollback()


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that reads first and writes later cannot wait for another writer in SQLite: it fails at once.
    # So one that may write takes the write lock at its start.
    writes = connection.get_execution_options().get("genpulse_writes", True)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
