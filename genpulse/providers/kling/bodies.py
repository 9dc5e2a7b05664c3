"""What Kling is sent: the bodies of both generations of its API, made from one common call."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from genpulse.errors import InvalidInput
from genpulse.providers.base import Media, ModelCall
from genpulse.schemas.states import Operation

_MODES = {"720p": "std", "1080p": "pro", "4k": "4k"}


class Form(StrEnum):
    """Kinds of bodies: the first two of the new generation, the rest of the older one."""

    TASK = "task"
    OMNI_TASK = "omni-task"
    VIDEO = "video"
    OMNI_VIDEO = "omni-video"
    EXTENSION = "extension"
    LIP_SYNC = "lip-sync"
    EFFECT = "effect"
    IMAGE = "image"
    OMNI_IMAGE = "omni-image"


_PATHS = {
    Form.OMNI_VIDEO: "/v1/videos/omni-video",
    Form.EXTENSION: "/v1/videos/video-extend",
    Form.LIP_SYNC: "/v1/videos/advanced-lip-sync",
    Form.EFFECT: "/v1/videos/effects",
    Form.IMAGE: "/v1/images/generations",
    Form.OMNI_IMAGE: "/v1/images/omni-image",
}


class ModelWire(BaseModel):
    """How a model is asked; the `wire` of its catalogue entry.

    `name` is the model in the path or body. Of `needs_1080p` are fields that it honours at that resolution only, and of
    `needs_options` what a call is nothing without, although no common field says it.
    """

    model_config = ConfigDict(extra="forbid")

    form: Form
    name: str | None = None
    needs_1080p: tuple[str, ...] = ()
    needs_options: tuple[str, ...] = ()

    @property
    def is_new(self) -> bool:
        return self.form in (Form.TASK, Form.OMNI_TASK)


class _Sent(BaseModel):
    """A part of a body; what is None is left out."""

    def dump(self) -> dict[str, Any]:
        return self.model_dump(exclude_none=True)


class Content(_Sent):
    type: Literal["prompt", "first_frame", "last_frame", "refer_image", "base_video"]
    id: str | None = None
    """What the prompt cites it by, after an @."""
    text: str | None = None
    url: str | None = None


class Settings(_Sent):
    audio: Literal["native", "original", "off"] | None = None
    resolution: str | None = None
    aspect_ratio: str | None = None
    duration: int | None = None


class TaskBody(_Sent):
    prompt: str | None = None
    contents: list[Content] | None = None
    settings: Settings


class VideoBody(_Sent):
    model_name: str | None
    prompt: str | None
    negative_prompt: str | None
    image: str | None
    image_tail: str | None
    sound: Literal["on", "off"] | None
    cfg_scale: float | None
    mode: str | None
    aspect_ratio: str | None
    duration: str | None


class OmniImage(_Sent):
    image_url: str
    type: Literal["first_frame", "end_frame"] | None = None


class OmniVideo(_Sent):
    video_url: str
    refer_type: Literal["base"] = "base"
    keep_original_sound: Literal["yes", "no"] | None = None


class OmniVideoBody(_Sent):
    model_name: str | None
    prompt: str | None
    image_list: list[OmniImage] | None
    video_list: list[OmniVideo] | None
    mode: str | None
    aspect_ratio: str | None
    duration: str | None


class ExtensionBody(_Sent):
    """`video_id` comes with the caller's options."""

    prompt: str | None
    negative_prompt: str | None
    cfg_scale: float | None


class EffectInput(_Sent):
    image: str | None
    images: list[str] | None


class EffectBody(_Sent):
    """`effect_scene` comes with the caller's options."""

    input: EffectInput


class ImageBody(_Sent):
    model_name: str | None
    prompt: str | None
    negative_prompt: str | None
    image: str | None
    resolution: str | None
    n: int | None
    aspect_ratio: str | None


class ListedImage(_Sent):
    image: str


class OmniImageBody(_Sent):
    model_name: str | None
    prompt: str | None
    image_list: list[ListedImage] | None
    resolution: str | None
    n: int | None
    aspect_ratio: str | None


class FaceSearchBody(_Sent):
    video_id: str | None = None
    video_url: str | None = None


