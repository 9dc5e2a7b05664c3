"""MiniMax: video tasks of both generations, pictures and speech within the answer, and the challenge of callbacks."""

from __future__ import annotations

import json
import secrets
from base64 import b64encode
from collections.abc import Sequence
from typing import Any

import httpx
from pydantic import ValidationError
from starlette.responses import JSONResponse, Response

from genpulse.simulator.callbacks import Callback
from genpulse.simulator.clouds.minimax import bodies
from genpulse.simulator.clouds.minimax.sounds import Sounds
from genpulse.simulator.clouds.minimax.words import base, error, is_new, number, ok, raise_failure, refusal, trace
from genpulse.simulator.core import Cloud
from genpulse.simulator.credentials import MINIMAX
from genpulse.simulator.jobs import Failure, Job, State
from genpulse.simulator.media import Format, Media
from genpulse.simulator.wire import Call, Kind, Refusal, Route

_V1_STATUS = {
    State.QUEUED: "Queueing",
    State.RUNNING: "Processing",
    State.SUCCEEDED: "Success",
    State.FAILED: "Fail",
    State.CANCELLED: "Fail",
}
_V1_TOLD = {State.RUNNING: "processing", State.SUCCEEDED: "success", State.FAILED: "failed"}
_SIDES = {"480P": 480, "512P": 512, "720P": 720, "768P": 768, "1080P": 1080, "2K": 1440}
_LOGIN = "login fail: Please carry the API secret key in the 'Authorization' field of the request header"
_SIZES = {
    "1:1": (1024, 1024),
    "16:9": (1280, 720),
    "4:3": (1152, 864),
    "3:2": (1248, 832),
    "2:3": (832, 1248),
    "3:4": (864, 1152),
    "9:16": (720, 1280),
    "21:9": (1344, 576),
}
_CHALLENGE_SECONDS = 3.0


