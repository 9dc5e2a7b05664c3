"""Alibaba DashScope: tasks of the wan and qwen families, models that answer at once, temporary uploads."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.datastructures import UploadFile
from starlette.responses import JSONResponse, Response

from genpulse.simulator.core import Cloud
from genpulse.simulator.credentials import DASHSCOPE
from genpulse.simulator.jobs import Failure, Job, State
from genpulse.simulator.media import Format, Media
from genpulse.simulator.wire import Call, Kind, Refusal, Route

_DAY = 24 * 3600
_UPLOAD_SECONDS = 48 * 3600
_LARGEST_BODY = 64 * 2**20
_LONGEST_SPAN = timedelta(days=1)
_BEIJING = timezone(timedelta(hours=8))
_SIGNATURE = "sim-signature"
_STATUS = {
    State.QUEUED: "PENDING",
    State.RUNNING: "RUNNING",
    State.SUCCEEDED: "SUCCEEDED",
    State.FAILED: "FAILED",
    State.CANCELLED: "CANCELED",
}
_FAILURES = {
    Failure.CONTENT: ("DataInspectionFailed", "Output data may contain inappropriate content."),
    Failure.INTERNAL: ("InternalError", "An internal error has occurred, please try again later."),
}
_BROKEN = {503: "ServiceUnavailable", 504: "GatewayTimeout"}

_TEXT2IMAGE = "text2image/image-synthesis"
_IMAGE2IMAGE = "image2image/image-synthesis"
_GENERATION = "image-generation/generation"
_MULTIMODAL = "multimodal-generation/generation"
_VIDEO = "video-generation/video-synthesis"
_IMAGE2VIDEO = "image2video/video-synthesis"

_QWEN_SIZES = frozenset({(1664, 928), (1472, 1104), (1328, 1328), (1104, 1472), (928, 1664)})
_SHAPES = {"16:9": (16, 9), "9:16": (9, 16), "1:1": (1, 1), "4:3": (4, 3), "3:4": (3, 4), "21:9": (21, 9)}


class _Message(BaseModel):
    role: Literal["user"]
    content: list[dict[Literal["text", "image"], str]]


class _Item(BaseModel):
    type: str
    url: str


class _Input(BaseModel):
    """Of all families; what else is sent is tolerated."""

    model_config = ConfigDict(extra="allow")

    prompt: str | None = None
    messages: Annotated[list[_Message], Field(min_length=1, max_length=1)] | None = None
    media: list[_Item] | None = None

    @property
    def text(self) -> str | None:
        if self.messages is None:
            return self.prompt
        return next((part["text"] for part in self.messages[0].content if "text" in part), None)

    def addresses(self) -> list[str]:
        """Of all files, wherever they stand."""
        extra = self.model_extra or {}
        named = [value for name, value in extra.items() if name.endswith(("_url", "ref_image"))]
        listed = [one for name in ("images", "reference_urls") for one in extra.get(name, [])]
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

    @property
    def sides(self) -> tuple[int, int] | None:
        if self.size is None or self.size.endswith("K"):
            return None
        width, height = self.size.split("*")
        return int(width), int(height)


class _Creation(BaseModel):
    model: str = Field(min_length=1)
    input: _Input
    parameters: _Parameters = _Parameters()


class _Listing(BaseModel):
    """What is asked of the list of tasks."""

    task_id: str | None = None
    model_name: str | None = None
    status: str | None = None
    start_time: str | None = None
    end_time: str | None = None
    page_no: int = Field(1, ge=1)
    page_size: int = Field(10, ge=1)

    def shows(self, job: Job) -> bool:
        asked = {job.id: self.task_id, job.model: self.model_name, _STATUS[job.state]: self.status}
        return all(wanted in {None, there} for there, wanted in asked.items())


class _Service(BaseModel):
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


_WAN_T2I = _Service(path=_TEXT2IMAGE, allows=_sides(512, 1440))
_QWEN_T2I = _Service(path=_TEXT2IMAGE, most=1, allows=_is_qwen_size)
_QWEN_2 = _Service(
    path=_MULTIMODAL, synchronous=True, asynchronous=False, pictures=(0, 3), most=6, allows=_pixels(512, 2048)
)
_QWEN_3 = _Service(path=_GENERATION, synchronous=True, pictures=(0, 3), most=6, allows=_pixels(512, 2048))
_WAN_27_IMAGE = _Service(path=_GENERATION, synchronous=True, pictures=(0, 9), most=12, allows=_pixels(768, 4096))
_EDIT = _Service(
    path=_MULTIMODAL, synchronous=True, asynchronous=False, pictures=(1, 3), most=6, allows=_sides(512, 2048)
)
_T2V = _Service(path=_VIDEO)
_I2V = _Service(path=_VIDEO, needs=("img_url",))
_MEDIA = _Service(path=_VIDEO, needs=("media",))
_R2V = _Service(path=_VIDEO, needs=("prompt", "reference_urls"))
_KF2V = _Service(path=_IMAGE2VIDEO, needs=("first_frame_url", "last_frame_url"))

SERVICES: dict[str, _Service] = {
    "wan2.5-t2i-preview": _Service(path=_TEXT2IMAGE, allows=_pixels(1280, 1440, 4)),
    **dict.fromkeys(("wan2.2-t2i-flash", "wan2.2-t2i-plus", "wanx2.1-t2i-turbo", "wanx2.1-t2i-plus"), _WAN_T2I),
    "wanx2.0-t2i-turbo": _WAN_T2I,
    "wanx-v1": _Service(path=_TEXT2IMAGE),
    **dict.fromkeys(("qwen-image", "qwen-image-plus"), _QWEN_T2I),
    "wan2.6-t2i": _Service(path=_GENERATION, synchronous=True, allows=_pixels(1280, 1440, 4)),
    "wan2.6-image": _Service(path=_GENERATION, synchronous=True, pictures=(1, 4), allows=_pixels(768, 2048)),
    **dict.fromkeys(("wan2.7-image", "wan2.7-image-pro"), _WAN_27_IMAGE),
    **dict.fromkeys(("qwen-image-3.0", "qwen-image-3.0-pro"), _QWEN_3),
    **dict.fromkeys(("qwen-image-2.0", "qwen-image-2.0-pro"), _QWEN_2),
    "qwen-image-max": _Service(path=_MULTIMODAL, synchronous=True, asynchronous=False, most=1, allows=_qwen_max),
    "qwen-image-edit": _EDIT.model_copy(update={"most": 1, "allows": lambda _width, _height: False}),
    **dict.fromkeys(("qwen-image-edit-plus", "qwen-image-edit-max"), _EDIT),
    "z-image-turbo": _Service(path=_MULTIMODAL, synchronous=True, asynchronous=False),
    "wanx2.1-imageedit": _Service(path=_IMAGE2IMAGE, needs=("function", "prompt", "base_image_url")),
    "wan2.5-i2i-preview": _Service(path=_IMAGE2IMAGE, needs=("prompt", "images")),
    "qwen-mt-image": _Service(path=_IMAGE2IMAGE, needs=("image_url", "source_lang", "target_lang")),
    "wanx-style-repaint-v1": _Service(path=_GENERATION, needs=("image_url", "style_index")),
    **dict.fromkeys(("wan3.0-video", "wan3.0-video-prime", "wan2.7-t2v", "wan2.6-t2v", "wan2.5-t2v-preview"), _T2V),
    **dict.fromkeys(("wan2.2-t2v-plus", "wanx2.1-t2v-turbo", "wanx2.1-t2v-plus"), _T2V),
    **dict.fromkeys(("wan2.7-i2v", "wan2.7-r2v", "wan2.7-videoedit"), _MEDIA),
    **dict.fromkeys(("wan2.6-i2v", "wan2.6-i2v-flash", "wan2.5-i2v-preview", "wan2.2-i2v-flash"), _I2V),
    **dict.fromkeys(("wan2.2-i2v-plus", "wanx2.1-i2v-turbo", "wanx2.1-i2v-plus"), _I2V),
    **dict.fromkeys(("wan2.6-r2v", "wan2.6-r2v-flash"), _R2V),
    **dict.fromkeys(("wan2.2-kf2v-flash", "wanx2.1-kf2v-plus"), _KF2V),
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


class Dashscope(Cloud):
    name = "dashscope"
    credentials = DASHSCOPE
    base_path = "/api/v1"
    media_lifetime = _DAY

    def routes(self) -> Sequence[Route]:
        return [
            Route("POST", "/api/v1/services/aigc/{service:path}", self.submit, Kind.SUBMIT),
            Route("GET", "/api/v1/tasks", self.list_all),
            Route("GET", "/api/v1/tasks/", self.list_all),
            Route("GET", "/api/v1/tasks/{task}", self.get, Kind.POLL),
            Route("POST", "/api/v1/tasks/{task}/cancel", self.cancel_one, Kind.CANCEL),
            Route("GET", "/api/v1/uploads", self.grant),
            Route("POST", "/oss", self.upload, public=True),
        ]

    # What every cloud has to say -------------------------------------------------------------------------------------

    def authenticate(self, call: Call) -> None:
        given = call.headers.get("Authorization")
        if given is None:
            raise _error(401, "InvalidApiKey", "No API-key provided.")
        if given != f"Bearer {self.credentials.api_key}":
            raise _error(401, "InvalidApiKey", "Invalid API-key provided.")

    def invalid(self, call: Call, error: ValidationError) -> Refusal:  # noqa: ARG002
        first = error.errors()[0]
        return _error(400, "InvalidParameter", f"{'.'.join(map(str, first['loc']))}: {first['msg']}")

    def not_found(self, call: Call) -> Refusal:
        """A task that is unknown, forgotten or somebody else's is no error to those who ask for it."""
        task = call.path.get("task")
        if task is None:
            return _error(404, "NotFound", "The requested resource does not exist.")
        if call.request.method == "POST":
            return _too_late()
        return Refusal(200, {"request_id": _request_id(), "output": {"task_id": task, "task_status": "UNKNOWN"}})

    def throttled(self, call: Call) -> Refusal:  # noqa: ARG002
        return _error(429, "Throttling.RateQuota", "Requests rate limit exceeded, please try again later.")

    def broken(self, call: Call, status: int) -> Refusal:  # noqa: ARG002
        return _error(status, _BROKEN.get(status, "InternalError"), "An internal error has occurred.")

    # Tasks -----------------------------------------------------------------------------------------------------------

    async def submit(self, call: Call) -> Response:
        if len(call.body) > _LARGEST_BODY:
            raise _error(413, "BadRequest.TooLarge", "Payload Too Large")
        asked = call.read(_Creation)
        service = SERVICES.get(asked.model)
        if service is None:
            raise _error(404, "ModelNotFound", "Model can not be found.")
        directly = call.headers.get("X-DashScope-Async") != "enable"
        _check_path(call.path["service"], service, directly=directly)
        _check_input(asked, service)
        _check_parameters(asked, service)
        self._check_addresses(call, asked.input)
        job = self.create(
            call,
            media=_outputs(asked),
            model=asked.model,
            prompt=asked.input.text,
            body=asked.model_dump(mode="json", exclude_unset=True),
            extra={"path": call.path["service"], "asked": asked, "direct": directly},
        )
        if directly:
            return await self._answer(job)
        output = {"task_status": "PENDING", "task_id": job.id}
        return JSONResponse({"output": output, "request_id": _request_id()})

    async def _answer(self, job: Job) -> Response:
        if await self.finish(job) is State.FAILED:
            code, message = _FAILURES[job.failure or Failure.INTERNAL]
            raise _error(400 if job.failure is Failure.CONTENT else 500, code, message)
        return JSONResponse({"output": _made(job), "usage": _usage(job), "request_id": _request_id()})

    async def get(self, call: Call) -> Response:
        job = self._task(call)
        state = job.poll()
        output: dict[str, Any] = {
            "task_id": job.id,
            "task_status": _STATUS[state],
            "submit_time": _time(job.created_at),
        }
        if state is not State.QUEUED:
            output["scheduled_time"] = _time(job.started_at)
        if state.ended and job.ended_at:
            output["end_time"] = _time(job.ended_at)
        body: dict[str, Any] = {"request_id": _request_id(), "output": output}
        if state is State.FAILED:
            output["code"], output["message"] = _FAILURES[job.failure or Failure.INTERNAL]
        if state is State.SUCCEEDED:
            output |= _made(job)
            body["usage"] = _usage(job)
        return JSONResponse(body)

    async def cancel_one(self, call: Call) -> Response:
        job = self._task(call)
        if job.state is not State.QUEUED:
            raise _too_late()
        self.cancel(job)
        return JSONResponse({"request_id": _request_id()})

    async def list_all(self, call: Call) -> Response:
        asked = _Listing.model_validate(dict(call.query))
        number, size = asked.page_no, asked.page_size
        now = datetime.fromtimestamp(self.world.clock.now(), _BEIJING)
        begin, end = _span(asked.start_time, asked.end_time, now)
        jobs = [
            job
            for job in self.jobs()
            if not job.extra["direct"] and begin <= job.created_at <= end and asked.shows(job)
        ]
        return JSONResponse(
            {
                "request_id": _request_id(),
                "data": [_listed(job) for job in jobs[(number - 1) * size : number * size]],
                "total": len(jobs),
                "total_page": -(-len(jobs) // size),
                "page_no": number,
                "page_size": size,
            }
        )

    def _task(self, call: Call) -> Job:
        job = self.job(call, call.path["task"])
        if job.extra["direct"] or self.world.clock.now() > job.created_at + _DAY:
            raise self.not_found(call)
        return job

    # Uploads ---------------------------------------------------------------------------------------------------------

    async def grant(self, call: Call) -> Response:
        if call.query.get("action") != "getPolicy" or "model" not in call.query:
            raise _error(400, "InvalidParameter", "action and model are required.")
        data = {
            "policy": "sim-policy",
            "signature": _SIGNATURE,
            "upload_dir": f"dashscope-instant/sim/{_request_id()}",
            "upload_host": f"{call.base_url}/oss",
            "expire_in_seconds": 300,
            "max_file_size_mb": 100,
            "capacity_limit_mb": 999999999,
            "oss_access_key_id": "sim-oss-key",
            "x_oss_object_acl": "private",
            "x_oss_forbid_overwrite": "true",
        }
        return JSONResponse({"request_id": _request_id(), "data": data})

    async def upload(self, call: Call) -> Response:
        async with call.request.form() as form:
            file, key = form.get("file"), form.get("key")
            signed = form.get("Signature") == _SIGNATURE and form.get("policy") == "sim-policy"
            if not signed or not isinstance(file, UploadFile) or not isinstance(key, str):
                raise Refusal.by(
                    Response("<Error><Code>AccessDenied</Code></Error>", 403, media_type="application/xml")
                )
            kind = file.content_type or "application/octet-stream"
            self.store(name=key, content_type=kind, content=await file.read())
        return Response(status_code=200)

    def _check_addresses(self, call: Call, asked: _Input) -> None:
        resolves = call.headers.get("X-DashScope-OssResourceResolve") == "enable"
        for address in asked.addresses():
            if address.startswith("oss://"):
                known = resolves and self._is_uploaded(address.removeprefix("oss://"))
            else:
                known = address.startswith(("https://", "http://")) or bool(
                    re.match(r"data:\w+/[\w.+-]+;base64,", address)
                )
            if not known:
                raise _error(400, "InvalidURL", "Required URL is missing or invalid, please check the request URL.")

    def _is_uploaded(self, key: str) -> bool:
        since = self.world.clock.now() - _UPLOAD_SECONDS
        uploads = [one for (cloud, _), one in self.world.uploads.items() if cloud == self.name]
        return any(upload.name == key and upload.created_at > since for upload in uploads)


def _check_path(path: str, service: _Service, *, directly: bool) -> None:
    # Those that do both are served at once under one path, and as tasks under another.
    both = service.synchronous and service.asynchronous
    served = _MULTIMODAL if both and directly else service.path
    if directly and not service.synchronous:
        raise _error(403, "AccessDenied", "current user api does not support synchronous calls")
    if not directly and not service.asynchronous:
        raise _error(403, "AccessDenied", "current user api does not support asynchronous calls")
    if path != served:
        raise _error(400, "InvalidParameter", "url error, please check url!")


def _check_input(asked: _Creation, service: _Service) -> None:
    given = asked.input.model_dump(exclude_none=True)
    if service.path in {_GENERATION, _MULTIMODAL} and "prompt" in service.needs:
        parts = asked.input.messages[0].content if asked.input.messages else []
        least, most = service.pictures
        if sum("text" in part for part in parts) != 1:
            raise _error(400, "InvalidParameter", "The content must contain exactly one text.")
        if not least <= sum("image" in part for part in parts) <= most:
            raise _error(400, "InvalidParameter", f"The content must contain {least} to {most} images.")
        return
    needs = service.needs if asked.model not in _WITHOUT_TEXT or "media" not in given else ()
    for name in needs:
        if given.get(name) in (None, "", []):
            raise _error(400, "InvalidParameter", f"Field required: input.{name}")
    if given.get("function") == "description_edit_with_mask" and "mask_image_url" not in given:
        raise _error(400, "InvalidParameter", "Field required: input.mask_image_url")
    _check_media(asked.model, [item.type for item in asked.input.media or ()])


def _check_media(model: str, kinds: list[str]) -> None:
    if model == "wan2.7-i2v":
        allowed = set(kinds) in _SETS_OF_27 and len(set(kinds)) == len(kinds)
    elif model == "wan2.7-r2v":
        allowed = set(kinds) <= {"reference_image", "reference_video"} and 1 <= len(kinds) <= 5
    else:
        allowed = not (_FRAMES & set(kinds) and _REFERENCES & set(kinds))
    if not allowed:
        raise _error(400, "InvalidParameter", "The combination of media types is not supported.")


def _check_parameters(asked: _Creation, service: _Service) -> None:
    if asked.parameters.n > service.most:
        raise _error(400, "InvalidParameter", f"n must be between 1 and {service.most}.")
    if asked.parameters.sides and not service.allows(*asked.parameters.sides):
        raise _error(400, "InvalidParameter", f"size {asked.parameters.size} is not supported.")


def _outputs(asked: _Creation) -> list[Media]:
    told = asked.parameters
    if SERVICES[asked.model].path in {_VIDEO, _IMAGE2VIDEO}:
        short = int((told.resolution or "720P").removesuffix("P"))
        across, down = _SHAPES.get(told.ratio or "16:9", (16, 9))
        width, height = told.sides or (short * across // min(across, down), short * down // min(across, down))
        return [Media(Format.MP4, width, height, seconds=told.duration)]
    width, height = told.sides or (1024, 1024)
    return [Media(Format.PNG, width, height, variant=number) for number in range(told.n)]


def _made(job: Job) -> dict[str, Any]:
    """The output in the form of its family."""
    asked: _Creation = job.extra["asked"]
    expires = int((job.ended_at or job.created_at) + _DAY)
    links = [f"{file.url}?Expires={expires}" for file in job.files]
    prompts = {"orig_prompt": job.prompt, "actual_prompt": f"{job.prompt}, in fine detail"} if job.prompt else {}
    path = job.extra["path"]
    if path in {_VIDEO, _IMAGE2VIDEO}:
        return prompts | ({"video_url": links[0]} if links else {})
    if asked.model == "qwen-mt-image":
        return {"image_url": links[0]} if links else {}
    if asked.model == "wanx-style-repaint-v1":
        return {
            "error_code": 0,
            "error_message": "Success",
            "style_index": 0,
            "results": [{"url": one} for one in links],
        }
    if asked.input.messages is not None:
        content = [[{"image": link, "type": "image"}] for link in links]
        choices = [{"finish_reason": "stop", "message": {"role": "assistant", "content": one}} for one in content]
        return {"choices": choices} | ({} if job.extra["direct"] else {"finished": True})
    told = prompts if path == _TEXT2IMAGE else {}
    metrics = {"TOTAL": len(links), "SUCCEEDED": len(links), "FAILED": 0}
    return {"results": [told | {"url": link} for link in links], "task_metrics": metrics}


def _usage(job: Job) -> dict[str, Any]:
    if job.media[0].format is Format.MP4:
        seconds = job.media[0].seconds
        short = min(job.media[0].width, job.media[0].height)
        return {"duration": seconds, "output_video_duration": seconds, "video_count": 1, "SR": short}
    return {"image_count": len(job.files)}


def _listed(job: Job) -> dict[str, Any]:
    ended = job.ended_at
    return {
        "task_id": job.id,
        "status": _STATUS[job.state],
        "model_name": job.model,
        "region": "cn-beijing",
        "request_id": job.id,
        "api_key_id": "1",
        "caller_uid": "1000",
        "caller_parent_id": "1000",
        "gmt_create": int(job.created_at * 1000),
        "start_time": int(job.started_at * 1000),
        "end_time": int(ended * 1000) if ended else None,
        "user_api_unique_key": f"apikey:v1:aigc:{job.extra['path'].replace('/', ':')}:{job.model}",
    }


def _span(start: str | None, end: str | None, now: datetime) -> tuple[float, float]:
    """From when to when tasks are listed; the last 24 hours, unless it is said."""
    try:
        until = datetime.strptime(end, "%Y%m%d%H%M%S").replace(tzinfo=_BEIJING) if end else now
        since = datetime.strptime(start, "%Y%m%d%H%M%S").replace(tzinfo=_BEIJING) if start else until - _LONGEST_SPAN
    except ValueError:
        raise _error(400, "InvalidParameter", "Times are written as YYYYMMDDhhmmss.") from None
    if until - since > _LONGEST_SPAN:
        raise _error(400, "InvalidParameter", "The span of time is at most 24 hours.")
    return since.timestamp(), until.timestamp()


def _time(moment: float) -> str:
    local = datetime.fromtimestamp(moment, UTC).astimezone(_BEIJING)
    return local.isoformat(" ", timespec="milliseconds").removesuffix("+08:00")


def _request_id() -> str:
    return str(uuid.uuid4())


def _too_late() -> Refusal:
    return _error(
        400, "UnsupportedOperation", "Failed to cancel the task, please confirm if the task is in PENDING status."
    )


def _error(status: int, code: str, message: str) -> Refusal:
    return Refusal(status, {"code": code, "message": message, "request_id": _request_id()})
