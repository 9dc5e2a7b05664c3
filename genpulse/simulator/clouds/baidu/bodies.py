"""What Qianfan takes, as strictly as it does."""

from __future__ import annotations

import base64
from typing import Annotated, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Seed = Annotated[int, Field(ge=0, le=4294967295)]
AIR_SIZES = {
    *("1024x1024", "1280x720", "720x1280", "1152x864", "864x1152"),
    *("1328x1328", "1664x928", "928x1664", "1472x1104", "1104x1472"),
}
_LONG = "musesteamer-2.0-turbo-i2v-audio"
_EFFECT = "musesteamer-2.0-turbo-i2v-effect"
_MOST_BYTES = 10 * 2**20


def check_picture(given: str, *, headed: bool | None = None) -> str:
    """A URL, or base64: `headed` says whether with the head of a data URI, where that matters."""
    if given.startswith(("http://", "https://")):
        return given
    head, comma, body = given.rpartition(",")
    if headed is not None and bool(comma) is not headed:
        raise ValueError("the form of the image is not supported")
    if comma and not (head.startswith("data:image/") and head.endswith(";base64")):
        raise ValueError("the image is no data URI")
    try:
        content = base64.b64decode(body, validate=True)
    except ValueError:
        raise ValueError("the image is no base64") from None
    if not 0 < len(content) <= _MOST_BYTES:
        raise ValueError("the image is empty, or larger than 10 MB")
    return given


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Picture(Body):
    """Of the models on the common path."""

    longest_prompt: ClassVar[int] = 800
    most_guidance: ClassVar[float] = 20

    model: str
    prompt: str = Field(min_length=1)
    negative_prompt: str | None = Field(None, max_length=500)
    n: Literal[1] = 1
    size: str = Field("1024x1024", pattern=r"^\d{3,4}x\d{3,4}$")
    steps: int | None = Field(None, ge=1, le=50)
    seed: Seed | None = None
    guidance: float | None = Field(None, ge=0)
    prompt_extend: bool = True
    watermark: bool = False
    user: str | None = None

    @property
    def sides(self) -> tuple[int, int]:
        width, height = self.size.split("x")
        return int(width), int(height)

    @model_validator(mode="after")
    def _within_limits(self) -> Self:
        if len(self.prompt) > self.longest_prompt:
            raise ValueError("the prompt is too long")
        if (self.guidance or 0) > self.most_guidance:
            raise ValueError("guidance is out of range")
        if not all(512 <= side <= 2048 for side in self.sides):
            raise ValueError("size is out of range")
        return self


class Flux(Picture):
    longest_prompt = 512
    most_guidance = 30


class Edit(Picture):
    image: str | Annotated[list[str], Field(min_length=1, max_length=3)]

    @property
    def images(self) -> list[str]:
        return [self.image] if isinstance(self.image, str) else self.image

    @model_validator(mode="after")
    def _pictures(self) -> Self:
        for image in self.images:
            check_picture(image, headed=True)
        return self


class AirPicture(Body):
    model: Literal["musesteamer-air-image"]
    prompt: str = Field(min_length=1, max_length=1000)
    size: str = "1024x1024"
    seed: Seed | None = None
    prompt_extend: bool = True
    response_format: Literal["url", "b64_json"] = "url"

    @property
    def sides(self) -> tuple[int, int]:
        """Any other size is taken for the usual one, without a word."""
        width, height = (self.size if self.size in AIR_SIZES else "1024x1024").split("x")
        return int(width), int(height)


class Link(Body):
    url: str

    @field_validator("url")
    @classmethod
    def _picture(cls, given: str) -> str:
        return check_picture(given)


class Content(Body):
    type: Literal["text", "image_url"]
    text: str | None = Field(None, max_length=500)
    image_url: Link | None = None


class Task(BaseModel):
    """Of MuseSteamer; the model of effects has parameters that are not known."""

    model_config = ConfigDict(extra="allow")

    models: ClassVar[frozenset[str]] = frozenset(
        {
            *("musesteamer-2.1-turbo-i2v", "musesteamer-2.1-lite-i2v", "musesteamer-2.0-pro-i2v"),
            *("musesteamer-air-i2v", _LONG, _EFFECT),
        }
    )

    model: str
    content: list[Content] = Field(min_length=1)
    duration: int = 5
    watermark: bool = False
    prompt_extend: bool | None = None

    @property
    def prompt(self) -> str | None:
        return next((part.text for part in self.content if part.type == "text"), None)

    @model_validator(mode="after")
    def _as_its_model_wants(self) -> Self:
        if self.duration not in ((5, 10) if self.model == _LONG else (5,)):
            raise ValueError("duration is not supported by the model")
        if len([part for part in self.content if part.image_url]) != 1:
            raise ValueError("content has one image_url")
        if self.prompt_extend is not None and "-air-" not in self.model:
            raise ValueError("prompt_extend is not supported by the model")
        if self.model_extra and self.model != _EFFECT:
            raise ValueError(f"{next(iter(self.model_extra))} is not supported by the model")
        return self


