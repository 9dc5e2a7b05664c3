"""When an activity comes back, and what it must bring to an end before it goes: Temporal's retries as timers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from genpulse.errors import AssetUnavailable, DependencyDown

if TYPE_CHECKING:
    from genpulse.schemas.catalog import ModelSpec

T = TypeVar("T")

LOOK_AGAIN = timedelta(seconds=5)
_BEAT_SECONDS = 3.0
_CALLED_BACK_MOST = 60.0  # seconds between polls that only make up for callbacks that do not come


def later(why: str, wait: timedelta, *, unless: str = "not_yet") -> ApplicationError:
    """Not yet: no failure, but what makes Temporal's retry the timer. No slot is held meanwhile, no event written.

    Where the deadline comes first, the step ends as `unless` says.
    """
    return ApplicationError(why, type=unless, next_retry_delay=wait, category=ApplicationErrorCategory.BENIGN)


def interval(age: timedelta, spec: ModelSpec, *, called_back: bool) -> timedelta:
    """How long to wait before asking again: a tenth of the job's age, or a third where its cloud calls back anyway."""
    share, most = (3, max(_CALLED_BACK_MOST, spec.poll.most)) if called_back else (10, spec.poll.most)
    return timedelta(seconds=min(max(age.total_seconds() / share, spec.poll.least), most))


@asynccontextmanager
async def alive() -> AsyncIterator[None]:
    """Tell Temporal that we live: a worker that dies in the middle is noticed in seconds.

    Not at once: most polls are over before, and a heartbeat costs Temporal as much as the poll's end.
    """
    beating = asyncio.create_task(_beat())
    try:
        yield
    finally:
        beating.cancel()


async def _beat() -> None:
    while True:
        await asyncio.sleep(_BEAT_SECONDS)
        activity.heartbeat()


async def to_its_end(work: Coroutine[Any, Any, T]) -> T:
    """Even if the activity is cancelled meanwhile: a job can only be cancelled at the cloud once its id is known."""
    doing = asyncio.create_task(work)
    try:
        return await asyncio.shield(doing)
    except asyncio.CancelledError:
        await asyncio.wait([doing])
        doing.exception()  # written down where it matters; to have looked is what asyncio wants
        raise


async def outlast(work: Callable[[], Awaitable[T]]) -> T:
    """Do what only a dependency that is away holds up, however long it is: nothing has to be made again for that."""
    while True:
        try:
            return await work()
        except DependencyDown:
            await asyncio.sleep(LOOK_AGAIN.total_seconds())


async def insist(work: Callable[[], Awaitable[T]]) -> T:
    """Do what must not be left undone: something has been paid for, and nobody else knows of it."""
    while True:
        try:
            return await work()
        except (AssetUnavailable, DependencyDown):
            await asyncio.sleep(LOOK_AGAIN.total_seconds())
