"""Calling back: what a cloud posts when a job's state changes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field

import httpx

from genpulse.simulator.jobs import Delivery, Job, State

_RETRY_AFTER_SECONDS = (0.2, 1.0, 5.0)
_TIMEOUT_SECONDS = 15.0


@dataclass(frozen=True)
class Callback:
    """One attempt, signed. The cloud makes it anew for each, since signatures carry times."""

    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


Make = Callable[[Job, State], Callback | None]
"""What a cloud posts about a state, if anything."""


class Callbacks:
    """Posts in the background. `transport` may lead to an app in the same process."""

    def __init__(self, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._transport = transport
        self._client: httpx.AsyncClient | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def follow(self, job: Job, make: Make) -> None:
        """Call back when the job runs, and when it has ended by itself."""
        self._start(self._follow(job, make))

    def send(self, job: Job, state: State, make: Make) -> None:
        """Call back now, for what the clock does not know."""
        self._start(self._send(job, state, make))

    async def post(self, url: str, body: bytes, headers: Mapping[str, str] | None = None) -> httpx.Response:
        """Post once, for example a challenge."""
        if self._client is None:
            self._client = httpx.AsyncClient(transport=self._transport, timeout=_TIMEOUT_SECONDS, trust_env=False)
        headers = {"Content-Type": "application/json", **(headers or {})}
        return await self._client.post(url, content=body, headers=headers)

    def drop(self) -> None:
        """Forget what is still to be sent."""
        for task in self._tasks:
            task.cancel()

    async def aclose(self) -> None:
        self.drop()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _follow(self, job: Job, make: Make) -> None:
        await job.clock.sleep_until(job.started_at)
        if job.cancelled_at is not None:
            return
        if not job.callbacks_reversed:
            await self._send(job, State.RUNNING, make)
        if job.due_at is None:
            return
        await job.clock.sleep_until(job.due_at)
        if job.cancelled_at is not None:
            return
        await self._send(job, job.state, make)
        if job.callbacks_reversed:
            await self._send(job, State.RUNNING, make)

    async def _send(self, job: Job, state: State, make: Make) -> None:
        for _ in range(job.callback_copies):
            await self._deliver(job, state, make)

    async def _deliver(self, job: Job, state: State, make: Make) -> None:
        """Post until it is taken; only what is final is worth a second attempt."""
        for pause in (*(_RETRY_AFTER_SECONDS if state.ended else ()), None):
            callback = make(job, state)
            if callback is None or job.callback_url is None:
                return
            status = await self._attempt(job.callback_url, callback)
            job.deliveries.append(Delivery(job.clock.now(), state, status))
            if pause is None or (status is not None and httpx.codes.is_success(status)):
                return
            await asyncio.sleep(pause)

    async def _attempt(self, url: str, callback: Callback) -> int | None:
        try:
            return (await self.post(url, callback.body, callback.headers)).status_code
        except (httpx.HTTPError, httpx.InvalidURL):
            return None
