"""vclm: videos of Kling and Vidu as Tencent resells them, and its own. One pair of actions for each kind of job."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import httpx
from pydantic import AliasChoices, BeforeValidator, Field

from genpulse.errors import InvalidInput
from genpulse.providers.base import Finished, Job, ModelCall, Output, Pending
from genpulse.providers.tencent.api3 import Api, Pascal
from genpulse.providers.tencent.errors import failure
from genpulse.providers.tencent.model import ModelWire, duration, link, needed, wire_of, with_options

_DONE, _FAILED = "DONE", frozenset({"FAIL", "STOP"})


class _Image(Pascal):
    base64: str


class _Video(Pascal):
    video_url: str
    refer_type: str = "base"


class JobRequest(Pascal):
    """The fields that the actions share; each takes some of them."""

    model: str | None = None
    prompt: str | None = None
    negative_prompt: str | None = None
    image: _Image | str | None = None
    image_tail: _Image | None = None
    image_base64: str | None = None
    images: list[str] | None = None
    video: str | None = None
    video_list: list[_Video] | None = None
    audio_url: str | None = None
    duration: int | str | None = None
    resolution: str | None = None
    aspect_ratio: str | None = None
    cfg_scale: float | None = None
    mode: str | None = None
    sound: str | None = None
    audio: bool | None = None
    fps: int | None = None
    frame_rate: int | None = None
    character_orientation: str | None = None
    callback_url: str | None = None


def _number(told: Any) -> float | None:
    """A number or its text. What is neither must not keep a video back."""
    try:
        return float(told)
    except (TypeError, ValueError):
        return None


Told = Annotated[float | None, BeforeValidator(_number)]


class _Submitted(Pascal):
    job_id: str = Field(min_length=1)


class _Described(Pascal):
    """One of the actions says `StatusCode` where the others say `Status`."""

    status: str = Field(validation_alias=AliasChoices("Status", "StatusCode"))
    error_code: str | None = None
    error_message: str | None = None
    result_video_url: str | None = None
    credits: Told = None
    final_unit_deduction: Told = None
    duration: Told = None


class Jobs:
    """Has neither keys nor a list nor a way to cancel: a call whose answer was lost stays unknown."""

    def __init__(self, url: str, client: httpx.AsyncClient, *, keys: tuple[str, str], region: str) -> None:
        self._api = Api(url, client, service="vclm", version="2024-05-23", keys=keys, region=region)

    async def submit(self, call: ModelCall) -> Job:
        wire = wire_of(call)
        action = wire.with_references if call.media.get("reference_images") else wire.action
        body = with_options(_MADE_BY[action](call, wire).body() | wire.always, call.options)
        sent = await self._api.pay(f"Submit{action}", _Submitted, body)
        return Job(id=sent.job_id, handle={"action": action})

    async def poll(self, job: Job) -> Pending | Finished:
        found = await self._api.ask(f"Describe{job.handle['action']}", _Described, {"JobId": job.id})
        if found.status in _FAILED:
            raise failure(found.error_code or "", found.error_message or f"the job is {found.status}")
        if found.status != _DONE:
            return Pending()
        units = found.credits if found.credits is not None else found.final_unit_deduction
        return Finished(
            outputs=[Output(url=found.result_video_url)] if found.result_video_url else [],
            parameters={"duration": found.duration} if found.duration else {},
            usage={"credits": units} if units is not None else {},
        )


def _kling(call: ModelCall, wire: ModelWire) -> JobRequest:
    given, sound = call.input, call.input.get("audio")
    first, last = call.one("image"), call.one("last_image")
    seconds = duration(call, wire)
    if sound and last is not None and wire.loud_mode:
        raise InvalidInput(f"{call.model} makes no sound with `last_image`.", field="audio")
    return JobRequest(
        model=wire.model,
        prompt=given.get("prompt"),
        negative_prompt=given.get("negative_prompt"),
        image=_Image(base64=first.base64()) if first else None,
        image_tail=_Image(base64=last.base64()) if last else None,
        duration=str(seconds) if seconds is not None else None,
        aspect_ratio=given.get("aspect_ratio"),
        cfg_scale=given.get("guidance"),
        mode=wire.loud_mode if sound else None,
        sound=("on" if sound else "off") if sound is not None else None,
        callback_url=call.callback_url,
    )


def _vidu(call: ModelCall, wire: ModelWire) -> JobRequest:
    given = call.input
    files = [file for name in ("image", "last_image", "reference_images") for file in call.media.get(name, ())]
    return JobRequest(
        model=wire.model,
        prompt=given.get("prompt"),
        images=[file.data_url() for file in files] or None,
        duration=duration(call, wire),
        resolution=given.get("resolution"),
        aspect_ratio=given.get("aspect_ratio"),
        audio=given.get("audio"),
        callback_url=call.callback_url,
    )


def _general(call: ModelCall, wire: ModelWire) -> JobRequest:  # noqa: ARG001 - they are all called alike
    given = call.input
    if given.get("fps", 30) not in (16, 24, 30):
        raise InvalidInput(f"`fps` of {call.model} is 16, 24 or 30.", field="fps")
    return JobRequest(
        image=_Image(base64=needed(call, "image").base64()),
        prompt=given.get("prompt"),
        resolution=given.get("resolution"),
        fps=int(given["fps"]) if "fps" in given else None,
    )


def _actor(call: ModelCall, wire: ModelWire) -> JobRequest:  # noqa: ARG001
    given = call.input
    return JobRequest(
        image_base64=needed(call, "image").base64(),
        audio_url=link(call, "audio"),
        prompt=given.get("prompt"),
        resolution=given.get("resolution"),
        frame_rate=int(given["fps"]) if "fps" in given else None,
    )


def _singer(call: ModelCall, wire: ModelWire) -> JobRequest:  # noqa: ARG001
    return JobRequest(image_base64=needed(call, "image").base64(), audio_url=link(call, "audio"))


def _motion(call: ModelCall, wire: ModelWire) -> JobRequest:
    return JobRequest(
        model=wire.model,
        prompt=call.input.get("prompt"),
        image=needed(call, "image").base64(),
        video=link(call, "video"),
        mode="std",
        character_orientation="video",
        callback_url=call.callback_url,
    )


def _edit(call: ModelCall, wire: ModelWire) -> JobRequest:
    return JobRequest(
        model=wire.model,
        prompt=call.input.get("prompt"),
        video_list=[_Video(video_url=link(call, "video"))],
        callback_url=call.callback_url,
    )


_MADE_BY: dict[str, Callable[[ModelCall, ModelWire], JobRequest]] = {
    "TextToVideoJob": _kling,
    "ImageToVideoJob": _kling,
    "TextToVideoViduJob": _vidu,
    "ImageToVideoViduJob": _vidu,
    "ReferenceToVideoViduJob": _vidu,
    "ImageToVideoGeneralJob": _general,
    "HumanActorJob": _actor,
    "PortraitSingJob": _singer,
    "MotionControlKlingJob": _motion,
    "VideoEditKlingJob": _edit,
}