class K(Body):
    """The parameters of the K series."""

    prompt: str | None = Field(None, max_length=2500)
    negative_prompt: str | None = Field(None, max_length=2500)
    image: str | None = None
    image_tail: str | None = None
    duration: Literal["5", "10"] = "5"
    mode: Literal["std", "pro"] = "std"
    cfg_scale: float = Field(0.5, ge=0, le=1)
    sound: Literal["on", "off"] | None = None
    aspect_ratio: Literal["16:9", "9:16", "1:1"] = "16:9"

    @model_validator(mode="after")
    def _pictures(self) -> Self:
        for image in (self.image, self.image_tail):
            if image is not None:
                check_picture(image, headed=False)
        return self


class OmniPicture(Body):
    image_url: str = Field(pattern=r"^https?://")
    type: Literal["first_frame", "end_frame"] | None = None


class OmniVideo(Body):
    video_url: str = Field(pattern=r"^https?://")
    refer_type: Literal["feature", "base"] = "base"
    keep_original_sound: Literal["yes", "no"] = "yes"


class Element(Body):
    element_id: int


class Omni(Body):
    """The parameters of the one model of the K series that takes everything."""

    prompt: str = Field(min_length=1, max_length=2500)
    image_list: list[OmniPicture] = Field(default_factory=list)
    element_list: list[Element] = Field(default_factory=list)
    video_list: list[OmniVideo] = Field(default_factory=list)
    mode: Literal["std", "pro"] = "pro"
    aspect_ratio: Literal["16:9", "9:16", "1:1"] = "16:9"
    duration: Literal["3", "4", "5", "6", "7", "8", "9", "10"] = "5"

    @model_validator(mode="after")
    def _frames(self) -> Self:
        kinds = [one.type for one in self.image_list]
        if "end_frame" in kinds and "first_frame" not in kinds:
            raise ValueError("an end_frame goes with a first_frame")
        return self


class V(Body):
    """The parameters of the V series."""

    images: list[str] = Field(min_length=1, max_length=1)
    prompt: str | None = Field(None, max_length=2000)
    audio: bool = True
    duration: int = Field(5, ge=1, le=16)
    is_rec: bool = False
    resolution: Literal["540p", "720p", "1080p"] = "720p"
    seed: int | None = None

    @model_validator(mode="after")
    def _pictures(self) -> Self:
        for image in self.images:
            check_picture(image, headed=True)
        return self


class KRequest(Body):
    model: str
    type: Literal["text2video", "img2video"]
    model_parameters: K

    @model_validator(mode="after")
    def _as_its_type_wants(self) -> Self:
        asked = self.model_parameters
        if self.type == "img2video" and not asked.image:
            raise ValueError("image is required")
        if self.type == "text2video" and (asked.image or not asked.prompt):
            raise ValueError("a prompt, and no image")
        if asked.sound and self.model not in ("K2.6", "K3.0"):
            raise ValueError("sound is not supported by the model")
        return self


class OmniRequest(Body):
    model: Literal["KO1"]
    type: Literal["omni-video"]
    model_parameters: Omni


class VRequest(Body):
    model: str
    type: Literal["img2video"]
    model_parameters: V


PICTURES: dict[str, type[Picture]] = {"qwen-image": Picture, "flux.1-schnell": Flux}
EDITS: dict[str, type[Edit]] = {"qwen-image-edit": Edit}
HOSTED: dict[str, type[KRequest | OmniRequest | VRequest]] = {
    "KO1": OmniRequest,
    **dict.fromkeys(("K1", "K1.6", "K2.0", "K2.1", "K2.1-Master", "K2.5-Turbo", "K2.6", "K3.0"), KRequest),
    **dict.fromkeys(("VQ3-Pro", "VQ3-Turbo", "qianfan-video-latest"), VRequest),
}
