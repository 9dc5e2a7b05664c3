"""Models of other vendors that Qianfan hosts: one path for all, and parameters as each series has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from genpulse.errors import JobMissing, ProviderFailed, ProviderRejected
from genpulse.providers.baidu.model import Product, needed, seconds, sound, wire_of
from genpulse.providers.base import Finished, Job, Media, ModelCall, Output, Pending
from genpulse.providers.options import joined
from genpulse.providers.wire import Wire
from genpulse.schemas.states import Operation

Read = TypeVar("Read", bound=BaseModel)

_PATH = "/beta/video/generations/qianfan-video"
_TYPES = {Operation.TEXT_TO_VIDEO: "text2video", Operation.IMAGE_TO_VIDEO: "img2video"}
_MODES = {"720p": "std", "1080p": "pro"}
_SWITCH = {True: "on", False: "off"}


class KParameters(BaseModel):
    """Pictures are behind a URL, or base64 without anything before it."""

    prompt: str | None = None
    negative_prompt: str | None = None
    image: str | None = None
    image_tail: str | None = None
    duration: str | None = None
    mode: str | None = None
    cfg_scale: float | None = None
    sound: str | None = None
    aspect_ratio: str | None = None


class VParameters(BaseModel):
    prompt: str | None = None
    images: list[str]
    duration: int | None = None
    resolution: str | None = None
    audio: bool | None = None
    seed: int | None = None


class Request(BaseModel):
    model: str
    type: str
    model_parameters: KParameters | VParameters


class _Answer(BaseModel):
    """Ids are written as texts or as numbers."""

    model_config = ConfigDict(coerce_numbers_to_str=True)


class _Video(BaseModel):
    url: str | None = None


class _KResult(BaseModel):
    videos: list[_Video] | None = None


class _KTask(_Answer):
    task_id: str = Field(min_length=1)
    task_status: str = ""
    task_status_msg: str | None = None
    task_result: _KResult | None = None


class _KAnswer(BaseModel):
    data: _KTask
    usage: dict[str, Any] | None = None


class _VCreated(_Answer):
    """Under which of the two names the task's id comes is not certain."""

    task_id: str = ""
    id: str = ""

    @property
    def task(self) -> str:
        return self.task_id or self.id

    @model_validator(mode="after")
    def _named(self) -> Self:
        if not self.task:
            raise ValueError("the task has no id")
        return self


class _VTask(_Answer):
    status: str
    err_code: str | None = None
    creations: list[_Video] | None = None
    usage: dict[str, Any] | None = None


class Hosted:
    """Has neither keys nor a list: a call whose answer was lost stays unknown."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def submit(self, call: ModelCall) -> Job:
        body = _body(call)
        if wire_of(call).product is Product.K_SERIES:
            task_id = (await self._wire.pay("POST", _PATH, _KAnswer, json=body)).data.task_id
        else:
            task_id = (await self._wire.pay("POST", _PATH, _VCreated, json=body)).task
        return Job(id=task_id, handle={"model": str(body["model"])})

    async def poll(self, job: Job, call: ModelCall) -> Pending | Finished:
        if wire_of(call).product is Product.K_SERIES:
            return _k_state(await self._asked(job, _KAnswer))
        return _v_state(await self._asked(job, _VTask))

    async def _asked(self, job: Job, into: type[Read]) -> Read:
        """The model has to be named, too."""
        params = {"task_id": job.id, "model": job.handle["model"]}
        try:
            return await self._wire.ask("GET", _PATH, into, params=params)
        except ProviderRejected as error:  # nothing is sent but what names the task
            raise JobMissing(error.message) from error


def _body(call: ModelCall) -> dict[str, Any]:
    wire = wire_of(call)
    parameters = _k_parameters(call) if wire.product is Product.K_SERIES else _v_parameters(call)
    request = Request(model=wire.model, type=_TYPES[call.operation], model_parameters=parameters)
    return joined(request.model_dump(exclude_none=True), call.options)


def _k_parameters(call: ModelCall) -> KParameters:
    given, length, loud = call.input, seconds(call, wire_of(call)), sound(call)
    return KParameters(
        prompt=given.get("prompt"),
        negative_prompt=given.get("negative_prompt"),
        image=_plain(call.one("image")),
        image_tail=_plain(call.one("last_image")),
        duration=None if length is None else str(length),
        mode=_MODES[given["resolution"]] if "resolution" in given else None,
        cfg_scale=given.get("guidance"),
        sound=None if loud is None else _SWITCH[loud],
        aspect_ratio=given.get("aspect_ratio"),
    )


def _v_parameters(call: ModelCall) -> VParameters:
    return VParameters(
        prompt=call.input.get("prompt"),
        images=[needed(call, "image").url_or_data()],
        duration=seconds(call, wire_of(call)),
        resolution=call.input.get("resolution"),
        audio=sound(call),
        seed=call.input.get("seed"),
    )


def _plain(file: Media | None) -> str | None:
    return None if file is None else file.url or file.base64()


def _k_state(answer: _KAnswer) -> Pending | Finished:
    task = answer.data
    if task.task_status == "failed":
        raise ProviderFailed(f"baidu: {task.task_status_msg or 'the task failed'}")
    if task.task_status != "succeed":
        return Pending()
    videos = task.task_result.videos if task.task_result else None
    return _finished(videos, answer.usage)


def _v_state(task: _VTask) -> Pending | Finished:
    if task.status == "failed":
        raise ProviderFailed(f"baidu: the task failed{f' ({task.err_code})' if task.err_code else ''}")
    if task.status != "success":
        return Pending()
    return _finished(task.creations, task.usage)


def _finished(videos: Sequence[_Video] | None, usage: Mapping[str, Any] | None) -> Finished:
    return Finished(
        outputs=[Output(url=video.url) for video in videos or () if video.url],
        usage={name: value for name, value in (usage or {}).items() if isinstance(value, int | float)},
    )
