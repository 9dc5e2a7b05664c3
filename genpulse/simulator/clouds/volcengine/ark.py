"""Ark: what image and video models take, and how tasks are shown."""

from __future__ import annotations

import base64
import json
import re
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, Field
from starlette.responses import JSONResponse, Response

from genpulse.simulator.jobs import Failure, File, Job, State
from genpulse.simulator.media import Format, Media
from genpulse.simulator.wire import Refusal

_TIERS = {"1K": 1024, "1.5K": 1536, "2K": 2048, "3K": 3072, "4K": 4096}
RATIOS = {"16:9": 16 / 9, "4:3": 4 / 3, "1:1": 1.0, "3:4": 3 / 4, "9:16": 9 / 16, "21:9": 21 / 9}
_SHORT_SIDES = {"480p": 480, "720p": 720, "1080p": 1080, "4k": 2160}


class _Canvas(NamedTuple):
    """What an image model makes."""

    tiers: tuple[str, ...]
    least: int = 1
    most: int = 16_777_216


SMALL = _Canvas(("1K", "1.5K", "2K"), 921_600, 4_624_220)
_LARGE = _Canvas(("2K", "3K", "4K"), 3_686_400)
IMAGE_MODELS = {
    "doubao-seedream-5-0-pro-260628": SMALL,
    "dola-seedream-5-0-pro-260628": SMALL,
    "dola-seedream-5-0-flash-260915": SMALL,
    "doubao-seedream-5-0-260128": _LARGE,
    "doubao-seedream-5-0-lite-260128": _LARGE,
    "seedream-5-0-260128": _LARGE,
    "doubao-seedream-4-5-251128": _Canvas(("2K", "4K"), 3_686_400),
    "seedream-4-5-251128": _Canvas(("2K", "4K"), 3_686_400),
    "doubao-seedream-4-0-250828": _Canvas(("1K", "2K", "4K"), 921_600),
    "seedream-4-0-250828": _Canvas(("1K", "2K", "4K"), 921_600),
    "doubao-seedream-3-0-t2i-250415": _Canvas(()),
}


class _Studio(NamedTuple):
    """What a video model makes."""

    resolutions: tuple[str, ...]
    least: int
    most: int
    resolution: str = "720p"
    duration: int = 5
    drafts: bool = False
    """Makes previews, and is told what to do with a video."""
    modern: bool = True
    """Makes sound, takes references, and may be left to choose the length (-1) and the shape."""


_OLD = _Studio(("480p", "720p", "1080p"), 2, 12, resolution="1080p", modern=False)
VIDEO_MODELS = {
    "doubao-seedance-2-5-260628": _Studio(("480p", "720p", "1080p"), 4, 30, duration=-1, drafts=True),
    "doubao-seedance-2-0-260128": _Studio(("480p", "720p", "1080p", "4k"), 4, 15),
    "doubao-seedance-2-0-fast-260128": _Studio(("480p", "720p"), 4, 15),
    "doubao-seedance-2-0-mini-260615": _Studio(("480p", "720p"), 4, 15),
    "doubao-seedance-1-0-pro-250528": _OLD,
    "doubao-seedance-1-0-pro-fast-251015": _OLD,
}
VIDEO_MODELS |= {
    name.replace("doubao-", "dreamina-" if studio.modern else ""): studio for name, studio in VIDEO_MODELS.items()
}

STATUS = {
    State.QUEUED: "queued",
    State.RUNNING: "running",
    State.SUCCEEDED: "succeeded",
    State.FAILED: "failed",
    State.CANCELLED: "cancelled",
}

BLOCKED = "The request failed because the output may contain sensitive information."


class PictureSet(BaseModel):
    max_images: int = Field(15, ge=1, le=15)


class ImageRequest(BaseModel):
    """Official clients send null for what is not set."""

    model: str
    prompt: str
    image: str | list[str] | None = None
    size: str | None = None
    seed: int | None = Field(None, ge=-1, le=2147483647)
    guidance_scale: float | None = Field(None, ge=1, le=10)
    response_format: Literal["url", "b64_json"] | None = None
    output_format: Literal["jpeg", "png"] | None = None
    sequential_image_generation: Literal["disabled", "auto"] | None = None
    sequential_image_generation_options: PictureSet | None = None
    watermark: bool | None = None
    stream: bool | None = None

    @property
    def images(self) -> list[str]:
        return [self.image] if isinstance(self.image, str) else self.image or []


class _Link(BaseModel):
    url: str


class _Draft(BaseModel):
    id: str


