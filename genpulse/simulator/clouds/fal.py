"""fal.ai: the queue, its signed webhooks, and file storage."""

from __future__ import annotations

import asyncio
import hashlib
import json
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, ClassVar, Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError
from starlette.responses import JSONResponse, Response, StreamingResponse

from genpulse.simulator.callbacks import Callback
from genpulse.simulator.core import Cloud
from genpulse.simulator.credentials import FAL
from genpulse.simulator.jobs import Failure, File, Job, State
from genpulse.simulator.media import Format, Media, usual_format
from genpulse.simulator.wire import Call, Kind, Refusal, Route

SIGNING_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
_PUBLIC_KEY = SIGNING_KEY.public_key().public_bytes_raw()
_USER = "sim-user"
_TOKEN = "sim-cdn-token"  # noqa: S105 - of no account
_NAMESPACES = {"workflows", "comfy"}
_FORMATS = {"jpeg": Format.JPEG, "png": Format.PNG, "webp": Format.WEBP}
_STATUS = {State.QUEUED: "IN_QUEUE", State.RUNNING: "IN_PROGRESS"}

Sizes = Literal["square_hd", "square", "portrait_4_3", "portrait_16_9", "landscape_4_3", "landscape_16_9"]
_SIZES: dict[str, tuple[int, int]] = {
    "square_hd": (1024, 1024),
    "square": (512, 512),
    "portrait_4_3": (768, 1024),
    "portrait_16_9": (576, 1024),
    "landscape_4_3": (1024, 768),
    "landscape_16_9": (1024, 576),
}


class _Size(BaseModel):
    width: int = Field(gt=0, le=14142)
    height: int = Field(gt=0, le=14142)


class _Input(BaseModel):
    """What the models have in common; each takes more."""

    model_config = ConfigDict(extra="allow")

    prompt: str | None = None
    image_size: Sizes | _Size = "landscape_4_3"
    num_images: Annotated[int, Field(ge=1, le=4)] = 1
    output_format: Literal["jpeg", "png", "webp"] = "jpeg"
    duration: int | str | None = None
    seed: int | None = None

    @model_validator(mode="after")
    def has_something_to_work_on(self) -> _Input:
        given = {"prompt": self.prompt, "text": None} | (self.model_extra or {})
        if not any(value and (name in {"prompt", "text"} or "_url" in name) for name, value in given.items()):
            raise PydanticCustomError("missing", "Field required")
        return self

    @property
    def size(self) -> tuple[int, int]:
        if isinstance(self.image_size, str):
            return _SIZES[self.image_size]
        return self.image_size.width, self.image_size.height

    @property
    def seconds(self) -> float:
        try:
            return float(str(self.duration).removesuffix("s"))
        except ValueError:
            return 5.0


