"""What the Agents API takes, as strictly as it does."""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Iterator
from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, model_validator

Link = Annotated[str, StringConstraints(pattern=r"^https?://")]
Change = Literal[
    "adhere_1", "adhere_2", "adhere_3", "flex_1", "flex_2", "flex_3", "reimagine_1", "reimagine_2", "reimagine_3"
]
_FRAMES = {"5s": 120, "10s": 240, None: 120}
_VIDEO_SHAPES = frozenset({"16:9", "9:16", "1:1", "4:3", "3:4", "21:9"})
_IMAGE_SHAPES = frozenset({"3:1", "2:1", "16:9", "3:2", "1:1", "2:3", "9:16", "1:2", "1:3"})
_VIDEO_TYPES = frozenset({"video", "video_edit", "video_reframe"})


def need(condition: object, said: str) -> None:
    """Raise what becomes the cloud's own error."""
    if not condition:
        raise ValueError(said)


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Reference(Body):
    url: Link | None = None
    data: str | None = None
    media_type: str | None = None
    generation_id: str | None = None
    file_id: str | None = None

    @model_validator(mode="after")
    def _is_one_thing(self) -> Self:
        given = [one for one in (self.url, self.data, self.generation_id, self.file_id) if one is not None]
        need(len(given) == 1, "provide exactly one of url, data, generation_id, or file_id")
        if self.data is not None:
            need(self.media_type, "media_type is required with data")
            try:
                need(b64decode(self.data, validate=True), "data is empty")
            except binascii.Error:
                raise ValueError("data is not valid base64") from None
        return self

    @property
    def is_video(self) -> bool:
        return (self.media_type or "").startswith("video/")

    @property
    def is_inline(self) -> bool:
        """Whether the file itself, or its address, is given."""
        return self.url is not None or self.data is not None


class _Switch(Body):
    enabled: bool | None = None


class _Pose(_Switch):
    strength: Literal["precise", "coarse"] | None = None


class _Depth(_Switch):
    blur: float | None = Field(None, ge=0, le=1)


class _Normals(_Switch):
    augmentation: float | None = Field(None, ge=0, le=1)


class _Trajectory(_Switch):
    sparsity: float | None = Field(None, ge=0, le=1)


class _Controls(Body):
    depth: _Depth | None = None
    face: _Switch | None = None
    normals: _Normals | None = None
    pose: _Pose | None = None
    trajectory: _Trajectory | None = None


class _Anchors(Body):
    """Guide frames and where they stand."""

    keyframes: list[Reference] | None = Field(None, min_length=1, max_length=64)
    keyframe_indexes: list[Annotated[int, Field(ge=0)]] | None = None

    @model_validator(mode="after")
    def _are_parallel(self) -> Self:
        indexes = self.keyframe_indexes or []
        need(len(self.keyframes or []) == len(indexes), "keyframes and keyframe_indexes must match in length")
        need(len(set(indexes)) == len(indexes), "keyframe_indexes must be unique")
        return self


class Edit(_Anchors):
    auto_controls: bool | None = None
    controls: _Controls | None = None
    strength: Change | None = None


class _Position(Body):
    x_norm: float
    y_norm: float
    w_norm: float = Field(gt=0, le=2)
    h_norm: float = Field(gt=0, le=2)


class VideoOptions(_Anchors):
    resolution: Literal["360p", "540p", "720p", "1080p"] | None = None
    duration: Literal["5s", "10s"] | None = None
    start_frame: Reference | None = None
    end_frame: Reference | None = None
    loop: bool | None = None
    hdr: bool | None = None
    exr_export: bool | None = None
    source_position: _Position | None = None
    edit: Edit | None = None

    @model_validator(mode="after")
    def _go_together(self) -> Self:
        framed = self.start_frame or self.end_frame
        need(not (self.keyframes and (framed or self.loop)), "keyframes exclude start_frame, end_frame and loop")
        need(not (framed and self.duration == "10s"), "start_frame and end_frame support duration 5s only")
        need(not (self.loop and (self.duration == "10s" or self.hdr)), "loop excludes duration 10s and hdr")
        need(not self.exr_export or self.hdr, "exr_export requires hdr")
        need(not (self.hdr and self.resolution == "360p"), "hdr is not valid at 360p")
        last = max(self.keyframe_indexes or [0])
        need(last <= _FRAMES[self.duration], "keyframe_indexes lie outside the video")
        if self.edit and self.edit.keyframes:
            need(self.start_frame is None, "edit.keyframes exclude start_frame")
        return self


class _Layering(Body):
    resolution: Literal["1k", "2k"] = "1k"


class Generation(Body):
    prompt: str = Field(max_length=6000)
    model: Literal["uni-1", "uni-1-max", "ray-3.2"] = "uni-1"
    type: Literal["image", "image_edit", "video", "video_edit", "video_reframe", "layering"] = "image"
    aspect_ratio: str | None = None
    output_format: Literal["png", "jpeg"] | None = None
    image_ref: list[Reference] = Field(default_factory=list)
    source: Reference | None = None
    style: Literal["auto", "manga"] | None = None
    layering: _Layering | None = None
    user_id: str | None = None
    video: VideoOptions | None = None
    web_search: bool | None = None

    @property
    def is_video(self) -> bool:
        return self.type in _VIDEO_TYPES

    def references(self) -> Iterator[Reference]:
        """Every file that the request speaks of."""
        video = self.video or VideoOptions()
        edit = video.edit or Edit()
        yield from (one for one in (self.source, video.start_frame, video.end_frame) if one)
        yield from (*self.image_ref, *(video.keyframes or ()), *(edit.keyframes or ()))

    @model_validator(mode="after")
    def _of_its_model(self) -> Self:
        need(self.is_video == (self.model == "ray-3.2"), f"type {self.type} is not supported by {self.model}")
        need(self.type != "layering" or self.model == "uni-1", "layering is made by uni-1")
        shapes = _VIDEO_SHAPES if self.is_video else _IMAGE_SHAPES
        need(self.aspect_ratio is None or self.aspect_ratio in shapes, "aspect_ratio is not supported by this model")
        need(self.video is None or self.is_video, "video options are for videos")
        need(not (self.is_video and (self.image_ref or self.output_format)), "image options are for images")
        return self

    @model_validator(mode="after")
    def _of_its_type(self) -> Self:
        need(self.prompt.strip() or self.type == "layering", "prompt is required")
        need(self.type != "layering" or len(self.prompt) <= 500, "prompt of layering has at most 500 characters")
        need((self.source is not None) == (self.type not in ("image", "video")), f"source does not go with {self.type}")
        need(len(self.image_ref) <= {"image": 9, "image_edit": 8}.get(self.type, 0), "too many image_ref")
        need(self.type == "layering" or self.layering is None, "layering options are for layering")
        edits = self.video.edit if self.video else None
        need(edits is None or self.type == "video_edit", "video.edit is for video_edit")
        need(self.type != "video_reframe" or self.aspect_ratio, "aspect_ratio is required to reframe")
        position = self.video.source_position if self.video else None
        need(position is None or self.type == "video_reframe", "source_position is for video_reframe")
        return self

    @model_validator(mode="after")
    def _of_its_files(self) -> Self:
        for one in self.references():
            wants_video = one is self.source and self.is_video
            need(not one.is_inline or one.is_video == wants_video, "media_type does not fit this position")
        return self


class NewFile(Body):
    mime_type: str = Field(min_length=3)
    size_bytes: int = Field(gt=0, le=5 * 2**30)
    expires_at: AwareDatetime | None = None
    filename: str | None = None
    purpose: Literal["input", "reference"] = "input"
    user_id: str | None = None
