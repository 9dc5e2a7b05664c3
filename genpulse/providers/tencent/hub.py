"""TokenHub: Hunyuan's pictures and videos behind a plain key, over routes of two families."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import httpx
from pydantic import BaseModel, ConfigDict, Field

from genpulse.providers.base import Finished, Job, Media, ModelCall, Output, Pending
from genpulse.providers.tencent.api3 import PATIENCE
from genpulse.providers.tencent.errors import HubError, hub_failure, refused_by_hub
from genpulse.providers.tencent.model import ModelWire, Product, wire_of, with_options
from genpulse.providers.wire import Wire

_PICTURE = "/v1/wand/hunyuan-image/v3-generation"
_VIDEO = "/v1/wand/hunyuan-video"
_LITE = "/v1/api/image/lite"
_TASKS = {Product.HUB_TASK: "/v1/api/video", Product.HUB_PICTURE_TASK: "/v1/api/image"}


class _Status(StrEnum):
    """Both families' words."""

    SUCCEEDED = "succeeded"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


_DONE = frozenset({_Status.SUCCEEDED, _Status.COMPLETED})
_FAILED = frozenset({_Status.FAILED, _Status.CANCELLED, _Status.EXPIRED})


class PictureRequest(BaseModel):
    model: str
    prompt: str
    images: list[str] | None = None
    size: str | None = None
    seed: int | None = None


class LiteRequest(BaseModel):
    model: str
    prompt: str
    resolution: str | None = None
    rsp_img_type: str = "url"


class VideoRequest(BaseModel):
    model: str
    prompt: str | None = None
    negative_prompt: str | None = None
    image: str | None = None
    duration: int | None = None
    resolution: str | None = None
    aspect_ratio: str | None = None


class _Link(BaseModel):
    url: str = Field(min_length=1)


class TaskRequest(BaseModel):
    model: str
    prompt: str | None = None
    image: _Link | None = None
    resolution: str | None = None


class PictureTaskRequest(BaseModel):
    model: str
    prompt: str
    images: list[str] | None = None
    resolution: str | None = None
    seed: int | None = None


class _Pictures(BaseModel):
    data: list[_Link]


class _Id(BaseModel):
    model_config = ConfigDict(coerce_numbers_to_str=True)


class _Accepted(_Id):
    task_id: str = Field(min_length=1)


class _Submitted(_Id):
    id: str = Field(min_length=1)


class _Found(BaseModel):
    """`videos` in one family, `data` in the other: one link to a video, a list of them to pictures."""

    status: str
    progress: float | None = None
    videos: list[_Link] | None = None
    data: _Link | list[_Link] | None = None
    usage: dict[str, Any] | None = None
    error: HubError | None = None


class Hub:
    """Has neither keys nor a list nor a way to cancel: a call whose answer was lost stays unknown."""

    def __init__(self, url: str, client: httpx.AsyncClient, *, key: str) -> None:
        headers = {"Authorization": f"Bearer {key}"}
        self._wire = Wire("tencent", url, client, headers=headers, refuse=refused_by_hub)

    async def submit(self, call: ModelCall) -> Job | Finished:
        wire = wire_of(call)
        body = with_options(_body(call, wire) | wire.always, call.options)
        match wire.product:
            case Product.HUB_VIDEO:
                return Job(id=(await self._wire.pay("POST", f"{_VIDEO}/generation", _Accepted, json=body)).task_id)
            case Product.HUB_TASK | Product.HUB_PICTURE_TASK as product:
                return Job(id=(await self._wire.pay("POST", f"{_TASKS[product]}/submit", _Submitted, json=body)).id)
        path = _LITE if wire.product is Product.HUB_LITE else _PICTURE
        made = await self._wire.pay("POST", path, _Pictures, json=body, timeout=PATIENCE)
        return Finished(outputs=[Output(url=one.url) for one in made.data])

    async def poll(self, job: Job, call: ModelCall) -> Pending | Finished:
        wire = wire_of(call)
        if wire.product is Product.HUB_VIDEO:
            found = await self._wire.ask("GET", f"{_VIDEO}/tasks/{job.id}", _Found)
        else:
            asked = {"model": wire.model, "id": job.id}
            found = await self._wire.ask("POST", f"{_TASKS[wire.product]}/query", _Found, json=asked)
        if found.status in _FAILED:
            raise hub_failure(found.error or HubError(message=f"the task is {found.status}"))
        if found.status not in _DONE:
            return Pending(fraction=found.progress / 100 if found.progress else None)
        links = found.videos or (found.data if isinstance(found.data, list) else [found.data] if found.data else [])
        usage = {name: value for name, value in (found.usage or {}).items() if isinstance(value, int | float)}
        return Finished(outputs=[Output(url=one.url) for one in links], usage=usage)


def _body(call: ModelCall, wire: ModelWire) -> dict[str, Any]:
    match wire.product:
        case Product.HUB_PICTURE:
            request: BaseModel = _picture(call, wire)
        case Product.HUB_LITE:
            request = LiteRequest(model=wire.model, prompt=call.input["prompt"], resolution=_size(call, ":"))
        case Product.HUB_VIDEO:
            request = _video(call, wire)
        case Product.HUB_PICTURE_TASK:
            request = _picture_task(call, wire)
        case _:
            request = _task(call, wire)
    return request.model_dump(exclude_none=True)


def _picture(call: ModelCall, wire: ModelWire) -> PictureRequest:
    return PictureRequest(
        model=wire.model,
        prompt=call.input["prompt"],
        images=[file.url or file.base64() for file in _sources(call)] or None,
        size=_size(call, "x"),
        seed=call.input.get("seed"),
    )


def _picture_task(call: ModelCall, wire: ModelWire) -> PictureTaskRequest:
    return PictureTaskRequest(
        model=wire.model,
        prompt=call.input["prompt"],
        images=[file.url_or_data() for file in _sources(call)] or None,
        resolution=_size(call, ":"),
        seed=call.input.get("seed"),
    )


def _video(call: ModelCall, wire: ModelWire) -> VideoRequest:
    given, first = call.input, call.one("image")
    return VideoRequest(
        model=wire.model,
        prompt=given.get("prompt"),
        negative_prompt=given.get("negative_prompt"),
        image=first.base64() if first else None,
        duration=int(given["duration"]) if "duration" in given else None,
        resolution=given.get("resolution"),
        aspect_ratio=given.get("aspect_ratio"),
    )


def _task(call: ModelCall, wire: ModelWire) -> TaskRequest:
    first = call.one("image")
    return TaskRequest(
        model=wire.model,
        prompt=call.input.get("prompt"),
        image=_Link(url=first.url_or_data()) if first else None,
        resolution=call.input.get("resolution"),
    )


def _sources(call: ModelCall) -> list[Media]:
    return [file for name in ("image", "reference_images") for file in call.media.get(name, ())]


def _size(call: ModelCall, between: str) -> str | None:
    return f"{call.input['width']}{between}{call.input['height']}" if "width" in call.input else None