class Minimax(Cloud):
    name = "minimax"
    credentials = MINIMAX
    media_lifetime = 3600

    def routes(self) -> Sequence[Route]:
        return [
            Route("POST", "/v1/video_generation", self.create_video, Kind.SUBMIT),
            Route("GET", "/v1/query/video_generation", self.query_video, Kind.POLL),
            Route("GET", "/v1/files/retrieve", self.retrieve, Kind.RESULT),
            Route("POST", "/v1/video_template_generation", self.fill_template, Kind.SUBMIT),
            Route("GET", "/v1/query/video_template_generation", self.query_filled, Kind.POLL),
            Route("POST", "/v2/video_generation", self.create_task, Kind.SUBMIT),
            Route("POST", "/v2/video_regeneration", self.regenerate, Kind.SUBMIT),
            Route("GET", "/v2/query/video_generation", self.list_tasks),
            Route("GET", "/v2/query/video_generation/{id}", self.query_task, Kind.POLL),
            Route("DELETE", "/v2/video_generation/{id}", self.delete_task, Kind.CANCEL),
            Route("POST", "/v1/image_generation", self.make_image, Kind.SUBMIT),
            *Sounds(self).routes(),
        ]

    # What every cloud has to say -------------------------------------------------------------------------------------

    def authenticate(self, call: Call) -> None:
        if call.headers.get("Authorization") != f"Bearer {self.credentials.api_key}":
            raise refusal(call, 1004, _LOGIN)

    def invalid(self, call: Call, error: ValidationError) -> Refusal:
        first = error.errors()[0]
        return refusal(call, 2013, f"invalid params, {'.'.join(map(str, first['loc']))}: {first['msg']}")

    def not_found(self, call: Call) -> Refusal:
        return refusal(call, 2013, "invalid params, invalid task_id")

    def throttled(self, call: Call) -> Refusal:
        return refusal(call, 1002, "rate limit, please retry later")

    def broken(self, call: Call, status: int) -> Refusal:
        if not is_new(call):
            return refusal(call, 1013, "internal error")
        kind = "overloaded_error" if status == 529 else "server_error"
        return Refusal(status, error(kind, "internal error (1000)", status), trace())

    # Videos of the first generation ----------------------------------------------------------------------------------

    async def create_video(self, call: Call) -> Response:
        asked = call.read(bodies.Video)
        await self._challenge(call, asked.callback_url)
        side = _SIDES[asked.resolution or "720P"]
        job = self.create(
            call,
            id=number(),
            media=[Media(Format.MP4, round(side * 16 / 9), side, seconds=asked.duration)],
            model=asked.model,
            prompt=asked.prompt,
            body=asked.model_dump(mode="json", exclude_unset=True),
            callback_url=str(asked.callback_url) if asked.callback_url else None,
            extra={"file": number(), "api": 1},
        )
        return ok({"task_id": job.id})

    async def query_video(self, call: Call) -> Response:
        job = self.job(call, call.query.get("task_id", ""))
        return ok(_v1(job, job.poll()))

    async def retrieve(self, call: Call) -> Response:
        wanted = call.query.get("file_id")
        for job in self.jobs():
            if job.extra.get("file") == wanted and job.state is State.SUCCEEDED and job.files:
                file = {
                    "file_id": int(job.extra["file"]),
                    "bytes": 0,
                    "created_at": int(job.created_at),
                    "filename": "output_aigc.mp4",
                    "purpose": "video_generation",
                    "download_url": job.files[0].url,
                }
                return ok({"file": file})
        raise refusal(call, 2013, "invalid params, file not found")

    async def fill_template(self, call: Call) -> Response:
        asked = call.read(bodies.Template)
        await self._challenge(call, asked.callback_url)
        job = self.create(
            call,
            id=number(),
            media=[Media(Format.MP4, 1280, 720, seconds=6)],
            model="video_template",
            prompt=asked.text_inputs[0].value if asked.text_inputs else None,
            body=asked.model_dump(mode="json", exclude_unset=True),
            callback_url=str(asked.callback_url) if asked.callback_url else None,
            extra={"api": 1, "filled": True},
        )
        return ok({"task_id": job.id})

    async def query_filled(self, call: Call) -> Response:
        job = self.job(call, call.query.get("task_id", ""))
        return ok(_filled(job, job.poll()))

    # Videos of the second generation ---------------------------------------------------------------------------------

    async def create_task(self, call: Call) -> Response:
        asked = call.read(bodies.Task)
        return await self._begin(call, asked, seconds=asked.duration, kind="generation")

    async def regenerate(self, call: Call) -> Response:
        return await self._begin(call, call.read(bodies.Regeneration), seconds=5, kind="regeneration")

    async def _begin(
        self, call: Call, asked: bodies.Task | bodies.Regeneration, *, seconds: int, kind: str
    ) -> Response:
        await self._challenge(call, asked.callback_url)
        side = _SIDES[asked.resolution]
        job = self.create(
            call,
            id=number(),
            media=[Media(Format.MP4, round(side * 16 / 9), side, seconds=seconds)],
            model=asked.model,
            prompt=asked.prompt,
            body=asked.model_dump(mode="json", exclude_unset=True),
            callback_url=str(asked.callback_url) if asked.callback_url else None,
            extra={"api": 2, "kind": kind},
        )
        return JSONResponse({"task_id": job.id}, headers=trace())

    async def query_task(self, call: Call) -> Response:
        job = self.job(call, call.path["id"])
        return JSONResponse(self._v2(job, job.poll()), headers=trace())

    async def list_tasks(self, call: Call) -> Response:
        asked = bodies.Tasks.model_validate(dict(call.query))
        tasks = [self._v2(job, job.state)["task"] for job in self.jobs() if job.extra["api"] == 2]
        shown = [task for task in tasks if asked.shows(task)]
        start = (asked.page_num - 1) * asked.page_size
        return JSONResponse({"items": shown[start : start + asked.page_size], "total": len(shown)}, headers=trace())

    async def delete_task(self, call: Call) -> Response:
        job = self.job(call, call.path["id"])
        if job.state in (State.RUNNING, State.CANCELLED):
            raise refusal(call, 2013, f"a task that is {job.state} cannot be deleted")
        if job.state is State.QUEUED:
            self.cancel(job)
            return JSONResponse({"task_id": job.id, "action": "cancelled", "status": "cancelled"}, headers=trace())
        del self.world.jobs[self.name, job.id]
        return JSONResponse({"task_id": job.id, "action": "deleted", "status": str(job.state)}, headers=trace())

    def _v2(self, job: Job, state: State) -> dict[str, Any]:
        done, seconds = state is State.SUCCEEDED, int(job.media[0].seconds)
        usage = {"total_seconds": seconds, "input_seconds": 0, "output_seconds": seconds, "input_image_count": 0}
        task: dict[str, Any] = {
            "id": job.id,
            "model": job.model,
            "status": str(state),
            "created_at": int(job.created_at),
            "updated_at": int(self.world.clock.now()),
            "resolution": job.body["resolution"],
            "duration": seconds,
            "ratio": job.body.get("ratio", "adaptive"),
            "usage": usage if done else {},
            "task_type": job.extra["kind"],
            "modality": "video",
        }
        if done and job.files:
            task["content"] = {"url": job.files[0].url}
        if state is State.FAILED:
            moderated = job.failure is Failure.CONTENT
            code, said = ("1027", "video contains sensitive content") if moderated else ("1000", "internal error")
            task["error"] = {"code": code, "message": said}
        return {"task": task}

    # Pictures --------------------------------------------------------------------------------------------------------

    async def make_image(self, call: Call) -> Response:
        asked = call.read(bodies.Image)
        width, height = (asked.width, asked.height) if asked.width else _SIZES[asked.aspect_ratio or "1:1"]
        job = self.create(
            call,
            media=[Media(Format.JPEG, width or 1024, height or 1024, variant=variant) for variant in range(asked.n)],
            model=asked.model,
            prompt=asked.prompt,
            body=asked.model_dump(mode="json", exclude_unset=True),
            extra={"api": 1},
        )
        state = await self.finish(job)
        raise_failure(call, job, state)
        count = len(job.files)
        told = {"success_count": str(count), "failed_count": str(asked.n - count)}
        data: dict[str, Any] = {"image_urls": [file.url for file in job.files]}
        if asked.response_format == "base64":
            data = {"image_base64": [b64encode(file.read()).decode() for file in job.files]}
        return ok({"id": job.id, "data": data, "metadata": told})

    # Callbacks -------------------------------------------------------------------------------------------------------

    async def _challenge(self, call: Call, url: object) -> None:
        """An address is taken only once it has repeated a challenge."""
        if url is None:
            return
        challenge = secrets.token_hex(8)
        body = json.dumps({"challenge": challenge}).encode()
        try:
            answer = await self.world.callbacks.post(str(url), body)
            repeated = answer.json().get("challenge") if answer.is_success and answer.content else None
        except (httpx.HTTPError, ValueError, AttributeError):
            repeated = None
        if repeated != challenge:
            raise refusal(call, 2013, "invalid params, callback_url did not answer the challenge")

    def callback(self, job: Job, state: State) -> Callback | None:
        if job.extra["api"] == 2:
            return Callback(json.dumps(self._v2(job, state)).encode())
        told = (_filled(job, state) if "filled" in job.extra else _v1(job, state)) | {
            "status": _V1_TOLD.get(state, "processing")
        }
        return Callback(json.dumps(told).encode())


def _v1(job: Job, state: State) -> dict[str, Any]:
    done = state is State.SUCCEEDED and bool(job.files)
    size = {"video_width": job.media[0].width if done else 0, "video_height": job.media[0].height if done else 0}
    return _status(job, state) | size | {"file_id": job.extra["file"] if done else ""}


def _filled(job: Job, state: State) -> dict[str, Any]:
    done = state is State.SUCCEEDED and bool(job.files)
    return _status(job, state) | ({"video_url": job.files[0].url} if done else {})


def _status(job: Job, state: State) -> dict[str, Any]:
    moderated = state is State.FAILED and job.failure is Failure.CONTENT
    told = base(1027, "output new_sensitive") if moderated else base(0, "success")
    return {"task_id": job.id, "status": _V1_STATUS[state], "base_resp": told}
