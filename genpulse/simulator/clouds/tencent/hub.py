"""TokenHub: Hunyuan's pictures and videos, over routes of two families."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from starlette.responses import JSONResponse, Response

from genpulse.simulator.clouds.tencent.bodies import decoded, need
from genpulse.simulator.core import Cloud
from genpulse.simulator.jobs import Failure, Job, State
from genpulse.simulator.media import Format, Media
from genpulse.simulator.wire import Call, Kind, Refusal, Route

_WAND, _API = "/v1/wand", "/v1/api"
_REFERENCE = r"^(https?://|data:image/)"
_LITE_SIZES = {
    *("768:768", "768:1024", "1024:768", "1024:1024", "720:1280"),
    *("1280:720", "768:1280", "1280:768", "1080:1920", "1920:1080"),
}
_WAND_STATUS = {
    State.QUEUED: "queued",
    State.RUNNING: "running",
    State.SUCCEEDED: "succeeded",
    State.FAILED: "failed",
    State.CANCELLED: "failed",
}
_API_STATUS = _WAND_STATUS | {State.RUNNING: "in_progress", State.SUCCEEDED: "completed"}


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Picture(_Body):
    model: Literal["hy-image-v3"]
    prompt: str = Field(min_length=1, max_length=8192)
    images: list[str] = Field(default_factory=list, max_length=3)
    size: str = Field("1024x1024", pattern=r"^\d+x\d+$")
    seed: int | None = Field(None, ge=1, le=4294967295)
    footnote: str | None = Field(None, max_length=16)
    revise: bool = True

    @property
    def sides(self) -> tuple[int, int]:
        width, height = self.size.split("x")
        return int(width), int(height)

    @model_validator(mode="after")
    def _within_limits(self) -> Self:
        check_size(self.sides)
        for image in self.images:
            need(image.startswith(("http://", "https://")) or decoded(image), "images are not valid")
        return self


class _Lite(_Body):
    model: Literal["hy-image-lite"]
    prompt: str = Field(min_length=1, max_length=256)
    resolution: str = "1024:1024"
    rsp_img_type: Literal["url", "base64"] = "url"

    @model_validator(mode="after")
    def _known_size(self) -> Self:
        need(self.resolution in _LITE_SIZES, "resolution is not supported")
        return self


class _Video(_Body):
    model: Literal["hy-video-v1.5"]
    prompt: str | None = Field(None, max_length=200)
    negative_prompt: str | None = None
    image: str | None = None
    image_url: str | None = None
    n: Literal[1] = 1
    duration: Literal[5] = 5
    resolution: Literal["720p"] = "720p"
    aspect_ratio: Literal["16:9", "9:16", "1:1", "4:3", "3:4"] | None = None
    revise: bool = True

    @model_validator(mode="after")
    def _from_something(self) -> Self:
        pictured = bool(self.image_url or (self.image and decoded(self.image)))
        need(pictured or self.prompt, "prompt is required")
        need(not pictured or self.aspect_ratio is None, "aspect_ratio is for text to video only")
        return self


class _Link(_Body):
    url: str = Field(pattern=_REFERENCE)


class _Task(_Body):
    model: Literal["hy-video-1.5", "yt-video-2.0"]
    prompt: str | None = Field(None, max_length=200)
    image: _Link | None = None
    resolution: Literal["480p", "720p", "1080p"] = "720p"
    logo_add: Literal[0, 1] = 1

    @model_validator(mode="after")
    def _from_something(self) -> Self:
        need(self.image or (self.prompt and self.model == "hy-video-1.5"), "image is required")
        return self


class _PictureTask(_Body):
    model: Literal["hy-image-v3.0"]
    prompt: str = Field(min_length=1, max_length=8192)
    images: list[Annotated[str, Field(pattern=_REFERENCE)]] = Field(default_factory=list, max_length=3)
    resolution: str = Field("1024:1024", pattern=r"^\d+:\d+$")
    seed: int | None = Field(None, ge=1, le=4294967295)
    revise: Literal[0, 1] = 1
    logo_add: Literal[0, 1] = 1
    logo_param: dict[str, Any] | None = None

    @property
    def sides(self) -> tuple[int, int]:
        width, height = self.resolution.split(":")
        return int(width), int(height)

    @model_validator(mode="after")
    def _within_limits(self) -> Self:
        check_size(self.sides)
        return self


class _Query(_Body):
    model: str
    id: str


class Hub:
    """What is under `/v1` of the cloud."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def routes(self) -> Sequence[Route]:
        return [
            Route("POST", f"{_WAND}/hunyuan-image/v3-generation", self.make, Kind.SUBMIT),
            Route("POST", f"{_WAND}/hunyuan-video/generation", self.create, Kind.SUBMIT),
            Route("GET", f"{_WAND}/hunyuan-video/tasks/{{id}}", self.task, Kind.POLL),
            Route("POST", f"{_API}/image/lite", self.make_lite, Kind.SUBMIT),
            Route("POST", f"{_API}/image/submit", self.submit_picture, Kind.SUBMIT),
            Route("POST", f"{_API}/image/query", self.query, Kind.POLL),
            Route("POST", f"{_API}/video/submit", self.submit, Kind.SUBMIT),
            Route("POST", f"{_API}/video/query", self.query, Kind.POLL),
            Route("GET", "/v1/{path:path}", self.nothing),
        ]

    async def make(self, call: Call) -> Response:
        asked = call.read(_Picture)
        return await self._made(call, asked, asked.sides)

    async def make_lite(self, call: Call) -> Response:
        asked = call.read(_Lite)
        width, height = asked.resolution.split(":")
        return await self._made(call, asked, (int(width), int(height)))

    async def _made(self, call: Call, asked: _Picture | _Lite, size: tuple[int, int]) -> Response:
        job = self._job(call, asked, Media(Format.PNG, *size))
        state = await self._cloud.finish(job)
        if state is State.FAILED:
            raise content_error() if job.failure is Failure.CONTENT else hub_error(502, "upstream_error", "502001")
        data = [{"url": file.url, "revised_prompt": asked.prompt} for file in job.files]
        return JSONResponse({"id": job.id, "created": int(job.created_at), "data": data})

    async def create(self, call: Call) -> Response:
        asked = call.read(_Video)
        width, _, height = (asked.aspect_ratio or "16:9").partition(":")
        scale = 720 / min(int(width), int(height))
        media = Media(Format.MP4, round(int(width) * scale), round(int(height) * scale), seconds=asked.duration)
        job = self._job(call, asked, media)
        return JSONResponse({"task_id": job.id, "created": int(job.created_at), "request_id": str(uuid.uuid4())})

    async def task(self, call: Call) -> Response:
        job = self._cloud.job(call, call.path["id"])
        state = job.poll()
        told: dict[str, Any] = {"status": _WAND_STATUS[state], "videos": [], "usage": None, "error": None}
        if state is State.SUCCEEDED:
            told |= {"videos": [{"url": file.url} for file in job.files], "usage": {"credits": 1.5}}
        if state is State.FAILED:
            told["error"] = _failure(job)
        return JSONResponse(told)

    async def submit(self, call: Call) -> Response:
        asked = call.read(_Task)
        side = int(asked.resolution[:-1])
        return _queued(self._job(call, asked, Media(Format.MP4, round(side * 16 / 9), side, seconds=5)), "video")

    async def submit_picture(self, call: Call) -> Response:
        asked = call.read(_PictureTask)
        return _queued(self._job(call, asked, Media(Format.PNG, *asked.sides)), "image")

    async def query(self, call: Call) -> Response:
        """A video is told as an object, pictures as a list."""
        asked = call.read(_Query)
        job = self._cloud.job(call, asked.id)
        if asked.model != job.model or ("/image/" in call.request.url.path) is not job.media[0].format.is_image:
            raise self._cloud.not_found(call)
        state = job.poll()
        told: dict[str, Any] = {"status": _API_STATUS[state], "request_id": str(uuid.uuid4())}
        told["progress"] = 100 if state.ended else 50 if state is State.RUNNING else 0
        if state is State.SUCCEEDED and job.files:
            links = [{"url": file.url} for file in job.files]
            told |= {
                "data": links if job.media[0].format.is_image else links[0],
                "usage": {"credits": 5, "duration": 5},
            }
        if state is State.FAILED:
            told["error"] = _failure(job)
        return JSONResponse(told)

    async def nothing(self, call: Call) -> Response:
        raise self._cloud.not_found(call)

    def _job(self, call: Call, asked: _Picture | _Lite | _Video | _Task | _PictureTask, media: Media) -> Job:
        return self._cloud.create(
            call, media=[media], model=asked.model, prompt=asked.prompt, body=asked.model_dump(exclude_unset=True)
        )


def check_size(sides: tuple[int, int]) -> None:
    width, height = sides
    need(all(512 <= side <= 2048 for side in sides) and width * height <= 1024**2, "size is out of range")


def _queued(job: Job, kind: str) -> Response:
    return JSONResponse({"id": job.id, "request_id": str(uuid.uuid4()), "object": kind, "status": "queued"})


def hub_error(status: int, kind: str, code: str, message: str = "The service failed.") -> Refusal:
    source = "upstream" if status >= 500 else "gateway"
    error = {"type": kind, "code": code, "message": message, "source": source, "request_id": str(uuid.uuid4())}
    return Refusal(status, {"error": error})


def content_error() -> Refusal:
    return hub_error(451, "content_filter_error", "451001", "The content did not pass moderation.")


def _failure(job: Job) -> dict[str, str]:
    if job.failure is Failure.CONTENT:
        return {"code": "451001", "message": "The content did not pass moderation."}
    return {"code": "502001", "message": "The service failed."}