class FaceChoice(_Sent):
    """Who says what, when; times are milliseconds."""

    face_id: str
    audio_id: str | None = None
    sound_file: str | None = None
    sound_start_time: int | None = None
    sound_end_time: int | None = None
    sound_insert_time: int | None = None
    sound_volume: float | None = None
    original_audio_volume: float | None = None


class LipSyncBody(_Sent):
    session_id: str
    face_choose: list[FaceChoice]


def path_of(call: ModelCall, wire: ModelWire) -> str:
    """Where the call is sent; in the older generation, its task is asked for there too."""
    match wire.form:
        case Form.TASK:
            return f"/{call.operation}/{wire.name}"
        case Form.OMNI_TASK:
            return f"/omni-video/{wire.name}"
        case Form.VIDEO:
            return f"/v1/videos/{'text' if call.operation is Operation.TEXT_TO_VIDEO else 'image'}2video"
    return _PATHS[wire.form]


def body_of(call: ModelCall, wire: ModelWire) -> dict[str, Any]:
    """The whole body, but for a lip-sync, which needs to be told of faces first."""
    check_options(call, wire)
    match wire.form:
        case Form.TASK:
            body: _Sent = _task(call, wire)
        case Form.OMNI_TASK:
            body = _omni_task(call)
        case Form.VIDEO:
            body = _video(call, wire)
        case Form.OMNI_VIDEO:
            body = _omni_video(call, wire)
        case Form.EXTENSION:
            body = ExtensionBody(**_texts(call), cfg_scale=call.input.get("guidance"))
        case Form.EFFECT:
            references = [inline(file) for file in call.media.get("reference_images", ())]
            body = EffectBody(input=EffectInput(image=_inline(call, "image"), images=references or None))
        case Form.IMAGE:
            body = ImageBody(**_texts(call), **_picture(call, wire), image=_inline(call, "image"))
        case _:
            images = [ListedImage(image=inline(file)) for file in _pictures(call)]
            body = OmniImageBody(prompt=call.input.get("prompt"), **_picture(call, wire), image_list=images or None)
    return finished(body, call, wire)


def finished(body: _Sent, call: ModelCall, wire: ModelWire, *, without: tuple[str, ...] = ()) -> dict[str, Any]:
    """The body with the caller's options in it, and with what we ask for the task by."""
    options = {name: value for name, value in call.options.items() if name not in without}
    ours = {"external_task_id": call.key} | ({"callback_url": call.callback_url} if call.callback_url else {})
    return _merged(_merged(body.dump(), options), {"options": ours} if wire.is_new else ours)


def check_options(call: ModelCall, wire: ModelWire) -> None:
    """Raise InvalidInput where an option is missing that the call is nothing without."""
    for name in wire.needs_options:
        if name not in call.options:
            raise InvalidInput(f"{call.model} needs `{name}` in `provider_options`.", field=f"provider_options.{name}")


def inline(file: Media) -> str:
    """A URL, or the bare base64 that Kling takes in its place."""
    return file.url or file.base64()


def video_url(file: Media) -> str:
    """Kling takes videos by URL only."""
    if file.url is None:
        raise InvalidInput("Kling fetches videos itself: give one by a URL that is open to it.", field="input.video")
    return file.url


def _task(call: ModelCall, wire: ModelWire) -> TaskBody:
    settings = _settings(call, _resolution(call, wire), audio="native")
    if call.operation is Operation.TEXT_TO_VIDEO:
        return TaskBody(prompt=call.input.get("prompt"), settings=settings)
    return TaskBody(contents=[*_prompt(call), *_frames(call)], settings=settings)


def _omni_task(call: ModelCall) -> TaskBody:
    images = [
        Content(type="refer_image", id=f"image_{number}", url=inline(file))
        for number, file in enumerate(call.media.get("reference_images", ()), 1)
    ]
    video = call.one("video")
    videos = [Content(type="base_video", id="video_1", url=video_url(video))] if video else []
    settings = _settings(call, call.input.get("resolution"), audio="original" if video else "native")
    if call.operation is Operation.TEXT_TO_VIDEO and settings.aspect_ratio is None:
        settings.aspect_ratio = "16:9"  # there is no default without a frame or a video to take it from
    return TaskBody(contents=[*_prompt(call), *_frames(call), *images, *videos], settings=settings)


