"""The client: a task per call, asked for by its id."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import ClassVar

import httpx

from genpulse.errors import JobMissing, OutcomeUnknown, ProviderRejected, ProviderUnavailable
from genpulse.providers.base import Credentials, Finished, Job, ModelCall, Output, Pending, Provider
from genpulse.providers.vidu.answers import Anything, Created, Task, failure, refused
from genpulse.providers.vidu.requests import ModelWire, body_of, path_of
from genpulse.providers.wire import Wire


class Vidu(Provider):
    """Has no idempotency key, and lists only tasks whose ids are known: a call whose answer was lost stays unknown."""

    name: ClassVar[str] = "vidu"
    default_url: ClassVar[str] = "https://api.vidu.com/ent/v2"
    can_cancel: ClassVar[bool] = True

    def __init__(self, base_url: str, credentials: Credentials, client: httpx.AsyncClient) -> None:
        url, headers = base_url or self.default_url, {"Authorization": f"Token {credentials.api_key}"}
        paid, free = partial(refused, lost=OutcomeUnknown), partial(refused, lost=ProviderUnavailable)
        self._paid = Wire(self.name, url, client, headers=headers, refuse=paid)
        self._free = Wire(self.name, url, client, headers=headers, refuse=free)

    async def submit(self, call: ModelCall) -> Job:
        wire = ModelWire.model_validate(call.wire)
        made = await self._paid.pay("POST", path_of(call, wire), Created, json=body_of(call, wire))
        return Job(id=made.task_id)

    async def poll(self, job: Job, call: ModelCall) -> Pending | Finished:  # noqa: ARG002
        task = await self._free.ask("GET", f"/tasks/{job.id}/creations", Task)
        if task.state == "failed":
            raise failure(task.err_code or "")
        if task.state != "success":
            return Pending(fraction=None if task.progress is None else min(max(task.progress, 0), 100) / 100)
        return Finished(
            outputs=[Output(url=one.url) for one in task.creations or ()],
            usage={} if task.credits is None else {"credits": task.credits},
        )

    async def cancel(self, job: Job) -> None:
        """What still waits; Vidu refuses what is under way."""
        with suppress(JobMissing, ProviderRejected):
            await self._free.ask("POST", f"/tasks/{job.id}/cancel", Anything, json={"id": job.id})
