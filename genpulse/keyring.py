"""Whose key a request carries: the database knows, and what it said a moment ago is remembered for a moment.

So a request costs no query, and whatever is changed about a key or its tenant (revoked, rotated, expired, suspended,
other scopes or limits) holds within five seconds in every process, without any of them telling the others.
"""

from __future__ import annotations

import asyncio
import hmac
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar

from genpulse.db import Database, utc_now
from genpulse.errors import DependencyDown, Forbidden, Unauthenticated
from genpulse.keys import digest, is_well_formed
from genpulse.models import ApiKeyRow, TenantRow
from genpulse.repositories import keys, tenants
from genpulse.schemas.tenants import NO_LIMITS, Scope, TenantLimits
from genpulse.security import DEFAULT_TENANT, Caller, administrator, key_digester
from genpulse.settings import SecuritySettings

T = TypeVar("T")

FRESH_SECONDS = 3.0
#: Keys that are remembered, unknown ones too; of more, those that were not shown for longest are asked for again.
MOST_KEYS = 10_000
#: What the admin key waits for the limits of its tenant: with it one looks at a system whose database is away.
_ADMIN_PATIENCE_SECONDS = 1.0
_NOTE_EVERY = timedelta(minutes=1)


def limits_of(row: TenantRow) -> TenantLimits:
    """What limits a tenant, out of its row."""
    return TenantLimits(
        weight=row.weight,
        requests_per_minute=row.requests_per_minute,
        in_flight=row.in_flight,
        spend_per_day=row.spend_per_day,
        input_bytes=row.input_bytes,
        models=tuple(row.models) if row.models else None,
        low_balance=row.low_balance,
    )


@dataclass
class _Known:
    """A key that there is: who shows it, until when, and whether that is being noted."""

    caller: Caller
    revoked: bool
    suspended: bool
    expires_at: datetime | None
    used_at: datetime | None

    @classmethod
    def of(cls, key: ApiKeyRow, tenant: TenantRow) -> _Known:
        return cls(
            caller=Caller(
                tenant_id=tenant.id,
                scopes=frozenset(Scope(one) for one in key.scopes),
                key_id=key.id,
                key_models=tuple(key.models) if key.models else None,
                limits=limits_of(tenant),
            ),
            revoked=key.revoked_at is not None,
            suspended=tenant.suspended_at is not None,
            expires_at=key.expires_at,
            used_at=key.last_used_at,
        )

    def check(self, now: datetime) -> Caller:
        """Who it is. Raises Unauthenticated for a key that works no more, Forbidden for one of a suspended tenant."""
        if self.revoked:
            raise Unauthenticated("This key was revoked.")
        if self.expires_at is not None and self.expires_at <= now:
            raise Unauthenticated("This key has expired.")
        if self.suspended:
            raise Forbidden("The account of this key is suspended; ask whoever runs this service.")
        return self.caller


class KeyRing:
    """Knows the admin key of the settings, and asks the database for the others."""

    def __init__(
        self, settings: SecuritySettings, database: Database, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._admin_key = settings.admin_key.get_secret_value().encode() if settings.admin_key else None
        self._digester = key_digester(settings)
        self._database = database
        self._known = _Memory[_Known | None](clock)
        self._limits = _Memory[TenantLimits](clock)
        self._notes: set[asyncio.Task[None]] = set()

    async def identify(self, secret: str | None) -> Caller:
        """Whose key it is. Raises Unauthenticated, Forbidden, or DependencyDown where it cannot be found out.

        How long a wrong key takes tells nothing of the admin key, and nothing of others: their digest is looked up.
        """
        if secret is None:
            raise Unauthenticated("Send your key in the header `Authorization: Bearer gp_…`.")
        if self._admin_key is not None and hmac.compare_digest(secret.encode(), self._admin_key):
            return administrator(await self._limits_of_default())
        if not is_well_formed(secret):
            raise Unauthenticated("This key is not valid: it is incomplete, or a character of it is wrong.")
        known = await self._look_up(digest(secret, self._digester))
        if known is None:
            raise Unauthenticated("This key is not valid.")
        now = utc_now()
        caller = known.check(now)
        self._note_use(known, now)
        return caller

    def forget(self) -> None:
        """Ask the database again, because this process has just changed something."""
        self._known.forget()
        self._limits.forget()

    async def close(self) -> None:
        """Let go of what is under way; the database is still there."""
        await _canceled([*self._notes, *self._known.reads, *self._limits.reads])

    async def _look_up(self, of: str) -> _Known | None:
        async def read() -> _Known | None:
            async with self._database.reading() as session:
                found = await keys.of_digest(session, of)
            return None if found is None else _Known.of(*found)

        return await self._known.get(of, read)

    async def _limits_of_default(self) -> TenantLimits:
        async def read() -> TenantLimits:
            try:
                async with self._database.reading() as session:
                    row = await tenants.get(session, DEFAULT_TENANT)
            except DependencyDown:  # which is remembered too: not every request shall wait for what is away
                return NO_LIMITS
            return NO_LIMITS if row is None else limits_of(row)

        try:
            async with asyncio.timeout(_ADMIN_PATIENCE_SECONDS):
                return await self._limits.get(DEFAULT_TENANT, read)
        except TimeoutError:
            return NO_LIMITS

    def _note_use(self, known: _Known, now: datetime) -> None:
        """Beside the request, and only now and then: nothing is lost with it."""
        if known.used_at is not None and now - known.used_at < _NOTE_EVERY:
            return
        known.used_at = now  # until it is read again, which is soon
        assert known.caller.key_id is not None
        note = asyncio.create_task(self._write_use(known.caller.key_id, now), name="key-use")
        self._notes.add(note)
        note.add_done_callback(self._notes.discard)

    async def _write_use(self, key_id: str, now: datetime) -> None:
        with suppress(DependencyDown):
            async with self._database.transaction() as session:
                await keys.note_use(session, key_id, at=now, unless_since=now - _NOTE_EVERY)


@dataclass
class _Read(Generic[T]):
    """An answer, or the way to it; as old as its question."""

    task: asyncio.Task[T]
    begun_at: float

    @property
    def has_failed(self) -> bool:
        return self.task.done() and (self.task.cancelled() or self.task.exception() is not None)


class _Memory(Generic[T]):
    """What was read a moment ago. Whoever asks for the same at the same time waits for the same read."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._reads: OrderedDict[str, _Read[T]] = OrderedDict()
        self._running: set[asyncio.Task[T]] = set()

    @property
    def reads(self) -> set[asyncio.Task[T]]:
        """Those that are under way."""
        return self._running

    async def get(self, name: str, read: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """What is known, or else what `read` says. It goes on for others where one who waits for it is cancelled."""
        known = self._reads.get(name)
        if known is None or known.has_failed or self._clock() - known.begun_at > FRESH_SECONDS:
            known = self._begin(name, read)
        self._reads.move_to_end(name)
        return known.task.result() if known.task.done() else await asyncio.shield(known.task)

    def forget(self) -> None:
        self._reads.clear()

    def _begin(self, name: str, read: Callable[[], Coroutine[Any, Any, T]]) -> _Read[T]:
        task = asyncio.create_task(read(), name="key-read")
        self._running.add(task)
        task.add_done_callback(self._end)
        self._reads[name] = _Read(task, self._clock())
        if len(self._reads) > MOST_KEYS:
            self._reads.popitem(last=False)
        return self._reads[name]

    def _end(self, task: asyncio.Task[T]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # seen, also where everybody has gone who waited for it


async def _canceled(tasks: list[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
