"""The client: video tasks of two generations of the API; pictures, speech, music and new voices within the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, ClassVar

import httpx

from genpulse.errors import ContentBlocked, InvalidInput, JobMissing, ProviderRejected
from genpulse.providers.base import Credentials, Finished, Job, ModelCall, Output, Pending, Provider
from genpulse.providers.minimax.answers import (
    Cloned,
    Created,
    Designed,
    Images,
    Music,
    Nothing,
    Retrieved,
    Speech,
    Task,
    Uploaded,
    Video,
    VideoStatus,
    failure,
    refused,
)
from genpulse.providers.minimax.requests import ModelWire, Product, body_of
from genpulse.providers.wire import Read, Wire

_PATIENCE = httpx.Timeout(300.0, connect=10.0, pool=10.0)  # pictures and speech are made within the answer
_VIDEO_2 = "/v2/video_generation"
_UNDER_WAY = frozenset({"queued", "running"})
_NEW, _FILLED = {"api": "2"}, {"api": "template"}
#: What is made as a task: where it is begun, and what its id goes with.
_TASKS: dict[Product, tuple[str, dict[str, str]]] = {
    Product.VIDEO: ("/v1/video_generation", {}),
    Product.TEMPLATE: ("/v1/video_template_generation", _FILLED),
    Product.VIDEO_2: (_VIDEO_2, _NEW),
    Product.REGENERATION: ("/v2/video_regeneration", _NEW),
}
_SAMPLES = {"audio/mpeg": "mp3", "audio/mp4": "m4a", "audio/wav": "wav"}


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
        if wire.product in _TASKS:
            path, handle = _TASKS[wire.product]
            return Job(id=(await self._created(path, body)).task_id, handle=handle)
        match wire.product:
            case Product.IMAGE:
                return _pictures(await self._made("/v1/image_generation", Images, body))
            case Product.CLONE:
                sample = await self._upload(call)
                return _clone(await self._made("/v1/voice_clone", Cloned, {"file_id": sample} | body), body)
            case Product.DESIGN:
                return _design(await self._made("/v1/voice_design", Designed, body))
            case Product.MUSIC:
                return _music(await self._made("/v1/music_generation", Music, body))
        return _speech(await self._made("/v1/t2a_v2", Speech, body))

    async def _created(self, path: str, body: dict[str, Any]) -> Created:
        """A task. One that is refused is tried without callbacks, too.

        MiniMax refuses it where our address does not answer in time, as while our API restarts: then it is polled for.
        """
        try:
            return await self._wire.pay("POST", path, Created, json=body)
        except ProviderRejected:
            if body.pop("callback_url", None) is None:
                raise
            return await self._wire.pay("POST", path, Created, json=body)

    async def _made(self, path: str, into: type[Read], body: Mapping[str, Any]) -> Read:
        return await self._wire.pay("POST", path, into, json=body, timeout=_PATIENCE)

    async def _upload(self, call: ModelCall) -> int:
        """The id at MiniMax of the sample of a voice. Costs nothing, so it may happen more than once."""
        [sample] = call.media["audio"]
        ending = _SAMPLES.get(sample.media_type)
        if ending is None:
            raise InvalidInput("MiniMax clones a voice from MP3, M4A or WAV.", field="input.audio")
        content = await asyncio.to_thread(sample.path.read_bytes)
        files = {"file": (f"sample.{ending}", content, sample.media_type)}
        sent = {"data": {"purpose": "voice_clone"}, "files": files, "timeout": _PATIENCE}
        return (await self._wire.ask("POST", "/v1/files/upload", Uploaded, **sent)).file.file_id

    async def poll(self, job: Job, call: ModelCall) -> Pending | Finished:  # noqa: ARG002
        if job.handle == _NEW:
            return await self._task(job.id)
        return await self._video(job.id, "video_template_generation" if job.handle == _FILLED else "video_generation")

    async def cancel(self, job: Job) -> None:
        """Only what is queued in the second generation: of a task that has ended this would delete the record."""
        if job.handle != _NEW:
            return
        with suppress(JobMissing, ProviderRejected):
            found = await self._wire.ask("GET", f"/v2/query/video_generation/{job.id}", Task)
            if found.task.status == "queued":
                await self._wire.ask("DELETE", f"{_VIDEO_2}/{job.id}", Nothing)

    async def _video(self, job_id: str, kind: str) -> Pending | Finished:
        try:
            found = await self._wire.ask("GET", f"/v1/query/{kind}", Video, params={"task_id": job_id})
        except ProviderRejected as error:  # nothing is sent but the id
            raise JobMissing(error.message) from error
        if found.status in (VideoStatus.FAIL, VideoStatus.FAILED):
            raise failure(found.base_resp.status_code, found.base_resp.status_msg)
        if found.status != VideoStatus.SUCCESS:
            return Pending()
        if found.video_url or not found.file_id:
            return Finished(outputs=[Output(url=found.video_url)] if found.video_url else [])
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


def _music(made: Music) -> Finished:
    link = made.data.audio if made.data else ""
    usage = {"seconds": made.extra_info.music_duration / 1000}
    return Finished(outputs=[Output(url=link)] if link else [], usage=usage)


def _clone(made: Cloned, body: Mapping[str, Any]) -> Finished:
    if made.input_sensitive:
        raise ContentBlocked("minimax: the sample, or what the demo is to say, was not let through.")
    outputs = [Output(url=made.demo_audio)] if made.demo_audio else []
    return Finished(outputs=outputs, parameters={"voice": str(body["voice_id"])})


def _design(made: Designed) -> Finished:
    sound = bytes.fromhex(made.trial_audio)
    return Finished(outputs=[Output(content=sound)] if sound else [], parameters={"voice": made.voice_id})
