"""What Vidu is sent, and where to. What is not set is not sent; the caller's options come on top."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict

from genpulse.errors import InvalidInput
from genpulse.providers.base import Media, ModelCall


class Form(StrEnum):
    """What is made. Which path a video takes depends on the pictures that it is given."""

    VIDEO = "video"
    IMAGE = "image"
    EXTEND = "extend"
    UPSCALE = "upscale"
    LIP_SYNC = "lip-sync"
    AUDIO = "audio"


class ModelWire(BaseModel):
    """The `wire` of a catalogue entry.

    `seconds` lists the lengths where they are not a range, and of those all but the first are made at `long_at` only;
    `between_frames` is the most that a video between two pictures may have, where that is less.
    """

    model_config = ConfigDict(extra="forbid")

    form: Form
    model: str = ""
    seconds: tuple[int, ...] = ()
    long_at: str = ""
    between_frames: int | None = None


class _Sent(BaseModel):
    callback_url: str | None = None


class MakeRequest(_Sent):
    """Of videos and pictures; in `images` the order tells what each is for."""

    model: str
    prompt: str | None = None
    images: list[str] | None = None
    duration: int | None = None
    seed: int | None = None
    resolution: str | None = None
    aspect_ratio: str | None = None
    audio: bool | None = None


class ExtendRequest(_Sent):
    model: str
    video_url: str | None = None
    images: list[str] | None = None
    prompt: str | None = None
    duration: int | None = None
    resolution: str | None = None


class UpscaleRequest(_Sent):
    video_url: str | None = None
    upscale_resolution: str | None = None


class LipSyncRequest(_Sent):
    video_url: str | None = None
    audio_url: str | None = None
    text: str | None = None
    voice_id: str | None = None


class AudioRequest(_Sent):
    model: str
    prompt: str
    duration: int | None = None
    seed: int | None = None


def path_of(call: ModelCall, wire: ModelWire) -> str:
    if wire.form is not Form.VIDEO:
        return _PATHS[wire.form]
    if call.media.get("reference_images"):
        return "/reference2video"
    if call.one("last_image"):
        return "/start-end2video"
    return "/img2video" if call.one("image") else "/text2video"


def body_of(call: ModelCall, wire: ModelWire) -> dict[str, Any]:
    """The whole request."""
    request = _MADE_BY[wire.form](call, wire)
    request.callback_url = call.callback_url
    return request.model_dump(exclude_none=True) | dict(call.options)


def _video(call: ModelCall, wire: ModelWire) -> MakeRequest:
    return _image(call, wire).model_copy(update={"duration": _seconds(call, wire), "audio": call.input.get("audio")})


def _image(call: ModelCall, wire: ModelWire) -> MakeRequest:
    resolution = call.input.get("resolution")
    return MakeRequest(
        model=wire.model,
        prompt=call.input.get("prompt"),
        images=_pictures(call, "image", "last_image", "reference_images"),
        seed=call.input.get("seed"),
        resolution=_big(resolution) if resolution else None,
        aspect_ratio=call.input.get("aspect_ratio"),
    )


def _extend(call: ModelCall, wire: ModelWire) -> ExtendRequest:
    return ExtendRequest(
        model=wire.model,
        video_url=_address(call, "video"),
        images=_pictures(call, "last_image"),
        prompt=call.input.get("prompt"),
        duration=_seconds(call, wire),
        resolution=call.input.get("resolution"),
    )


def _upscale(call: ModelCall, wire: ModelWire) -> UpscaleRequest:  # noqa: ARG001
    resolution = call.input.get("resolution")
    return UpscaleRequest(
        video_url=_address(call, "video"), upscale_resolution=_big(resolution) if resolution else None
    )


def _lip_sync(call: ModelCall, wire: ModelWire) -> LipSyncRequest:  # noqa: ARG001
    """What is said comes as sound or as text: of both, Vidu would leave out the text."""
    audio, text, voice = _address(call, "audio"), call.input.get("prompt"), call.input.get("voice")
    if bool(audio) == bool(text):
        raise InvalidInput("Give what is to be said either as `audio` or as `prompt`.", field="input.audio")
    if audio and voice:
        raise InvalidInput("`voice` goes with `prompt`; a sound has its own.", field="input.voice")
    return LipSyncRequest(video_url=_address(call, "video"), audio_url=audio, text=text, voice_id=voice)


def _audio(call: ModelCall, wire: ModelWire) -> AudioRequest:
    return AudioRequest(
        model=wire.model,
        prompt=call.input["prompt"],
        duration=_seconds(call, wire),
        seed=call.input.get("seed"),
    )


def _seconds(call: ModelCall, wire: ModelWire) -> int | None:
    given = call.input.get("duration")
    if given is None:
        return None
    if wire.seconds and given not in wire.seconds:
        allowed = " or ".join(map(str, wire.seconds))
        raise InvalidInput(f"`duration` of {call.model} is {allowed}, not {given:g}.", field="input.duration")
    most = wire.between_frames
    if most is not None and call.one("last_image") and given > most:
        raise InvalidInput(f"With `last_image` the `duration` is at most {most}.", field="input.duration")
    if wire.long_at and given != wire.seconds[0] and call.input.get("resolution", wire.long_at) != wire.long_at:
        raise InvalidInput(
            f"{given:g} seconds of {call.model} are made at {wire.long_at} only.", field="input.resolution"
        )
    return int(given)


def _pictures(call: ModelCall, *names: str) -> list[str] | None:
    return [file.url_or_data() for name in names for file in call.media.get(name, ())] or None


def _address(call: ModelCall, name: str) -> str | None:
    """Videos and sounds are taken by URL only."""
    file: Media | None = call.one(name)
    if file is None:
        return None
    if file.url is None:
        raise InvalidInput(
            f"Vidu fetches `{name}` itself: give it by a URL that is open to Vidu.", field=f"input.{name}"
        )
    return file.url


def _big(resolution: str) -> str:
    """2K, 4K and 8K are written so; the others have a small p."""
    return resolution.upper() if resolution.endswith("k") else resolution


_PATHS = {
    Form.IMAGE: "/reference2image",
    Form.EXTEND: "/extend",
    Form.UPSCALE: "/upscale-pro",
    Form.LIP_SYNC: "/lip-sync",
    Form.AUDIO: "/text2audio",
}
_MADE_BY: dict[Form, Callable[[ModelCall, ModelWire], _Sent]] = {
    Form.VIDEO: _video,
    Form.IMAGE: _image,
    Form.EXTEND: _extend,
    Form.UPSCALE: _upscale,
    Form.LIP_SYNC: _lip_sync,
    Form.AUDIO: _audio,
}
