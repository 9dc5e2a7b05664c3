"""What the new generation of Kling's API takes, by path."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, Field, model_validator

from genpulse.simulator.clouds.kling.bodies import (
    Body,
    Link,
    LongPrompt,
    Picture,
    Resolution,
    Shape,
    shaped,
)


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


#: Families of the new generation, and their models.
TASKS: dict[str, tuple[type[TaskBody], frozenset[str]]] = {
    "text-to-video": (TextTask, frozenset({"kling-3.0", "kling-3.0-turbo", "kling-2.6", "kling-2.5-turbo"})),
    "image-to-video": (FrameTask, frozenset({"kling-3.0", "kling-3.0-turbo", "kling-2.6", "kling-2.5-turbo"})),
    "omni-video": (OmniTask, frozenset({"kling-3.0-omni"})),
    "motion-control": (MotionTask, frozenset({"kling-3.0", "kling-2.6"})),
}
