"""What VOD, aiart and tiia take, as strictly as they do."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_pascal

_SIDES = {"540P": 540, "720P": 720, "768P": 768, "1080P": 1080, "1K": 1024, "2K": 1440, "4K": 2160}
_RATIOS = re.compile(r"(\d+):(\d+)")
_MOST_FILES = 7 * 2**20
_SMALL = ("720P", "1080P")
_WIDE = ("16:9", "9:16", "1:1")
_SHAPES = ("16:9", "4:3", "1:1", "3:4", "9:16", "2:3", "3:2", "21:9")
Switch = Literal["Enabled", "Disabled"]


class Studio(NamedTuple):
    """What the video models of a vendor make."""

    versions: tuple[str, ...]
    resolutions: tuple[str, ...] = ()
    seconds: tuple[int, ...] = ()
    ratios: tuple[str, ...] = ()


VIDEO = {
    "Kling": Studio(
        ("1.6", "2.0", "2.1", "2.5", "2.6", "O1", "3.0", "3.0-Omni", "3.0-turbo", "scene"),
        _SMALL,
        tuple(range(3, 16)),
        _WIDE,
    ),
    "Hailuo": Studio(
        ("02", "2.3", "2.3-fast", "H3", "H3_regen", "H3-Max"),
        ("768P", "1080P", "2K", "4K"),
        tuple(range(4, 16)),
        ("21:9", "16:9", "4:3", "1:1", "3:4", "9:16"),
    ),
    "Vidu": Studio(
        (
            *("q2", "q2-pro", "q2-turbo", "q3", "q3-pro", "q3-turbo", "q3-mix", "q3-drama", "q3-ad", "scene"),
            *("avatar-q2-pro", "avatar-q2-turbo", "lip-sync"),
        ),
        _SMALL,
        tuple(range(1, 11)),
        (*_WIDE, "4:3", "3:4"),
    ),
    "GV": Studio(("3.1", "3.1-fast", "3.1-lite", "omni"), _SMALL, (8,), ("16:9", "9:16")),
    "OS": Studio(("2.0",), ("720P",), (4, 8, 12), ("16:9", "9:16")),
    "Hunyuan": Studio(("1.5", "3d_2.0")),
    "Mingmou": Studio(("1.0",)),
    "PixVerse": Studio(("v5.6", "v6", "c1"), ("540p", "720p", "1080p", "2k", "4k"), tuple(range(1, 16)), _SHAPES),
}


class Canvas(NamedTuple):
    """What one picture model makes, and from how many pictures."""

    files: int = 0
    resolutions: tuple[str, ...] = ()
    ratios: tuple[str, ...] = ()
    most: int = 1


_K4, _KLING = ("1K", "2K", "4K"), (*_SHAPES, "auto")
_OG = Canvas(10, _K4, ("1:1", "3:2", "2:3", "3:4", "4:3", "16:9", "9:16", "21:9", "9:21"), 8)
_GG = ("1:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "21:9")
_GG_31 = (*_GG, "1:4", "1:8", "4:1", "8:1")
PICTURES = {
    ("OG", "image2_low"): _OG,
    ("OG", "image2_medium"): _OG,
    ("OG", "image2_high"): _OG,
    ("GG", "2.5"): Canvas(3, _K4, _GG),
    ("GG", "3.0"): Canvas(14, _K4, _GG),
    ("GG", "3.1"): Canvas(14, ("720P", *_K4), _GG_31),
    ("GG", "3.1-lite"): Canvas(14, (), _GG_31),
    ("Hunyuan", "3.0"): Canvas(3),
    ("Hunyuan", "3d_2.0"): Canvas(),
    ("Hunyuan", "3.5-preview"): Canvas(),
    ("Vidu", "q2"): Canvas(7, ("1080p", "2K", "4K"), _SHAPES),
    ("Kling", "2.1"): Canvas(4, ("1k", "2k"), _SHAPES, 9),
    ("Kling", "3.0"): Canvas(1, ("1k", "2k"), _SHAPES, 9),
    ("Kling", "3.0-Omni"): Canvas(10, ("1k", "2k", "4k"), _KLING, 9),
    ("Kling", "O1"): Canvas(10, ("1k", "2k", "4k"), _KLING, 9),
    ("Kling", "scene"): Canvas(1),
    ("Mingmou", "1.0"): Canvas(),
}


def need(condition: object, said: str) -> None:
    """Raise what becomes the cloud's own error."""
    if not condition:
        raise ValueError(said)


def decoded(text: str) -> bytes:
    """Plain base64, without what stands before it in a data URI."""
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise ValueError("base64 is not valid") from None


class Body(BaseModel):
    """Strict about names and types."""

    model_config = ConfigDict(alias_generator=to_pascal, extra="forbid")  # type: ignore[pydantic-alias]  # by no other


