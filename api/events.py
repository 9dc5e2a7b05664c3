"""Server-sent events of one generation, from the table of its events: whoever comes back goes on where they stopped."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event

from api.services import Services
from genpulse.errors import DependencyDown, Forbidden, Unauthenticated
from genpulse.models import EventRow, GenerationRow
from genpulse.repositories import events
from genpulse.views import Views

PING_SECONDS = 15.0
MAX_SECONDS = 600.0
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}  # nginx would hold events back

_RETRY_MILLISECONDS = 1000
_BATCH = 500


async def event_stream(
    services: Services, views: Views, generation: GenerationRow, seen: int, identify: Callable[[], Awaitable[object]]
) -> AsyncIterator[bytes]:
    """Everything after event number `seen`, as it happens.

    Ends after `done`, after ten minutes, when the server does, or when `identify` says that the key works no more.
    """
    ends_at = time.monotonic() + MAX_SECONDS
    with services.metrics.event_streams.track_inprogress():
        yield _opening(generation, seen)
        while time.monotonic() < ends_at and await _is_welcome(identify):
            for row in await _after(services, generation.id, seen):
                yield _format(row.type, views.event(row), row.seq)
                seen = row.seq
                if row.type == "done":
                    return
            try:
                async with asyncio.timeout(PING_SECONDS):
                    if not await services.watch.newer(generation.id, seen):
                        return
            except TimeoutError:
                yield KEEPALIVE_COMMENT


def _opening(generation: GenerationRow, seen: int) -> bytes:
    """How soon to come back after a broken connection; and the status, where no event has told it yet.

    That event has no id: coming back after it means to begin at the beginning.
    """
    hint = format_sse_event(retry=_RETRY_MILLISECONDS)
    if seen or generation.version:
        return hint
    return hint + _format("status", {"status": generation.status})


async def _is_welcome(identify: Callable[[], Awaitable[object]]) -> bool:
    try:
        await identify()
    except (Unauthenticated, Forbidden):
        return False
    except DependencyDown:
        pass  # there is nothing to be read either
    return True


async def _after(services: Services, generation_id: str, seen: int) -> Sequence[EventRow]:
    try:
        async with services.database.reading() as session:
            return await events.after(session, generation_id, seen, limit=_BATCH)
    except DependencyDown:
        return []  # browsers do not come back after an error, so the stream stays and waits for the database


def _format(kind: str, data: dict[str, Any], number: int | None = None) -> bytes:
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False)
    return format_sse_event(event=kind, data_str=text, id=None if number is None else str(number))
