"""What MiniMax is sent. What is not set is not sent; the caller's options come on top."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from genpulse.errors import InvalidInput
from genpulse.providers.base import ModelCall
from genpulse.schemas.states import Operation

_VOICE_ID = re.compile(r"[A-Za-z][A-Za-z0-9_-]{6,254}[A-Za-z0-9]")
_NOT_IN_IDS = re.compile(r"[^A-Za-z0-9]")


class Product(StrEnum):
    """Which of the services a model belongs to."""

    VIDEO = "video"
    VIDEO_2 = "video-2"
    REGENERATION = "regeneration"
    TEMPLATE = "template"
    IMAGE = "image"
    SPEECH = "speech"
    CLONE = "clone"
    DESIGN = "design"
    MUSIC = "music"


class ModelWire(BaseModel):
    """The `wire` of a catalogue entry. Some services name no `model`. At resolutions of `long_at`, 10 s can be had."""

    model_config = ConfigDict(extra="forbid")

    product: Product
    model: str = ""
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
    duration: int | None = None
    ratio: str | None = None
    callback_url: str | None = None


class _Filling(BaseModel):
    value: str


class TemplateRequest(BaseModel):
    """Which template, the caller says in the options."""

    text_inputs: list[_Filling] | None = None
    media_inputs: list[_Filling] | None = None
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


class CloneRequest(BaseModel):
    """`model` says `text` with the new voice, as its demo."""

    voice_id: str
    text: str
    model: str


class DesignRequest(BaseModel):
    """MiniMax chooses the id where none is given."""

    prompt: str
    preview_text: str = "This is how I sound. I hope that you like it, and that you will listen to me again."
    voice_id: str | None = None


class MusicRequest(BaseModel):
    """Without words to sing, it is asked for none."""

    model: str
    prompt: str
    is_instrumental: bool | None = None
    output_format: Literal["url"] = "url"
    audio_setting: dict[str, Any] = Field(default_factory=lambda: {"format": "mp3"})


def body_of(call: ModelCall, wire: ModelWire) -> dict[str, Any]:
    """The whole request, but for the id of a file that is uploaded first. An option that is an object joins ours."""
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


def _regeneration(call: ModelCall, wire: ModelWire) -> TaskRequest:
    return TaskRequest(
        model=wire.model,
        content=list(_contents(call, video_role="base_video")),
        resolution="2K",
        callback_url=call.callback_url,
    )


def _contents(call: ModelCall, *, video_role: str = "reference_video") -> Iterator[_Content]:
    yield _Content(type="text", text=call.input.get("prompt", ""))
    if {"image", "last_image"} & call.media.keys() and {"reference_images", "audio"} & call.media.keys():
        raise InvalidInput("A video is made from frames or from references, not from both.", field="reference_images")
    roles = {"image": "first_frame", "last_image": "last_frame", "reference_images": "reference_image"}
    for name, role in roles.items():
        for file in call.media.get(name, ()):
            yield _Content(type="image_url", image_url=_Link(url=file.url_or_data()), role=role)
    if video := call.one("video"):
        yield _Content(type="video_url", video_url=_Link(url=video.url_or_data()), role=video_role)
    if audio := call.one("audio"):
        if not (call.media.get("reference_images") or (video and video_role == "reference_video")):
            raise InvalidInput("Sound goes along with reference images or a video; give one of them.", field="audio")
        yield _Content(type="audio_url", audio_url=_Link(url=audio.url_or_data()), role="reference_audio")


def _template(call: ModelCall, wire: ModelWire) -> TemplateRequest:  # noqa: ARG001
    if "template_id" not in call.options:
        raise InvalidInput("Say which template: its id is an option.", field="provider_options.template_id")
    prompt, image = call.input.get("prompt"), call.one("image")
    return TemplateRequest(
        text_inputs=[_Filling(value=prompt)] if prompt else None,
        media_inputs=[_Filling(value=image.url_or_data())] if image else None,
        callback_url=call.callback_url,
    )


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


def _clone(call: ModelCall, wire: ModelWire) -> CloneRequest:
    # A repeated call has the same id, which MiniMax does not give twice.
    voice = _checked(call.input.get("voice") or _NOT_IN_IDS.sub("-", call.key))
    return CloneRequest(voice_id=voice, text=call.input["prompt"], model=wire.model)


def _design(call: ModelCall, wire: ModelWire) -> DesignRequest:  # noqa: ARG001
    voice = call.input.get("voice")
    return DesignRequest(prompt=call.input["prompt"], voice_id=_checked(voice) if voice else None)


def _music(call: ModelCall, wire: ModelWire) -> MusicRequest:
    sung = {"lyrics", "lyrics_optimizer"} & call.options.keys()
    return MusicRequest(model=wire.model, prompt=call.input["prompt"], is_instrumental=None if sung else True)


def _checked(voice: str) -> str:
    if not _VOICE_ID.fullmatch(voice):
        form = "8 letters, digits, `-` or `_` at least, a letter first and a letter or digit last"
        raise InvalidInput(f"The id of a new voice is {form}.", field="input.voice")
    return voice


_MADE_BY = {
    Product.VIDEO: _video,
    Product.VIDEO_2: _task,
    Product.REGENERATION: _regeneration,
    Product.TEMPLATE: _template,
    Product.IMAGE: _image,
    Product.SPEECH: _speech,
    Product.CLONE: _clone,
    Product.DESIGN: _design,
    Product.MUSIC: _music,
}
