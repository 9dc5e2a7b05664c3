"""What Runway is sent, and where to. What is not set is not sent; the caller's options come on top."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from genpulse.errors import InvalidInput
from genpulse.providers.base import ModelCall

Links = Mapping[str, Sequence[str]]
"""Addresses of the input files, by field."""

_RATES = (23.98, 24, 25, 29.97, 30, 48, 50, 59.94, 60, 120)
_FACTORS = (2, 4, 8, 16)


class Path(StrEnum):
    """What is asked for. On each path the model decides which fields there are."""

    TEXT_TO_VIDEO = "text_to_video"
    IMAGE_TO_VIDEO = "image_to_video"
    VIDEO_TO_VIDEO = "video_to_video"
    TEXT_TO_IMAGE = "text_to_image"
    VIDEO_UPSCALE = "video_upscale"
    IMAGE_UPSCALE = "image_upscale"
    CHARACTER_PERFORMANCE = "character_performance"


class Usual(BaseModel):
    """What is sent where nobody asks for anything, to models that insist on it."""

    model_config = ConfigDict(extra="forbid")

    ratio: str | None = None
    duration: int | None = None


class ModelWire(BaseModel):
    """The `wire` of a catalogue entry.

    `seconds` and `counts` are lists where a range does not tell; `video` is what the model calls its video. One with
    `tiers` follows the shape of its input, and is only asked for a resolution; one that `reshapes` gives its input
    another shape; one that is `tagged` takes names for its references.
    """

    model_config = ConfigDict(extra="forbid")

    path: Path
    model: str
    usual: Usual = Usual()
    seconds: tuple[int, ...] = ()
    counts: tuple[int, ...] = ()
    video: Literal["videoUri", "promptVideo"] = "videoUri"
    tiers: bool = False
    reshapes: bool = False
    tagged: bool = False


class _Part(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class _Request(_Part):
    model: str


class Frame(_Part):
    uri: str
    position: str


class KeyFrame(_Part):
    uri: str
    seconds: float


class Reference(_Part):
    """A picture; by its tag the prompt can speak of it."""

    uri: str
    tag: str | None = None


class Performer(_Part):
    type: str
    uri: str


class VideoRequest(_Request):
    """Of every path that makes videos of a prompt."""

    prompt_text: str | None = None
    prompt_image: str | list[Frame] | None = None
    prompt_video: str | None = None
    video_uri: str | None = None
    references: list[Reference] | None = None
    keyframes: list[KeyFrame] | None = None
    negative_prompt: str | None = None
    ratio: str | None = None
    target_aspect_ratio: str | None = None
    resolution: str | None = None
    duration: int | None = None
    audio: bool | None = None
    cfg_scale: float | None = None
    seed: int | None = None


class ImageRequest(_Request):
    prompt_text: str
    ratio: str | None = None
    reference_images: list[Reference] | None = None
    output_count: int | None = None
    seed: int | None = None


class VideoUpscaleRequest(_Request):
    video_uri: str
    resolution: str | None = None
    target_framerate: str | None = None


class ImageUpscaleRequest(_Request):
    image_uri: str
    scale_factor: int | None = None


class PerformanceRequest(_Request):
    character: Performer | None = None
    reference: Performer
    ratio: str | None = None
    seed: int | None = None


def body_of(call: ModelCall, wire: ModelWire, links: Links) -> dict[str, Any]:
    """The whole request."""
    request = _MADE_BY[wire.path](call, wire, links)
    return request.model_dump(by_alias=True, exclude_none=True) | dict(call.options)


def check(call: ModelCall, wire: ModelWire) -> None:
    """Raise InvalidInput for what no list of the model's has, before any file is sent."""
    if wire.seconds:
        call.check_listed("duration", wire.seconds)
    if wire.counts:
        call.check_listed("count", wire.counts)
    call.check_listed("scale", _FACTORS)
    call.check_listed("fps", _RATES)
    if wire.path is Path.CHARACTER_PERFORMANCE and not (call.one("image") or "character" in call.options):
        raise InvalidInput("Give the character as `image`, or as the option `character`.", field="input.image")


