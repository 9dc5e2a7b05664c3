"""What the older generation of Kling's API takes, by path."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field, model_validator

from genpulse.simulator.clouds.kling.bodies import (
    Body,
    Link,
    Picture,
    PictureShape,
    Prompt,
    Shape,
    shaped,
)


class V1Body(Body):
    model_name: str | None = None
    negative_prompt: Annotated[str, Field(max_length=2500)] | None = None
    callback_url: Link | None = None
    external_task_id: str | None = None


class V1Video(V1Body):
    mode: Literal["std", "pro", "4k"] = "std"
    sound: Literal["on", "off"] = "off"
    cfg_scale: Annotated[float, Field(ge=0, le=1)] = 0.5
    aspect_ratio: Shape = "16:9"
    duration: Annotated[str, Field(strict=True, pattern=r"^([3-9]|1[0-5])$")] = "5"

    @property
    def size(self) -> tuple[int, int]:
        return shaped({"std": 720, "pro": 1080, "4k": 2160}[self.mode], self.aspect_ratio)

    @property
    def seconds(self) -> float:
        return float(self.duration)


class V1TextVideo(V1Video):
    prompt: Prompt


class V1ImageVideo(V1Video):
    prompt: Prompt | None = None
    image: Picture | None = None
    image_tail: Picture | None = None

    @model_validator(mode="after")
    def has_an_image(self) -> V1ImageVideo:
        if self.image is None and self.image_tail is None:
            raise ValueError("image and image_tail cannot both be empty")
        return self


class OmniImageItem(BaseModel, extra="allow"):
    image_url: Picture
    type: Literal["first_frame", "end_frame"] | None = None


class OmniVideoItem(BaseModel, extra="allow"):
    video_url: Link
    refer_type: Literal["base", "feature"] = "base"
    keep_original_sound: Literal["yes", "no"] = "yes"


class V1OmniVideo(V1Video):
    prompt: Prompt | None = None
    mode: Literal["std", "pro", "4k"] = "pro"
    image_list: list[OmniImageItem] = Field(default_factory=list)
    video_list: Annotated[list[OmniVideoItem], Field(max_length=1)] = Field(default_factory=list)


class V1Motion(V1Body):
    prompt: Prompt | None = None
    image_url: Picture
    video_url: Link
    keep_original_sound: Literal["yes", "no"] = "yes"
    character_orientation: Literal["image", "video"]
    mode: Literal["std", "pro"]

    @property
    def size(self) -> tuple[int, int]:
        return shaped({"std": 720, "pro": 1080}[self.mode], None)


class V1Extension(V1Body):
    video_id: str
    prompt: Prompt | None = None
    cfg_scale: Annotated[float, Field(ge=0, le=1)] = 0.5


class Effect(BaseModel, extra="allow"):
    image: Picture | None = None
    images: Annotated[list[Picture], Field(min_length=2, max_length=2)] | None = None

    @model_validator(mode="after")
    def has_an_image(self) -> Effect:
        if (self.image is None) == (self.images is None):
            raise ValueError("either image or images")
        return self


class V1Effect(V1Body):
    effect_scene: str = Field(min_length=1)
    input: Effect


class FaceSearch(BaseModel):
    video_id: str | None = None
    video_url: Link | None = None

    @model_validator(mode="after")
    def has_a_video(self) -> FaceSearch:
        if (self.video_id is None) == (self.video_url is None):
            raise ValueError("either video_id or video_url")
        return self


class Face(BaseModel, extra="allow"):
    face_id: str
    audio_id: str | None = None
    sound_file: Picture | None = None
    sound_volume: Annotated[float, Field(ge=0, le=2)] = 1
    original_audio_volume: Annotated[float, Field(ge=0, le=2)] = 1

    @model_validator(mode="after")
    def says_something(self) -> Face:
        if (self.audio_id is None) == (self.sound_file is None):
            raise ValueError("either audio_id or sound_file")
        return self


class V1LipSync(V1Body):
    session_id: str
    face_choose: list[Face] = Field(min_length=1)


class V1Avatar(V1Body):
    image: Picture
    audio_id: str | None = None
    sound_file: Picture | None = None
    prompt: Prompt | None = None
    mode: Literal["std", "pro"] = "std"

    @model_validator(mode="after")
    def says_something(self) -> V1Avatar:
        if (self.audio_id is None) == (self.sound_file is None):
            raise ValueError("either audio_id or sound_file")
        return self


class V1Soundtrack(V1Body):
    video_id: str | None = None
    video_url: Link | None = None
    sound_effect_prompt: Annotated[str, Field(max_length=200)] | None = None
    bgm_prompt: Annotated[str, Field(max_length=200)] | None = None
    asmr_mode: bool = False

    @model_validator(mode="after")
    def has_a_video(self) -> V1Soundtrack:
        if (self.video_id is None) == (self.video_url is None):
            raise ValueError("either video_id or video_url")
        return self


class V1Sound(V1Body):
    prompt: Annotated[str, Field(min_length=1, max_length=200)]
    duration: Annotated[float, Field(ge=3, le=10)]

    @property
    def seconds(self) -> float:
        return self.duration


class Speech(BaseModel, extra="allow"):
    text: Annotated[str, Field(min_length=1, max_length=1000)]
    voice_id: Annotated[str, Field(min_length=1)]
    voice_language: Literal["zh", "en"]
    voice_speed: Annotated[float, Field(ge=0.8, le=2)] = 1.0


class V1Picture(V1Body):
    prompt: Prompt
    resolution: Literal["1k", "2k", "4k"] = "1k"
    n: Annotated[int, Field(ge=1, le=9)] = 1
    aspect_ratio: PictureShape = "16:9"

    @property
    def size(self) -> tuple[int, int]:
        side = {"1k": 1024, "2k": 2048, "4k": 4096}[self.resolution]
        return shaped(side, None if self.aspect_ratio == "auto" else self.aspect_ratio)

    @property
    def count(self) -> int:
        return self.n


class V1Image(V1Picture):
    image: Picture | None = None

    @model_validator(mode="after")
    def can_be_combined(self) -> V1Image:
        if self.image is not None and self.negative_prompt is not None:
            raise ValueError("negative_prompt is not supported with image")
        if self.resolution == "4k" or self.aspect_ratio == "auto":
            raise ValueError("resolution or aspect_ratio is invalid")
        return self


class ListedImage(BaseModel):
    image: Picture


class V1OmniImage(V1Picture):
    image_list: Annotated[list[ListedImage], Field(max_length=10)] = Field(default_factory=list)
    aspect_ratio: PictureShape = "auto"
    result_type: Literal["single", "series"] = "single"
    series_amount: Annotated[int, Field(ge=2, le=9)] | Literal["auto"] = 4

    @property
    def count(self) -> int:
        if self.result_type == "single":
            return self.n
        return 4 if self.series_amount == "auto" else self.series_amount


class Subject(BaseModel):
    subject_image: Picture


class V1References(V1Body):
    prompt: Prompt | None = None
    subject_image_list: Annotated[list[Subject], Field(min_length=1, max_length=4)]
    scene_image: Picture | None = None
    style_image: Picture | None = None
    n: Annotated[int, Field(ge=1, le=9)] = 1
    aspect_ratio: PictureShape = "16:9"

    @property
    def size(self) -> tuple[int, int]:
        return shaped(1024, self.aspect_ratio)

    @property
    def count(self) -> int:
        return self.n


Growth = Annotated[float, Field(ge=0, le=2)]


class V1Expansion(V1Body):
    image: Picture
    prompt: Prompt | None = None
    n: Annotated[int, Field(ge=1, le=9)] = 1
    up_expansion_ratio: Growth
    down_expansion_ratio: Growth
    left_expansion_ratio: Growth
    right_expansion_ratio: Growth

    @property
    def _growth(self) -> tuple[float, float]:
        wider = 1 + self.left_expansion_ratio + self.right_expansion_ratio
        return wider, 1 + self.up_expansion_ratio + self.down_expansion_ratio

    @property
    def size(self) -> tuple[int, int]:
        wider, higher = self._growth
        return round(512 * wider), round(512 * higher)

    @property
    def count(self) -> int:
        return self.n

    @model_validator(mode="after")
    def grows_to_three_times_at_most(self) -> V1Expansion:
        wider, higher = self._growth
        if wider * higher > 3:
            raise ValueError("the new area is at most 3 times the original one")
        return self


class V1TryOn(V1Body):
    human_image: Picture
    cloth_image: Picture

    @property
    def size(self) -> tuple[int, int]:
        return 768, 1024


class Page(BaseModel):
    number: Annotated[int, Field(ge=1, le=1000, alias="pageNum")] = 1
    size: Annotated[int, Field(ge=1, le=500, alias="pageSize")] = 30


_VIDEOS = frozenset({"kling-v2-5-turbo", "kling-v2-6", "kling-v3"})
#: Paths of the older generation, and their models; where there are none, the body names none.
V1: dict[str, tuple[type[V1Body], frozenset[str]]] = {
    "/v1/videos/text2video": (V1TextVideo, _VIDEOS),
    "/v1/videos/image2video": (V1ImageVideo, _VIDEOS),
    "/v1/videos/omni-video": (V1OmniVideo, frozenset({"kling-video-o1", "kling-v3-omni"})),
    "/v1/videos/motion-control": (V1Motion, frozenset({"kling-v2-6", "kling-v3"})),
    "/v1/videos/avatar/image2video": (V1Avatar, frozenset()),
    "/v1/audio/video-to-audio": (V1Soundtrack, frozenset()),
    "/v1/audio/text-to-audio": (V1Sound, frozenset()),
    "/v1/videos/video-extend": (V1Extension, frozenset()),
    "/v1/videos/advanced-lip-sync": (V1LipSync, frozenset()),
    "/v1/videos/effects": (V1Effect, frozenset()),
    "/v1/images/generations": (V1Image, frozenset({"kling-v2-1", "kling-v3"})),
    "/v1/images/omni-image": (V1OmniImage, frozenset({"kling-image-o1", "kling-v3-omni"})),
    "/v1/images/multi-image2image": (V1References, frozenset({"kling-v2-1"})),
    "/v1/images/editing/expand": (V1Expansion, frozenset()),
    "/v1/images/kolors-virtual-try-on": (
        V1TryOn,
        frozenset({"kolors-virtual-try-on-v1", "kolors-virtual-try-on-v1-5"}),
    ),
}
