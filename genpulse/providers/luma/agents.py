"""The Agents API: one path for pictures, videos and edits of both; files go along in the request."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import httpx
from pydantic import BaseModel, Field

from genpulse.errors import (
    ContentBlocked,
    GenPulseError,
    ProviderFailed,
    ProviderQuotaSpent,
    ProviderRejected,
)
from genpulse.providers.base import Finished, Job, Media, ModelCall, Output, Pending
from genpulse.providers.luma.errors import refused_by_agents
from genpulse.providers.luma.model import Form, ModelWire, change, seconds
from genpulse.providers.options import joined
from genpulse.providers.wire import Wire

_FRAMES_PER_SECOND = 24
#: What cannot succeed when it is tried again; all other codes may.
_FINAL: dict[str, type[GenPulseError]] = {
    "content_moderated": ContentBlocked,
    "budget_exhausted": ProviderQuotaSpent,
    "image_too_large": ProviderRejected,
    "unsupported_format": ProviderRejected,
    "corrupt_input": ProviderRejected,
    "invalid_request": ProviderRejected,
}


class Reference(BaseModel):
    """A file: behind a URL, or right here."""

    url: str | None = None
    data: str | None = None
    media_type: str | None = None


class Edit(BaseModel):
    strength: str | None = None


class VideoOptions(BaseModel):
    resolution: str | None = None
    duration: str | None = None
    start_frame: Reference | None = None
    end_frame: Reference | None = None
    keyframes: list[Reference] | None = None
    keyframe_indexes: list[int] | None = None
    edit: Edit | None = None


class Layering(BaseModel):
    resolution: str | None = None


class Request(BaseModel):
    """`prompt` has to be there, also where it may be empty."""

    type: str
    model: str
    prompt: str
    aspect_ratio: str | None = None
    image_ref: list[Reference] | None = None
    source: Reference | None = None
    video: VideoOptions | None = None
    layering: Layering | None = None


class _Output(BaseModel):
    url: str


class Generation(BaseModel):
    id: str = Field(min_length=1)
    state: str
    output: list[_Output] | None = None
    failure_code: str | None = None
    failure_reason: str | None = None


class Agents:
    """Has neither keys, a list, cancelling nor callbacks."""

    default_url: ClassVar[str] = "https://agents.lumalabs.ai/v1"

    def __init__(self, base_url: str, key: str, client: httpx.AsyncClient) -> None:
        headers = {"Authorization": f"Bearer {key}"}
        self._wire = Wire("luma", base_url, client, headers=headers, refuse=refused_by_agents)

    async def submit(self, call: ModelCall, wire: ModelWire) -> Job:
        # The key comes back with the answer, and names the call in Luma's records; it prevents no second job.
        marked = {"X-Request-Id": call.key}
        made = await self._wire.pay("POST", "/generations", Generation, json=body_of(call, wire), headers=marked)
        return Job(id=made.id)

    async def poll(self, job: Job) -> Pending | Finished:
        found = await self._wire.ask("GET", f"/generations/{job.id}", Generation)
        if found.state == "failed":
            kind = _FINAL.get(found.failure_code or "", ProviderFailed)
            code = f" ({found.failure_code})" if found.failure_code else ""
            raise kind(f"luma: {found.failure_reason or 'the generation failed'}{code}")
        if found.state != "completed":
            return Pending()
        return Finished(outputs=[Output(url=file.url) for file in found.output or ()])


def body_of(call: ModelCall, wire: ModelWire) -> dict[str, Any]:
    """The whole request."""
    request = _MADE_BY[wire.form](call, wire)
    return joined(request.model_dump(exclude_none=True), call.options)


def _start(call: ModelCall, wire: ModelWire) -> Request:
    return Request(type=wire.form, model=wire.model, prompt=call.input.get("prompt", ""))


def _image(call: ModelCall, wire: ModelWire) -> Request:
    """A new picture, or an edit of the one in `source`."""
    request = _start(call, wire)
    request.aspect_ratio = call.input.get("aspect_ratio")
    request.image_ref = _references(call.media.get("reference_images", ()))
    request.source = _reference(call.one("image"))
    return request


def _layering(call: ModelCall, wire: ModelWire) -> Request:
    request = _start(call, wire)
    request.source = _reference(call.one("image"))
    if "resolution" in call.input:
        request.layering = Layering(resolution=call.input["resolution"])
    return request


def _video(call: ModelCall, wire: ModelWire) -> Request:
    request = _start(call, wire)
    request.aspect_ratio = call.input.get("aspect_ratio")
    video = VideoOptions(resolution=call.input.get("resolution"), duration=seconds(call, 5, 10))
    first, last = call.one("image"), call.one("last_image")
    if video.duration == "10s" and first is not None:  # the two frames by name go with 5 seconds only
        video.keyframes = _references([first, *([last] if last else [])])
        video.keyframe_indexes = [0, *([10 * _FRAMES_PER_SECOND] if last else [])]
    else:
        video.start_frame, video.end_frame = _reference(first), _reference(last)
    request.video = video if video.model_dump(exclude_none=True) else None
    return request


def _video_edit(call: ModelCall, wire: ModelWire) -> Request:
    request = _start(call, wire)
    request.source = _video_source(call)
    strength = call.input.get("strength")
    video = VideoOptions(
        resolution=call.input.get("resolution"),
        start_frame=_reference(call.one("image")),
        edit=Edit(strength=change(strength)) if strength is not None else None,
    )
    request.video = video if video.model_dump(exclude_none=True) else None
    return request


def _video_reframe(call: ModelCall, wire: ModelWire) -> Request:
    request = _start(call, wire)
    request.source = _video_source(call)
    request.aspect_ratio = call.input.get("aspect_ratio")
    if "resolution" in call.input:
        request.video = VideoOptions(resolution=call.input["resolution"])
    return request


def _reference(file: Media | None) -> Reference | None:
    if file is None:
        return None
    return Reference(url=file.url) if file.url else Reference(data=file.base64(), media_type=file.media_type)


def _references(files: Sequence[Media]) -> list[Reference] | None:
    return [found for file in files if (found := _reference(file))] or None


def _video_source(call: ModelCall) -> Reference | None:
    """Of a video the type has to be told, also with a URL."""
    video, source = call.one("video"), _reference(call.one("video"))
    return source.model_copy(update={"media_type": video.media_type}) if video and source else None


_MADE_BY: dict[Form, Callable[[ModelCall, ModelWire], Request]] = {
    Form.IMAGE: _image,
    Form.IMAGE_EDIT: _image,
    Form.LAYERING: _layering,
    Form.VIDEO: _video,
    Form.VIDEO_EDIT: _video_edit,
    Form.VIDEO_REFRAME: _video_reframe,
}
