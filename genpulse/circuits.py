"""A circuit breaker for each provider account, shared by all workers and seen by the API through the database.

Closed, calls go through. After a number of failures in a row it is open: nothing is sent for a while. Then it is half
open: one call at a time tries whether the account works again, and closes it or opens it anew. A failure is whatever
says that the next call would fail as well: an outage, refused credentials, a spent quota, an answer that never came.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, Self

from sqlalchemy.exc import IntegrityError

from genpulse.db import Database, utc_now
from genpulse.errors import DependencyDown
from genpulse.failpoints import Failpoint
from genpulse.models import CircuitRow
from genpulse.repositories import circuits

FAILURES_TO_OPEN = 5
OPEN_FOR = timedelta(seconds=30)
#: A probe that has not come back after this was lost with its worker.
_PROBE_LEASE = timedelta(seconds=90)

State = Literal["closed", "open", "half_open"]


@dataclass(frozen=True, kw_only=True)
class Circuit:
    """How an account has been doing."""

    state: State = "closed"
    failures: int = 0
    opened_until: datetime | None = None
    last_error: str | None = None
    left: timedelta = timedelta()
    """How long it stays open."""

    @classmethod
    def of(cls, row: CircuitRow | None, now: datetime) -> Self:
        if row is None:
            return cls()
        state: State = "closed" if row.opened_until is None else "open" if row.opened_until > now else "half_open"
        left = row.opened_until - now if row.opened_until is not None and state == "open" else timedelta()
        return cls(
            state=state,
            failures=row.failures,
            opened_until=row.opened_until,
            last_error=row.last_error,
            left=left,
        )


class Circuits:
    """Asked before anything is sent, told how it went.

    What it is told is a hint for others, and forgotten while the database is away: whoever tells holds something that
    must not be lost, such as the answer to a paid call.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    @Failpoint("circuits.of")
    async def of(self, account: str) -> Circuit:
        """The circuit as it is now."""
        async with self._database.reading() as session:
            return Circuit.of(await circuits.get(session, account), utc_now())

    @Failpoint("circuits.probe")
    async def probe(self, account: str, call: str) -> bool:
        """Have this call try a half-open circuit; false while another one does. Its worker may die and ask again."""
        now = utc_now()
        async with self._database.transaction() as session:
            return await circuits.claim_probe(session, account, call, now=now, until=now + _PROBE_LEASE)

    @Failpoint("circuits.failed")
    async def failed(self, account: str, error: str) -> None:
        """A call failed in a way that the next one would, too."""
        with suppress(DependencyDown):
            await self._count(account, error)

    @Failpoint("circuits.worked")
    async def worked(self, account: str) -> None:
        """A call was answered: what failed before is forgotten."""
        with suppress(DependencyDown):
            await self._close(account)

    async def _count(self, account: str, error: str) -> None:
        async with self._database.transaction() as session:
            failures = await circuits.note_failure(session, account, error)
            if failures >= FAILURES_TO_OPEN:
                await circuits.change(session, account, opened_until=utc_now() + OPEN_FOR, probing_until=None)
        if not failures:
            await self._begin(account)
            await self._count(account, error)

    async def _close(self, account: str) -> None:
        async with self._database.reading() as session:
            row = await circuits.get(session, account)
        if row is not None and row.failures:
            async with self._database.transaction() as session:
                await circuits.change(
                    session, account, failures=0, opened_until=None, probing_until=None, last_error=None
                )

    async def all(self) -> Mapping[str, Circuit]:
        """By account; one that is missing has never failed."""
        now = utc_now()
        async with self._database.reading() as session:
            return {row.account: Circuit.of(row, now) for row in await circuits.everyone(session)}

    async def _begin(self, account: str) -> None:
        with suppress(IntegrityError):  # another worker was faster
            async with self._database.transaction() as session:
                await circuits.add(session, account)
