"""Qianfan: pictures within the answer, MuseSteamer's tasks, and models of others behind one path."""

from __future__ import annotations

import secrets
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.responses import JSONResponse, Response

from genpulse.simulator.clouds.baidu import bodies
from genpulse.simulator.clouds.baidu.area import Area, place
from genpulse.simulator.clouds.baidu.hosted import k_view, v_view, video_size
from genpulse.simulator.clouds.baidu.signature import is_bearer
from genpulse.simulator.jobs import Failure, Job, State
from genpulse.simulator.media import Format, Media
from genpulse.simulator.wire import Call, Kind, Refusal, Route

_TASKS, _HOSTED = "/video/generations", "/beta/video/generations/qianfan-video"
_LISTED_SECONDS = 7 * 24 * 3600
_WRONG = "invalid_request_error"
_STATUS = {
    State.QUEUED: "queued",
    State.RUNNING: "running",
    State.SUCCEEDED: "succeeded",
    State.FAILED: "failed",
    State.CANCELLED: "Terminated",
}
Asked = TypeVar("Asked", bound=BaseModel)


class Qianfan(Area):
    prefixes = ("/",)

    def routes(self) -> Sequence[Route]:
        return [
            Route("POST", "/v2/images/generations", self.draw, Kind.SUBMIT),
            Route("POST", "/v2/images/edits", self.edit, Kind.SUBMIT),
            Route("POST", "/v2/musesteamer/images/generations", self.draw_air, Kind.SUBMIT),
            Route("POST", _TASKS, self.create_task, Kind.SUBMIT),
            Route("GET", _TASKS, self.get_task, Kind.POLL),
            Route("GET", f"{_TASKS}/list", self.list_tasks),
            Route("DELETE", _TASKS, self.cancel_task, Kind.CANCEL),
            Route("POST", _HOSTED, self.create_hosted, Kind.SUBMIT),
            Route("GET", _HOSTED, self.get_hosted, Kind.POLL),
        ]

    # What every platform has to say ----------------------------------------------------------------------------------

    def authenticate(self, call: Call) -> None:
        scheme, _, token = call.headers.get("Authorization", "").partition(" ")
        if scheme != "Bearer" or not (token == self.cloud.credentials.api_key or is_bearer(token, self.now)):
            raise problem(401, _WRONG, "invalid_iam_token", "Invalid IAM token")

    def invalid(self, call: Call, error: ValidationError) -> Refusal:
        where, why = place(error)
        return problem(400, _WRONG, _argument(call, where), f"{where}: {why}")

    def not_found(self, call: Call) -> Refusal:
        if call.inner_path.startswith((_TASKS, _HOSTED)):
            return problem(400, _WRONG, "invalid_video_generation_argument", "The task does not exist")
        return problem(404, _WRONG, "invalid_path", "There is nothing here")

    def throttled(self, call: Call) -> Refusal:  # noqa: ARG002
        return problem(429, "rate_limit_exceeded", "rpm_rate_limit_exceeded", "Rate limit reached for RPM")

    def broken(self, call: Call, status: int) -> Refusal:  # noqa: ARG002
        return problem(status, "internal_error", "internal_error", "Internal error")

    # Pictures --------------------------------------------------------------------------------------------------------

    async def draw(self, call: Call) -> Response:
        asked = self._read(call, bodies.PICTURES)
        return await self._drawn(call, asked, asked.sides)

    async def edit(self, call: Call) -> Response:
        asked = self._read(call, bodies.EDITS)
        return await self._drawn(call, asked, asked.sides)

    async def draw_air(self, call: Call) -> Response:
        asked = call.read(bodies.AirPicture)
        return await self._drawn(call, asked, asked.sides, as_text=asked.response_format == "b64_json")

    async def _drawn(
        self,
        call: Call,
        asked: bodies.Picture | bodies.AirPicture,
        sides: tuple[int, int],
        *,
        as_text: bool = False,
    ) -> Response:
        job = self._created(call, asked, "picture", Media(Format.PNG, *sides), prompt=asked.prompt, model=asked.model)
        if await self.cloud.finish(job) is State.FAILED:
            if job.failure is Failure.CONTENT:
                raise problem(403, "unsafe_request", "system_unsafe", "The content is not safe")
            raise problem(500, "internal_error", "image_genration_interal_error", "Internal error")
        data = [{"b64_json": b64encode(one.read()).decode()} if as_text else {"url": one.url} for one in job.files]
        return _told({"created": int(job.created_at), "data": data})

    # MuseSteamer -----------------------------------------------------------------------------------------------------

    async def create_task(self, call: Call) -> Response:
        asked = call.read(bodies.Task)
        if asked.model not in bodies.Task.models:
            _unknown_model()
        media = Media(Format.MP4, 1280, 720, seconds=asked.duration)
        job = self._created(call, asked, "muse", media, prompt=asked.prompt, model=asked.model)
        return _told({"task_id": job.id})

    async def get_task(self, call: Call) -> Response:
        job = self._task(call, "muse")
        return _told(_view(job, job.poll()))

    async def list_tasks(self, call: Call) -> Response:
        since = self.now - _LISTED_SECONDS
        found = [job for job in self.cloud.jobs() if job.extra["kind"] == "muse" and job.created_at >= since]
        known = [job for job in found if call.query.get("filter.status", _STATUS[job.state]) == _STATUS[job.state]]
        return _told({"total": len(known), "items": [_view(job, job.state) for job in known]})

    async def cancel_task(self, call: Call) -> Response:
        job = self._task(call, "muse")
        if job.state is not State.QUEUED:
            raise problem(400, _WRONG, "invalid_video_generation_argument", "The task has begun")
        self.cloud.cancel(job)
        return _told({"task_id": job.id, "status": _STATUS[State.CANCELLED]})

    # Models of others ------------------------------------------------------------------------------------------------

    async def create_hosted(self, call: Call) -> Response:
        asked = self._read(call, bodies.HOSTED)
        given = asked.model_parameters
        media = Media(Format.MP4, *video_size(given), seconds=int(given.duration))
        kind = "v" if isinstance(asked, bodies.VRequest) else "k"
        job = self._created(call, asked, kind, media, prompt=given.prompt, model=asked.model)
        return _hosted(job, State.QUEUED)

    async def get_hosted(self, call: Call) -> Response:
        asked = bodies.HOSTED.get(call.query.get("model", ""))
        if asked is None:
            raise problem(400, _WRONG, "invalid_model", "The model is required")
        job = self._task(call, "v" if asked is bodies.VRequest else "k")
        return _hosted(job, job.poll())

    def _read(self, call: Call, models: Mapping[str, type[Asked]]) -> Asked:
        """The body as its model wants it."""
        given = call.json()
        if not isinstance(given, dict):
            raise problem(400, _WRONG, "malformed_json", "The body is no JSON")
        model = str(given.get("model"))
        if model not in models:
            _unknown_model()
        return call.read(models[model])

    def _created(self, call: Call, asked: BaseModel, kind: str, media: Media, *, prompt: str | None, model: str) -> Job:
        return self.cloud.create(
            call,
            id=f"task-{secrets.token_hex(8)}",
            media=[media],
            model=model,
            prompt=prompt,
            body=asked.model_dump(exclude_unset=True),
            extra={"kind": kind},
        )

    def _task(self, call: Call, kind: str) -> Job:
        return self.job(call, call.query.get("task_id", ""), kind)


