"""VOD: tasks of AIGC behind signatures; and, signed alike, short-lived keys of Qianfan."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel
from starlette.responses import JSONResponse, Response

from genpulse.simulator.clouds.baidu.area import Area, place
from genpulse.simulator.clouds.baidu.signature import bearer_token, wrong_signature
from genpulse.simulator.jobs import Job, State
from genpulse.simulator.media import Format, Media
from genpulse.simulator.wire import Call, Kind, Refusal, Route

_MODELS = {"VQ1", "VQ2", "VQ3P", "P35", "P55", "K16", "K26", "H20", "H23"}
_KEPT_SECONDS = 7 * 24 * 3600
_STATUS = {State.QUEUED: "PENDING", State.RUNNING: "RUNNING"}
_STATUS_WITHIN = {State.QUEUED: "PENDING", State.RUNNING: "RUNNING", State.SUCCEEDED: "SUCCESS", State.FAILED: "FAILED"}
_REFUSED = {"InvalidAccessKeyId": 403, "AccessDenied": 403}


class _Camel(BaseModel):
    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, populate_by_name=True)


class _Link(_Camel):
    image_url: str = Field(pattern=r"^https?://")


class _Input(_Camel):
    prompt: str | None = Field(None, max_length=1024)
    image: _Link | None = None
    duration: int = Field(5, ge=1, le=60)
    resolution: str | None = None
    aspect_ratio: str | None = None


class _Request(BaseModel):
    """The parameters are called after the model."""

    model_config = ConfigDict(extra="allow")

    model: str
    __pydantic_extra__: dict[str, _Input]

    @property
    def asked(self) -> _Input:
        return self.__pydantic_extra__[f"model{self.model}TaskInput"]

    @model_validator(mode="after")
    def _of_its_model(self) -> Self:
        if self.model not in _MODELS:
            raise ValueError("the model is not supported")
        if list(self.__pydantic_extra__) != [f"model{self.model}TaskInput"]:
            raise ValueError(f"model{self.model}TaskInput is required, and nothing else")
        return self


class Vod(Area):
    prefixes = ("/v2/aigc/", "/v2/tasks/", "/v1/BCE-BEARER/")

    def routes(self) -> Sequence[Route]:
        return [
            Route("POST", "/v2/aigc/text_to_video", self.text_to_video, Kind.SUBMIT),
            Route("POST", "/v2/aigc/image_to_video", self.image_to_video, Kind.SUBMIT),
            Route("GET", "/v2/tasks/{id}", self.get_task, Kind.POLL),
            Route("GET", "/v1/BCE-BEARER/token", self.create_bearer),
        ]

    # What every platform has to say ----------------------------------------------------------------------------------

    def authenticate(self, call: Call) -> None:
        code = wrong_signature(call, self.now)
        if code is not None:
            raise _problem(_REFUSED.get(code, 400), code, "The request is not signed as it has to be.")

    def invalid(self, call: Call, error: ValidationError) -> Refusal:  # noqa: ARG002
        where, why = place(error)
        return _problem(400, "InappropriateJSON", f"{where}: {why}")

    def not_found(self, call: Call) -> Refusal:  # noqa: ARG002
        return _problem(404, "NoSuchTask", "The task does not exist.")

    def throttled(self, call: Call) -> Refusal:  # noqa: ARG002
        return _problem(429, "RequestRateExceeded", "Too many requests.")

    def broken(self, call: Call, status: int) -> Refusal:  # noqa: ARG002
        return _problem(status, "InternalError", "An internal error has occurred.")

    # Tasks -----------------------------------------------------------------------------------------------------------

    async def text_to_video(self, call: Call) -> Response:
        request = call.read(_Request)
        if not request.asked.prompt or request.asked.image:
            raise _problem(400, "InappropriateJSON", "A prompt is required, and no image.")
        return self._created(call, request)

    async def image_to_video(self, call: Call) -> Response:
        request = call.read(_Request)
        if request.asked.image is None:
            raise _problem(400, "InappropriateJSON", "An image is required.")
        return self._created(call, request)

    def _created(self, call: Call, request: _Request) -> Response:
        job = self.cloud.create(
            call,
            id=f"tsk-{secrets.token_hex(8)}",
            media=[Media(Format.MP4, 1280, 720, seconds=request.asked.duration)],
            model=request.model,
            prompt=request.asked.prompt,
            body=request.model_dump(by_alias=True, exclude_unset=True),
            extra={"kind": "vod"},
        )
        return JSONResponse({"taskId": job.id})

    async def get_task(self, call: Call) -> Response:
        job = self.job(call, call.path["id"], "vod")
        if self.now > job.created_at + _KEPT_SECONDS:
            raise self.not_found(call)
        return JSONResponse(_view(job, job.poll()))

    # Keys ------------------------------------------------------------------------------------------------------------

    async def create_bearer(self, call: Call) -> Response:
        seconds = call.query.get("expireInSeconds", "")
        if not seconds.isdecimal():
            raise _problem(400, "InvalidHTTPRequest", "expireInSeconds is a number.")
        until = int(self.now) + int(seconds)
        times = {"createTime": _iso(self.now), "expireTime": _iso(until)}
        return JSONResponse({"userId": "sim-user", "token": bearer_token(until), "status": "enable"} | times)


def _problem(status: int, code: str, message: str) -> Refusal:
    return Refusal(status, {"code": code, "message": message, "requestId": secrets.token_hex(16)})


def _view(job: Job, state: State) -> dict[str, Any]:
    info: dict[str, Any] = {"status": _STATUS_WITHIN[state]}
    if state is State.FAILED:
        info["errMsg"] = "The task failed."
    if state is State.SUCCEEDED:
        media = job.media[0]
        frame = {"widthInPixel": media.width, "heightInPixel": media.height}
        facts = {"durationInSecond": media.seconds, "video": frame}
        made = [{"source": {"sourceUrl": file.url}, "sourceMetadata": facts} for file in job.files]
        info["videoGenerateTaskOutput"] = {"mediaBasicInfos": made}
    return {
        "taskId": job.id,
        "type": "VIDEO_GENERATE",
        "status": _STATUS.get(state, "FINISHED"),
        "createTime": _iso(job.created_at),
        "videoGenerateTaskInfo": info,
    }


def _iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