def _video(call: ModelCall, wire: ModelWire, links: Links) -> VideoRequest:
    given, video = call.input, _one(links, "video")
    duration = given.get("duration", wire.usual.duration)
    edits = wire.path is Path.VIDEO_TO_VIDEO
    return VideoRequest(
        model=wire.model,
        prompt_text=given.get("prompt"),
        prompt_image=None if edits else _frames(links),
        prompt_video=video if wire.video == "promptVideo" else None,
        video_uri=video if wire.video == "videoUri" else None,
        references=[Reference(uri=uri) for uri in links.get("reference_images", ())] or None,
        keyframes=[KeyFrame(uri=uri, seconds=0) for uri in links.get("image", ())] or None if edits else None,
        negative_prompt=given.get("negative_prompt"),
        ratio=_ratio(call, wire),
        target_aspect_ratio=given.get("aspect_ratio") if wire.reshapes else None,
        resolution=None if wire.tiers else given.get("resolution"),
        duration=None if duration is None else int(duration),
        audio=given.get("audio"),
        cfg_scale=given.get("guidance"),
        seed=given.get("seed"),
    )


def _image(call: ModelCall, wire: ModelWire, links: Links) -> ImageRequest:
    """The picture to work on is the first of the references."""
    pictures = [*links.get("image", ()), *links.get("reference_images", ())]
    return ImageRequest(
        model=wire.model,
        prompt_text=call.input["prompt"],
        ratio=_ratio(call, wire),
        reference_images=[
            Reference(uri=uri, tag=f"image{number}" if wire.tagged else None)
            for number, uri in enumerate(pictures, start=1)
        ]
        or None,
        output_count=call.input.get("count"),
        seed=call.input.get("seed"),
    )


def _video_upscale(call: ModelCall, wire: ModelWire, links: Links) -> VideoUpscaleRequest:
    rate = call.input.get("fps")
    return VideoUpscaleRequest(
        model=wire.model,
        video_uri=links["video"][0],
        resolution=call.input.get("resolution"),
        target_framerate=None if rate is None else f"{rate:g}".replace(".", "_"),
    )


def _image_upscale(call: ModelCall, wire: ModelWire, links: Links) -> ImageUpscaleRequest:
    scale = call.input.get("scale")
    return ImageUpscaleRequest(
        model=wire.model, image_uri=links["image"][0], scale_factor=None if scale is None else int(scale)
    )


def _performance(call: ModelCall, wire: ModelWire, links: Links) -> PerformanceRequest:
    character = _one(links, "image")
    return PerformanceRequest(
        model=wire.model,
        character=Performer(type="image", uri=character) if character else None,
        reference=Performer(type="video", uri=links["video"][0]),
        ratio=_ratio(call, wire),
        seed=call.input.get("seed"),
    )


def _ratio(call: ModelCall, wire: ModelWire) -> str | None:
    """The size as Runway writes it: pixels with a colon between them, or what a model has in their place."""
    given = call.input
    if "width" in given:
        return f"{given['width']}:{given['height']}"
    if wire.tiers and "resolution" in given:
        return f"auto_{given['resolution']}"
    shape: str | None = None if wire.reshapes else given.get("aspect_ratio")
    return shape or wire.usual.ratio


def _frames(links: Links) -> str | list[Frame] | None:
    first, last = _one(links, "image"), _one(links, "last_image")
    if first is None or last is None:
        return first
    return [Frame(uri=first, position="first"), Frame(uri=last, position="last")]


def _one(links: Links, name: str) -> str | None:
    return links[name][0] if links.get(name) else None


_MADE_BY: dict[Path, Callable[[ModelCall, ModelWire, Links], _Request]] = {
    Path.TEXT_TO_VIDEO: _video,
    Path.IMAGE_TO_VIDEO: _video,
    Path.VIDEO_TO_VIDEO: _video,
    Path.TEXT_TO_IMAGE: _image,
    Path.VIDEO_UPSCALE: _video_upscale,
    Path.IMAGE_UPSCALE: _image_upscale,
    Path.CHARACTER_PERFORMANCE: _performance,
}
