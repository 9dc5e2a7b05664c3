"""Google: pictures within the answer, interactions, files behind the key, and Veo and Imagen on Vertex AI."""

from __future__ import annotations

import json
import secrets
from base64 import b64encode
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError
from starlette.responses import JSONResponse, Response

from genpulse.simulator.callbacks import Callback
from genpulse.simulator.clouds.google import bodies
from genpulse.simulator.clouds.google.words import WORDS, error, iso, moderated
from genpulse.simulator.core import Cloud
from genpulse.simulator.credentials import GOOGLE
from genpulse.simulator.jobs import File, Job, State
from genpulse.simulator.media import Format, Media
from genpulse.simulator.wire import Call, Kind, Refusal, Route

_SIDES = {"512": 512, "1K": 1024, "2K": 2048, "4K": 4096}
_HEIGHTS = {"360p": 360, "720p": 720, "1080p": 1080, "4k": 2160}
_BAD_KEY = [
    {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID", "domain": "googleapis.com"}
]
_WAIT = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "5s"}]
_BROKEN = {500: "INTERNAL", 503: "UNAVAILABLE", 504: "DEADLINE_EXCEEDED"}
_PICTURES = ("gemini-3-pro-image-preview", "gemini-3.1-flash-image", "gemini-nano-banana-2.1", "gemini-2.5-flash-image")
_OMNI = ("gemini-omni-1.2-flash", "gemini-omni-1.1-flash", "gemini-omni-flash-preview")
_PLAIN, _PROJECT = "/v1beta1/", "/v1beta1/projects/{project}/locations/{location}/"


