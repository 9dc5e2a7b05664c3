"""OpenAI: pictures within the answer or as a stream, edits with masks, and the list of models. Its videos are gone."""

from __future__ import annotations

import json
import secrets
from base64 import b64encode
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import ValidationError
from starlette.responses import JSONResponse, Response, StreamingResponse

from genpulse.simulator.clouds.openai.bodies import MODELS, Edit, Generation, edited
from genpulse.simulator.core import Cloud
from genpulse.simulator.credentials import OPENAI
from genpulse.simulator.jobs import Failure, Job, State
from genpulse.simulator.media import Format, Media
from genpulse.simulator.wire import Call, Kind, Refusal, Route

_FORMATS = {"png": Format.PNG, "jpeg": Format.JPEG, "webp": Format.WEBP}
_BLOCKED = "Your request was rejected by the safety system. safety_violations=[violence]."


class Openai(Cloud):
    name = "openai"
    credentials = OPENAI
    base_path = "/v1"

    def routes(self) -> Sequence[Route]:
        return [
            Route("POST", "/v1/images/generations", self.generate, Kind.SUBMIT),
            Route("POST", "/v1/images/edits", self.edit, Kind.SUBMIT),
            Route("GET", "/v1/models", self.models),
            Route("GET", "/v1/models/{id}", self.model),
        ]

    # What every cloud has to say -------------------------------------------------------------------------------------

    def authenticate(self, call: Call) -> None:
        if call.headers.get("Authorization") != f"Bearer {self.credentials.api_key}":
            raise _refusal(401, "Incorrect API key provided.", code="invalid_api_key")

    def invalid(self, call: Call, error: ValidationError) -> Refusal:  # noqa: ARG002
        first = error.errors()[0]
        unknown = first["type"] == "extra_forbidden"
        return _refusal(
            400,
            f"Unknown parameter: '{first['loc'][0]}'." if unknown else first["msg"],
            param=str(first["loc"][0]) if first["loc"] else None,
            code="unknown_parameter" if unknown else "invalid_value",
        )

    def not_found(self, call: Call) -> Refusal:
        return _refusal(404, f"Invalid URL ({call.request.method} {call.request.url.path})")

    def throttled(self, call: Call) -> Refusal:  # noqa: ARG002
        return _refusal(429, "Rate limit reached.", kind="requests", code="rate_limit_exceeded")

    def broken(self, call: Call, status: int) -> Refusal:  # noqa: ARG002
        return _refusal(status, "The server had an error while processing your request.", kind="server_error")

    # Pictures --------------------------------------------------------------------------------------------------------

    async def generate(self, call: Call) -> Response:
        return await self._made(call, call.read(Generation), "image_generation")

    async def edit(self, call: Call) -> Response:
        try:
            asked = edited(*await call.form())
        except ValidationError:
            raise
        except ValueError as error:
            raise _refusal(400, str(error), param="image", code="invalid_value") from error
        return await self._made(call, asked, "image_edit")

    async def _made(self, call: Call, asked: Generation | Edit, event: str) -> Response:
        if asked.model not in MODELS:
            raise _refusal(404, f"The model '{asked.model}' does not exist.", code="model_not_found")
        width, height = asked.sides
        form = _FORMATS[asked.output_format]
        job = self.create(
            call,
            media=[Media(form, width, height, variant=number) for number in range(asked.n)],
            model=asked.model,
            prompt=asked.prompt,
            body=asked.model_dump(mode="json", exclude_unset=True),
        )
        state = await self.finish(job)
        if asked.stream:
            return StreamingResponse(_events(job, asked, event, state), media_type="text/event-stream")
        if state is State.FAILED:
            raise self._failed(call, job)
        data = [{"b64_json": b64encode(file.read()).decode()} for file in job.files]
        return _answer({"data": data} | _facts(job, asked))

    def _failed(self, call: Call, job: Job) -> Refusal:
        if job.failure is not Failure.CONTENT:
            return self.broken(call, 500)
        return _refusal(400, _BLOCKED, kind="image_generation_user_error", code="moderation_blocked")

    # Models ----------------------------------------------------------------------------------------------------------

    async def models(self, call: Call) -> Response:  # noqa: ARG002
        return _answer({"object": "list", "data": [_model(name) for name in MODELS]})

    async def model(self, call: Call) -> Response:
        if call.path["id"] not in MODELS:
            raise _refusal(404, f"The model '{call.path['id']}' does not exist.", code="model_not_found")
        return _answer(_model(call.path["id"]))


def _facts(job: Job, asked: Generation) -> dict[str, Any]:
    width, height = asked.sides
    return {
        "created": int(job.created_at),
        "background": "opaque" if asked.background == "auto" else asked.background,
        "output_format": asked.output_format,
        "quality": "high" if asked.quality == "auto" else asked.quality,
        "size": f"{width}x{height}",
        "usage": {
            "total_tokens": 100,
            "input_tokens": 50,
            "output_tokens": 50,
            "input_tokens_details": {"text_tokens": 10, "image_tokens": 40},
        },
    }


def _events(job: Job, asked: Generation, event: str, state: State) -> Iterator[str]:
    """The partial pictures, then the whole one, which alone has the usage; or what went wrong."""
    if state is State.FAILED or not job.files:
        moderated = job.failure is Failure.CONTENT
        code, said = ("moderation_blocked", _BLOCKED) if moderated else ("server_error", "The server had an error.")
        kind = "image_generation_user_error" if moderated else "server_error"
        error = {"type": kind, "code": code, "message": said, "param": None}
        yield _frame("error", {"error": error})
        return
    facts = _facts(job, asked)
    usage, facts["created_at"] = facts.pop("usage"), facts.pop("created")
    picture = {"b64_json": b64encode(job.files[0].read()).decode()} | facts
    for number in range(asked.partial_images):
        yield _frame(f"{event}.partial_image", picture | {"partial_image_index": number})
    yield _frame(f"{event}.completed", picture | {"usage": usage})


def _frame(event: str, data: dict[str, Any]) -> str:
    return f"event: {event}\ndata: {json.dumps({'type': event} | data)}\n\n"


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 1760000000, "owned_by": "openai"}


def _refusal(
    status: int, said: str, *, kind: str = "invalid_request_error", param: str | None = None, code: str | None = None
) -> Refusal:
    error = {"message": said, "type": kind, "param": param, "code": code}
    return Refusal(status, {"error": error}, _request_id())


def _answer(body: dict[str, Any]) -> JSONResponse:
    return JSONResponse(body, headers=_request_id())


def _request_id() -> dict[str, str]:
    return {"x-request-id": f"req_{secrets.token_hex(16)}"}
