"""What DashScope's models are asked for: bodies, the paths that serve each model, and what each of them refuses."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from genpulse.simulator.jobs import Job, State
from genpulse.simulator.wire import Refusal

STATUS = {
    State.QUEUED: "PENDING",
    State.RUNNING: "RUNNING",
    State.SUCCEEDED: "SUCCEEDED",
    State.FAILED: "FAILED",
    State.CANCELLED: "CANCELED",
}

TEXT2IMAGE = "text2image/image-synthesis"
IMAGE2IMAGE = "image2image/image-synthesis"
GENERATION = "image-generation/generation"
MULTIMODAL = "multimodal-generation/generation"
VIDEO = "video-generation/video-synthesis"
IMAGE2VIDEO = "image2video/video-synthesis"

TTS = "qwen3-tts-flash"
#: Whose results are not a list.
ANIMATED = frozenset({"wan2.2-s2v", "wan2.2-animate-move", "wan2.2-animate-mix"})

_QWEN_SIZES = frozenset({(1664, 928), (1472, 1104), (1328, 1328), (1104, 1472), (928, 1664)})
SHAPES = {"16:9": (16, 9), "9:16": (9, 16), "1:1": (1, 1), "4:3": (4, 3), "3:4": (3, 4), "21:9": (21, 9)}


class _Message(BaseModel):
    role: Literal["user"]
    content: list[dict[Literal["text", "image"], str]]


class _Item(BaseModel):
    type: str
    url: str


class Input(BaseModel):
    """Of all families; what else is sent is tolerated."""

    model_config = ConfigDict(extra="allow")

    prompt: str | None = None
    speech: str | None = Field(None, alias="text", max_length=600)
    messages: Annotated[list[_Message], Field(min_length=1, max_length=1)] | None = None
    media: list[_Item] | None = None

    @property
    def text(self) -> str | None:
        if self.messages is None:
            return self.prompt or self.speech
        return next((part["text"] for part in self.messages[0].content if "text" in part), None)

    def addresses(self) -> list[str]:
        """Of all files, wherever they stand."""
        extra = self.model_extra or {}
        named = [
            value
            for name, value in extra.items()
            if name.endswith(("_url", "ref_image")) and isinstance(value, str) and value
        ]
        listed = [one for name in ("images", "reference_urls", "ref_images_url") for one in extra.get(name, [])]
        parts = [part["image"] for message in self.messages or () for part in message.content if "image" in part]
        return [*named, *listed, *parts, *(item.url for item in self.media or ())]


class _Parameters(BaseModel):
    model_config = ConfigDict(extra="allow")

    size: str | None = Field(None, pattern=r"^(\d{2,4}\*\d{2,4}|[124]K)$")
    resolution: Literal["480P", "720P", "1080P"] | None = None
    ratio: Literal["adaptive", "21:9", "16:9", "9:16", "1:1", "4:3", "3:4"] | None = None
    n: int = Field(1, ge=1, le=12)
    seed: int | None = Field(None, ge=0, le=2147483647)
    duration: int = Field(5, ge=2, le=30)
    upscale_factor: int = Field(1, ge=1, le=4)
    strength: float = Field(0.5, ge=0, le=1)
    video_fps: int = Field(15, ge=15, le=30)
    style: int | str = 0
    mode: Literal["wan-std", "wan-pro"] | None = None

    @property
    def sides(self) -> tuple[int, int] | None:
        if self.size is None or self.size.endswith("K"):
            return None
        width, height = self.size.split("*")
        return int(width), int(height)


class Creation(BaseModel):
    model: str = Field(min_length=1)
    input: Input
    parameters: _Parameters = _Parameters()


class Listing(BaseModel):
    """What is asked of the list of tasks."""

    task_id: str | None = None
    model_name: str | None = None
    status: str | None = None
    start_time: str | None = None
    end_time: str | None = None
    page_no: int = Field(1, ge=1)
    page_size: int = Field(10, ge=1)

    def shows(self, job: Job) -> bool:
        asked = {job.id: self.task_id, job.model: self.model_name, STATUS[job.state]: self.status}
        return all(wanted in {None, there} for there, wanted in asked.items())


class Service(BaseModel):
    """Of one model: where it is served, how, and what it takes."""

    model_config = ConfigDict(frozen=True)

    path: str
    synchronous: bool = False
    asynchronous: bool = True
    needs: tuple[str, ...] = ("prompt",)
    """Fields of `input`; of messages, `prompt` is their text."""
    pictures: tuple[int, int] = (0, 0)
    """How many a message holds."""
    most: int = 4
    allows: Callable[[int, int], bool] = lambda _width, _height: True


def _pixels(least: int, most: int, ratio: float = 8) -> Callable[[int, int], bool]:
    return lambda width, height: (
        least**2 <= width * height <= most**2 and max(width, height) <= ratio * min(width, height)
    )


def _sides(least: int, most: int) -> Callable[[int, int], bool]:
    return lambda width, height: least <= min(width, height) and max(width, height) <= most


def _is_qwen_size(width: int, height: int) -> bool:
    return (width, height) in _QWEN_SIZES


def _qwen_max(width: int, height: int) -> bool:
    return _is_qwen_size(width, height) or _pixels(512, 2048)(width, height)


_WAN_T2I = Service(path=TEXT2IMAGE, allows=_sides(512, 1440))
_QWEN_T2I = Service(path=TEXT2IMAGE, most=1, allows=_is_qwen_size)
_QWEN_2 = Service(
    path=MULTIMODAL, synchronous=True, asynchronous=False, pictures=(0, 3), most=6, allows=_pixels(512, 2048)
)
_QWEN_3 = Service(path=GENERATION, synchronous=True, pictures=(0, 3), most=6, allows=_pixels(512, 2048))
_WAN_27_IMAGE = Service(path=GENERATION, synchronous=True, pictures=(0, 9), most=12, allows=_pixels(768, 4096))
_EDIT = Service(
    path=MULTIMODAL, synchronous=True, asynchronous=False, pictures=(1, 3), most=6, allows=_sides(512, 2048)
)
_T2V = Service(path=VIDEO)
_I2V = Service(path=VIDEO, needs=("img_url",))
_MEDIA = Service(path=VIDEO, needs=("media",))
_R2V = Service(path=VIDEO, needs=("prompt", "reference_urls"))
_ANIMATE = Service(path=IMAGE2VIDEO, needs=("image_url", "video_url"))
_KF2V = Service(path=IMAGE2VIDEO, needs=("first_frame_url", "last_frame_url"))

SERVICES: dict[str, Service] = {
    "wan2.5-t2i-preview": Service(path=TEXT2IMAGE, allows=_pixels(1280, 1440, 4)),
    **dict.fromkeys(("wan2.2-t2i-flash", "wan2.2-t2i-plus", "wanx2.1-t2i-turbo", "wanx2.1-t2i-plus"), _WAN_T2I),
    "wanx2.0-t2i-turbo": _WAN_T2I,
    "wanx-v1": Service(path=TEXT2IMAGE),
    **dict.fromkeys(("qwen-image", "qwen-image-plus"), _QWEN_T2I),
    "wan2.6-t2i": Service(path=GENERATION, synchronous=True, allows=_pixels(1280, 1440, 4)),
    "wan2.6-image": Service(path=GENERATION, synchronous=True, pictures=(1, 4), allows=_pixels(768, 2048)),
    **dict.fromkeys(("wan2.7-image", "wan2.7-image-pro"), _WAN_27_IMAGE),
    **dict.fromkeys(("qwen-image-3.0", "qwen-image-3.0-pro"), _QWEN_3),
    **dict.fromkeys(("qwen-image-2.0", "qwen-image-2.0-pro"), _QWEN_2),
    "qwen-image-max": Service(path=MULTIMODAL, synchronous=True, asynchronous=False, most=1, allows=_qwen_max),
    "qwen-image-edit": _EDIT.model_copy(update={"most": 1, "allows": lambda _width, _height: False}),
    **dict.fromkeys(("qwen-image-edit-plus", "qwen-image-edit-max"), _EDIT),
    "z-image-turbo": Service(path=MULTIMODAL, synchronous=True, asynchronous=False),
    "wanx2.1-imageedit": Service(path=IMAGE2IMAGE, needs=("function", "prompt", "base_image_url")),
    "wan2.5-i2i-preview": Service(path=IMAGE2IMAGE, needs=("prompt", "images")),
    "qwen-mt-image": Service(path=IMAGE2IMAGE, needs=("image_url", "source_lang", "target_lang")),
    "wanx-style-repaint-v1": Service(path=GENERATION, needs=("image_url", "style_index")),
    **dict.fromkeys(("wan3.0-video", "wan3.0-video-prime", "wan2.7-t2v", "wan2.6-t2v", "wan2.5-t2v-preview"), _T2V),
    **dict.fromkeys(("wan2.2-t2v-plus", "wanx2.1-t2v-turbo", "wanx2.1-t2v-plus"), _T2V),
    **dict.fromkeys(("wan2.7-i2v", "wan2.7-r2v", "wan2.7-videoedit"), _MEDIA),
    **dict.fromkeys(("wan2.6-i2v", "wan2.6-i2v-flash", "wan2.5-i2v-preview", "wan2.2-i2v-flash"), _I2V),
    **dict.fromkeys(("wan2.2-i2v-plus", "wanx2.1-i2v-turbo", "wanx2.1-i2v-plus"), _I2V),
    **dict.fromkeys(("wan2.6-r2v", "wan2.6-r2v-flash"), _R2V),
    **dict.fromkeys(("wan2.2-kf2v-flash", "wanx2.1-kf2v-plus"), _KF2V),
    **dict.fromkeys(("wan2.7-t2v-2026-04-25", "wan2.7-t2v-2026-06-12", "happyhorse-1.0-t2v"), _T2V),
    **dict.fromkeys(("wan2.7-i2v-2026-04-25", "happyhorse-1.0-i2v"), _MEDIA),
    **dict.fromkeys(("happyhorse-1.0-r2v", "happyhorse-1.0-video-edit"), _MEDIA),
    "wan2.2-s2v": Service(path=IMAGE2VIDEO, needs=("image_url", "audio_url")),
    **dict.fromkeys(("wan2.2-animate-move", "wan2.2-animate-mix"), _ANIMATE),
    "videoretalk": Service(path=IMAGE2VIDEO, needs=("video_url", "audio_url")),
    "wanx2.1-vace-plus": Service(path=VIDEO, needs=("prompt", "function")),
    "video-style-transform": Service(path=VIDEO, needs=("video_url",)),
    TTS: Service(path=MULTIMODAL, synchronous=True, asynchronous=False, needs=("text", "voice")),
}
#: Beyond mainland China those of 2.1 have another prefix.
SERVICES |= {name.replace("wanx2.1-", "wan2.1-"): one for name, one in SERVICES.items() if name.startswith("wanx2.1-")}
#: What each function of the video editor works on.
_FUNCTIONS = {
    "image_reference": "ref_images_url",
    "video_repainting": "video_url",
    "video_edit": "video_url",
    "video_extension": "",
    "video_outpainting": "video_url",
}
_WITHOUT_TEXT = frozenset({"wan3.0-video", "wan3.0-video-prime"})
_FRAMES = frozenset({"first_frame", "last_frame"})
_REFERENCES = frozenset({"reference_image", "reference_video", "reference_audio"})
_SETS_OF_27 = (
    {"first_frame"},
    {"first_frame", "driving_audio"},
    {"first_frame", "last_frame"},
    {"first_frame", "last_frame", "driving_audio"},
    {"first_clip"},
    {"first_clip", "last_frame"},
)


def check_path(path: str, service: Service, *, directly: bool) -> None:
    # Those that do both are served at once under one path, and as tasks under another.
    both = service.synchronous and service.asynchronous
    served = MULTIMODAL if both and directly else service.path
    if directly and not service.synchronous:
        raise refusal(403, "AccessDenied", "current user api does not support synchronous calls")
    if not directly and not service.asynchronous:
        raise refusal(403, "AccessDenied", "current user api does not support asynchronous calls")
    if path != served:
        raise refusal(400, "InvalidParameter", "url error, please check url!")


def check_input(asked: Creation, service: Service) -> None:
    given = asked.input.model_dump(exclude_none=True, by_alias=True)
    if service.path in {GENERATION, MULTIMODAL} and "prompt" in service.needs:
        parts = asked.input.messages[0].content if asked.input.messages else []
        least, most = service.pictures
        if sum("text" in part for part in parts) != 1:
            raise refusal(400, "InvalidParameter", "The content must contain exactly one text.")
        if not least <= sum("image" in part for part in parts) <= most:
            raise refusal(400, "InvalidParameter", f"The content must contain {least} to {most} images.")
        return
    needs = service.needs if asked.model not in _WITHOUT_TEXT or "media" not in given else ()
    for name in needs:
        if given.get(name) in (None, "", []):
            raise refusal(400, "InvalidParameter", f"Field required: input.{name}")
    if given.get("function") == "description_edit_with_mask" and "mask_image_url" not in given:
        raise refusal(400, "InvalidParameter", "Field required: input.mask_image_url")
    if asked.model.endswith("-vace-plus"):
        _check_function(given)
    _check_media(asked.model, [item.type for item in asked.input.media or ()])


def _check_function(given: dict[str, Any]) -> None:
    needed = _FUNCTIONS.get(given["function"])
    if needed is None:
        raise refusal(400, "InvalidParameter", f"function {given['function']} is not supported.")
    if needed and not given.get(needed):
        raise refusal(400, "InvalidParameter", f"Field required: input.{needed}")
    if given["function"] == "video_edit" and not (given.get("mask_image_url") or given.get("mask_video_url")):
        raise refusal(400, "InvalidParameter", "Field required: input.mask_image_url")


def _check_media(model: str, kinds: list[str]) -> None:
    if model.startswith("wan2.7-i2v"):
        allowed = set(kinds) in _SETS_OF_27 and len(set(kinds)) == len(kinds)
    elif model.startswith("happyhorse-"):
        allowed = _fits_happyhorse(model, kinds)
    elif model == "wan2.7-r2v":
        allowed = set(kinds) <= {"reference_image", "reference_video"} and 1 <= len(kinds) <= 5
    else:
        allowed = not (_FRAMES & set(kinds) and _REFERENCES & set(kinds))
    if not allowed:
        raise refusal(400, "InvalidParameter", "The combination of media types is not supported.")


def _fits_happyhorse(model: str, kinds: list[str]) -> bool:
    pictures = kinds.count("reference_image")
    match model.partition("1.0-")[2]:
        case "i2v":
            return kinds == ["first_frame"]
        case "r2v":
            return 1 <= pictures <= 9 and len(kinds) == pictures
        case "video-edit":
            return kinds.count("video") == 1 and len(kinds) == pictures + 1 and pictures <= 5
    return not kinds


def check_parameters(asked: Creation, service: Service) -> None:
    if asked.parameters.n > service.most:
        raise refusal(400, "InvalidParameter", f"n must be between 1 and {service.most}.")
    if asked.parameters.sides and not service.allows(*asked.parameters.sides):
        raise refusal(400, "InvalidParameter", f"size {asked.parameters.size} is not supported.")


def request_id() -> str:
    return str(uuid.uuid4())


def refusal(status: int, code: str, message: str) -> Refusal:
    return Refusal(status, {"code": code, "message": message, "request_id": request_id()})