class Google(Cloud):
    name = "google"
    credentials = GOOGLE
    media_lifetime = 48 * 3600

    def routes(self) -> Sequence[Route]:
        routes = [
            Route("GET", "/{version}/files/{file}:download", self.download, Kind.MEDIA),
            Route("POST", "/{version}/interactions", self.begin, Kind.SUBMIT),
            Route("GET", "/{version}/interactions/{id}", self.read, Kind.POLL),
            Route("DELETE", "/{version}/interactions/{id}", self.delete),
            Route("POST", "/{version}/interactions/{id}/cancel", self.stop, Kind.CANCEL),
            Route("POST", "/{version}/models/{model}:generateContent", self.picture, Kind.SUBMIT),
        ]
        for place in (_PLAIN, _PROJECT):
            model = f"{place}publishers/google/models/{{model}}"
            routes += [
                Route("POST", f"{model}:predictLongRunning", self.film, Kind.SUBMIT),
                Route("POST", f"{model}:fetchPredictOperation", self.fetch, Kind.POLL),
                Route("POST", f"{model}:predict", self.print, Kind.SUBMIT),
            ]
        return routes

    # What every cloud has to say -------------------------------------------------------------------------------------

    def authenticate(self, call: Call) -> None:
        """A token opens the project in the path; a key opens its own, in the path or not."""
        if call.path.get("project", self._project) != self._project:
            raise error(403, "PERMISSION_DENIED", "Permission denied on resource project.")
        token, key = call.headers.get("Authorization"), call.headers.get("x-goog-api-key")
        if token is not None or ("project" in call.path and key is None):
            if token != f"Bearer {self.credentials.access_key}" or "project" not in call.path:
                raise error(401, "UNAUTHENTICATED", "Request had invalid authentication credentials.")
        elif key is None:
            raise error(403, "PERMISSION_DENIED", "Method doesn't allow unregistered callers.")
        elif key != self.credentials.api_key:
            raise error(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.", _BAD_KEY)

    @property
    def _project(self) -> str:
        return self.credentials.options["project"]

    def invalid(self, call: Call, error_: ValidationError) -> Refusal:  # noqa: ARG002
        first = error_.errors()[0]
        return error(400, "INVALID_ARGUMENT", f"Invalid value at '{'.'.join(map(str, first['loc']))}': {first['msg']}")

    def not_found(self, call: Call) -> Refusal:  # noqa: ARG002
        return error(404, "NOT_FOUND", "Requested entity was not found.")

    def throttled(self, call: Call) -> Refusal:  # noqa: ARG002
        return error(429, "RESOURCE_EXHAUSTED", "You exceeded your current quota.", _WAIT)

    def broken(self, call: Call, status: int) -> Refusal:  # noqa: ARG002
        return error(status, _BROKEN.get(status, "INTERNAL"), "An internal error has occurred.")

    # Pictures within the answer --------------------------------------------------------------------------------------

    async def picture(self, call: Call) -> Response:
        asked = call.read(bodies.GenerateContent)
        model = self._known(call, _PICTURES)
        size = _shaped(asked.image.aspect_ratio, _SIDES[asked.image.image_size or "1K"])
        job = self.create(call, media=[Media(Format.PNG, *size)], model=model, prompt=asked.prompt, body=call.json())
        state = await self.finish(job)
        if state is State.FAILED and not moderated(job):
            raise self.broken(call, 500)
        return JSONResponse(_candidates(job, state))

    async def print(self, call: Call) -> Response:
        asked = call.read(bodies.Images)
        if not call.path["model"].startswith("imagen-"):
            raise self.not_found(call)
        form = Format.JPEG if asked.parameters.output_options.mime_type == "image/jpeg" else Format.PNG
        width, height = _shaped(asked.parameters.aspect_ratio, 1024)
        job = self.create(
            call,
            media=[Media(form, width, height, variant=number) for number in range(asked.parameters.sample_count)],
            model=call.path["model"],
            prompt=asked.instances[0].prompt,
            body=call.json(),
        )
        state = await self.finish(job)
        if state is State.FAILED and not moderated(job):
            raise self.broken(call, 500)
        if state is State.FAILED:
            return JSONResponse({"predictions": [{"raiFilteredReason": WORDS}]})
        return JSONResponse({"predictions": [_encoded(file) for file in job.files]})

    # Interactions ----------------------------------------------------------------------------------------------------

    async def begin(self, call: Call) -> Response:
        asked = call.read(bodies.Interaction)
        if asked.model not in (*_OMNI, *_PICTURES):
            raise self.not_found(call)
        job = self.create(
            call,
            id=f"v1_{secrets.token_urlsafe(16)}",
            media=[_made_for(asked)],
            model=asked.model,
            prompt=asked.prompt,
            body=asked.model_dump(mode="json", exclude_unset=True),
            callback_url=asked.webhook_config.uris[0] if asked.webhook_config else None,
            extra={"file": f"f{secrets.token_hex(8)}", "delivery": asked.response_format.delivery},
        )
        if not asked.background:
            await self.finish(job)
        return JSONResponse(self._interaction(job, job.state))

    async def read(self, call: Call) -> Response:
        job = self.job(call, call.path["id"])
        return JSONResponse(self._interaction(job, job.poll()))

    async def stop(self, call: Call) -> Response:
        job = self.job(call, call.path["id"])
        if not self.cancel(job):
            raise error(400, "INVALID_ARGUMENT", f"The interaction is {_STATUS[job.state]} and cannot be cancelled.")
        return JSONResponse(self._interaction(job, job.state))

    async def delete(self, call: Call) -> Response:
        job = self.job(call, call.path["id"])
        del self.world.jobs[self.name, job.id]
        return JSONResponse({})

    async def download(self, call: Call) -> Response:
        """A file of an interaction; for whoever has the key, and for two days."""
        found = [job for job in self.jobs() if job.extra.get("file") == call.path["file"]]
        for job in found:
            fresh = job.ended_at is not None and self.world.clock.now() <= job.ended_at + self.media_lifetime
            if fresh and job.files and call.query.get("alt") == "media":
                return Response(job.files[0].read(), media_type=job.files[0].content_type)
        raise self.not_found(call)

    def _interaction(self, job: Job, state: State) -> dict[str, Any]:
        told: dict[str, Any] = {
            "id": job.id,
            "object": "interaction",
            "model": job.model,
            "status": _STATUS[state],
            "created": iso(job.created_at),
            "updated": iso(self.world.clock.now()),
            "steps": [],
        }
        if state is State.SUCCEEDED:
            told["usage"] = {"total_input_tokens": 10, "total_output_tokens": 5000, "total_tokens": 5010}
            told["steps"] = [{"type": "model_output", "content": [self._content(job, file)]} for file in job.files]
        if state is State.FAILED:
            code, said = ("safety", WORDS) if moderated(job) else ("internal", "An internal error has occurred.")
            told["errors"] = [{"code": code, "message": said}]
        return told

    def _content(self, job: Job, file: File) -> dict[str, Any]:
        kind = "image" if file.media.format.is_image else "video"
        content = {"type": kind, "mime_type": file.content_type}
        if job.extra["delivery"] == "uri":
            return content | {"uri": f"{job.base_url}/v1/files/{job.extra['file']}:download?alt=media"}
        return content | {"data": b64encode(file.read()).decode()}

    def callback(self, job: Job, state: State) -> Callback | None:
        if not state.ended:
            return None
        event = {"type": f"interaction.{_STATUS[state]}", "data": {"id": job.id}}
        return Callback(json.dumps(event).encode())

    # Long operations -------------------------------------------------------------------------------------------------

    async def film(self, call: Call) -> Response:
        asked = call.read(bodies.Videos)
        model, given = call.path["model"], asked.parameters
        if not model.startswith("veo-"):
            raise self.not_found(call)
        width, height = _shaped(given.aspect_ratio, _HEIGHTS[given.resolution])
        media = [
            Media(Format.MP4, width, height, seconds=given.duration_seconds, variant=number)
            for number in range(given.sample_count)
        ]
        location = call.path.get("location", "global")
        place = f"projects/{self._project}/locations/{location}/publishers/google/models/{model}"
        job = self.create(
            call,
            id=f"{place}/operations/{secrets.token_hex(8)}",
            media=media,
            model=model,
            prompt=asked.instances[0].prompt,
            body=call.json(),
            extra={"storage": given.storage_uri},
        )
        return JSONResponse({"name": job.id})

    async def fetch(self, call: Call) -> Response:
        job = self.job(call, call.read(bodies.Fetch).operation_name)
        if f"/models/{call.path['model']}/" not in job.id:
            raise error(400, "INVALID_ARGUMENT", "The operation is not of this model.")
        return JSONResponse(_operation(job, job.poll()))

    def _known(self, call: Call, models: Sequence[str]) -> str:
        if call.path["model"] not in models:
            raise self.not_found(call)
        return call.path["model"]


_STATUS = {
    State.QUEUED: "queued",
    State.RUNNING: "in_progress",
    State.SUCCEEDED: "completed",
    State.FAILED: "failed",
    State.CANCELLED: "cancelled",
}


def _made_for(asked: bodies.Interaction) -> Media:
    form = asked.response_format
    if form.type == "image":
        return Media(Format.JPEG, *_shaped(form.aspect_ratio, _SIDES[form.image_size or "1K"]))
    width, height = _shaped(form.aspect_ratio or "16:9", _HEIGHTS[form.resolution])
    return Media(Format.MP4, width, height, seconds=float((form.duration or "8s").rstrip("s")))


def _shaped(ratio: str | None, short: int) -> tuple[int, int]:
    """Both sides from the shorter one."""
    wide, high = map(int, (ratio or "1:1").split(":"))
    return (short * wide // high, short) if wide >= high else (short, short * high // wide)


def _encoded(file: File) -> dict[str, str]:
    return {"mimeType": file.content_type, "bytesBase64Encoded": b64encode(file.read()).decode()}


def _candidates(job: Job, state: State) -> dict[str, Any]:
    """The answer of `generateContent`; a refusal is one, with status 200."""
    usage = {"promptTokenCount": 10, "candidatesTokenCount": 1290, "totalTokenCount": 1300}
    told = {"usageMetadata": usage, "modelVersion": job.model, "responseId": secrets.token_urlsafe(12)}
    if state is State.FAILED:
        return told | {"candidates": [{"finishReason": "IMAGE_SAFETY", "finishMessage": WORDS, "index": 0}]}
    parts: list[dict[str, Any]] = [{"text": "Here it is."}]
    for file in job.files:
        data = b64encode(file.read()).decode()
        parts.append({"inlineData": {"mimeType": file.content_type, "data": data}})
    content = {"role": "model", "parts": parts}
    return told | {"candidates": [{"content": content, "finishReason": "STOP", "index": 0}]}


def _operation(job: Job, state: State) -> dict[str, Any]:
    told: dict[str, Any] = {"name": job.id}
    if not state.ended:
        return told
    told["done"] = True
    if state is State.FAILED and not moderated(job):
        return told | {"error": {"code": 13, "message": "An internal error has occurred.", "details": []}}
    response: dict[str, Any] = {
        "@type": "type.googleapis.com/cloud.ai.large_models.vision.GenerateVideoResponse",
        "raiMediaFilteredCount": 0,
    }
    if state is State.FAILED:
        response |= {"raiMediaFilteredCount": len(job.media), "raiMediaFilteredReasons": [WORDS]}
    elif job.files and (bucket := job.extra["storage"]):
        response["videos"] = [{"gcsUri": f"{bucket.rstrip('/')}/{file.name}"} for file in job.files]
    elif job.files:
        response["videos"] = [_encoded(file) for file in job.files]
    return told | {"response": response}
