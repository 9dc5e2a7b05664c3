"""BFL: a path for each model, tasks that are asked for at the address of their cluster, and signed webhooks."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError
from starlette.responses import JSONResponse, Response

from genpulse.simulator.callbacks import Callback
from genpulse.simulator.clouds.bfl.bodies import MODELS, Body, opened
from genpulse.simulator.core import Cloud
from genpulse.simulator.credentials import BFL
from genpulse.simulator.jobs import Failure, Job, State
from genpulse.simulator.wire import Call, Kind, Refusal, Route

_CLUSTER = "/sim1"
"""Where the tasks are; the path without it finds those with a webhook only, of which nobody is told where they are."""

_MOST_ACTIVE = 24
_COST = 3.0
_PENDING, _NOT_FOUND = "Pending", "Task not found"


class Bfl(Cloud):
    name = "bfl"
    credentials = BFL
    media_lifetime = 600

    def routes(self) -> Sequence[Route]:
        return [
            Route("GET", "/v1/get_result", self.result, Kind.POLL, public=True),
            Route("GET", f"{_CLUSTER}/v1/get_result", self.result, Kind.POLL, public=True),
            Route("GET", "/v1/credits", self.balance),
            Route("POST", "/v1/{model}", self.submit, Kind.SUBMIT),
        ]

    # What every cloud has to say -------------------------------------------------------------------------------------

    def authenticate(self, call: Call) -> None:
        if call.headers.get("x-key") != self.credentials.api_key:
            raise Refusal(403, {"detail": "Not authenticated"})

    def invalid(self, call: Call, error: ValidationError) -> Refusal:  # noqa: ARG002
        told = [
            {"loc": ["body", *one["loc"]], "msg": one["msg"], "type": one["type"]}
            for one in error.errors(include_url=False, include_context=False, include_input=False)
        ]
        return Refusal(422, {"detail": told})

    def not_found(self, call: Call) -> Refusal:
        if call.request.url.path.endswith("/get_result"):
            return Refusal(200, _told(call.query.get("id", ""), _NOT_FOUND))
        return Refusal(404, {"detail": "Not Found"})

    def throttled(self, call: Call) -> Refusal:  # noqa: ARG002
        return Refusal(429, {"detail": "Too many requests"})

    def broken(self, call: Call, status: int) -> Refusal:  # noqa: ARG002
        return Refusal(status, {"error": "internal_error", "message": "The service is not available."})

    # Tasks -----------------------------------------------------------------------------------------------------------

    async def submit(self, call: Call) -> Response:
        model = MODELS.get(call.path["model"])
        if model is None:
            raise self.not_found(call)
        asked = call.read(model)
        if sum(not job.state.ended for job in self.jobs()) >= _MOST_ACTIVE:
            raise self.throttled(call)
        webhook = str(asked.webhook_url) if asked.webhook_url else None
        job = self.create(
            call,
            media=[asked.media],
            model=call.path["model"],
            prompt=asked.prompt,
            body=asked.model_dump(mode="json", exclude_unset=True),
            callback_url=webhook,
        )
        bill = {"cost": _COST, **_megapixels(asked)}
        if webhook is not None:
            return JSONResponse({"id": job.id, "status": _PENDING, "webhook_url": webhook} | bill)
        return JSONResponse({"id": job.id, "polling_url": f"{job.base_url}{_CLUSTER}/v1/get_result?id={job.id}"} | bill)

    async def result(self, call: Call) -> Response:
        if "id" not in call.query:
            missing = {"loc": ["query", "id"], "msg": "Field required", "type": "missing"}
            raise Refusal(422, {"detail": [missing]})
        job = self.job(call, call.query["id"])
        if job.callback_url is None and _CLUSTER not in call.request.url.path:
            raise self.not_found(call)
        return JSONResponse(_view(job, job.poll()))

    async def balance(self, call: Call) -> Response:  # noqa: ARG002
        return JSONResponse({"credits": 1000.0})

    def callback(self, job: Job, state: State) -> Callback | None:
        if not state.ended:
            return None
        body, secret = json.dumps(_view(job, state)).encode(), job.body.get("webhook_secret")
        if secret is None:
            return Callback(body)
        signature = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        return Callback(body, {"X-BFL-Signature": f"sha256={signature}"})


def _view(job: Job, state: State) -> dict[str, Any]:
    match state:
        case State.QUEUED | State.RUNNING:
            return _told(job.id, _PENDING, progress=0.5 if state is State.RUNNING else 0.0)
        case State.FAILED if job.failure is Failure.CONTENT:
            return _told(job.id, "Content Moderated", details={"Moderation Reasons": ["Derivative Works Filter"]})
        case State.FAILED:
            return _told(job.id, "Error")
    made: dict[str, Any] = {"prompt": job.prompt, "seed": job.body.get("seed") or 42, "duration": job.seconds}
    if job.files:
        made["sample"] = job.files[0].url
    return _told(job.id, "Ready", result=made)


def _told(id: str, status: str, **more: Any) -> dict[str, Any]:  # noqa: A002
    return {"id": id, "status": status, "result": None, "progress": None, "details": None, "preview": None} | more


def _megapixels(asked: Body) -> dict[str, float]:
    pictures = [opened(text) for text in asked.inputs() if not text.startswith("http")]
    width, height = asked.size
    return {
        "input_mp": round(sum(one.width * one.height for one in pictures) / 1e6, 2),
        "output_mp": round(width * height / 1e6, 2),
    }
