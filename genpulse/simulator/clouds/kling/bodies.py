"""What Kling takes: the bodies of both generations of its API, by path."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, Field, model_validator

Prompt = Annotated[str, Field(min_length=1, max_length=2500)]
LongPrompt = Annotated[str, Field(min_length=1, max_length=3072)]
Resolution = Literal["720p", "1080p", "4k"]
Shape = Literal["16:9", "9:16", "1:1"]
PictureShape = Literal["16:9", "9:16", "1:1", "4:3", "3:4", "3:2", "2:3", "21:9", "auto"]
Link = Annotated[str, Field(pattern=r"^https?://.")]
Picture = Annotated[str, Field(pattern=r"^(https?://.+|[A-Za-z0-9+/]+=*)$")]
"""A URL, or base64 without the prefix of a data URL."""


class Body(BaseModel, extra="allow"):
    """What a task of either generation has; `size`, `seconds` and `count` are of what comes out."""

    prompt: str | None = None

    @property
    def size(self) -> tuple[int, int]:
        return 1280, 720

    @property
    def seconds(self) -> float:
        return 5.0

    @property
    def count(self) -> int:
        return 1


def shaped(short: int, shape: str | None) -> tuple[int, int]:
    """Width and height of this shorter side."""
    width, height = map(int, (shape or "16:9").split(":"))
    return round(short * max(1.0, width / height)), round(short * max(1.0, height / width))


# Bodies of the new generation ---------------------------------------------------------------------------------------


class Options(BaseModel, extra="allow"):
    callback_url: Link | None = None
    external_task_id: str | None = None


class Settings(BaseModel, extra="allow"):
    audio: Literal["native", "original", "off"] = "off"
    resolution: Resolution = "720p"
    aspect_ratio: Shape | None = None
    duration: Annotated[int, Field(ge=3, le=15, strict=True)] = 5


class Content(BaseModel, extra="allow"):
    type: str
    text: LongPrompt | None = None
    url: Picture | None = None


class TaskBody(Body):
    settings: Settings = Field(default_factory=Settings)
    options: Options = Field(default_factory=Options)

    @property
    def size(self) -> tuple[int, int]:
        return shaped({"720p": 720, "1080p": 1080, "4k": 2160}[self.settings.resolution], self.settings.aspect_ratio)

    @property
    def seconds(self) -> float:
        return float(self.settings.duration)


class MotionSettings(Settings):
    audio: Literal["original", "off"] = "original"
    resolution: Literal["720p", "1080p"] = "720p"
    character_orientation: Literal["image", "video"]


class TextTask(TaskBody):
    prompt: LongPrompt


class ContentTask(TaskBody):
    contents: list[Content] = Field(min_length=1)
    known: ClassVar[frozenset[str]] = frozenset({"prompt", "first_frame", "last_frame", "element"})

    @property
    def types(self) -> list[str]:
        return [content.type for content in self.contents]

    @model_validator(mode="after")
    def is_complete(self) -> ContentTask:
        for content in self.contents:
            if content.type not in self.known:
                raise ValueError(f"{content.type} is no type here")
            if content.type == "prompt":
                self.prompt = content.text
            if content.type not in ("prompt", "element") and content.url is None:
                raise ValueError(f"{content.type} has no url")
        if "last_frame" in self.types and "first_frame" not in self.types:
            raise ValueError("last_frame needs first_frame")
        return self


class FrameTask(ContentTask):
    @model_validator(mode="after")
    def begins_with_a_frame(self) -> FrameTask:
        if "first_frame" not in self.types:
            raise ValueError("first_frame is required")
        return self


class OmniTask(ContentTask):
    known = ContentTask.known | {"refer_image", "feature_video", "base_video"}

    @model_validator(mode="after")
    def can_be_combined(self) -> OmniTask:
        videos = [content for content in self.contents if content.type.endswith("_video")]
        if len(videos) > 1 or any(not (video.url or "").startswith("http") for video in videos):
            raise ValueError("at most one video, by URL")
        if not videos and "first_frame" not in self.types and self.settings.aspect_ratio is None:
            raise ValueError("aspect_ratio is required")
        if "base_video" in self.types and ("first_frame" in self.types or self.settings.audio == "native"):
            raise ValueError("base_video excludes frames and native audio")
        if "feature_video" in self.types and self.settings.audio != "off":
            raise ValueError("feature_video excludes audio")
        pictures = sum(content.type in {"first_frame", "last_frame", "refer_image"} for content in self.contents)
        elements = self.types.count("element")
        if pictures + elements > (4 if videos else 7) or ("first_frame" in self.types and elements > 3):
            raise ValueError("too many images and elements")
        return self


class MotionTask(ContentTask):
    settings: MotionSettings
    known = frozenset({"prompt", "image", "video"})

    @model_validator(mode="after")
    def is_one_of_each(self) -> MotionTask:
        if (self.types.count("image"), self.types.count("video")) != (1, 1):
            raise ValueError("one image and one video")
        if not next(content.url or "" for content in self.contents if content.type == "video").startswith("http"):
            raise ValueError("the video by URL")
        return self


class Filter(BaseModel):
    key: Literal["status", "product_type"]
    values: list[str]


class TaskQuery(BaseModel):
    """Times are milliseconds."""

    start_time: int = 0
    end_time: int = 2**53
    cursor: Annotated[int, Field(ge=0)] = 0
    limit: Annotated[int, Field(ge=1, le=500)] = 100
    filters: list[Filter] = Field(default_factory=list)

    def wants(self, task: dict[str, Any]) -> bool:
        """Every task is of the product `video`."""
        known = {"status": task["status"], "product_type": "video"}
        in_time = self.start_time <= task["create_time"] <= self.end_time
        return in_time and all(known[one.key] in one.values for one in self.filters)


# Bodies of the older generation -------------------------------------------------------------------------------------


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


#: Families of the new generation, and their models.
TASKS: dict[str, tuple[type[TaskBody], frozenset[str]]] = {
    "text-to-video": (TextTask, frozenset({"kling-3.0", "kling-3.0-turbo", "kling-2.6", "kling-2.5-turbo"})),
    "image-to-video": (FrameTask, frozenset({"kling-3.0", "kling-3.0-turbo", "kling-2.6", "kling-2.5-turbo"})),
    "omni-video": (OmniTask, frozenset({"kling-3.0-omni"})),
    "motion-control": (MotionTask, frozenset({"kling-3.0", "kling-2.6"})),
}
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