def problem(status: int, kind: str, code: str, message: str) -> Refusal:
    return Refusal(status, {"error": {"code": code, "message": message, "type": kind}, "id": _request_id()})


def _unknown_model() -> NoReturn:
    raise problem(400, _WRONG, "invalid_model", "The model does not exist")


def _argument(call: Call, where: str) -> str:
    """Pictures' codes are spelt so."""
    if "/images/" not in call.inner_path:
        return "invalid_video_generation_argument"
    return "invalid_image_genration_prompt" if where == "prompt" else "invalid_argument"


def _view(job: Job, state: State) -> dict[str, Any]:
    told: dict[str, Any] = {
        "task_id": job.id,
        "model": job.model,
        "status": _STATUS[state],
        "created_at": str(round(job.created_at * 1000)),
        "updated_at": str(round((job.ended_at or job.started_at) * 1000)),
    }
    if state is State.FAILED:
        blocked = job.failure is Failure.CONTENT
        code = "video_generation_output_unsafe" if blocked else "video_generation_internal_error"
        told["error"] = {"code": code, "message": "The task failed", "type": "unsafe_request" if blocked else ""}
    if state is State.SUCCEEDED:
        media = job.media[0]
        told |= {"duration": int(media.seconds), "width": media.width, "height": media.height}
        told["content"] = {"video_url": job.files[0].url} if job.files else {}
    return told


def _hosted(job: Job, state: State) -> JSONResponse:
    return JSONResponse(k_view(job, state) if job.extra["kind"] == "k" else v_view(job, state))


def _told(body: dict[str, Any]) -> JSONResponse:
    """`id` is the request's."""
    return JSONResponse({"id": _request_id()} | body)


def _request_id() -> str:
    return f"as-{secrets.token_hex(5)}"
