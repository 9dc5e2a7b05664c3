"""Stability AI: forms that are answered with the picture itself, and the one upscaler whose picture comes later."""

from __future__ import annotations

import secrets
from base64 import b64encode
from collections.abc import Sequence

from pydantic import ValidationError
from starlette.responses import JSONResponse, Response

from genpulse.simulator.clouds.stability import bodies
from genpulse.simulator.core import Cloud
from genpulse.simulator.credentials import STABILITY
from genpulse.simulator.jobs import Failure, Job
from genpulse.simulator.wire import Call, Kind, Refusal, Route

_BASE = "/v2beta/stable-image"
_MOST_BYTES = 10 * 2**20
_KEPT_SECONDS = 24 * 3600
_NAMES = {
    400: "bad_request",
    401: "unauthorized",
    403: "content_moderation",
    404: "not_found",
    413: "payload_too_large",
    429: "rate_limit_exceeded",
}


class Stability(Cloud):
    name = "stability"
    credentials = STABILITY

    def routes(self) -> Sequence[Route]:
        return [
            Route("POST", f"{_BASE}/generate/core", self.core, Kind.SUBMIT),
            Route("POST", f"{_BASE}/generate/ultra", self.ultra, Kind.SUBMIT),
            Route("POST", f"{_BASE}/generate/sd3", self.sd3, Kind.SUBMIT),
            Route("POST", f"{_BASE}/upscale/fast", self.fast, Kind.SUBMIT),
            Route("POST", f"{_BASE}/upscale/conservative", self.conservative, Kind.SUBMIT),
            Route("POST", f"{_BASE}/upscale/creative", self.creative, Kind.SUBMIT),
            Route("GET", f"{_BASE}/upscale/creative/result/{{id}}", self.result, Kind.POLL),
            Route("GET", "/v2beta/results/{id}", self.result, Kind.POLL),
            Route("GET", "/v1/user/balance", self.balance),
        ]

    # What every cloud has to say -------------------------------------------------------------------------------------

    def authenticate(self, call: Call) -> None:
        if call.headers.get("Authorization") != f"Bearer {self.credentials.api_key}":
            raise _problem(401, "authorization: missing or invalid key")
        if len(call.body) > _MOST_BYTES:
            raise _problem(413, "body: larger than 10MiB")

    def invalid(self, call: Call, error: ValidationError) -> Refusal:  # noqa: ARG002
        told = [(".".join(map(str, one["loc"])), one["msg"]) for one in error.errors()]
        return _problem(400, *(f"{where}: {said}" if where else said for where, said in told))

    def not_found(self, call: Call) -> Refusal:  # noqa: ARG002
        return _problem(404, "id: not found, or expired")

    def throttled(self, call: Call) -> Refusal:  # noqa: ARG002
        return _problem(429, "You have exceeded the rate limit of 150 requests within 10 seconds")

    def broken(self, call: Call, status: int) -> Refusal:  # noqa: ARG002
        return _problem(status, "An unexpected error has occurred")

    # Pictures --------------------------------------------------------------------------------------------------------

    async def core(self, call: Call) -> Response:
        return await self._at_once(call, bodies.Core)

    async def ultra(self, call: Call) -> Response:
        return await self._at_once(call, bodies.Ultra)

    async def sd3(self, call: Call) -> Response:
        return await self._at_once(call, bodies.Sd3)

    async def fast(self, call: Call) -> Response:
        return await self._at_once(call, bodies.Fast)

    async def conservative(self, call: Call) -> Response:
        return await self._at_once(call, bodies.Conservative)

    async def creative(self, call: Call) -> Response:
        job = await self._created(call, bodies.Creative)
        return JSONResponse({"id": job.id})

    async def _at_once(self, call: Call, form: type[bodies.Body]) -> Response:
        _check_accepted(call)
        job = await self._created(call, form)
        await self.finish(job)
        if job.failure is Failure.INTERNAL:
            raise self.broken(call, 500)
        return _picture(call, job, "image")

    async def _created(self, call: Call, form: type[bodies.Body]) -> Job:
        if not call.headers.get("Content-Type", "").startswith("multipart/form-data"):
            raise _problem(400, "content-type: required")
        fields, files = await call.form()
        asked = form.model_validate(fields)
        try:
            picture = bodies.measured(asked, files)
        except ValueError as error:
            raise _problem(400, str(error)) from error
        given = asked.model_dump(exclude_unset=True)
        return self.create(
            call,
            id=secrets.token_hex(32),
            media=[asked.media(picture)],
            model=given.get("model", form.__name__.lower()),
            prompt=given.get("prompt"),
            body=given,
        )

    async def result(self, call: Call) -> Response:
        _check_accepted(call)
        job = self.job(call, call.path["id"])
        if not job.poll().ended:
            return JSONResponse({"id": job.id, "status": "in-progress"}, 202)
        if self.world.clock.now() > (job.ended_at or 0) + _KEPT_SECONDS:
            raise self.not_found(call)
        return _picture(call, job, "result")

    async def balance(self, call: Call) -> Response:  # noqa: ARG002
        return JSONResponse({"credits": 1000.0})


def _check_accepted(call: Call) -> None:
    if call.headers.get("Accept", "*/*") not in ("*/*", "image/*", "application/json"):
        raise _problem(400, "accept: must be image/* or application/json")


def _picture(call: Call, job: Job, name: str) -> Response:
    """The file, or in JSON; `name` is the path's for it."""
    reason, content, kind = "SUCCESS", b"", job.media[0].format.content_type
    if job.failure is Failure.CONTENT:
        reason = "CONTENT_FILTERED"
    elif job.failure or not job.files:
        reason = "ERROR"
    if job.files:
        content = job.files[0].read()
    seed = job.body.get("seed") or 42
    if call.headers.get("Accept") == "application/json":
        return JSONResponse({name: b64encode(content).decode(), "finish_reason": reason, "seed": seed})
    return Response(content, media_type=kind, headers={"finish-reason": reason, "seed": str(seed)})


def _problem(status: int, *errors: str) -> Refusal:
    return Refusal(
        status, {"id": secrets.token_hex(16), "name": _NAMES.get(status, "internal_error"), "errors": list(errors)}
    )