class Fal(Cloud):
    name = "fal"
    credentials = FAL
    _keys: ClassVar = {
        "keys": [
            {
                "kty": "OKP",
                "crv": "Ed25519",
                "x": urlsafe_b64encode(_PUBLIC_KEY).rstrip(b"=").decode(),
                "kid": "sim",
            }
        ]
    }

    def routes(self) -> Sequence[Route]:
        request = "/{app:path}/requests/{id}"
        return [
            Route("GET", "/.well-known/jwks.json", self.keys, public=True),
            Route("POST", "/storage/auth/token", self.upload_token),
            Route("POST", "/files/upload", self.upload, public=True),
            Route("GET", f"{request}/status/stream", self.stream, Kind.POLL),
            Route("GET", f"{request}/status", self.status, Kind.POLL),
            Route("PUT", f"{request}/cancel", self.cancel_request, Kind.CANCEL),
            Route("GET", request, self.result, Kind.RESULT),
            Route("POST", "/{endpoint:path}", self.submit, Kind.SUBMIT),
        ]

    # What every cloud has to say -------------------------------------------------------------------------------------

    def authenticate(self, call: Call) -> None:
        given = call.headers.get("Authorization")
        if given is None:
            raise Refusal(401, {"detail": "Authentication is required to access this application"})
        if given != f"Key {self.credentials.api_key}":
            raise Refusal(401, {"detail": "Invalid Authorization header format or invalid key"})

    def invalid(self, call: Call, error: ValidationError) -> Refusal:  # noqa: ARG002
        details = [_detail(one["type"], one["msg"], *one["loc"], input=one["input"]) for one in error.errors()]
        return Refusal(422, {"detail": details}, {"X-Fal-Retryable": "false"})

    def not_found(self, call: Call) -> Refusal:
        if call.request.method == "PUT":
            return Refusal(404, {"status": "NOT_FOUND"})
        return Refusal(404, {"detail": "Not found"})

    def throttled(self, call: Call) -> Refusal:  # noqa: ARG002
        return Refusal(429, {"detail": "Too many requests"})

    def broken(self, call: Call, status: int) -> Refusal:  # noqa: ARG002
        reason = {502: "runner_incomplete_response", 503: "runner_scheduling_failure", 504: "request_timeout"}
        return _platform_error(status, reason.get(status, "internal_error"), "The request could not be served")

    # The queue -------------------------------------------------------------------------------------------------------

    async def submit(self, call: Call) -> Response:
        endpoint = call.path["endpoint"]
        app = _app_of(endpoint)
        _check_start_timeout(call)
        asked = call.read(_Input)
        job = self.create(
            call,
            media=_outputs(endpoint, asked),
            model=endpoint,
            prompt=asked.prompt,
            body=asked.model_dump(exclude_unset=True),
            callback_url=call.query.get("fal_webhook"),
            extra={"app": app, "input": asked},
        )
        return _about(job, {"status": "IN_QUEUE", "queue_position": 0} | _links(job))

    async def status(self, call: Call) -> Response:
        job = self._request(call)
        state = job.poll()
        body = _status(job, state, logs=call.query.get("logs", "").lower() in {"1", "true"})
        return _about(job, body, 200 if state.ended else 202)

    async def stream(self, call: Call) -> Response:
        job = self._request(call)
        return StreamingResponse(self._events(job), media_type="text/event-stream")

    async def _events(self, job: Job) -> AsyncIterator[str]:
        ended = False
        while not ended:
            state = job.poll()
            ended = state.ended
            yield f"data: {json.dumps(_status(job, state, logs=True))}\n\n"
            await asyncio.sleep(0 if ended else 0.1)

    async def result(self, call: Call) -> Response:
        job = self._request(call)
        if not job.state.ended:
            raise Refusal(400, {"detail": "Request is still in progress"}, {"x-fal-request-id": job.id})
        if error := _error(job):
            error.response.headers["x-fal-request-id"] = job.id
            raise error
        return _about(job, _payload(job))

    async def cancel_request(self, call: Call) -> Response:
        if self.cancel(self._request(call)):
            return JSONResponse({"status": "CANCELLATION_REQUESTED"}, 202)
        return JSONResponse({"status": "ALREADY_COMPLETED"}, 400)

    def _request(self, call: Call) -> Job:
        job = self.job(call, call.path["id"])
        if job.extra["app"] != call.path["app"]:  # the sub-path of the endpoint does not belong here
            raise self.not_found(call)
        return job

    # Webhooks --------------------------------------------------------------------------------------------------------

    def callback(self, job: Job, state: State) -> Callback | None:
        if not state.ended:
            return None
        body: dict[str, Any] = {"request_id": job.id, "gateway_request_id": job.id}
        if error := _error(job):
            status = error.response.status_code
            body |= {"status": "ERROR", "error": f"Invalid status code: {status}", "payload": error.body}
        else:
            body |= {"status": "OK", "payload": _payload(job)}
        content = json.dumps(body).encode()
        timestamp = str(int(self.world.clock.now()))
        return Callback(
            content,
            {
                "X-Fal-Webhook-Request-Id": job.id,
                "X-Fal-Webhook-User-Id": _USER,
                "X-Fal-Webhook-Timestamp": timestamp,
                "X-Fal-Webhook-Signature": webhook_signature(job.id, _USER, timestamp, content),
            },
        )

    async def keys(self, call: Call) -> Response:  # noqa: ARG002
        return JSONResponse(self._keys)

    # Storage ---------------------------------------------------------------------------------------------------------

    async def upload_token(self, call: Call) -> Response:
        expiry = datetime.fromtimestamp(self.world.clock.now(), UTC) + timedelta(hours=1)
        return JSONResponse(
            {"token": _TOKEN, "token_type": "Bearer", "base_url": call.base_url, "expires_at": expiry.isoformat()}
        )

    async def upload(self, call: Call) -> Response:
        if call.headers.get("Authorization") != f"Bearer {_TOKEN}":
            raise Refusal(401, {"detail": "Invalid token"})
        upload = self.store(
            name=call.headers.get("X-Fal-File-Name", "file"),
            content_type=call.headers.get("Content-Type", "application/octet-stream"),
            content=call.body,
        )
        return JSONResponse({"access_url": f"{call.base_url}/media/uploads/{upload.id}/{upload.name}"})


