"""Models of other vendors that Qianfan hosts: one path for all, and parameters as each series has them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from genpulse.errors import JobMissing, ProviderFailed, ProviderRejected
from genpulse.providers.baidu.model import Product, address, needed, seconds, sound, wire_of
from genpulse.providers.base import Finished, Job, Media, ModelCall, Output, Pending
from genpulse.providers.options import joined
from genpulse.providers.wire import Wire
from genpulse.schemas.states import Operation

Read = TypeVar("Read", bound=BaseModel)

_PATH = "/beta/video/generations/qianfan-video"
_TYPES = {Operation.TEXT_TO_VIDEO: "text2video", Operation.IMAGE_TO_VIDEO: "img2video"}
_MODES = {"720p": "std", "1080p": "pro"}
_FRAMES = {"image": "first_frame", "last_image": "end_frame", "reference_images": None}
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


class _OmniPicture(BaseModel):
    """Without a type it is a reference."""

    image_url: str
    type: str | None = None


class _OmniVideo(BaseModel):
    video_url: str
    refer_type: str = "base"


class OmniParameters(BaseModel):
    """Of the K series, too; files are behind URLs."""

    prompt: str
    image_list: list[_OmniPicture] | None = None
    video_list: list[_OmniVideo] | None = None
    duration: str | None = None
    mode: str | None = None
    aspect_ratio: str | None = None


class VParameters(BaseModel):
    prompt: str | None = None
    images: list[str]
    duration: int | None = None
    resolution: str | None = None
    audio: bool | None = None
    seed: int | None = None


Parameters = KParameters | OmniParameters | VParameters


class Request(BaseModel):
    model: str
    type: str
    model_parameters: Parameters


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
        if wire_of(call).product is Product.V_SERIES:
            task_id = (await self._wire.pay("POST", _PATH, _VCreated, json=body)).task
        else:
            task_id = (await self._wire.pay("POST", _PATH, _KAnswer, json=body)).data.task_id
        return Job(id=task_id, handle={"model": str(body["model"])})

    async def poll(self, job: Job, call: ModelCall) -> Pending | Finished:
        if wire_of(call).product is Product.V_SERIES:
            return _v_state(await self._asked(job, _VTask))
        return _k_state(await self._asked(job, _KAnswer))

    async def _asked(self, job: Job, into: type[Read]) -> Read:
        """The model has to be named, too."""
        params = {"task_id": job.id, "model": job.handle["model"]}
        try:
            return await self._wire.ask("GET", _PATH, into, params=params)
        except ProviderRejected as error:  # nothing is sent but what names the task
            raise JobMissing(error.message) from error


def _body(call: ModelCall) -> dict[str, Any]:
    wire = wire_of(call)
    kind = "omni-video" if wire.product is Product.OMNI else _TYPES[call.operation]
    request = Request(model=wire.model, type=kind, model_parameters=_PARAMETERS[wire.product](call))
    return joined(request.model_dump(exclude_none=True), call.options)


def _k_parameters(call: ModelCall) -> KParameters:
    given, loud = call.input, sound(call)
    return KParameters(
        prompt=given.get("prompt"),
        negative_prompt=given.get("negative_prompt"),
        image=_plain(call.one("image")),
        image_tail=_plain(call.one("last_image")),
        duration=_length(call),
        mode=_mode(call),
        cfg_scale=given.get("guidance"),
        sound=None if loud is None else _SWITCH[loud],
        aspect_ratio=given.get("aspect_ratio"),
    )


def _omni_parameters(call: ModelCall) -> OmniParameters:
    pictures = [
        _OmniPicture(image_url=address(file, name), type=kind)
        for name, kind in _FRAMES.items()
        for file in call.media.get(name, ())
    ]
    videos = [_OmniVideo(video_url=address(file, "video")) for file in call.media.get("video", ())]
    return OmniParameters(
        prompt=call.input["prompt"],
        image_list=pictures or None,
        video_list=videos or None,
        duration=_length(call),
        mode=_mode(call),
        aspect_ratio=call.input.get("aspect_ratio"),
    )


def _length(call: ModelCall) -> str | None:
    """Written as a text."""
    found = seconds(call, wire_of(call))
    return None if found is None else str(found)


def _mode(call: ModelCall) -> str | None:
    return _MODES[call.input["resolution"]] if "resolution" in call.input else None


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


_PARAMETERS: dict[Product, Callable[[ModelCall], Parameters]] = {
    Product.K_SERIES: _k_parameters,
    Product.OMNI: _omni_parameters,
    Product.V_SERIES: _v_parameters,
}
