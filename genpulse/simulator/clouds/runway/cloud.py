"""Runway: a path for each kind of work, tasks that are asked for and deleted, and uploads in two steps."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError
from starlette.datastructures import UploadFile
from starlette.responses import JSONResponse, Response

from genpulse.simulator.clouds.runway import bodies
from genpulse.simulator.core import Cloud
from genpulse.simulator.credentials import RUNWAY
from genpulse.simulator.jobs import Failure, Job, State
from genpulse.simulator.media import Format, Media
from genpulse.simulator.wire import Call, Kind, Refusal, Route

_VERSION = "2024-11-06"
_DOCS = "https://docs.dev.runwayml.com"
_RUNWAY_URI = "runway://"
_AT_ONCE = 2
_CREDITS = 25
_PIXELS = re.compile(r"(\d{3,5}):(\d{3,5})")
_STATES = {State.RUNNING: "RUNNING", State.SUCCEEDED: "SUCCEEDED", State.FAILED: "FAILED", State.CANCELLED: "CANCELLED"}
_FAILURES = {
    Failure.CONTENT: ("The content was refused by moderation.", "SAFETY.OUTPUT.VIDEO"),
    Failure.INTERNAL: ("An unexpected error occurred.", "INTERNAL"),
}
_FORMATS = {"jpeg": Format.JPEG, "webp": Format.WEBP}


class Runway(Cloud):
    name = "runway"
    credentials = RUNWAY
    media_lifetime = 48 * 3600

    def routes(self) -> Sequence[Route]:
        return [
            Route("POST", "/v1/text_to_video", self.text_to_video, Kind.SUBMIT),
            Route("POST", "/v1/image_to_video", self.image_to_video, Kind.SUBMIT),
            Route("POST", "/v1/video_to_video", self.video_to_video, Kind.SUBMIT),
            Route("POST", "/v1/text_to_image", self.text_to_image, Kind.SUBMIT),
            Route("POST", "/v1/video_upscale", self.video_upscale, Kind.SUBMIT),
            Route("POST", "/v1/image_upscale", self.image_upscale, Kind.SUBMIT),
            Route("POST", "/v1/character_performance", self.character_performance, Kind.SUBMIT),
            Route("GET", "/v1/tasks/{id}", self.task, Kind.POLL),
            Route("DELETE", "/v1/tasks/{id}", self.delete_task, Kind.CANCEL),
            Route("POST", "/v1/uploads", self.new_upload),
            Route("POST", "/storage", self.upload, public=True),
            Route("GET", "/v1/organization", self.organization),
        ]

    # What every cloud has to say -------------------------------------------------------------------------------------

    def authenticate(self, call: Call) -> None:
        if call.headers.get("Authorization") != f"Bearer {self.credentials.api_key}":
            raise _problem(401, "The API key you provided is invalid.")
        if call.headers.get("X-Runway-Version") != _VERSION:
            raise _problem(400, "The X-Runway-Version header is missing or names no version of this API.")

    def invalid(self, call: Call, error: ValidationError) -> Refusal:  # noqa: ARG002
        issues = [
            {"code": one["type"], "path": [*one["loc"]], "message": one["msg"]}
            for one in error.errors(include_url=False, include_context=False, include_input=False)
        ]
        return _problem(400, "Validation of body failed", issues=issues)

    def not_found(self, call: Call) -> Refusal:  # noqa: ARG002
        return _problem(404, "Not found")

    def throttled(self, call: Call) -> Refusal:  # noqa: ARG002
        return _problem(429, "You have exceeded the number of generations that you may create.")

    def broken(self, call: Call, status: int) -> Refusal:  # noqa: ARG002
        return _problem(status, "The service is not available. Please try again later.")

    # Submissions -----------------------------------------------------------------------------------------------------

    async def text_to_video(self, call: Call) -> Response:
        return self._video(call, call.read(bodies.TextToVideo))

    async def image_to_video(self, call: Call) -> Response:
        return self._video(call, call.read(bodies.ImageToVideo))

    async def video_to_video(self, call: Call) -> Response:
        return self._video(call, call.read(bodies.VideoToVideo))

    async def character_performance(self, call: Call) -> Response:
        return self._video(call, call.read(bodies.CharacterPerformance))

    async def text_to_image(self, call: Call) -> Response:
        asked = call.read(bodies.TextToImage)
        form = _FORMATS.get(asked.output_format or "", Format.PNG)
        made = [Media(form, *_size(asked), variant=number) for number in range(asked.output_count or 1)]
        return self._created(call, asked, made)

    async def video_upscale(self, call: Call) -> Response:
        return self._video(call, call.read(bodies.VideoUpscale))

    async def image_upscale(self, call: Call) -> Response:
        return self._created(call, call.read(bodies.ImageUpscale), [Media(Format.PNG, 2048, 2048)])

    def _video(self, call: Call, asked: bodies.Asked) -> Response:
        seconds = asked.duration if isinstance(asked.duration, int) else 5
        return self._created(call, asked, [Media(Format.MP4, *_size(asked), seconds=seconds)])

    def _created(self, call: Call, asked: bodies.Asked, media: Sequence[Media]) -> Response:
        for uri in asked.uris():
            if uri.startswith(_RUNWAY_URI) and not self._is_uploaded(uri.removeprefix(_RUNWAY_URI)):
                raise _problem(400, "Invalid asset: the upload does not exist, or has expired.")
        job = self.create(
            call,
            media=media,
            model=asked.model,
            prompt=asked.prompt_text,
            body=asked.model_dump(mode="json", by_alias=True, exclude_unset=True),
        )
        return JSONResponse({"id": job.id, "estimatedCost": {"credits": _CREDITS}})

    # Tasks -----------------------------------------------------------------------------------------------------------

    async def task(self, call: Call) -> Response:
        job = self.job(call, call.path["id"])
        return JSONResponse(self._view(job, job.poll()))

    async def delete_task(self, call: Call) -> Response:
        """Stops what is under way, and deletes what has ended; what is not there is no error."""
        job = self.world.jobs.get((self.name, call.path["id"]))
        if job is not None and not self.cancel(job):
            del self.world.jobs[self.name, job.id]
        return Response(status_code=204)

    def _view(self, job: Job, state: State) -> dict[str, Any]:
        view: dict[str, Any] = {
            "id": job.id,
            "createdAt": datetime.fromtimestamp(job.created_at, UTC).isoformat().replace("+00:00", "Z"),
            "status": _STATES.get(state) or ("THROTTLED" if self._is_busy(job) else "PENDING"),
        }
        view |= {"cost" if state.ended else "estimatedCost": {"credits": 0 if job.failure else _CREDITS}}
        match state:
            case State.RUNNING:
                view["progress"] = 0.5
            case State.SUCCEEDED:
                view["output"] = [file.url for file in job.files]
            case State.FAILED:
                view["failure"], view["failureCode"] = _FAILURES[job.failure or Failure.INTERNAL]
        return view

    def _is_busy(self, job: Job) -> bool:
        """Whether as many others of its model run as the account may have at once."""
        others = [other for other in self.jobs() if other.model == job.model and other.state is State.RUNNING]
        return len(others) >= _AT_ONCE

    # Uploads ---------------------------------------------------------------------------------------------------------

    async def new_upload(self, call: Call) -> Response:
        name, token = call.read(bodies.NewUpload).filename, secrets.token_urlsafe(24)
        fields = {"key": f"ephemeral/{token}/{name}", "policy": "sim-policy", "x-amz-signature": "sim-signature"}
        return JSONResponse(
            {"uploadUrl": f"{call.base_url}/storage", "fields": fields, "runwayUri": f"{_RUNWAY_URI}{token}"}
        )

    async def upload(self, call: Call) -> Response:
        async with call.request.form() as form:
            file, key = form.get("file"), form.get("key")
            signed = form.get("policy") == "sim-policy" and form.get("x-amz-signature") == "sim-signature"
            if not signed or not isinstance(file, UploadFile) or not isinstance(key, str):
                raise Refusal.by(
                    Response("<Error><Code>AccessDenied</Code></Error>", 403, media_type="application/xml")
                )
            kind = file.content_type or "application/octet-stream"
            self.store(name=key, content_type=kind, content=await file.read())
        return Response(status_code=204)

    def _is_uploaded(self, token: str) -> bool:
        uploads = [one for (cloud, _), one in self.world.uploads.items() if cloud == self.name]
        return any(upload.name.split("/")[1] == token for upload in uploads)

    async def organization(self, call: Call) -> Response:  # noqa: ARG002
        models = {"gen4.5": {"maxConcurrentGenerations": _AT_ONCE, "maxDailyGenerations": 200}}
        tier = {"maxMonthlyCreditSpend": 10000, "models": models}
        used = {"models": {"gen4.5": {"dailyGenerations": len(self.jobs())}}}
        return JSONResponse({"creditBalance": 100000, "tier": tier, "usage": used})


def _size(asked: bodies.Asked) -> tuple[int, int]:
    """In pixels, or of a shape."""
    told = asked.ratio or asked.target_aspect_ratio or ""
    if match := _PIXELS.fullmatch(told):
        return int(match[1]), int(match[2])
    if not re.fullmatch(r"\d+:\d+", told):
        return 1280, 720
    width, height = map(int, told.split(":"))
    return 720 * width // min(width, height), 720 * height // min(width, height)


def _problem(status: int, said: str, **more: object) -> Refusal:
    return Refusal(status, {"error": said, "docUrl": _DOCS} | more)