class _Content(BaseModel):
    type: Literal["text", "image_url", "video_url", "audio_url", "draft_task"]
    text: str | None = None
    image_url: _Link | None = None
    video_url: _Link | None = None
    audio_url: _Link | None = None
    draft_task: _Draft | None = None
    role: Literal["first_frame", "last_frame", "reference_image", "reference_video", "reference_audio"] | None = None


class TaskRequest(BaseModel):
    model: str
    content: list[_Content] = Field(min_length=1)
    callback_url: str | None = None
    resolution: str | None = None
    ratio: Literal["16:9", "4:3", "1:1", "3:4", "9:16", "21:9", "adaptive"] | None = None
    duration: int | None = None
    frames: int | None = Field(None, ge=29, le=289)
    seed: int | None = Field(None, ge=-1, le=2147483647)
    generate_audio: bool | None = None
    return_last_frame: bool | None = None
    service_tier: Literal["default", "flex"] | None = None
    execution_expires_after: int | None = Field(None, ge=3600, le=259200)
    priority: int | None = Field(None, ge=0, le=9)
    draft: bool | None = None
    watermark: bool | None = None
    camera_fixed: bool | None = None
    safety_identifier: str | None = Field(None, max_length=64)
    omni_reference_task_type: Literal["auto", "reference", "edit", "extend"] | None = None
    output_format: Literal["mp4", "mov"] | None = None

    @property
    def roles(self) -> list[str]:
        return [part.role or "first_frame" for part in self.content if part.type not in ("text", "draft_task")]

    @property
    def prompt(self) -> str | None:
        return next((part.text for part in self.content if part.type == "text"), None)


def problem(status: int, code: str, message: str, *, param: str = "", kind: str = "BadRequest") -> Refusal:
    request_id = secrets.token_hex(16)
    text = f"{message} Request id: {request_id}"
    body = {"error": {"code": code, "message": text, "param": param, "type": kind}}
    return Refusal(status, body, {"X-Request-Id": request_id})


def invalid(param: str, why: str) -> Refusal:
    message = f"The parameter `{param}` specified in the request is not valid: {why}."
    return problem(400, "InvalidParameter", message, param=param)


def told(body: Mapping[str, Any]) -> Response:
    return JSONResponse(body, headers={"X-Request-Id": secrets.token_hex(16)})


def endpoint(model: str, behind: Any) -> Any:
    """An inference endpoint may stand for any model; of ids, only those that live are known."""
    if model.startswith("ep-"):
        return behind
    message = f"The model or endpoint {model} does not exist or you do not have access to it."
    raise problem(404, "InvalidEndpointOrModel.NotFound", message, kind="NotFound")


def check_links(links: Sequence[str], param: str) -> None:
    for link in links:
        if not link:
            raise problem(400, "InvalidImageURL.EmptyURL", "The URL is empty.", param=param)
        if not re.match(r"https?://|asset://|data:(image|audio)/[a-z0-9.+-]+;base64,", link):
            raise problem(400, "InvalidImageURL.InvalidFormat", "The URL has no valid form.", param=param)


def image_size(asked: ImageRequest, canvas: _Canvas) -> tuple[int, int]:
    size = asked.size or "2048x2048"
    if size in canvas.tiers:
        return _TIERS[size], _TIERS[size]
    sides = re.fullmatch(r"(\d+)x(\d+)", size)
    if sides is None:
        raise invalid("size", f"{size} is none of {', '.join(canvas.tiers)}, nor WxH")
    width, height = int(sides[1]), int(sides[2])
    if not canvas.least <= width * height <= canvas.most or max(width, height) > 16 * min(width, height):
        raise invalid("size", f"the image size must be {canvas.least} to {canvas.most} pixels")
    return width, height


def image_items(job: Job, *, as_text: bool) -> list[dict[str, Any]]:
    items = [_image_item(file, as_text=as_text) for file in job.files]
    if job.failure is Failure.CONTENT:  # the first of a set is refused, the others are made
        items[0] = {"error": {"code": "OutputImageSensitiveContentDetected", "message": BLOCKED}}
    return items


def _image_item(file: File, *, as_text: bool) -> dict[str, Any]:
    content = {"b64_json": base64.b64encode(file.read()).decode()} if as_text else {"url": file.url}
    return content | {"size": f"{file.media.width}x{file.media.height}"}


async def events(
    model: str, created: int, items: Sequence[dict[str, Any]], usage: Mapping[str, int]
) -> AsyncIterator[str]:
    for index, item in enumerate(items):
        outcome = "failed" if "error" in item else "succeeded"
        about = {"type": f"image_generation.partial_{outcome}", "model": model, "created": created}
        yield f"data: {json.dumps(about | {'image_index': index} | item)}\n\n"
    ending = {"type": "image_generation.completed", "model": model, "created": created, "usage": usage}
    yield f"data: {json.dumps(ending)}\n\ndata: [DONE]\n\n"


