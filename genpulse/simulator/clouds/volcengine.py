"""Volcengine: Ark's images and video tasks behind a key, and Visual's one signed path for all of Jimeng."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import reduce
from typing import Any, Literal, NamedTuple
from urllib.parse import quote

from pydantic import BaseModel, Field, ValidationError
from starlette.responses import JSONResponse, Response, StreamingResponse

from genpulse.simulator.callbacks import Callback
from genpulse.simulator.core import Cloud
from genpulse.simulator.credentials import VOLCENGINE
from genpulse.simulator.jobs import Failure, File, Job, State
from genpulse.simulator.media import Format, Media
from genpulse.simulator.wire import Call, Kind, Refusal, Route

_TASKS = "/api/v3/contents/generations/tasks"
_DAY = 24 * 3600
_CLOCK_WINDOW = 15 * 60
_TIERS = {"1K": 1024, "1.5K": 1536, "2K": 2048, "3K": 3072, "4K": 4096}
_RATIOS = {"16:9": 16 / 9, "4:3": 4 / 3, "1:1": 1.0, "3:4": 3 / 4, "9:16": 9 / 16, "21:9": 21 / 9}
_SHORT_SIDES = {"480p": 480, "720p": 720, "1080p": 1080, "4k": 2160}


class _Canvas(NamedTuple):
    """What an image model makes."""

    tiers: tuple[str, ...]
    least: int = 1
    most: int = 16_777_216


_SMALL = _Canvas(("1K", "1.5K", "2K"), 921_600, 4_624_220)
_LARGE = _Canvas(("2K", "3K", "4K"), 3_686_400)
_IMAGE_MODELS = {
    "doubao-seedream-5-0-pro-260628": _SMALL,
    "dola-seedream-5-0-pro-260628": _SMALL,
    "dola-seedream-5-0-flash-260915": _SMALL,
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
    modern: bool = True
    """Makes sound, takes references, and may be left to choose the length (-1) and the shape."""


_OLD = _Studio(("480p", "720p", "1080p"), 2, 12, resolution="1080p", modern=False)
_VIDEO_MODELS = {
    "doubao-seedance-2-5-260628": _Studio(("480p", "720p", "1080p"), 4, 30, duration=-1),
    "doubao-seedance-2-0-260128": _Studio(("480p", "720p", "1080p", "4k"), 4, 15),
    "doubao-seedance-2-0-fast-260128": _Studio(("480p", "720p"), 4, 15),
    "doubao-seedance-2-0-mini-260615": _Studio(("480p", "720p"), 4, 15),
    "doubao-seedance-1-0-pro-250528": _OLD,
    "doubao-seedance-1-0-pro-fast-251015": _OLD,
}
_VIDEO_MODELS |= {
    name.replace("doubao-", "dreamina-" if studio.modern else ""): studio for name, studio in _VIDEO_MODELS.items()
}

_STATUS = {
    State.QUEUED: "queued",
    State.RUNNING: "running",
    State.SUCCEEDED: "succeeded",
    State.FAILED: "failed",
    State.CANCELLED: "cancelled",
}

#: Each with how many images it takes, at least and at most, and whether it makes video.
_REQ_KEYS: dict[str, tuple[int, int, bool]] = {
    "jimeng_t2i_v30": (0, 0, False),
    "jimeng_t2i_v31": (0, 0, False),
    "jimeng_t2i_v40": (0, 10, False),
    "jimeng_seedream46_cvtob": (0, 14, False),
    "jimeng_i2i_v30": (1, 1, False),
    "jimeng_i2i_seed3_tilesr_cvtob": (1, 1, False),
    "jimeng_img2img_seed3_painting_edit": (1, 2, False),
    "jimeng_image2image_dream_inpaint": (2, 2, False),
    "jimeng_ti2v_v30_pro": (0, 1, True),
    "jimeng_t2v_v30": (0, 0, True),
    "jimeng_i2v_first_v30": (1, 1, True),
    "jimeng_i2v_first_tail_v30": (2, 2, True),
    "jimeng_i2v_recamera_v30": (1, 1, True),
    "jimeng_t2v_v30_1080p": (0, 0, True),
    "jimeng_i2v_first_v30_1080": (1, 1, True),
    "jimeng_i2v_first_tail_v30_1080": (2, 2, True),
    "jimeng_vgfm_t2v_l20": (0, 0, True),
    "jimeng_vgfm_i2v_l20": (1, 1, True),
}
_SUBMITS = {"CVSync2AsyncSubmitTask": "2022-08-31", "CVSubmitTask": "2022-08-31"}
_RESULTS = {"CVSync2AsyncGetResult": "2022-08-31", "CVGetResult": "2022-08-31"}
_VISUAL_STATUS = {State.QUEUED: "in_queue", State.RUNNING: "generating"}
_GATEWAY_NUMBERS = {
    "MissingAuthenticationToken": 100004,
    "InvalidTimestamp": 100006,
    "InvalidActionOrVersion": 100008,
    "InvalidAccessKey": 100009,
    "SignatureDoesNotMatch": 100010,
}
_AUTHORIZATION = re.compile(
    r"HMAC-SHA256 Credential=(?P<key>[^/]+)/(?P<scope>[^,]+), SignedHeaders=(?P<names>[^,]+), Signature=(?P<proof>\w+)"
)


class _Sequence(BaseModel):
    max_images: int = Field(15, ge=1, le=15)


class _ImageRequest(BaseModel):
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
    sequential_image_generation_options: _Sequence | None = None
    watermark: bool | None = None
    stream: bool | None = None

    @property
    def images(self) -> list[str]:
        return [self.image] if isinstance(self.image, str) else self.image or []


class _Link(BaseModel):
    url: str


class _Content(BaseModel):
    type: Literal["text", "image_url", "video_url", "audio_url", "draft_task"]
    text: str | None = None
    image_url: _Link | None = None
    video_url: _Link | None = None
    audio_url: _Link | None = None
    role: Literal["first_frame", "last_frame", "reference_image", "reference_video", "reference_audio"] | None = None


class _TaskRequest(BaseModel):
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

    @property
    def roles(self) -> list[str]:
        return [part.role or "first_frame" for part in self.content if part.type not in ("text", "draft_task")]

    @property
    def prompt(self) -> str | None:
        return next((part.text for part in self.content if part.type == "text"), None)


class _VisualRequest(BaseModel):
    req_key: str
    prompt: str | None = Field(None, max_length=800)
    image_urls: list[str] = Field(default_factory=list)
    binary_data_base64: list[str] = Field(default_factory=list)
    width: int | None = Field(None, ge=256, le=16384)
    height: int | None = Field(None, ge=256, le=16384)
    frames: Literal[121, 241] = 121
    aspect_ratio: Literal["16:9", "4:3", "1:1", "3:4", "9:16", "21:9"] = "16:9"
    resolution: Literal["4k", "8k"] = "4k"
    seed: int = -1


class _ResultRequest(BaseModel):
    req_key: str
    task_id: str
    req_json: str = "{}"


class Volcengine(Cloud):
    name = "volcengine"
    credentials = VOLCENGINE
    base_path = "/api/v3"
    media_lifetime = _DAY

    def routes(self) -> Sequence[Route]:
        return [
            Route("POST", "/api/v3/images/generations", self.make_images, Kind.SUBMIT),
            Route("POST", _TASKS, self.create_task, Kind.SUBMIT),
            Route("GET", _TASKS, self.list_tasks),
            Route("GET", f"{_TASKS}/{{id}}", self.get_task, Kind.POLL),
            Route("DELETE", f"{_TASKS}/{{id}}", self.delete_task, Kind.CANCEL),
            Route("POST", "/", self.act, _kind_of_action),
        ]

    # What every cloud has to say -------------------------------------------------------------------------------------

    def authenticate(self, call: Call) -> None:
        if _is_visual(call):
            _check_signature(call, self.world.clock.now())
        elif call.headers.get("Authorization") != f"Bearer {self.credentials.api_key}":
            message = "The API key in the request is missing or invalid."
            refusal = _problem(401, "AuthenticationError", message, kind="Unauthorized")
            refusal.response.headers["x-error-code"] = "AuthN_MissOrInvalidAuthorizationHeader"
            raise refusal

    def invalid(self, call: Call, error: ValidationError) -> Refusal:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        if _is_visual(call):
            return _visual_problem(400, 50215, f"Input invalid for this service: {where}: {first['msg']}")
        code = "MissingParameter" if first["type"] == "missing" else "InvalidParameter"
        return _problem(400, code, f"The parameter `{where}` specified in the request is not valid.", param=where)

    def not_found(self, call: Call) -> Refusal:
        if _is_visual(call):
            return Refusal(200, _visual_answer({"status": "not_found"}))
        return _problem(404, "NotFound", "The specified resource is not found.", kind="NotFound")

    def throttled(self, call: Call) -> Refusal:
        if _is_visual(call):
            return _visual_problem(429, 50429, "Request Has Reached API Limit, Please Try Later")
        code = "ModelAccountIpmRateLimitExceeded" if "images" in call.request.url.path else "RequestBurstTooFast"
        return _problem(429, code, "The rate limit is exceeded.", kind="TooManyRequests")

    def broken(self, call: Call, status: int) -> Refusal:
        if _is_visual(call):
            return _visual_problem(status, 50500, "Internal Error")
        return _problem(status, "InternalServiceError", "The service encountered an unexpected internal error.")

    # Ark: images -----------------------------------------------------------------------------------------------------

    async def make_images(self, call: Call) -> Response:
        asked = call.read(_ImageRequest)
        canvas = _IMAGE_MODELS.get(asked.model) or _endpoint(asked.model, _SMALL)
        width, height = _image_size(asked, canvas)
        if len(asked.images) > (10 if canvas is _SMALL else 14):
            raise _invalid("image", "too many reference images")
        _check_links(asked.images, "image")
        options = asked.sequential_image_generation_options or _Sequence()
        count = min(options.max_images, 15 - len(asked.images)) if asked.sequential_image_generation == "auto" else 1
        form = Format.PNG if asked.output_format == "png" else Format.JPEG
        job = self.create(
            call,
            media=[Media(form, width, height, variant=number) for number in range(count)],
            model=asked.model,
            prompt=asked.prompt,
            body=asked.model_dump(exclude_none=True),
        )
        await self.finish(job)
        if job.failure is Failure.INTERNAL:
            raise self.broken(call, 500)
        if job.failure is Failure.CONTENT and count == 1:
            raise _problem(400, "OutputImageSensitiveContentDetected", _BLOCKED)
        items = _image_items(job, as_text=asked.response_format == "b64_json")
        made = [item for item in items if "error" not in item]
        tokens = round(len(made) * width * height / 256)
        usage = {"generated_images": len(made), "output_tokens": tokens, "total_tokens": tokens}
        created = int(self.world.clock.now())
        if asked.stream:
            return StreamingResponse(_events(asked.model, created, items, usage), media_type="text/event-stream")
        return _told({"model": asked.model, "created": created, "data": items, "usage": usage})

    # Ark: video tasks ------------------------------------------------------------------------------------------------

    async def create_task(self, call: Call) -> Response:
        asked = call.read(_TaskRequest)
        studio = _VIDEO_MODELS.get(asked.model) or _endpoint(asked.model, _VIDEO_MODELS["doubao-seedance-2-0-260128"])
        _check_task(asked, studio)
        seconds = asked.duration or studio.duration
        job = self.create(
            call,
            id=f"cgt-{datetime.now(UTC):%Y%m%d%H%M%S}-{secrets.token_hex(4)}",
            media=_video_media(asked, studio, 5 if seconds == -1 else seconds),
            model=asked.model,
            prompt=asked.prompt,
            key=asked.safety_identifier,
            body=asked.model_dump(exclude_none=True),
            callback_url=asked.callback_url,
            extra={"asked": asked, "studio": studio},
        )
        return _told({"id": job.id})

    async def get_task(self, call: Call) -> Response:
        job = self._task_job(call)
        return _told(_task(job, job.poll()))

    async def list_tasks(self, call: Call) -> Response:
        page, size = (_whole(call.query.get(name), usual) for name, usual in (("page_num", 1), ("page_size", 20)))
        if not (1 <= page <= 500 and 1 <= size <= 500):
            raise _invalid("page_size", "page_num and page_size run from 1 to 500")
        query = call.query
        ids = query.getlist("filter.task_ids")
        found = [
            job
            for job in self.jobs()
            if "asked" in job.extra
            and query.get("filter.status", _STATUS[job.state]) == _STATUS[job.state]
            and query.get("filter.model", job.model) == job.model
            and (not ids or job.id in ids)
        ]
        shown = found[(page - 1) * size : page * size]
        return _told({"total": len(found), "items": [_task(job, job.state) for job in shown]})

    async def delete_task(self, call: Call) -> Response:
        job = self._task_job(call)
        state = job.state
        if state in {State.RUNNING, State.CANCELLED}:
            raise _problem(409, "TaskRunningCannotCancel", f"The task is {_STATUS[state]}.", kind="Conflict")
        if state is State.QUEUED:
            self.cancel(job)
        else:
            del self.world.jobs[self.name, job.id]
        return _told({})

    def _task_job(self, call: Call) -> Job:
        job = self.job(call, call.path["id"])
        if "asked" not in job.extra:
            raise self.not_found(call)
        return job

    def callback(self, job: Job, state: State) -> Callback | None:
        """The task as a poll shows it, unsigned; of a cancellation nothing is told."""
        return None if state is State.CANCELLED else Callback(json.dumps(_task(job, state)).encode())

    # Visual ----------------------------------------------------------------------------------------------------------

    async def act(self, call: Call) -> Response:
        action, version = call.query.get("Action", ""), call.query.get("Version")
        if _SUBMITS.get(action, "") == version:
            return await self._submit(call)
        if _RESULTS.get(action, "") == version:
            return await self._result(call)
        raise _gateway(call, 404, "InvalidActionOrVersion", "Could not find operation for this version.")

    async def _submit(self, call: Call) -> Response:
        asked = call.read(_VisualRequest)
        if asked.req_key not in _REQ_KEYS:
            raise _visual_problem(400, 50215, f"Input invalid for this service: req_key {asked.req_key!r}")
        least, most, makes_video = _REQ_KEYS[asked.req_key]
        given = len(asked.image_urls or asked.binary_data_base64)
        if not least <= given <= most:
            raise _visual_problem(400, 50215, f"Input invalid for this service: {given} images")
        if not given and not asked.prompt:
            raise _visual_problem(400, 50215, "Input invalid for this service: prompt")
        job = self.create(
            call,
            id=str(secrets.randbelow(9 * 10**18) + 10**18),
            media=[_visual_media(asked, makes_video=makes_video)],
            model=asked.req_key,
            prompt=asked.prompt,
            body=asked.model_dump(exclude_unset=True),
        )
        return JSONResponse(_visual_answer({"task_id": job.id}))

    async def _result(self, call: Call) -> Response:
        asked = call.read(_ResultRequest)
        job = self.job(call, asked.task_id)
        if job.model != asked.req_key:
            raise self.not_found(call)
        if job.ended_at and self.world.clock.now() > job.ended_at + _DAY / 2:
            return JSONResponse(_visual_answer({"status": "expired"}))
        state = job.poll()
        if not state.ended:
            return JSONResponse(_visual_answer({"status": _VISUAL_STATUS[state]}))
        if job.failure is Failure.CONTENT:
            raise _visual_problem(400, 50511, "Post Img Risk Not Pass", {"status": "done"})
        if job.failure is Failure.INTERNAL:
            raise _visual_problem(500, 50500, "Internal Error", {"status": "done"})
        return JSONResponse(_visual_answer(_visual_outputs(job, as_links=_wants_links(asked.req_json))))


_BLOCKED = "The request failed because the output may contain sensitive information."


def _is_visual(call: Call) -> bool:
    return call.request.url.path.endswith("/volcengine/")


def _kind_of_action(call: Call) -> Kind:
    action = call.query.get("Action", "")
    return Kind.SUBMIT if action in _SUBMITS else Kind.POLL if action in _RESULTS else Kind.OTHER


def _whole(text: str | None, usual: int) -> int:
    return int(text) if text and text.isdecimal() else usual


# Ark ----------------------------------------------------------------------------------------------------------------


def _problem(status: int, code: str, message: str, *, param: str = "", kind: str = "BadRequest") -> Refusal:
    request_id = secrets.token_hex(16)
    text = f"{message} Request id: {request_id}"
    body = {"error": {"code": code, "message": text, "param": param, "type": kind}}
    return Refusal(status, body, {"X-Request-Id": request_id})


def _invalid(param: str, why: str) -> Refusal:
    message = f"The parameter `{param}` specified in the request is not valid: {why}."
    return _problem(400, "InvalidParameter", message, param=param)


def _told(body: Mapping[str, Any]) -> Response:
    return JSONResponse(body, headers={"X-Request-Id": secrets.token_hex(16)})


def _endpoint(model: str, behind: Any) -> Any:
    """An inference endpoint may stand for any model; of ids, only those that live are known."""
    if model.startswith("ep-"):
        return behind
    message = f"The model or endpoint {model} does not exist or you do not have access to it."
    raise _problem(404, "InvalidEndpointOrModel.NotFound", message, kind="NotFound")


def _check_links(links: Sequence[str], param: str) -> None:
    for link in links:
        if not link:
            raise _problem(400, "InvalidImageURL.EmptyURL", "The URL is empty.", param=param)
        if not re.match(r"https?://|asset://|data:(image|audio)/[a-z0-9.+-]+;base64,", link):
            raise _problem(400, "InvalidImageURL.InvalidFormat", "The URL has no valid form.", param=param)


def _image_size(asked: _ImageRequest, canvas: _Canvas) -> tuple[int, int]:
    size = asked.size or "2048x2048"
    if size in canvas.tiers:
        return _TIERS[size], _TIERS[size]
    sides = re.fullmatch(r"(\d+)x(\d+)", size)
    if sides is None:
        raise _invalid("size", f"{size} is none of {', '.join(canvas.tiers)}, nor WxH")
    width, height = int(sides[1]), int(sides[2])
    if not canvas.least <= width * height <= canvas.most or max(width, height) > 16 * min(width, height):
        raise _invalid("size", f"the image size must be {canvas.least} to {canvas.most} pixels")
    return width, height


def _image_items(job: Job, *, as_text: bool) -> list[dict[str, Any]]:
    items = [_image_item(file, as_text=as_text) for file in job.files]
    if job.failure is Failure.CONTENT:  # the first of a set is refused, the others are made
        items[0] = {"error": {"code": "OutputImageSensitiveContentDetected", "message": _BLOCKED}}
    return items


def _image_item(file: File, *, as_text: bool) -> dict[str, Any]:
    content = {"b64_json": base64.b64encode(file.read()).decode()} if as_text else {"url": file.url}
    return content | {"size": f"{file.media.width}x{file.media.height}"}


async def _events(
    model: str, created: int, items: Sequence[dict[str, Any]], usage: Mapping[str, int]
) -> AsyncIterator[str]:
    for index, item in enumerate(items):
        outcome = "failed" if "error" in item else "succeeded"
        about = {"type": f"image_generation.partial_{outcome}", "model": model, "created": created}
        yield f"data: {json.dumps(about | {'image_index': index} | item)}\n\n"
    ending = {"type": "image_generation.completed", "model": model, "created": created, "usage": usage}
    yield f"data: {json.dumps(ending)}\n\ndata: [DONE]\n\n"


def _check_task(asked: _TaskRequest, studio: _Studio) -> None:
    roles = set(asked.roles)
    references = {role for role in roles if role.startswith("reference_")}
    if references and (references != roles or not studio.modern):
        raise _invalid("content", "first frame, first and last frame, and references exclude each other")
    if "last_frame" in roles and "first_frame" not in roles:
        raise _invalid("content", "a last frame needs a first frame")
    if asked.resolution is not None and asked.resolution not in studio.resolutions:
        raise _invalid("resolution", f"one of {', '.join(studio.resolutions)}")
    chosen = asked.duration == -1 and studio.modern
    if asked.duration is not None and not chosen and not studio.least <= asked.duration <= studio.most:
        raise _invalid("duration", f"{studio.least} to {studio.most} seconds")
    if asked.frames is not None and (asked.frames - 25) % 4:
        raise _invalid("frames", "25 + 4n")
    if asked.ratio == "adaptive" and not studio.modern and not roles:
        raise _invalid("ratio", "adaptive needs an image")
    if asked.generate_audio is not None and not studio.modern:
        raise _problem(
            400, "InvalidParameter.UnsupportedParameter", "The model makes no sound.", param="generate_audio"
        )
    links = [link.url for part in asked.content for link in (part.image_url, part.audio_url) if link]
    _check_links(links, "content")
    if any(part.video_url and part.video_url.url.startswith("data:") for part in asked.content):
        raise _invalid("content", "video is taken by URL only")


def _video_media(asked: _TaskRequest, studio: _Studio, seconds: float) -> list[Media]:
    short = _SHORT_SIDES[asked.resolution or studio.resolution]
    ratio = _RATIOS.get(asked.ratio or "", 16 / 9)
    width, height = (round(short * ratio), short) if ratio >= 1 else (short, round(short / ratio))
    still = [Media(Format.JPEG, width, height)] if asked.return_last_frame else []
    return [Media(Format.MP4, width, height, seconds=seconds), *still]


def _task(job: Job, state: State) -> dict[str, Any]:
    asked: _TaskRequest = job.extra["asked"]
    studio: _Studio = job.extra["studio"]
    body: dict[str, Any] = {
        "id": job.id,
        "model": job.model,
        "status": _STATUS[state],
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
        body["error"] = {"code": code, "message": _BLOCKED if refused else "The service failed."}
    if state is State.SUCCEEDED:
        body |= _task_results(job, asked, studio)
    return body


def _task_results(job: Job, asked: _TaskRequest, studio: _Studio) -> dict[str, Any]:
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


# Visual -------------------------------------------------------------------------------------------------------------


def _visual_answer(data: Mapping[str, Any] | None, code: int = 10000, message: str = "Success") -> dict[str, Any]:
    return {
        "code": code,
        "data": data,
        "message": message,
        "request_id": secrets.token_hex(16),
        "status": code,
        "time_elapsed": "104.852441ms",
    }


def _visual_problem(status: int, code: int, message: str, data: Mapping[str, Any] | None = None) -> Refusal:
    return Refusal(status, _visual_answer(data, code, message))


def _gateway(call: Call, status: int, code: str, message: str) -> Refusal:
    about = {
        "RequestId": secrets.token_hex(16),
        "Action": call.query.get("Action", ""),
        "Version": call.query.get("Version", ""),
        "Service": "cv",
        "Region": "cn-north-1",
        "Error": {"CodeN": _GATEWAY_NUMBERS[code], "Code": code, "Message": message},
    }
    return Refusal(status, {"ResponseMetadata": about})


def _wants_links(req_json: str) -> bool:
    try:
        asked = json.loads(req_json)
    except ValueError:
        return False
    return isinstance(asked, dict) and asked.get("return_url") is True


def _visual_media(asked: _VisualRequest, *, makes_video: bool) -> Media:
    if makes_video:
        short = 1080 if "1080" in asked.req_key or "pro" in asked.req_key else 720
        ratio = _RATIOS[asked.aspect_ratio]
        width, height = (round(short * ratio), short) if ratio >= 1 else (short, round(short / ratio))
        return Media(Format.MP4, width, height, seconds=(asked.frames - 1) / 24)
    usual = 4096 if "tilesr" in asked.req_key else 2048
    return Media(Format.PNG, asked.width or usual, asked.height or usual)


def _visual_outputs(job: Job, *, as_links: bool) -> dict[str, Any]:
    data: dict[str, Any] = {"status": "done", "image_urls": None, "binary_data_base64": None, "video_url": ""}
    if job.media[0].format is Format.MP4:
        data["video_url"] = job.files[0].url if job.files else ""
    elif as_links:
        data["image_urls"] = [file.url for file in job.files]
    else:
        data["binary_data_base64"] = [base64.b64encode(file.read()).decode() for file in job.files]
    return data


def _check_signature(call: Call, now: float) -> None:
    """Rebuilt from what the caller says it has signed."""
    given = _AUTHORIZATION.fullmatch(call.headers.get("Authorization", ""))
    if given is None:
        raise _gateway(call, 401, "MissingAuthenticationToken", "The request is not signed.")
    if given["key"] != VOLCENGINE.access_key:
        raise _gateway(call, 401, "InvalidAccessKey", "The access key is unknown.")
    moment = call.headers.get("X-Date", "")
    try:
        signed_at = datetime.strptime(moment, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise _gateway(call, 401, "InvalidTimestamp", "X-Date is missing or malformed.") from None
    if abs(signed_at - now) > _CLOCK_WINDOW:
        raise _gateway(call, 401, "InvalidTimestamp", "The request has expired.")
    text = "\n".join(("HMAC-SHA256", moment, given["scope"], _sha256(_canonical(call, given["names"]))))
    key = reduce(_hmac, given["scope"].split("/"), str(VOLCENGINE.secret_key).encode())
    claimed = call.headers.get("X-Content-Sha256")
    body_differs = claimed is not None and claimed != hashlib.sha256(call.body).hexdigest()
    if body_differs or not hmac.compare_digest(_hmac(key, text).hex(), given["proof"]):
        message = "The request signature we calculated does not match the signature you provided."
        raise _gateway(call, 401, "SignatureDoesNotMatch", message)


def _canonical(call: Call, names: str) -> str:
    query = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in _sorted_query(call))
    lines = "".join(f"{name}:{_header(call, name)}\n" for name in names.split(";"))
    url = call.request.url
    return "\n".join((call.request.method, quote(url.path), query, lines, names, hashlib.sha256(call.body).hexdigest()))


def _sorted_query(call: Call) -> list[tuple[str, str]]:
    return sorted(call.query.multi_items(), key=lambda pair: pair[0])


def _header(call: Call, name: str) -> str:
    value = call.headers.get(name, "").strip()
    return value.removesuffix(":80").removesuffix(":443") if name == "host" else value


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")
