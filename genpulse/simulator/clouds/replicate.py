"""Replicate: predictions, their webhooks, and files."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
from base64 import b64decode, b64encode
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, Field, HttpUrl, ValidationError
from starlette.datastructures import UploadFile
from starlette.responses import JSONResponse, Response

from genpulse.simulator.callbacks import Callback
from genpulse.simulator.core import Cloud, Upload
from genpulse.simulator.credentials import REPLICATE
from genpulse.simulator.jobs import Failure, Job, State
from genpulse.simulator.media import Format, Media, usual_format
from genpulse.simulator.wire import Call, Kind, Refusal, Route

_ALPHABET = "abcdefghjkmnpqrstvwxyz0123456789"
_PAGE = 100
_FILE_SECONDS = 24 * 3600
_VERSION = re.compile(r"[0-9a-f]{64}|[\w.-]+/[\w.-]+(:[0-9a-f]{64})?")
_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")
_FORMATS = {"webp": Format.WEBP, "jpg": Format.JPEG, "jpeg": Format.JPEG, "png": Format.PNG}
_STATUS = {
    State.QUEUED: "starting",
    State.RUNNING: "processing",
    State.SUCCEEDED: "succeeded",
    State.FAILED: "failed",
    State.CANCELLED: "canceled",
}
_ERRORS = {
    Failure.CONTENT: "NSFW content detected. Try running it again, or try a different prompt.",
    Failure.INTERNAL: "Prediction interrupted; please retry (code: PA)",
}


class _Input(BaseModel, extra="allow"):
    """What the models have in common."""

    prompt: str | None = None
    num_outputs: int = Field(1, ge=1, le=4)
    output_format: str = "webp"
    width: int = Field(1024, ge=16, le=8192)
    height: int = Field(1024, ge=16, le=8192)
    duration: float = Field(5, gt=0)


class _Creation(BaseModel):
    input: _Input
    webhook: HttpUrl | None = None
    webhook_events_filter: list[Literal["start", "output", "logs", "completed"]] | None = None
    stream: bool | None = None


class _VersionCreation(_Creation):
    version: str


class Replicate(Cloud):
    name = "replicate"
    credentials = REPLICATE
    base_path = "/v1"
    media_lifetime = 3600

    def routes(self) -> Sequence[Route]:
        return [
            Route("POST", "/v1/predictions", self.create_of_version, Kind.SUBMIT),
            Route("POST", "/v1/models/{owner}/{name}/predictions", self.create_of_model, Kind.SUBMIT),
            Route("POST", "/v1/deployments/{owner}/{name}/predictions", self.create_of_model, Kind.SUBMIT),
            Route("GET", "/v1/predictions", self.list_all),
            Route("GET", "/v1/predictions/{id}", self.get, Kind.POLL),
            Route("POST", "/v1/predictions/{id}/cancel", self.cancel_one, Kind.CANCEL),
            Route("GET", "/v1/models/{owner}/{name}/versions/{id}", self.version),
            Route("GET", "/v1/account", self.account),
            Route("GET", "/v1/webhooks/default/secret", self.webhook_secret),
            Route("POST", "/v1/files", self.upload),
            Route("GET", "/v1/files/{id}", self.get_file),
            Route("DELETE", "/v1/files/{id}", self.delete_file),
        ]

    # What every cloud has to say -------------------------------------------------------------------------------------

    def authenticate(self, call: Call) -> None:
        given = call.headers.get("Authorization")
        if given is None:
            raise _problem(401, "Unauthenticated", "You did not pass an authentication token")
        if given != f"Bearer {self.credentials.api_key}":
            raise _problem(401, "Unauthenticated", "You did not pass a valid authentication token")

    def invalid(self, call: Call, error: ValidationError) -> Refusal:  # noqa: ARG002
        fields = [
            {"type": one["type"], "field": ".".join(map(str, one["loc"])), "description": one["msg"]}
            for one in error.errors()
        ]
        detail = "".join(f"- {field['field']}: {field['description']}\n" for field in fields)
        return _problem(422, "Input validation failed", detail, invalid_fields=fields)

    def not_found(self, call: Call) -> Refusal:  # noqa: ARG002
        return _problem(404, "Not found", "The requested resource could not be found.")

    def throttled(self, call: Call) -> Refusal:  # noqa: ARG002
        return Refusal(429, {"detail": "Request was throttled. Your rate limit resets in ~30s."})

    def broken(self, call: Call, status: int) -> Refusal:  # noqa: ARG002
        return _problem(status, "Internal server error", "Something went wrong. Please try again.")

    # Models, account -------------------------------------------------------------------------------------------------

    async def version(self, call: Call) -> Response:
        """The official client looks at the output's schema before it runs a version."""
        schema = {"components": {"schemas": {"Output": {"type": "array", "items": {"type": "string"}}}}}
        created_at = _time(self.world.clock.now())
        return JSONResponse(
            {"id": call.path["id"], "created_at": created_at, "cog_version": "0.16.0", "openapi_schema": schema}
        )

    async def account(self, call: Call) -> Response:  # noqa: ARG002
        return JSONResponse({"type": "organization", "username": "sim", "name": "Simulated"})

    # Predictions -----------------------------------------------------------------------------------------------------

    async def create_of_version(self, call: Call) -> Response:
        asked = call.read(_VersionCreation)
        if not _VERSION.fullmatch(asked.version):
            raise _problem(
                422,
                "Invalid version or not permitted",
                "The specified version does not exist (or perhaps you don't have permission to use it?)",
            )
        model, _, version = asked.version.rpartition(":") if ":" in asked.version else (asked.version, "", "")
        if "/" not in model:
            model, version = "sim/model", model
        return await self._create(call, asked, model, version or "hidden")

    async def create_of_model(self, call: Call) -> Response:
        return await self._create(call, call.read(_Creation), f"{call.path['owner']}/{call.path['name']}", "hidden")

    async def _create(self, call: Call, asked: _Creation, model: str, version: str) -> Response:
        wait, patience = _wait(call), _cancel_after(call)
        job = self.create(
            call,
            id="".join(secrets.choice(_ALPHABET) for _ in range(26)),
            media=_outputs(model, asked.input),
            model=model,
            prompt=asked.input.prompt,
            body=asked.model_dump(mode="json", exclude_unset=True),
            callback_url=str(asked.webhook) if asked.webhook else None,
            extra={"version": version, "patience": patience},
        )
        if wait is None:
            return JSONResponse(self._prediction(job, job.state), 201)
        until = job.created_at + wait
        await self.world.clock.sleep_until(until if job.due_at is None else min(job.due_at, until))
        return JSONResponse(self._prediction(job, job.state), 201 if job.state.ended else 202)

    async def get(self, call: Call) -> Response:
        job = self.job(call, call.path["id"])
        self._heed_deadline(job)
        return JSONResponse(self._prediction(job, job.poll()))

    async def list_all(self, call: Call) -> Response:
        jobs = self.jobs()
        start = int(call.query.get("cursor", "0")) if call.query.get("cursor", "0").isdecimal() else 0
        for job in jobs:
            self._heed_deadline(job)
        url = f"{call.base_url}/v1/predictions?cursor="
        return JSONResponse(
            {
                "previous": f"{url}{max(0, start - _PAGE)}" if start else None,
                "next": f"{url}{start + _PAGE}" if start + _PAGE < len(jobs) else None,
                "results": [self._prediction(job, job.state) for job in jobs[start : start + _PAGE]],
            }
        )

    async def cancel_one(self, call: Call) -> Response:
        job = self.job(call, call.path["id"])
        self._heed_deadline(job)
        self.cancel(job)
        return JSONResponse(self._prediction(job, job.state))

    def _heed_deadline(self, job: Job) -> None:
        """`Cancel-After` ends what is too late; what had not begun by then is `aborted`."""
        patience: float | None = job.extra["patience"]
        if patience is None or self.world.clock.now() < job.created_at + patience:
            return
        late = job.due_at is None or job.due_at > job.created_at + patience
        if late and job.cancelled_at is None:
            job.extra["aborted"] = job.started_at > job.created_at + patience
            job.cancelled_at = job.created_at + patience

    def _prediction(self, job: Job, state: State) -> dict[str, Any]:
        url = f"{job.base_url}/v1/predictions/{job.id}"
        patience: float | None = job.extra["patience"]
        removed = job.ended_at is not None and self.world.clock.now() > job.ended_at + self.media_lifetime
        return {
            "id": job.id,
            "model": job.model,
            "version": job.extra["version"],
            "input": {} if removed else job.body["input"],
            "output": _output(job) if state is State.SUCCEEDED and not removed else None,
            "logs": "" if state is State.QUEUED or removed else "50%|#####     | 2/4\n",
            "error": _ERRORS[job.failure] if state is State.FAILED and job.failure else None,
            "status": "aborted" if job.extra.get("aborted") else _STATUS[state],
            "source": "api",
            "data_removed": removed,
            "created_at": _time(job.created_at),
            "started_at": None if state is State.QUEUED else _time(job.started_at),
            "completed_at": _time(job.ended_at) if state.ended and job.ended_at else None,
            "deadline": None if patience is None else _time(job.created_at + patience),
            "metrics": {"predict_time": job.seconds} if state is State.SUCCEEDED else {},
            "urls": {"get": url, "cancel": f"{url}/cancel", "web": f"https://replicate.com/p/{job.id}"},
        }

    # Webhooks --------------------------------------------------------------------------------------------------------

    def callback(self, job: Job, state: State) -> Callback | None:
        event = "completed" if state.ended else "start"
        if event not in (job.body.get("webhook_events_filter") or [event]):
            return None
        message = f"msg_{job.id}_{event}"
        timestamp = str(int(self.world.clock.now()))
        body = json.dumps(self._prediction(job, state)).encode()
        signature = webhook_signature(message, timestamp, body)
        return Callback(body, {"webhook-id": message, "webhook-timestamp": timestamp, "webhook-signature": signature})

    async def webhook_secret(self, call: Call) -> Response:  # noqa: ARG002
        return JSONResponse({"key": self.credentials.webhook_secret})

    # Files -----------------------------------------------------------------------------------------------------------

    async def upload(self, call: Call) -> Response:
        async with call.request.form() as form:
            content, metadata = form.get("content"), form.get("metadata")
            if not isinstance(content, UploadFile):
                raise _problem(400, "Bad request", "Missing content")
            text = await metadata.read() if isinstance(metadata, UploadFile) else metadata or "{}"
            upload = self.store(
                name=content.filename or "file",
                content_type=content.content_type or "application/octet-stream",
                content=await content.read(),
            )
        return JSONResponse(_file(call, upload) | {"metadata": json.loads(text)}, 201)

    async def get_file(self, call: Call) -> Response:
        return JSONResponse(_file(call, self._upload(call)))

    async def delete_file(self, call: Call) -> Response:
        del self.world.uploads[self.name, self._upload(call).id]
        return Response(status_code=204)

    def _upload(self, call: Call) -> Upload:
        upload = self.world.uploads.get((self.name, call.path["id"]))
        if upload is None or self.world.clock.now() > upload.created_at + _FILE_SECONDS:
            raise self.not_found(call)
        return upload


