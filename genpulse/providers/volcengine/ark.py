"""Ark: Seedream's images are in the answer, Seedance's videos are tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, Literal

import httpx
from pydantic import Base64Bytes, BaseModel, Field

from genpulse.errors import GenPulseError, InvalidInput, JobMissing, ProviderFailed, ProviderRejected
from genpulse.providers.base import Finished, Job, Media, ModelCall, Output, Pending, merged
from genpulse.providers.volcengine.errors import ArkError, ark_failure, refused_by_ark
from genpulse.providers.volcengine.model import ModelWire
from genpulse.providers.wire import Wire

_PATIENCE = httpx.Timeout(480.0, connect=10.0, pool=10.0)  # a set of large pictures is made within the answer
_TASKS = "/contents/generations/tasks"
_PAGE = 500  # the longest that the list has
_PAGES_APART = 1.0  # seconds: an account may ask for one page in that time
_MARK = "safety_identifier"
_CLOCKS_DIFFER = timedelta(minutes=5)
_ENDED_BADLY = {"failed": ProviderFailed, "expired": ProviderFailed, "cancelled": ProviderRejected}
_TOLD = {"seed": "seed", "resolution": "resolution", "ratio": "aspect_ratio", "duration": "duration"}


class ImageRequest(BaseModel):
    """https://www.volcengine.com/docs/82379/1541523; what is not set is not sent."""

    model: str
    prompt: str | None = None
    image: str | list[str] | None = None
    size: str | None = None
    seed: int | None = None
    guidance_scale: float | None = None
    response_format: Literal["url", "b64_json"] = "url"
    watermark: bool = False


class _Image(BaseModel):
    url: str | None = None
    b64_json: Base64Bytes | None = None
    size: str | None = None
    error: ArkError | None = None

    def output(self) -> Output:
        return Output(url=self.url) if self.url else Output(content=self.b64_json)


class _ImageUsage(BaseModel):
    generated_images: int = 0
    total_tokens: int = 0


class _Images(BaseModel):
    data: list[_Image]
    usage: _ImageUsage = Field(default_factory=_ImageUsage)


class _Link(BaseModel):
    url: str


class _Content(BaseModel):
    """One part of what a video is made from."""

    type: Literal["text", "image_url", "video_url", "audio_url"]
    text: str | None = None
    image_url: _Link | None = None
    video_url: _Link | None = None
    audio_url: _Link | None = None
    role: str | None = None


class TaskRequest(BaseModel):
    """https://www.volcengine.com/docs/82379/1520757; what is not set is not sent."""

    model: str
    content: list[_Content]
    resolution: str | None = None
    ratio: str | None = None
    duration: int | None = None
    seed: int | None = None
    generate_audio: bool | None = None
    callback_url: str | None = None
    safety_identifier: str
    omni_reference_task_type: Literal["edit", "extend"] | None = None


class _Created(BaseModel):
    id: str = Field(min_length=1)


class _TaskContent(BaseModel):
    video_url: str | None = None
    last_frame_url: str | None = None


class _TaskUsage(BaseModel):
    completion_tokens: int = 0
    total_tokens: int = 0


class _Task(BaseModel):
    id: str = Field(min_length=1)
    status: str
    error: ArkError | None = None
    content: _TaskContent | None = None
    usage: _TaskUsage | None = None
    created_at: int = 0
    seed: int | None = None
    resolution: str | None = None
    ratio: str | None = None
    duration: int | None = None
    framespersecond: int | None = None
    safety_identifier: str | None = None


class _TaskList(BaseModel):
    total: int = 0
    items: list[_Task] = Field(default_factory=list)


class _Nothing(BaseModel):
    pass


class _Ark:
    """What both have in common: the key, and which of a model's ids this region knows."""

    def __init__(self, url: str, api_key: str, client: httpx.AsyncClient) -> None:
        headers = {"Authorization": f"Bearer {api_key}"}
        self._wire = Wire("volcengine", url, client, headers=headers, refuse=refused_by_ark)
        self._overseas = "bytepluses.com" in url

    def _model(self, call: ModelCall) -> str:
        wire = ModelWire.model_validate(call.wire)
        model = wire.overseas if self._overseas else wire.model
        if model is None and "model" not in call.options:
            where = "BytePlus" if self._overseas else "Volcengine in China"
            raise ProviderRejected(f"volcengine: {call.model} is not offered by {where}.")
        return str(call.options.get("model", model))


class Images(_Ark):
    """Seedream. Pictures that were refused are left out of a set; only those that were made are billed."""

    async def make(self, call: ModelCall) -> Finished:
        body = self._body(call)
        answer = await self._wire.pay("POST", "/images/generations", _Images, json=body, timeout=_PATIENCE)
        made = [image for image in answer.data if image.url or image.b64_json]
        refused = [image.error for image in answer.data if image.error is not None]
        if not made:
            raise ark_failure(refused[0] if refused else ArkError(message="answered without a picture"))
        usage = {"images": answer.usage.generated_images, "tokens": answer.usage.total_tokens}
        return Finished(outputs=[image.output() for image in made], parameters=_size(made), usage=usage)

    def _body(self, call: ModelCall) -> dict[str, Any]:
        given, links = call.input, [file.url_or_data() for file in _sources(call)]
        request = ImageRequest(
            model=self._model(call),
            prompt=given.get("prompt"),
            image=links[0] if len(links) == 1 else links or None,
            size=f"{given['width']}x{given['height']}" if "width" in given else None,
            seed=given.get("seed"),
            guidance_scale=given.get("guidance"),
        )
        return merged(request.model_dump(exclude_none=True), call.options)


