"""The client: video tasks of two generations of the API, pictures and speech within the answer."""

from __future__ import annotations

from contextlib import suppress
from typing import ClassVar

import httpx

from genpulse.errors import ContentBlocked, JobMissing, ProviderRejected
from genpulse.providers.base import Credentials, Finished, Job, ModelCall, Output, Pending, Provider
from genpulse.providers.minimax.answers import (
    Created,
    Images,
    Nothing,
    Retrieved,
    Speech,
    Task,
    Video,
    VideoStatus,
    failure,
    refused,
)
from genpulse.providers.minimax.requests import ModelWire, Product, body_of
from genpulse.providers.wire import Wire

_PATIENCE = httpx.Timeout(300.0, connect=10.0, pool=10.0)  # pictures and speech are made within the answer
_VIDEO, _VIDEO_2 = "/v1/video_generation", "/v2/video_generation"
_UNDER_WAY = frozenset({"queued", "running"})
_NEW = {"api": "2"}


class Minimax(Provider):
    """Has no idempotency key, and its list does not tell calls apart: a call whose answer was lost stays unknown."""

    name: ClassVar[str] = "minimax"
    default_url: ClassVar[str] = "https://api.minimax.io"
    can_cancel: ClassVar[bool] = True

    def __init__(self, base_url: str, credentials: Credentials, client: httpx.AsyncClient) -> None:
        headers = {"Authorization": f"Bearer {credentials.api_key}"}
        self._wire = Wire(self.name, base_url or self.default_url, client, headers=headers, refuse=refused)

    async def submit(self, call: ModelCall) -> Job | Finished:
        wire = ModelWire.model_validate(call.wire)
        body = body_of(call, wire)
        match wire.product:
            case Product.VIDEO:
                return Job(id=(await self._wire.pay("POST", _VIDEO, Created, json=body)).task_id)
            case Product.VIDEO_2:
                return Job(id=(await self._wire.pay("POST", _VIDEO_2, Created, json=body)).task_id, handle=_NEW)
            case Product.IMAGE:
                made = await self._wire.pay("POST", "/v1/image_generation", Images, json=body, timeout=_PATIENCE)
                return _pictures(made)
        spoken = await self._wire.pay("POST", "/v1/t2a_v2", Speech, json=body, timeout=_PATIENCE)
        return _speech(spoken)

    async def poll(self, job: Job, call: ModelCall) -> Pending | Finished:  # noqa: ARG002
        return await (self._task(job.id) if job.handle == _NEW else self._video(job.id))

    async def cancel(self, job: Job) -> None:
        """Only what is queued in the second generation: of a task that has ended this would delete the record."""
        if job.handle != _NEW:
            return
        with suppress(JobMissing, ProviderRejected):
            found = await self._wire.ask("GET", f"/v2/query/video_generation/{job.id}", Task)
            if found.task.status == "queued":
                await self._wire.ask("DELETE", f"{_VIDEO_2}/{job.id}", Nothing)

    async def _video(self, job_id: str) -> Pending | Finished:
        try:
            found = await self._wire.ask("GET", "/v1/query/video_generation", Video, params={"task_id": job_id})
        except ProviderRejected as error:  # nothing is sent but the id
            raise JobMissing(error.message) from error
        if found.status in (VideoStatus.FAIL, VideoStatus.FAILED):
            raise failure(found.base_resp.status_code, found.base_resp.status_msg)
        if found.status != VideoStatus.SUCCESS:
            return Pending()
        if not found.file_id:
            return Finished(outputs=[])
        query = {"file_id": found.file_id}
        file = (await self._wire.ask("GET", "/v1/files/retrieve", Retrieved, params=query)).file
        size = {"width": found.video_width, "height": found.video_height}
        return Finished(outputs=[Output(url=file.download_url)], parameters=size if all(size.values()) else {})

    async def _task(self, job_id: str) -> Pending | Finished:
        task = (await self._wire.ask("GET", f"/v2/query/video_generation/{job_id}", Task)).task
        if task.status in _UNDER_WAY:
            return Pending()
        if task.status != "succeeded":
            code = task.error.code if task.error else ""
            said = task.error.message if task.error else f"the task is {task.status}"
            raise failure(int(code) if code.isdecimal() else 0, said)
        told = {"resolution": task.resolution, "duration": task.duration, "aspect_ratio": task.ratio}
        return Finished(
            outputs=[Output(url=task.content.url)] if task.content and task.content.url else [],
            parameters={name: value for name, value in told.items() if value is not None},
            usage={name: value for name, value in task.usage.items() if isinstance(value, int | float)},
        )


def _pictures(made: Images) -> Finished:
    """Those that were made; what was refused is missing, and when all of it is, it was refused."""
    links = made.data.image_urls if made.data else []
    if not links:
        raise ContentBlocked("minimax: no picture was let through.")
    return Finished(outputs=[Output(url=link) for link in links], usage={"images": len(links)})


def _speech(spoken: Speech) -> Finished:
    link = spoken.data.audio if spoken.data else ""
    return Finished(
        outputs=[Output(url=link)] if link else [], usage={"characters": spoken.extra_info.usage_characters}
    )
