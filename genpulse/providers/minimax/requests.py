"""What MiniMax is sent. What is not set is not sent; the caller's options come on top."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from genpulse.errors import InvalidInput
from genpulse.providers.base import ModelCall
from genpulse.schemas.states import Operation


class Product(StrEnum):
    """Which of the services a model belongs to."""

    VIDEO = "video"
    VIDEO_2 = "video-2"
    IMAGE = "image"
    SPEECH = "speech"


class ModelWire(BaseModel):
    """The `wire` of a catalogue entry. `long_at` are the resolutions at which ten seconds can be had."""

    model_config = ConfigDict(extra="forbid")

    product: Product
    model: str
    long_at: tuple[str, ...] = ()


class _Subject(BaseModel):
    type: Literal["character"] = "character"
    image: list[str] | None = None
    image_file: str | None = None


class VideoRequest(BaseModel):
    model: str
    prompt: str | None = None
    first_frame_image: str | None = None
    last_frame_image: str | None = None
    subject_reference: list[_Subject] | None = None
    duration: int | None = None
    resolution: str | None = None
    callback_url: str | None = None


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
    model: str
    content: list[_Content]
    resolution: str
    duration: int
    ratio: str | None = None
    callback_url: str | None = None


class ImageRequest(BaseModel):
    model: str
    prompt: str
    aspect_ratio: str | None = None
    width: int | None = None
    height: int | None = None
    response_format: Literal["url"] = "url"
    seed: int | None = None
    n: int | None = None
    subject_reference: list[_Subject] | None = None


class _VoiceSetting(BaseModel):
    voice_id: str


class SpeechRequest(BaseModel):
    model: str
    text: str
    voice_setting: _VoiceSetting
    output_format: Literal["url"] = "url"
    stream: Literal[False] = False
    audio_setting: dict[str, Any] = Field(default_factory=lambda: {"format": "mp3"})


def body_of(call: ModelCall, wire: ModelWire) -> dict[str, Any]:
    """The whole request. An option that is an object joins ours of that name."""
    body = _MADE_BY[wire.product](call, wire).model_dump(exclude_none=True)
    return {**body, **{name: _joined(body.get(name), value) for name, value in call.options.items()}}


def _joined(ours: Any, theirs: Any) -> Any:
    return {**ours, **theirs} if isinstance(ours, Mapping) and isinstance(theirs, Mapping) else theirs


def _video(call: ModelCall, wire: ModelWire) -> VideoRequest:
    given = call.input
    seconds, resolution = int(given.get("duration", 6)), given.get("resolution")
    if seconds not in (6, 10):
        raise InvalidInput(f"`duration` of {call.model} is 6 or 10.", field="duration")
    if seconds == 10 and (resolution or "768p") not in wire.long_at:
        where = f"at {', '.join(wire.long_at)} only" if wire.long_at else "by no model of this kind"
        raise InvalidInput(f"10 seconds are made {where}.", field="duration")
    first, last = call.one("image"), call.one("last_image")
    if last is not None and resolution == "512p":
        raise InvalidInput("With `last_image` the `resolution` is 768p or 1080p.", field="resolution")
    subjects = [_Subject(image=[file.url_or_data()]) for file in call.media.get("reference_images", ())]
    return VideoRequest(
        model=wire.model,
        prompt=given.get("prompt"),
        first_frame_image=first.url_or_data() if first else None,
        last_frame_image=last.url_or_data() if last else None,
        subject_reference=subjects or None,
        duration=seconds if "duration" in given else None,
        resolution=resolution.upper() if resolution else None,
        callback_url=call.callback_url,
    )


def _task(call: ModelCall, wire: ModelWire) -> TaskRequest:
    given = call.input
    ratio = given.get("aspect_ratio")
    if ratio is None and call.operation is Operation.TEXT_TO_VIDEO and not call.media:
        ratio = "16:9"  # `adaptive` has nothing to adapt to
    return TaskRequest(
        model=wire.model,
        content=list(_contents(call)),
        resolution=given.get("resolution", "768p").upper(),
        duration=int(given.get("duration", 5)),
        ratio=ratio,
        callback_url=call.callback_url,
    )


def _contents(call: ModelCall) -> Iterator[_Content]:
    yield _Content(type="text", text=call.input.get("prompt", ""))
    roles = {"image": "first_frame", "last_image": "last_frame", "reference_images": "reference_image"}
    for name, role in roles.items():
        for file in call.media.get(name, ()):
            yield _Content(type="image_url", image_url=_Link(url=file.url_or_data()), role=role)
    if video := call.one("video"):
        yield _Content(type="video_url", video_url=_Link(url=video.url_or_data()), role="reference_video")
    if audio := call.one("audio"):
        if not (call.media.get("reference_images") or call.one("video")):
            raise InvalidInput("Sound goes along with reference images or a video; give one of them.", field="audio")
        yield _Content(type="audio_url", audio_url=_Link(url=audio.url_or_data()), role="reference_audio")


def _image(call: ModelCall, wire: ModelWire) -> ImageRequest:
    given = call.input
    subjects = [_Subject(image_file=file.url_or_data()) for file in call.media.get("reference_images", ())]
    return ImageRequest(
        model=wire.model,
        prompt=given["prompt"],
        aspect_ratio=given.get("aspect_ratio"),
        width=given.get("width"),
        height=given.get("height"),
        seed=given.get("seed"),
        n=given.get("count"),
        subject_reference=subjects or None,
    )


def _speech(call: ModelCall, wire: ModelWire) -> SpeechRequest:
    voice = _VoiceSetting(voice_id=call.input["voice"])
    return SpeechRequest(model=wire.model, text=call.input["prompt"], voice_setting=voice)


_MADE_BY = {Product.VIDEO: _video, Product.VIDEO_2: _task, Product.IMAGE: _image, Product.SPEECH: _speech}