class Videos(_Ark):
    """Seedance. A task carries the call's key as its `safety_identifier`.

    The list should show it again. Where it does not, no task is taken for the lost one.
    """

    async def submit(self, call: ModelCall) -> Job:
        created = await self._wire.pay("POST", _TASKS, _Created, json=self._body(call))
        return Job(id=created.id)

    async def poll(self, job: Job) -> Pending | Finished:
        task = await self._wire.ask("GET", f"{_TASKS}/{job.id}", _Task)
        if task.status in _ENDED_BADLY:
            raise _failure(task)
        if task.status != "succeeded":
            return Pending()
        content = task.content or _TaskContent()
        usage = {"tokens": task.usage.total_tokens} if task.usage else {}
        outputs = [Output(url=url) for url in (content.video_url, content.last_frame_url) if url]
        return Finished(outputs=outputs, parameters=_parameters(task), usage=usage)

    async def cancel(self, job: Job) -> None:
        """Only what is queued: a running task cannot be stopped, and of one that has ended this deletes the record."""
        with suppress(JobMissing, ProviderRejected):
            task = await self._wire.ask("GET", f"{_TASKS}/{job.id}", _Task)
            if task.status == "queued":
                await self._wire.ask("DELETE", f"{_TASKS}/{job.id}", _Nothing, json={})

    def can_find(self, call: ModelCall) -> bool:
        """Unless the caller has a mark of his own, which other tasks may carry, too."""
        return _MARK not in call.options

    async def find(self, call: ModelCall, *, sent_at: datetime) -> Job | None:
        page, since = 1, (sent_at - _CLOCKS_DIFFER).timestamp()
        # What the list knows an endpoint's tasks by is not known.
        model = {} if "model" in call.options else {"filter.model": self._model(call)}
        while True:
            params = {"page_num": page, "page_size": _PAGE} | model
            listed = await self._wire.ask("GET", _TASKS, _TaskList, params=params)
            for task in listed.items:
                if task.safety_identifier == call.key and task.created_at >= since:
                    return Job(id=task.id)
            if page * _PAGE >= listed.total or not listed.items:
                return None
            page += 1
            await asyncio.sleep(_PAGES_APART)

    def _body(self, call: ModelCall) -> dict[str, Any]:
        given = call.input
        sound = given.get("audio")
        request = TaskRequest(
            model=self._model(call),
            content=list(_contents(call)),
            resolution=given.get("resolution"),
            ratio=given.get("aspect_ratio"),
            duration=int(given["duration"]) if "duration" in given else None,
            seed=given.get("seed"),
            generate_audio=sound if isinstance(sound, bool) else None,
            callback_url=call.callback_url,
            safety_identifier=call.key,
            omni_reference_task_type=ModelWire.model_validate(call.wire).task,
        )
        return merged(request.model_dump(exclude_none=True), call.options)


def _sources(call: ModelCall) -> list[Media]:
    return [*call.media.get("image", ()), *call.media.get("reference_images", ())]


def _size(made: list[_Image]) -> dict[str, str | int | float]:
    width, _, height = (made[0].size or "" if made else "").partition("x")
    return {"width": int(width), "height": int(height)} if width.isdecimal() and height.isdecimal() else {}


def _contents(call: ModelCall) -> Iterator[_Content]:
    if prompt := call.input.get("prompt"):
        yield _Content(type="text", text=prompt)
    roles = {"image": "first_frame", "last_image": "last_frame", "reference_images": "reference_image"}
    for name, role in roles.items():
        for file in call.media.get(name, ()):
            yield _Content(type="image_url", image_url=_Link(url=file.url_or_data()), role=role)
    if video := call.one("video"):
        if video.url is None:
            raise InvalidInput("Seedance fetches videos itself: it needs a public URL of this one.", field="video")
        yield _Content(type="video_url", video_url=_Link(url=video.url), role="reference_video")
    if audio := call.one("audio"):
        yield _Content(type="audio_url", audio_url=_Link(url=audio.url_or_data()), role="reference_audio")


def _parameters(task: _Task) -> dict[str, str | int | float]:
    told = {ours: getattr(task, theirs) for theirs, ours in _TOLD.items()} | {"fps": task.framespersecond}
    return {name: value for name, value in told.items() if value is not None}


def _failure(task: _Task) -> GenPulseError:
    if task.error is not None and task.error.code:
        return ark_failure(task.error)
    return _ENDED_BADLY[task.status](f"volcengine: the task is {task.status}")
