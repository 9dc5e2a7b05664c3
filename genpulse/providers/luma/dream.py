"""Dream Machine: a path for each kind of work; files are fetched from URLs, and there is no upload."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal

import httpx
from pydantic import BaseModel, Field

from genpulse.errors import InvalidInput, ProviderFailed
from genpulse.providers.base import Finished, Job, ModelCall, Output, Pending
from genpulse.providers.luma.errors import refused_by_dream, worded
from genpulse.providers.luma.model import Form, ModelWire, change, seconds
from genpulse.providers.options import joined
from genpulse.providers.wire import Wire

_USUAL_STRENGTH = 0.5
#: The option that says which generation is to be worked on; it stands in the path.
_EARLIER = "generation_id"


class _Sent(BaseModel):
    callback_url: str | None = None


class Link(BaseModel):
    url: str


class Weighted(BaseModel):
    url: str
    weight: float | None = None


class Frame(BaseModel):
    type: Literal["image"] = "image"
    url: str


class Keyframes(BaseModel):
    frame0: Frame | None = None
    frame1: Frame | None = None


class VideoRequest(_Sent):
    model: str
    prompt: str | None = None
    aspect_ratio: str | None = None
    resolution: str | None = None
    duration: str | None = None
    keyframes: Keyframes | None = None


class ImageRequest(_Sent):
    model: str
    prompt: str | None = None
    aspect_ratio: str | None = None
    image_ref: list[Weighted] | None = None
    modify_image_ref: Weighted | None = None


class ModifyRequest(_Sent):
    generation_type: Literal["modify_video"] = "modify_video"
    model: str
    mode: str
    prompt: str | None = None
    media: Link
    first_frame: Link | None = None


class ReframeRequest(_Sent):
    generation_type: Literal["reframe_video", "reframe_image"]
    model: str
    aspect_ratio: str
    prompt: str | None = None
    media: Link
    first_frame: Link | None = None


class UpscaleRequest(_Sent):
    generation_type: Literal["upscale_video"] = "upscale_video"
    resolution: str | None = None


class AudioRequest(_Sent):
    generation_type: Literal["add_audio"] = "add_audio"
    prompt: str | None = None
    negative_prompt: str | None = None


class _Assets(BaseModel):
    image: str | None = None
    video: str | None = None


class Generation(BaseModel):
    id: str = Field(min_length=1)
    state: str = "queued"
    failure_reason: str | None = None
    assets: _Assets | None = None


class Dream:
    """Has no keys, and nothing in its list that would tell calls apart. Deleting a record does not stop the work."""

    default_url: ClassVar[str] = "https://api.lumalabs.ai/dream-machine/v1"

    def __init__(self, base_url: str, key: str, client: httpx.AsyncClient) -> None:
        headers = {"Authorization": f"Bearer {key}"}
        self._wire = Wire("luma", base_url, client, headers=headers, refuse=refused_by_dream)

    async def submit(self, call: ModelCall, wire: ModelWire) -> Job:
        made = await self._wire.pay("POST", path_of(call, wire), Generation, json=body_of(call, wire))
        return Job(id=made.id)

    async def poll(self, job: Job) -> Pending | Finished:
        found = await self._wire.ask("GET", f"/generations/{job.id}", Generation)
        if found.state == "failed":
            raise worded(found.failure_reason or "the generation failed", ProviderFailed)
        if found.state != "completed":
            return Pending()
        assets = found.assets or _Assets()
        return Finished(outputs=[Output(url=link) for link in (assets.video or assets.image,) if link])


def path_of(call: ModelCall, wire: ModelWire) -> str:
    if wire.form not in (Form.DREAM_UPSCALE, Form.DREAM_AUDIO):
        return _PATHS[wire.form]
    earlier = call.options.get(_EARLIER)
    if not isinstance(earlier, str) or not earlier.replace("-", "").isalnum():
        raise InvalidInput(
            f"{call.model} works on an earlier generation of Luma: give its id as `{_EARLIER}`.",
            field=f"provider_options.{_EARLIER}",
        )
    return f"/generations/{earlier}/{_PATHS[wire.form]}"


def body_of(call: ModelCall, wire: ModelWire) -> dict[str, Any]:
    """The whole request."""
    request = _MADE_BY[wire.form](call, wire)
    request.callback_url = call.callback_url
    options = {name: value for name, value in call.options.items() if name != _EARLIER}
    return joined(request.model_dump(exclude_none=True), options)


def _video(call: ModelCall, wire: ModelWire) -> VideoRequest:
    first, last = _link(call, "image"), _link(call, "last_image")
    frames = Keyframes(frame0=Frame(url=first) if first else None, frame1=Frame(url=last) if last else None)
    return VideoRequest(
        model=wire.model,
        prompt=call.input.get("prompt"),
        aspect_ratio=call.input.get("aspect_ratio"),
        resolution=call.input.get("resolution"),
        duration=seconds(call, 5, 9),
        keyframes=frames if first or last else None,
    )


def _image(call: ModelCall, wire: ModelWire) -> ImageRequest:
    source, strength = _link(call, "image"), call.input.get("strength")
    # A weight says how much of the picture stays, where `strength` says how much may change.
    weight = round(1 - strength, 4) if strength is not None else None
    return ImageRequest(
        model=wire.model,
        prompt=call.input.get("prompt"),
        aspect_ratio=call.input.get("aspect_ratio"),
        image_ref=[Weighted(url=link) for link in _links(call, "reference_images")] or None,
        modify_image_ref=Weighted(url=source, weight=weight) if source else None,
    )


def _modify(call: ModelCall, wire: ModelWire) -> ModifyRequest:
    first = _link(call, "image")
    return ModifyRequest(
        model=wire.model,
        mode=change(call.input.get("strength", _USUAL_STRENGTH)),
        prompt=call.input.get("prompt"),
        media=Link(url=_needed(call, "video")),
        first_frame=Link(url=first) if first else None,
    )


def _reframe(call: ModelCall, wire: ModelWire) -> ReframeRequest:
    is_video = wire.form is Form.DREAM_REFRAME_VIDEO
    first = _link(call, "image") if is_video else None
    return ReframeRequest(
        generation_type="reframe_video" if is_video else "reframe_image",
        model=wire.model,
        aspect_ratio=call.input["aspect_ratio"],
        prompt=call.input.get("prompt"),
        media=Link(url=_needed(call, "video" if is_video else "image")),
        first_frame=Link(url=first) if first else None,
    )


def _upscale(call: ModelCall, wire: ModelWire) -> UpscaleRequest:  # noqa: ARG001
    return UpscaleRequest(resolution=call.input.get("resolution"))


def _audio(call: ModelCall, wire: ModelWire) -> AudioRequest:  # noqa: ARG001
    return AudioRequest(prompt=call.input.get("prompt"), negative_prompt=call.input.get("negative_prompt"))


def _links(call: ModelCall, name: str) -> Sequence[str]:
    """The URLs of the files of a field, which all need one."""
    links = [file.url for file in call.media.get(name, ()) if file.url]
    if len(links) < len(call.media.get(name, ())):
        raise InvalidInput(
            f"{call.model} fetches files itself: give `{name}` by a URL that is open to Luma.", field=f"input.{name}"
        )
    return links


def _link(call: ModelCall, name: str) -> str | None:
    return next(iter(_links(call, name)), None)


def _needed(call: ModelCall, name: str) -> str:
    if (link := _link(call, name)) is None:
        raise InvalidInput(f"{call.model} needs `{name}`.", field=f"input.{name}")
    return link


_PATHS = {
    Form.DREAM_VIDEO: "/generations/video",
    Form.DREAM_IMAGE: "/generations/image",
    Form.DREAM_MODIFY: "/generations/video/modify",
    Form.DREAM_REFRAME_VIDEO: "/generations/video/reframe",
    Form.DREAM_REFRAME_IMAGE: "/generations/image/reframe",
    Form.DREAM_UPSCALE: "upscale",
    Form.DREAM_AUDIO: "audio",
}
_MADE_BY: dict[Form, Callable[[ModelCall, ModelWire], _Sent]] = {
    Form.DREAM_VIDEO: _video,
    Form.DREAM_IMAGE: _image,
    Form.DREAM_MODIFY: _modify,
    Form.DREAM_REFRAME_VIDEO: _reframe,
    Form.DREAM_REFRAME_IMAGE: _reframe,
    Form.DREAM_UPSCALE: _upscale,
    Form.DREAM_AUDIO: _audio,
}