def check_task(asked: TaskRequest, studio: _Studio) -> None:
    roles = set(asked.roles)
    references = {role for role in roles if role.startswith("reference_")}
    if references and (references != roles or not studio.modern):
        raise invalid("content", "first frame, first and last frame, and references exclude each other")
    if "last_frame" in roles and "first_frame" not in roles:
        raise invalid("content", "a last frame needs a first frame")
    if asked.resolution is not None and asked.resolution not in studio.resolutions:
        raise invalid("resolution", f"one of {', '.join(studio.resolutions)}")
    chosen = asked.duration == -1 and studio.modern
    if asked.duration is not None and not chosen and not studio.least <= asked.duration <= studio.most:
        raise invalid("duration", f"{studio.least} to {studio.most} seconds")
    if asked.frames is not None and (asked.frames - 25) % 4:
        raise invalid("frames", "25 + 4n")
    if asked.ratio == "adaptive" and not studio.modern and not roles:
        raise invalid("ratio", "adaptive needs an image")
    if asked.generate_audio is not None and not studio.modern:
        raise problem(400, "InvalidParameter.UnsupportedParameter", "The model makes no sound.", param="generate_audio")
    if not studio.drafts and (asked.draft or asked.omni_reference_task_type or asked.output_format):
        raise problem(400, "InvalidParameter.UnsupportedParameter", "The model does not take this.", param="draft")
    if asked.ratio not in (None, "adaptive") and asked.omni_reference_task_type in ("edit", "extend"):
        raise invalid("ratio", "only adaptive here")
    most = (30, 10, 10) if studio.drafts else (9, 3, 3)
    counts = [asked.roles.count(f"reference_{kind}") for kind in ("image", "video", "audio")]
    if any(count > limit for count, limit in zip(counts, most, strict=True)):
        raise invalid("content", "too many references")
    links = [link.url for part in asked.content for link in (part.image_url, part.audio_url) if link]
    check_links(links, "content")
    if any(part.video_url and part.video_url.url.startswith("data:") for part in asked.content):
        raise invalid("content", "video is taken by URL only")


def video_media(asked: TaskRequest, studio: _Studio, seconds: float) -> list[Media]:
    short = _SHORT_SIDES[asked.resolution or studio.resolution]
    ratio = RATIOS.get(asked.ratio or "", 16 / 9)
    width, height = (round(short * ratio), short) if ratio >= 1 else (short, round(short / ratio))
    still = [Media(Format.JPEG, width, height)] if asked.return_last_frame else []
    return [Media(Format.MP4, width, height, seconds=seconds), *still]


def task(job: Job, state: State) -> dict[str, Any]:
    asked: TaskRequest = job.extra["asked"]
    studio: _Studio = job.extra["studio"]
    body: dict[str, Any] = {
        "id": job.id,
        "model": job.model,
        "status": STATUS[state],
        "error": None,
        "created_at": int(job.created_at),
        "updated_at": int(job.ended_at or job.started_at),
        "service_tier": asked.service_tier or "default",
        "execution_expires_after": asked.execution_expires_after or 172800,
        "priority": asked.priority or 0,
        "draft": bool(asked.draft),
    }
    if asked.safety_identifier:
        body["safety_identifier"] = asked.safety_identifier
    if state is State.FAILED:
        refused = job.failure is Failure.CONTENT
        code = "OutputVideoSensitiveContentDetected" if refused else "InternalServiceError"
        body["error"] = {"code": code, "message": BLOCKED if refused else "The service failed."}
    if state is State.SUCCEEDED:
        body |= _task_results(job, asked, studio)
    return body


def _task_results(job: Job, asked: TaskRequest, studio: _Studio) -> dict[str, Any]:
    video = job.media[0]
    tokens = round(video.width * video.height * 24 * video.seconds / 1024)
    names = ("video_url", "last_frame_url")
    return {
        "content": {name: file.url for name, file in zip(names, job.files, strict=False)},
        "usage": {"completion_tokens": tokens, "total_tokens": tokens},
        "seed": asked.seed if asked.seed not in (None, -1) else 42,
        "resolution": asked.resolution or studio.resolution,
        "ratio": "16:9" if asked.ratio in (None, "adaptive") else asked.ratio,
        "duration": int(video.seconds),
        "framespersecond": 24,
    } | ({"generate_audio": asked.generate_audio is not False} if studio.modern else {})
