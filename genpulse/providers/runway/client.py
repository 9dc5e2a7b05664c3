"""The client: a task per call, asked for by its id; files go along, or are uploaded where they are large."""

from __future__ import annotations

import asyncio
import mimetypes
from contextlib import suppress
from typing import ClassVar

import httpx

from genpulse.errors import JobMissing, ProviderRejected
from genpulse.providers.base import Credentials, Finished, Job, Media, ModelCall, Output, Pending, Provider
from genpulse.providers.runway.answers import Anything, Created, NewUpload, Task, failure, refused
from genpulse.providers.runway.requests import ModelWire, body_of, check
from genpulse.providers.wire import Wire

_VERSION = "2024-11-06"
_UPLOAD = httpx.Timeout(120.0, connect=10.0, pool=10.0)
#: Of a file that goes along: in base64 it is a third longer, and Runway takes 5 MB of that.
_MOST_INLINE = 3_700_000
_UNDER_WAY = frozenset({"PENDING", "THROTTLED", "RUNNING"})
_FAILED = "FAILED"
_CANCELLED = "CANCELLED"


class Runway(Provider):
    """Has no idempotency key and no list: a call whose answer was lost stays unknown."""

    name: ClassVar[str] = "runway"
    default_url: ClassVar[str] = "https://api.dev.runwayml.com"
    can_cancel: ClassVar[bool] = True

    def __init__(self, base_url: str, credentials: Credentials, client: httpx.AsyncClient) -> None:
        url = base_url or self.default_url
        headers = {"Authorization": f"Bearer {credentials.api_key}", "X-Runway-Version": _VERSION}
        self._wire = Wire(self.name, url, client, headers=headers, refuse=refused)
        self._storage = Wire("runway's storage", url, client, anywhere=True)

    async def submit(self, call: ModelCall) -> Job:
        wire = ModelWire.model_validate(call.wire)
        check(call, wire)
        links = {name: [await self._link(file) for file in files] for name, files in call.media.items()}
        made = await self._wire.pay("POST", f"/v1/{wire.path}", Created, json=body_of(call, wire, links))
        return Job(id=made.id)

    async def poll(self, job: Job, call: ModelCall) -> Pending | Finished:  # noqa: ARG002
        task = await self._task(job)
        if task.status == _FAILED:
            raise failure(task)
        if task.status == _CANCELLED:
            raise ProviderRejected("runway: the task was cancelled or deleted there.")
        if task.status != "SUCCEEDED":
            return Pending(fraction=None if task.progress is None else min(max(task.progress, 0.0), 1.0))
        return Finished(
            outputs=[Output(url=url) for url in task.output],
            usage={} if task.cost is None else {"credits": task.cost.credits},
        )

    async def cancel(self, job: Job) -> None:
        """Only what is under way: of a task that has ended this would delete what it made."""
        with suppress(JobMissing, ProviderRejected):
            if (await self._task(job)).status in _UNDER_WAY:
                await self._wire.ask("DELETE", f"/v1/tasks/{job.id}", Anything)

    async def _task(self, job: Job) -> Task:
        return await self._wire.ask("GET", f"/v1/tasks/{job.id}", Task)

    async def _link(self, file: Media) -> str:
        """An address of a file, or the file itself as one."""
        if file.url is not None and file.url.startswith("https://"):
            return file.url
        size = (await asyncio.to_thread(file.path.stat)).st_size
        if size <= _MOST_INLINE:
            return await asyncio.to_thread(file.data_url)
        return await self._upload(file)

    async def _upload(self, file: Media) -> str:
        """Put a file into Runway's own storage, where it stays for a while."""
        name = f"input{mimetypes.guess_extension(file.media_type) or ''}"
        asked = {"filename": name, "type": "ephemeral"}
        new = await self._wire.ask("POST", "/v1/uploads", NewUpload, json=asked)
        content = await asyncio.to_thread(file.path.read_bytes)
        files = {"file": (name, content, file.media_type)}
        await self._storage.ask("POST", new.upload_url, Anything, data=new.fields, files=files, timeout=_UPLOAD)
        return new.runway_uri