class _File(Body):
    type: Literal["Url", "File", "Base64"]
    url: str | None = None
    file_id: str | None = None
    base64: str | None = None
    reference_type: str | None = None
    text: str | None = None

    @property
    def size(self) -> int:
        return len(decoded(self.base64)) if self.base64 else 0

    @model_validator(mode="after")
    def _own_member(self) -> Self:
        given = {"Url": self.url, "File": self.file_id, "Base64": self.base64}[self.type]
        need(given, f"{self.type} is required")
        need(self.type != "Url" or str(given).startswith(("http://", "https://")), "Url is not valid")
        need(self.type != "Base64" or self.size, "Base64 is empty")
        return self


class VideoFile(_File):
    category: Literal["Image", "Video", "Audio"] = "Image"
    usage: Literal["FirstFrame", "LastFrame", "Reference"] = "FirstFrame"
    object_id: str | None = None
    voice_id: str | None = None
    keep_original_sound: Switch | None = None


class _Output(Body):
    storage_mode: Literal["Temporary", "Permanent"] = "Temporary"
    media_name: str | None = Field(None, max_length=64)
    class_id: int | None = None
    expire_time: str | None = None
    resolution: str | None = None
    aspect_ratio: str | None = None
    person_generation: Literal["AllowAdult", "Disallowed"] | None = None
    input_compliance_check: Switch | None = None
    output_compliance_check: Switch | None = None
    logo_add: Switch | None = None

    def size(self, default: str) -> tuple[int, int]:
        short = _SIDES[(self.resolution or default).upper()]
        shape = _RATIOS.fullmatch(self.aspect_ratio or "16:9")
        ratio = int(shape[1]) / int(shape[2]) if shape else 1.0
        return (round(short * ratio), short) if ratio >= 1 else (short, round(short / ratio))


class VideoOutput(_Output):
    duration: int | None = None
    audio_generation: Switch | None = None
    enhance_switch: Switch | None = None
    off_peak: Switch | None = None
    frame_interpolate: Switch | None = None
    enable_bgm: Switch | None = Field(None, validation_alias="EnableBGM")


class PictureOutput(_Output):
    output_image_count: int | None = Field(None, ge=1)
    output_format: Literal["jpeg", "png"] | None = None


class _Task(Body):
    sub_app_id: int | None = None
    model_name: str
    model_version: str
    prompt: str | None = None
    negative_prompt: str | None = None
    enhance_prompt: Switch | None = None
    input_region: Literal["Mainland", "Oversea", "OverseaUSWest"] | None = None
    scene_type: str | None = None
    seed: int | None = None
    session_id: str = Field("", max_length=50)
    session_context: str = Field("", max_length=1000)
    tasks_priority: int = Field(0, ge=-10, le=10)
    ext_info: str | None = None


class VideoTask(_Task):
    file_infos: list[VideoFile] = Field(default_factory=list)
    subject_infos: list[dict[str, Any]] | None = None
    last_frame_url: str | None = None
    last_frame_file_id: str | None = None
    output_config: VideoOutput = Field(default_factory=VideoOutput)
    procedure: str | None = None

    @model_validator(mode="after")
    def _as_the_model_takes_it(self) -> Self:
        studio = VIDEO.get(self.model_name)
        need(studio is not None and self.model_version in studio.versions, "ModelName or ModelVersion is invalid")
        assert studio is not None
        need(self.prompt or self.file_infos or self.ext_info, "Prompt is required")
        usages = [file.usage for file in self.file_infos if file.category == "Image"]
        last = "LastFrame" in usages or self.last_frame_url or self.last_frame_file_id
        need(not last or "FirstFrame" in usages, "a last frame needs a first frame")
        need(usages.count("FirstFrame") <= 1 and usages.count("LastFrame") <= 1, "one frame of each kind")
        need(sum(file.size for file in self.file_infos) <= _MOST_FILES, "the files are larger than 7 MB")
        self._scene()
        _check_output(self.output_config, studio.resolutions, studio.ratios)
        seconds = self.output_config.duration
        need(seconds is None or seconds in studio.seconds, "OutputConfig.Duration is invalid")
        return self

    def _scene(self) -> None:
        scenes = {"Kling": {"motion_control", "avatar_i2v", "lip_sync"}, "Vidu": {"template_effect"}}
        need(self.scene_type is None or self.scene_type in scenes.get(self.model_name, ()), "SceneType is invalid")
        if self.model_name == "Hailuo" and not self.model_version.startswith("H3"):
            need(self.output_config.duration in (None, 6, 10), "OutputConfig.Duration is 6 or 10")
            need(self.output_config.resolution in (None, "768P", "1080P"), "OutputConfig.Resolution is invalid")