def webhook_signature(message: str, timestamp: str, body: bytes, secret: str | None = REPLICATE.webhook_secret) -> str:
    """Standard Webhooks, version 1."""
    assert secret is not None
    key = b64decode(secret.removeprefix("whsec_"))
    digest = hmac.digest(key, f"{message}.{timestamp}.".encode() + body, "sha256")
    return f"v1,{b64encode(digest).decode()}"


def _wait(call: Call) -> int | None:
    """Seconds that `Prefer: wait` asks for."""
    asked = re.fullmatch(r"wait(?:=(\d+))?", call.headers.get("Prefer", ""))
    if asked is None:
        return None
    return min(max(int(asked[1] or 60), 1), 60)


def _cancel_after(call: Call) -> int | None:
    asked = call.headers.get("Cancel-After")
    if asked is None:
        return None
    parts = _DURATION.fullmatch(asked)
    hours, minutes, seconds = (int(part or 0) for part in parts.groups()) if parts else (0, 0, 0)
    total = hours * 3600 + minutes * 60 + seconds
    if total < 5:
        raise _problem(422, "Invalid Cancel-After header", "Cancel-After must be a duration of at least 5 seconds.")
    return total


def _outputs(model: str, asked: _Input) -> list[Media]:
    form = usual_format(model) or _FORMATS.get(asked.output_format, Format.WEBP)
    if not form.is_image:
        return [Media(form, 1280, 720, seconds=asked.duration)]
    return [Media(form, asked.width, asked.height, variant=number) for number in range(asked.num_outputs)]


def _output(job: Job) -> list[str] | str | None:
    urls = [file.url for file in job.files]
    if job.media[0].format.is_image:
        return urls
    return urls[0] if urls else None


def _file(call: Call, upload: Upload) -> dict[str, Any]:
    sha256 = hashlib.sha256(upload.content).hexdigest()
    return {
        "id": upload.id,
        "name": upload.name,
        "content_type": upload.content_type,
        "size": len(upload.content),
        "etag": sha256,
        "checksums": {"sha256": sha256, "md5": hashlib.md5(upload.content, usedforsecurity=False).hexdigest()},
        "metadata": {},
        "created_at": _time(upload.created_at),
        "expires_at": _time(upload.created_at + _FILE_SECONDS),
        "urls": {"get": f"{call.base_url}/v1/files/{upload.id}"},
    }


def _time(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _problem(status: int, title: str, detail: str, **more: object) -> Refusal:
    return Refusal(status, {"title": title, "detail": detail, "status": status, **more})