def _settings(call: ModelCall, resolution: str | None, *, audio: Literal["native", "original"]) -> Settings:
    wanted = call.input.get("audio")
    seconds = call.input.get("duration")
    return Settings(
        audio=None if wanted is None else audio if wanted else "off",
        resolution=resolution,
        aspect_ratio=call.input.get("aspect_ratio"),
        duration=None if seconds is None else round(seconds),
    )


def _prompt(call: ModelCall) -> list[Content]:
    return [Content(type="prompt", text=call.input["prompt"])] if "prompt" in call.input else []


def _frames(call: ModelCall) -> list[Content]:
    first, last = call.one("image"), call.one("last_image")
    frames = [Content(type="first_frame", url=inline(first))] if first else []
    return frames + ([Content(type="last_frame", url=inline(last))] if last else [])


def _video(call: ModelCall, wire: ModelWire) -> VideoBody:
    sound = call.input.get("audio")
    return VideoBody(
        model_name=wire.name,
        **_texts(call),
        image=_inline(call, "image"),
        image_tail=_inline(call, "last_image"),
        sound=None if sound is None else "on" if sound else "off",
        cfg_scale=call.input.get("guidance"),
        **_v1_settings(call, wire),
    )


def _omni_video(call: ModelCall, wire: ModelWire) -> OmniVideoBody:
    first, last, video = call.one("image"), call.one("last_image"), call.one("video")
    images = [OmniImage(image_url=inline(first), type="first_frame")] if first else []
    images += [OmniImage(image_url=inline(last), type="end_frame")] if last else []
    images += [OmniImage(image_url=inline(file)) for file in call.media.get("reference_images", ())]
    sound = call.input.get("audio")
    kept: Literal["yes", "no"] | None = None if sound is None else "yes" if sound else "no"
    return OmniVideoBody(
        model_name=wire.name,
        prompt=call.input.get("prompt"),
        image_list=images or None,
        video_list=[OmniVideo(video_url=video_url(video), keep_original_sound=kept)] if video else None,
        **_v1_settings(call, wire),
    )


def _v1_settings(call: ModelCall, wire: ModelWire) -> dict[str, Any]:
    resolution, seconds = _resolution(call, wire), call.input.get("duration")
    return {
        "mode": None if resolution is None else _MODES[resolution],
        "aspect_ratio": call.input.get("aspect_ratio"),
        "duration": None if seconds is None else f"{seconds:g}",
    }


def _resolution(call: ModelCall, wire: ModelWire) -> str | None:
    """The resolution that was asked for, or else the one that another field needs."""
    asked: str | None = call.input.get("resolution")
    reason = next((name for name in wire.needs_1080p if call.input.get(name) or call.media.get(name)), None)
    if reason is None:
        return asked
    if asked not in (None, "1080p"):
        raise InvalidInput(f"{call.model} takes `{reason}` at 1080p only.", field="input.resolution")
    return "1080p"


def _texts(call: ModelCall) -> dict[str, Any]:
    return {name: call.input.get(name) for name in ("prompt", "negative_prompt")}


def _picture(call: ModelCall, wire: ModelWire) -> dict[str, Any]:
    given = call.input
    return {
        "model_name": wire.name,
        "resolution": given.get("resolution"),
        "n": given.get("count"),
        "aspect_ratio": given.get("aspect_ratio"),
    }


def _pictures(call: ModelCall) -> list[Media]:
    return [*call.media.get("image", ()), *call.media.get("reference_images", ())]


def _inline(call: ModelCall, name: str) -> str | None:
    file = call.one(name)
    return None if file is None else inline(file)


def _merged(body: Mapping[str, Any], added: Mapping[str, Any]) -> dict[str, Any]:
    """Objects become one, lists grow, anything else is replaced."""
    merged = dict(body)
    for name, value in added.items():
        known = merged.get(name)
        if isinstance(known, dict) and isinstance(value, dict):
            merged[name] = _merged(known, value)
        elif isinstance(known, list) and isinstance(value, list):
            merged[name] = [*known, *value]
        else:
            merged[name] = value
    return merged
