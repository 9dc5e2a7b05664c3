"""Luma: the Agents API with its files, and Dream Machine with its list and callbacks, each behind a key of its own."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError
from starlette.responses import JSONResponse, Response

from genpulse.simulator.callbacks import Callback
from genpulse.simulator.clouds.luma import agents, dream
from genpulse.simulator.core import Cloud, Upload
from genpulse.simulator.credentials import LUMA
from genpulse.simulator.jobs import Failure, Job, State
from genpulse.simulator.media import Format, Media
from genpulse.simulator.wire import Call, Kind, Refusal, Route

_DREAM = "/dream-machine/v1"
_LIMIT = 60
_LAYERS = ("subject", "background")
_SIDES = {"360p": 360, "540p": 540, "720p": 720, "1080p": 1080, "4k": 2160, "1k": 1024, "2k": 2048}
_FORMATS = {"png": Format.PNG, "jpeg": Format.JPEG, "jpg": Format.JPEG}
_AGENT_STATES = {State.QUEUED: "queued", State.RUNNING: "processing", State.SUCCEEDED: "completed"}
_DREAM_STATES = {State.QUEUED: "queued", State.RUNNING: "dreaming", State.SUCCEEDED: "completed"}
_FAILURES = {
    Failure.CONTENT: ("content_moderated", "The content was flagged by moderation."),
    Failure.INTERNAL: ("generation_failed", "The generation could not be completed."),
}


class Luma(Cloud):
    name = "luma"
    credentials = LUMA
    base_path = "/v1"
    media_lifetime = 3600

    def routes(self) -> Sequence[Route]:
        one = f"{_DREAM}/generations/{{id}}"
        return [
            Route("POST", "/v1/generations", self.generate, Kind.SUBMIT),
            Route("GET", "/v1/generations/{id}", self.generation, Kind.POLL),
            Route("POST", "/v1/files", self.create_file),
            Route("GET", "/v1/files", self.list_files),
            Route("GET", "/v1/files/{id}", self.get_file),
            Route("DELETE", "/v1/files/{id}", self.delete_file),
            Route("POST", "/v1/files/{id}/complete", self.complete_file),
            Route("PUT", "/uploads/{id}", self.put_file, public=True),
            Route("POST", f"{_DREAM}/generations", self.dream_video, Kind.SUBMIT),
            Route("POST", f"{_DREAM}/generations/video", self.dream_video, Kind.SUBMIT),
            Route("POST", f"{_DREAM}/generations/image", self.dream_image, Kind.SUBMIT),
            Route("POST", f"{_DREAM}/generations/video/modify", self.modify, Kind.SUBMIT),
            Route("POST", f"{_DREAM}/generations/video/reframe", self.reframe_video, Kind.SUBMIT),
            Route("POST", f"{_DREAM}/generations/image/reframe", self.reframe_image, Kind.SUBMIT),
            Route("POST", f"{one}/upscale", self.upscale, Kind.SUBMIT),
            Route("POST", f"{one}/audio", self.add_audio, Kind.SUBMIT),
            Route("GET", f"{_DREAM}/generations", self.dreams),
            Route("GET", one, self.get_dream, Kind.POLL),
            Route("DELETE", one, self.delete_dream, Kind.CANCEL),
            Route("GET", f"{_DREAM}/generations/concepts/list", self.concepts),
            Route("GET", f"{_DREAM}/credits", self.balance),
            Route("GET", f"{_DREAM}/ping", self.ping),
        ]

    # What every cloud has to say -------------------------------------------------------------------------------------

    def authenticate(self, call: Call) -> None:
        key = self.credentials.access_key if _is_dream(call) else self.credentials.api_key
        if call.headers.get("Authorization") != f"Bearer {key}":
            raise _problem(call, 401, "Invalid API key")

    def invalid(self, call: Call, error: ValidationError) -> Refusal:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "body"
        return _problem(call, 400 if _is_dream(call) else 422, f"{where}: {first['msg']}")

    def not_found(self, call: Call) -> Refusal:
        return _problem(call, 404, "Generation not found" if "generations" in call.request.url.path else "Not found")

    def throttled(self, call: Call) -> Refusal:
        return _problem(call, 429, "Rate limit exceeded")

    def broken(self, call: Call, status: int) -> Refusal:
        return _problem(call, status, "The service is temporarily unavailable")

    # The Agents API --------------------------------------------------------------------------------------------------

    async def generate(self, call: Call) -> Response:
        asked = call.read(agents.Generation)
        for one in asked.references():
            self._check_reference(call, one)
        job = self.create(
            call,
            media=_agent_media(asked),
            model=asked.model,
            prompt=asked.prompt,
            key=call.headers.get("X-Request-Id"),
            body=asked.model_dump(mode="json", exclude_unset=True),
            extra={"dream": False, "type": asked.type},
        )
        limits = {"X-RateLimit-Limit": str(_LIMIT), "X-RateLimit-Remaining": str(_LIMIT - 1)}
        return JSONResponse(_agent_view(job, job.state), 201, _headers(call) | limits)

    async def generation(self, call: Call) -> Response:
        job = self._of_product(call, is_dream=False)
        return JSONResponse(_agent_view(job, job.poll()), headers=_headers(call))

    def _check_reference(self, call: Call, one: agents.Reference) -> None:
        if one.generation_id is not None:
            earlier = self.world.jobs.get((self.name, one.generation_id))
            if earlier is None or earlier.extra["dream"] or earlier.state is not State.SUCCEEDED:
                raise _problem(call, 422, f"generation {one.generation_id} has no output")
        if one.file_id is not None and self._file(call, one.file_id)["state"] != "ready":
            raise _problem(call, 422, f"file {one.file_id} is not ready")

    def _of_product(self, call: Call, *, is_dream: bool) -> Job:
        job = self.job(call, call.path["id"])
        if job.extra["dream"] is not is_dream:
            raise self.not_found(call)
        return job

    # Files of the Agents API -----------------------------------------------------------------------------------------

    async def create_file(self, call: Call) -> Response:
        """Told beforehand, then put at an address; or sent here at once, as a form."""
        if call.headers.get("Content-Type", "").startswith("multipart/"):
            return JSONResponse(self._created(call, await self._sent_file(call), None), 201, _headers(call))
        asked = call.read(agents.NewFile)
        upload = self.store(name=asked.filename or "file", content_type=asked.mime_type, content=b"")
        put = {
            "method": "PUT",
            "url": f"{call.base_url}/uploads/{upload.id}",
            "headers": {"Content-Type": asked.mime_type},
            "expires_at": _time(self.world.clock.now() + 3600),
        }
        return JSONResponse(self._created(call, upload, put), 201, _headers(call))

    async def _sent_file(self, call: Call) -> Upload:
        async with call.request.form() as form:
            sent = form.get("file")
            if sent is None or isinstance(sent, str):
                raise _problem(call, 422, "file: Field required")
            name, kind = sent.filename or "file", sent.content_type or ""
            return self.store(name=name, content_type=kind, content=await sent.read())

    def _created(self, call: Call, upload: Upload, put: Mapping[str, Any] | None) -> dict[str, Any]:
        file = self._file(call, upload.id)
        return {"id": upload.id, "state": file["state"], "file": file, "upload": put}

    async def put_file(self, call: Call) -> Response:
        upload = self.world.uploads.get((self.name, call.path["id"]))
        if upload is None or call.headers.get("Content-Type") != upload.content_type:
            raise _problem(call, 403, "SignatureDoesNotMatch")
        self.world.uploads[self.name, upload.id] = replace(upload, content=call.body)
        return Response()

    async def complete_file(self, call: Call) -> Response:
        return JSONResponse(self._file(call, call.path["id"]), headers=_headers(call))

    async def get_file(self, call: Call) -> Response:
        return JSONResponse(self._file(call, call.path["id"]), headers=_headers(call))

    async def list_files(self, call: Call) -> Response:
        ids = [one for cloud, one in self.world.uploads if cloud == self.name][::-1]
        data = [self._file(call, one) for one in ids]
        return JSONResponse({"data": data, "has_more": False, "next_cursor": None}, headers=_headers(call))

    async def delete_file(self, call: Call) -> Response:
        self._file(call, call.path["id"])
        del self.world.uploads[self.name, call.path["id"]]
        return Response(status_code=204)

    def _file(self, call: Call, id: str) -> dict[str, Any]:  # noqa: A002
        upload = self.world.uploads.get((self.name, id))
        if upload is None:
            raise _problem(call, 404, "File not found")
        return {
            "id": upload.id,
            "created_at": _time(upload.created_at),
            "mime_type": upload.content_type,
            "purpose": "input",
            "size_bytes": len(upload.content),
            "state": "ready" if upload.content else "pending",
            "filename": upload.name,
        }

    # Dream Machine ---------------------------------------------------------------------------------------------------

    async def dream_video(self, call: Call) -> Response:
        asked = call.read(dream.Video)
        for earlier in asked.keyframes.generations if asked.keyframes else ():
            self._earlier(call, earlier)
        width, height = _size(asked.aspect_ratio, _SIDES[asked.resolution])
        media = Media(Format.MP4, width, height, seconds=float(asked.duration.removesuffix("s")))
        return _dreaming(self._dreamt(call, asked, media, "video"))

    async def dream_image(self, call: Call) -> Response:
        asked = call.read(dream.Image)
        job = self._dreamt(call, asked, Media(_FORMATS[asked.format], *_size(asked.aspect_ratio, 1080)), "image")
        if asked.sync:
            await self.finish(job)
        return _dreaming(job)

    async def modify(self, call: Call) -> Response:
        return _dreaming(self._dreamt(call, call.read(dream.Modify), Media(Format.MP4, 1280, 720, seconds=5), "video"))

    async def reframe_video(self, call: Call) -> Response:
        asked = call.read(dream.ReframeVideo)
        return _dreaming(
            self._dreamt(call, asked, Media(Format.MP4, *_size(asked.aspect_ratio, 720), seconds=5), "video")
        )

    async def reframe_image(self, call: Call) -> Response:
        asked = call.read(dream.ReframeImage)
        return _dreaming(
            self._dreamt(call, asked, Media(_FORMATS[asked.format], *_size(asked.aspect_ratio, 1080)), "image")
        )

    async def upscale(self, call: Call) -> Response:
        asked, earlier = call.read(dream.Upscale), self._earlier(call, call.path["id"])
        width, height = _size("16:9", _SIDES[asked.resolution])
        return _dreaming(self._dreamt(call, asked, replace(earlier.media[0], width=width, height=height), "video"))

    async def add_audio(self, call: Call) -> Response:
        earlier = self._earlier(call, call.path["id"])
        return _dreaming(self._dreamt(call, call.read(dream.Audio), earlier.media[0], "video"))

    def _dreamt(self, call: Call, asked: dream.Request, media: Media, kind: str) -> Job:
        return self.create(
            call,
            media=[media],
            model=asked.model,
            prompt=asked.prompt,
            body=asked.model_dump(mode="json", exclude_unset=True),
            callback_url=str(asked.callback_url) if asked.callback_url else None,
            extra={"dream": True, "type": kind},
        )

    def _earlier(self, call: Call, id: str) -> Job:  # noqa: A002
        job = self.world.jobs.get((self.name, id))
        if job is None or not job.extra["dream"]:
            raise self.not_found(call)
        if job.state is not State.SUCCEEDED or job.extra["type"] != "video":
            raise _problem(call, 400, "The generation is not a completed video")
        return job

    async def get_dream(self, call: Call) -> Response:
        job = self._of_product(call, is_dream=True)
        return JSONResponse(_dream_view(job, job.poll()))

    async def dreams(self, call: Call) -> Response:
        told = [call.query.get(name, usual) for name, usual in (("limit", "10"), ("offset", "0"))]
        if not all(one.isdecimal() for one in told):
            raise _problem(call, 400, "limit and offset are numbers")
        limit, offset = map(int, told)
        every = [_dream_view(job, job.state) for job in self.jobs() if job.extra["dream"]]
        page = every[offset : offset + limit]
        more = {"count": len(every), "limit": limit, "offset": offset, "has_more": offset + limit < len(every)}
        return JSONResponse({"generations": page} | more)

    async def delete_dream(self, call: Call) -> Response:
        del self.world.jobs[self.name, self._of_product(call, is_dream=True).id]
        return Response(status_code=204)

    async def concepts(self, call: Call) -> Response:  # noqa: ARG002
        return JSONResponse(["dolly_zoom", "orbit_left", "handheld"])

    async def balance(self, call: Call) -> Response:  # noqa: ARG002
        return JSONResponse({"credit_balance": 25000.0})

    async def ping(self, call: Call) -> Response:  # noqa: ARG002
        return JSONResponse({"message": "pong"})

    def callback(self, job: Job, state: State) -> Callback | None:
        return Callback(json.dumps(_dream_view(job, state)).encode())


def _is_dream(call: Call) -> bool:
    return f"{_DREAM}/" in call.request.url.path


def _problem(call: Call, status: int, said: str) -> Refusal:
    return Refusal(status, {"detail": said}, {} if _is_dream(call) else _headers(call))


def _headers(call: Call) -> dict[str, str]:
    return {"X-Request-Id": call.headers.get("X-Request-Id") or str(uuid.uuid4()), "X-API-Version": "2026-04-01"}


def _time(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat()


def _agent_media(asked: agents.Generation) -> list[Media]:
    if asked.is_video:
        options = asked.video or agents.VideoOptions()
        width, height = _size(asked.aspect_ratio or "16:9", _SIDES[options.resolution or "720p"])
        return [Media(Format.MP4, width, height, seconds=float((options.duration or "5s").removesuffix("s")))]
    if asked.type == "layering":
        side = _SIDES[asked.layering.resolution if asked.layering else "1k"]
        return [Media(Format.PNG, side, side, variant=number) for number in range(len(_LAYERS))]
    return [Media(_FORMATS[asked.output_format or "png"], *_size(asked.aspect_ratio or "1:1", 1536))]


def _size(aspect: str, short: int) -> tuple[int, int]:
    width, height = map(int, aspect.split(":"))
    factor = short / min(width, height)
    return round(width * factor), round(height * factor)


def _agent_view(job: Job, state: State) -> dict[str, Any]:
    view: dict[str, Any] = {
        "id": job.id,
        "created_at": _time(job.created_at),
        "model": job.model,
        "state": _AGENT_STATES.get(state, "failed"),
        "type": job.extra["type"],
        "output": None,
        "failure_code": None,
        "failure_reason": None,
    }
    if state is State.SUCCEEDED:
        view["output"] = [
            {"type": "video" if file.media.format is Format.MP4 else "image", "url": file.url} for file in job.files
        ]
        if job.extra["type"] == "layering":
            for number, (output, label) in enumerate(zip(view["output"], _LAYERS, strict=False)):
                output["layer"] = {"index": number, "label": label, "description": label, "alpha_hint": "hard"}
    if state is State.FAILED:
        view["failure_code"], view["failure_reason"] = _FAILURES[job.failure or Failure.INTERNAL]
    return view


def _dreaming(job: Job) -> Response:
    return JSONResponse(_dream_view(job, job.state), 201)


def _dream_view(job: Job, state: State) -> dict[str, Any]:
    kind, links = job.extra["type"], [file.url for file in job.files]
    done = state is State.SUCCEEDED and bool(links)
    return {
        "id": job.id,
        "generation_type": kind,
        "state": _DREAM_STATES.get(state, "failed"),
        "failure_reason": _FAILURES[job.failure or Failure.INTERNAL][1] if state is State.FAILED else None,
        "created_at": _time(job.created_at),
        "assets": {kind: links[0]} if done else None,
        "model": job.model or None,
        "request": job.body,
    }