def webhook_signature(request_id: str, user_id: str, timestamp: str, body: bytes) -> str:
    message = "\n".join((request_id, user_id, timestamp, hashlib.sha256(body).hexdigest()))
    return SIGNING_KEY.sign(message.encode()).hex()


def _app_of(endpoint: str) -> str:
    """`owner/alias` of an endpoint id, with its namespace."""
    parts = endpoint.split("/")
    length = 3 if parts[0] in _NAMESPACES else 2
    if len(parts) < length or not all(parts):
        raise Refusal(404, {"detail": f"Application '{endpoint}' not found"})
    return "/".join(parts[:length])


def _check_start_timeout(call: Call) -> None:
    try:
        valid = float(call.headers.get("X-Fal-Request-Timeout", "2")) > 1
    except ValueError:
        valid = False
    if not valid:
        raise _platform_error(400, "bad_request", "X-Fal-Request-Timeout must be greater than 1")


def _outputs(endpoint: str, asked: _Input) -> list[Media]:
    width, height = asked.size
    form = usual_format(endpoint) or _FORMATS[asked.output_format]
    if not form.is_image:
        return [Media(form, 1280, 720, seconds=asked.seconds)]
    return [Media(form, width, height, variant=number) for number in range(asked.num_images)]


def _links(job: Job) -> dict[str, str]:
    url = f"{job.base_url}/{job.extra['app']}/requests/{job.id}"
    return {"request_id": job.id, "response_url": url, "status_url": f"{url}/status", "cancel_url": f"{url}/cancel"}


def _status(job: Job, state: State, *, logs: bool) -> dict[str, Any]:
    body: dict[str, Any] = {"status": _STATUS.get(state, "COMPLETED")} | _links(job)
    if state is State.QUEUED:
        return body | {"queue_position": 0}
    body["logs"] = [_log(job)] if logs else None
    if state.ended:
        body["metrics"] = {"inference_time": (job.ended_at or job.started_at) - job.started_at}
        error = _error(job)
        if error and isinstance(error.body, dict) and "error_type" in error.body:
            body |= {"error": error.body["detail"], "error_type": error.body["error_type"]}
    return body


def _log(job: Job) -> dict[str, str]:
    timestamp = datetime.fromtimestamp(job.started_at, UTC).isoformat()
    return {"message": "Generating", "level": "INFO", "source": "USER", "timestamp": timestamp}


def _payload(job: Job) -> dict[str, Any]:
    asked: _Input = job.extra["input"]
    kind = job.media[0].format.content_type.partition("/")[0]
    if kind != "image":
        return {kind: _file(job.files[0])} if job.files else {}
    sizes = [{"width": file.media.width, "height": file.media.height} for file in job.files]
    return {
        "images": [_file(file) | size for file, size in zip(job.files, sizes, strict=True)],
        "seed": asked.seed or 42,
        "has_nsfw_concepts": [False for _ in job.files],
        "prompt": job.prompt,
        "timings": {"inference": job.seconds},
    }


def _file(file: File) -> dict[str, Any]:
    return {
        "url": file.url,
        "content_type": file.content_type,
        "file_name": file.name,
        "file_size": len(file.read()),
    }


def _error(job: Job) -> Refusal | None:
    """What the result of a request is that has ended badly: the platform's error or the model's."""
    if job.state is State.CANCELLED:
        return _platform_error(499, "client_cancelled", "Request was cancelled")
    if job.failure is Failure.INTERNAL:
        return _platform_error(500, "runner_server_error", "Internal server error")
    if job.failure is Failure.CONTENT:
        refused = _detail("content_policy_violation", "The content was flagged by a content checker.", "prompt")
        return Refusal(422, {"detail": [refused]}, {"X-Fal-Retryable": "false"})
    return None


def _platform_error(status: int, reason: str, text: str) -> Refusal:
    return Refusal(status, {"detail": text, "error_type": reason}, {"X-Fal-Error-Type": reason})


def _detail(type: str, message: str, *where: str | int, input: object = None) -> dict[str, Any]:  # noqa: A002
    return {
        "loc": ["body", *where],
        "msg": message,
        "type": type,
        "url": f"https://docs.fal.ai/errors#{type}",
        "input": input,
    }


def _about(job: Job, body: dict[str, Any], status: int = 200) -> Response:
    return JSONResponse(body, status, {"x-fal-request-id": job.id})