class PictureTask(_Task):
    file_infos: list[_File] = Field(default_factory=list)
    output_config: PictureOutput = Field(default_factory=PictureOutput)

    @model_validator(mode="after")
    def _as_the_model_takes_it(self) -> Self:
        canvas = PICTURES.get((self.model_name, self.model_version))
        need(canvas is not None, "ModelName or ModelVersion is invalid")
        assert canvas is not None
        need(self.prompt or self.file_infos, "Prompt is required")
        sources = [file for file in self.file_infos if file.reference_type != "mask"]
        need(len(sources) <= canvas.files, "too many FileInfos")
        need(sum(file.size for file in self.file_infos) <= _MOST_FILES, "the files are larger than 7 MB")
        need(len(sources) == len(self.file_infos) or self.model_name == "OG", "this model takes no mask")
        _check_output(self.output_config, canvas.resolutions, canvas.ratios)
        need((self.output_config.output_image_count or 1) <= canvas.most, "OutputConfig.OutputImageCount is invalid")
        return self


class TaskDetail(Body):
    sub_app_id: int | None = None
    task_id: str


class _Sort(Body):
    field: Literal["CreateTime", "FinishTime"]
    order: Literal["Asc", "Desc"]


class TaskList(Body):
    sub_app_id: int | None = None
    status: Literal["WAITING", "PROCESSING", "FINISH"] | None = None
    file_id: str | None = None
    create_time: dict[str, str] | None = None
    finish_time: dict[str, str] | None = None
    sort: _Sort | None = None
    limit: int = Field(10, ge=1, le=100)
    scroll_token: str = ""


class Returned(Body):
    """What all actions of aiart have in common."""

    rsp_img_type: Literal["base64", "url"] = "base64"


class Background(Returned):
    product_url: str = Field(pattern=r"^https?://")
    prompt: str = Field(min_length=1, max_length=256)
    negative_prompt: str | None = Field(None, max_length=256)
    product: str | None = Field(None, max_length=50)
    background_template: str | None = None
    mask_url: str | None = Field(None, pattern=r"^https?://")
    resolution: str = Field("1280:1280", pattern=r"^\d+:\d+$")
    logo_add: int | None = None
    logo_param: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _within_limits(self) -> Self:
        sides = [int(side) for side in self.resolution.split(":")]
        need(all(500 < side < 4000 for side in sides), "Resolution is out of range")
        need(max(sides) <= 2.5 * min(sides), "Resolution is too long")
        return self


class Picture(Returned):
    """What most of them have in common."""

    input_image: str | None = None
    input_url: str | None = None

    @model_validator(mode="after")
    def _one_picture(self) -> Self:
        need(self.input_image or self.input_url, "InputImage or InputUrl is required")
        if self.input_image:
            need(len(self.input_image) < 6 * 2**20 and decoded(self.input_image), "InputImage is not valid")
        return self


class _Marked(Picture):
    logo_add: int | None = None
    logo_param: dict[str, Any] | None = None


class Outpainting(_Marked):
    ratio: Literal["1:1", "4:3", "3:4", "16:9", "9:16"]


class Removal(_Marked):
    mask: str | None = None
    mask_url: str | None = None

    @model_validator(mode="after")
    def _one_mask(self) -> Self:
        need(self.mask_url or (self.mask and decoded(self.mask)), "Mask or MaskUrl is required")
        return self


class Sketch(_Marked):
    prompt: str = Field(min_length=1, max_length=200)


class Pro(Body):
    prompt: str = Field(min_length=1, max_length=100)
    style: str | None = None
    resolution: Literal[
        "768:768", "768:1024", "1024:768", "1024:1024", "720:1280", "1280:720", "768:1280", "1280:768"
    ] = "1024:1024"
    logo_add: int | None = None
    engine: Literal["engine1", "engine2"] = "engine1"
    revise: Literal[0, 1] = 1


class Enhance(Body):
    image_url: str | None = None
    image_base64: str | None = None

    @model_validator(mode="after")
    def _one_picture(self) -> Self:
        need(self.image_url or self.image_base64, "ImageUrl or ImageBase64 is required")
        if self.image_base64:
            need(len(self.image_base64) <= 4 * 2**20 and decoded(self.image_base64), "ImageBase64 is not valid")
        return self


AIART: dict[str, type[Returned]] = {
    "RefineImage": Picture,
    "ImageOutpainting": Outpainting,
    "ImageInpaintingRemoval": Removal,
    "SketchToImage": Sketch,
    "ReplaceBackground": Background,
}


def _check_output(output: _Output, resolutions: tuple[str, ...], ratios: tuple[str, ...]) -> None:
    need(output.resolution is None or output.resolution in resolutions, "OutputConfig.Resolution is invalid")
    need(output.aspect_ratio is None or output.aspect_ratio in ratios, "OutputConfig.AspectRatio is invalid")
