"""What Dream Machine takes, as strictly as it does."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import AnyHttpUrl, BaseModel, ConfigDict, Field, model_validator

from genpulse.simulator.clouds.luma.agents import Change, Link

Shape = Literal["1:1", "16:9", "9:16", "4:3", "3:4", "21:9", "9:21"]
Side = Literal["540p", "720p", "1080p", "4k"]
_Ray = Literal["ray-2", "ray-flash-2"]
_Photon = Literal["photon-1", "photon-flash-1"]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Request(_Body):
    """What all have in common."""

    model: str = ""
    prompt: str | None = Field(None, min_length=1)
    callback_url: AnyHttpUrl | None = None


class _Media(_Body):
    url: Link


class _Frame(_Body):
    type: Literal["image", "generation"]
    url: Link | None = None
    id: str | None = None

    @model_validator(mode="after")
    def _is_one_thing(self) -> Self:
        wanted = (self.url is not None, self.id is not None)
        if wanted != (self.type == "image", self.type == "generation"):
            raise ValueError(f"a frame of type {self.type} has another member")
        return self


class _Keyframes(_Body):
    frame0: _Frame | None = None
    frame1: _Frame | None = None

    @property
    def generations(self) -> list[str]:
        return [one.id for one in (self.frame0, self.frame1) if one and one.id]


class _Concept(_Body):
    key: str


class Video(Request):
    generation_type: Literal["video"] = "video"
    model: _Ray
    aspect_ratio: Shape = "16:9"
    resolution: Side = "720p"
    duration: Literal["5s", "9s"] = "5s"
    loop: bool | None = None
    keyframes: _Keyframes | None = None
    concepts: list[_Concept] | None = None

    @model_validator(mode="after")
    def _has_something_to_go_by(self) -> Self:
        if not (self.prompt or self.keyframes):
            raise ValueError("prompt is required if keyframes are not provided")
        return self


class _Weighted(_Body):
    url: Link
    weight: float | None = Field(None, ge=0, le=1)


class _Identity(_Body):
    images: list[Link] = Field(min_length=1)


class _Characters(_Body):
    identity0: _Identity


class Image(Request):
    generation_type: Literal["image"] = "image"
    model: _Photon
    prompt: str = Field(min_length=1)
    aspect_ratio: Shape = "16:9"
    format: Literal["jpg", "png"] = "jpg"
    image_ref: list[_Weighted] | None = None
    style_ref: list[_Weighted] | None = None
    character_ref: _Characters | None = None
    modify_image_ref: _Weighted | None = None
    sync: bool = False
    sync_timeout: float | None = Field(None, gt=0)


class Modify(Request):
    generation_type: Literal["modify_video"]
    model: _Ray
    media: _Media
    first_frame: _Media | None = None
    mode: Change


class _Reframe(Request):
    aspect_ratio: Shape
    media: _Media
    grid_position_x: int | None = None
    grid_position_y: int | None = None
    resized_width: int | None = None
    resized_height: int | None = None
    x_start: int | None = None
    x_end: int | None = None
    y_start: int | None = None
    y_end: int | None = None


class ReframeVideo(_Reframe):
    generation_type: Literal["reframe_video"]
    model: _Ray
    first_frame: _Media | None = None


class ReframeImage(_Reframe):
    generation_type: Literal["reframe_image"]
    model: _Photon
    format: Literal["jpg", "png"] = "jpg"


class Upscale(Request):
    generation_type: Literal["upscale_video"] = "upscale_video"
    resolution: Side = "1080p"


class Audio(Request):
    generation_type: Literal["add_audio"] = "add_audio"
    negative_prompt: str | None = None
