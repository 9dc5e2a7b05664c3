"""Vidu: a path for each kind of work, and tasks that are asked for, listed, cancelled and called back about."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError
from starlette.responses import JSONResponse, Response

from genpulse.simulator.callbacks import Callback
from genpulse.simulator.clouds.vidu import bodies
from genpulse.simulator.core import Cloud
from genpulse.simulator.credentials import VIDU
from genpulse.simulator.jobs import Failure, Job, State
from genpulse.simulator.media import Format, Media
from genpulse.simulator.wire import Call, Kind, Refusal, Route

_BASE = "/ent/v2"
_MOST_BYTES = 20 * 2**20
_STATES = {State.QUEUED: "queueing", State.RUNNING: "processing", State.SUCCEEDED: "success"}
_SIDES = {"360p": 360, "540p": 540, "720p": 720, "1080p": 1080, "2K": 1440, "4K": 2160, "8K": 4320}
_CODES = {"missing": "FieldLacking", "extra_forbidden": "FieldUnwanted", "json_invalid": "BadRequest"}
_CREDITS = 60


class Vidu(Cloud):
    name = "vidu"
    credentials = VIDU
    base_path = _BASE
    media_lifetime = 24 * 3600

    def routes(self) -> Sequence[Route]:
        return [
            Route("POST", f"{_BASE}/text2video", self.text2video, Kind.SUBMIT),
            Route("POST", f"{_BASE}/img2video", self.img2video, Kind.SUBMIT),
            Route("POST", f"{_BASE}/start-end2video", self.start_end2video, Kind.SUBMIT),
            Route("POST", f"{_BASE}/reference2video", self.reference2video, Kind.SUBMIT),
            Route("POST", f"{_BASE}/reference2image", self.reference2image, Kind.SUBMIT),
            Route("POST", f"{_BASE}/extend", self.extend, Kind.SUBMIT),
            Route("POST", f"{_BASE}/upscale-pro", self.upscale, Kind.SUBMIT),
            Route("POST", f"{_BASE}/lip-sync", self.lip_sync, Kind.SUBMIT),
            Route("POST", f"{_BASE}/text2audio", self.text2audio, Kind.SUBMIT),
            Route("GET", f"{_BASE}/tasks/{{id}}/creations", self.creations, Kind.POLL),
            Route("GET", f"{_BASE}/tasks", self.tasks),
            Route("POST", f"{_BASE}/tasks/{{id}}/cancel", self.cancel_task, Kind.CANCEL),
            Route("GET", f"{_BASE}/credits", self.balance),
        ]

    # What every cloud has to say -------------------------------------------------------------------------------------

    def authenticate(self, call: Call) -> None:
        if call.headers.get("Authorization") != f"Token {self.credentials.api_key}":
            raise _problem(401, "Unauthorized", "invalid api key")
        if len(call.body) > _MOST_BYTES:
            raise _problem(413, "BadRequest", "request body too large")

    def invalid(self, call: Call, error: ValidationError) -> Refusal:  # noqa: ARG002
        first = error.errors()[0]
        own = first["type"][:1].isupper()  # Vidu's own codes are written so
        code = first["type"] if own else _CODES.get(first["type"], "FieldInvalid")
        where = ".".join(map(str, first["loc"])) or "body"
        return _problem(400, code, f"{where}: {first['msg']}", field=where)

    def not_found(self, call: Call) -> Refusal:  # noqa: ARG002
        return _problem(404, "TaskNotFound", "task not found")

    def throttled(self, call: Call) -> Refusal:  # noqa: ARG002
        return _problem(429, "TooManyRequests", "too many requests")

    def broken(self, call: Call, status: int) -> Refusal:  # noqa: ARG002
        return _problem(status, "InternalServiceFailure", "internal service failure")

    # Submissions -----------------------------------------------------------------------------------------------------

    async def text2video(self, call: Call) -> Response:
        return self._video(call, call.read(bodies.Text2Video))

    async def img2video(self, call: Call) -> Response:
        return self._video(call, call.read(bodies.Img2Video))

    async def start_end2video(self, call: Call) -> Response:
        return self._video(call, call.read(bodies.StartEnd2Video))

    async def reference2video(self, call: Call) -> Response:
        return self._video(call, call.read(bodies.Reference2Video))

    async def reference2image(self, call: Call) -> Response:
        asked = call.read(bodies.Reference2Image)
        return self._created(call, asked, Media(Format.PNG, *_size(asked.side, asked.aspect_ratio)))

    async def extend(self, call: Call) -> Response:
        asked = call.read(bodies.Extend)
        self._check_creation(asked.video_creation_id)
        return self._created(call, asked, Media(Format.MP4, *_size(asked.side), seconds=4 + asked.seconds))

    async def upscale(self, call: Call) -> Response:
        asked = call.read(bodies.Upscale)
        self._check_creation(asked.video_creation_id)
        return self._created(call, asked, Media(Format.MP4, *_size(asked.upscale_resolution), seconds=5))

    async def lip_sync(self, call: Call) -> Response:
        return self._created(call, call.read(bodies.LipSync), Media(Format.MP4, 1280, 720, seconds=5))

    async def text2audio(self, call: Call) -> Response:
        asked = call.read(bodies.Text2Audio)
        return self._created(call, asked, Media(Format.MP3, seconds=asked.duration))

    def _video(self, call: Call, asked: bodies.Task) -> Response:
        size = _size(asked.side, getattr(asked, "aspect_ratio", "16:9"))
        return self._created(call, asked, Media(Format.MP4, *size, seconds=asked.seconds))

    def _check_creation(self, wanted: str | None) -> None:
        if wanted is not None and not any(_creation_id(job) == wanted for job in self.jobs()):
            raise _problem(404, "CreationNotFound", "creation not found")

    def _created(self, call: Call, asked: bodies.Body, media: Media) -> Response:
        given = asked.model_dump(mode="json", exclude_unset=True)
        job = self.create(
            call,
            id=str(10**17 + secrets.randbelow(9 * 10**17)),
            media=[media],
            model=given.get("model", ""),
            prompt=given.get("prompt", given.get("text")),
            body=given,
            callback_url=given.get("callback_url"),
        )
        told = {name: value for name, value in given.items() if name != "callback_url"}
        made = datetime.fromtimestamp(job.created_at, UTC).isoformat().replace("+00:00", "Z")
        return JSONResponse(told | {"task_id": job.id, "state": "created", "credits": _CREDITS, "created_at": made})

    # Tasks -----------------------------------------------------------------------------------------------------------

    async def creations(self, call: Call) -> Response:
        job = self._task(call)
        return JSONResponse(_view(job, job.poll()))

    async def tasks(self, call: Call) -> Response:
        wanted = [part for given in call.query.getlist("task_ids") for part in given.split(",")]
        found = [job for job in self.jobs() if job.id in wanted]
        return JSONResponse({"tasks": [_view(job, job.state) for job in found], "next_page_token": ""})

    async def cancel_task(self, call: Call) -> Response:
        job = self._task(call)
        if job.state is not State.QUEUED:
            raise _problem(400, "BadRequest", f"a task in state {_view(job, job.state)['state']} cannot be cancelled")
        self.cancel(job)
        return JSONResponse({})

    async def balance(self, call: Call) -> Response:  # noqa: ARG002
        left = {"type": "test", "credit_remain": 100000, "concurrency_limit": 5, "current_concurrency": 0}
        return JSONResponse({"remains": [left], "packages": []})

    def _task(self, call: Call) -> Job:
        if not call.path["id"].isdecimal():
            raise _problem(400, "FieldInvalid", "task_id is a number", field="task_id")
        return self.job(call, call.path["id"])

    def callback(self, job: Job, state: State) -> Callback | None:
        return Callback(json.dumps(_view(job, state)).encode())


def _creation_id(job: Job) -> str:
    return f"{job.id}1"


def _size(side: str, aspect: str = "16:9") -> tuple[int, int]:
    width, height = map(int, aspect.split(":"))
    factor = _SIDES[side] / min(width, height)
    return round(width * factor), round(height * factor)


def _view(job: Job, state: State) -> dict[str, Any]:
    view: dict[str, Any] = {
        "id": job.id,
        "state": _STATES.get(state, "failed"),
        "err_code": "",
        "credits": _CREDITS,
        "payload": job.body.get("payload", ""),
        "bgm": job.body.get("bgm", False),
        "off_peak": job.body.get("off_peak", False),
        "progress": {State.QUEUED: 0, State.RUNNING: 50}.get(state, 100),
        "creations": [],
    }
    if state is State.SUCCEEDED:
        view["creations"] = [
            {"id": _creation_id(job), "url": file.url, "cover_url": file.url, "watermarked_url": ""}
            for file in job.files
        ]
    if state is State.CANCELLED:
        view["err_code"] = "UserCancelled"
    elif state is State.FAILED:
        view["err_code"] = "CreationPolicyViolation" if job.failure is Failure.CONTENT else "InternalServiceFailure"
    return view


def _problem(status: int, code: str, said: str, **metadata: str) -> Refusal:
    return Refusal(status, {"code": status, "reason": code, "message": said, "metadata": metadata})
