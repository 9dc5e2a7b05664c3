"""DashScope as a simulated cloud: who may call, what is answered, and in which form."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from pydantic import ValidationError
from starlette.datastructures import UploadFile
from starlette.responses import JSONResponse, Response

from genpulse.simulator.clouds.dashscope.bodies import (
    SERVICES,
    STATUS,
    Creation,
    Input,
    Listing,
    check_input,
    check_parameters,
    check_path,
    refusal,
    request_id,
)
from genpulse.simulator.clouds.dashscope.results import KEPT_SECONDS, made, outputs, usage
from genpulse.simulator.core import Cloud
from genpulse.simulator.credentials import DASHSCOPE
from genpulse.simulator.jobs import Failure, Job, State
from genpulse.simulator.wire import Call, Kind, Refusal, Route

_UPLOAD_SECONDS = 48 * 3600
_LARGEST_BODY = 64 * 2**20
_LONGEST_SPAN = timedelta(days=1)
_BEIJING = timezone(timedelta(hours=8))
_SIGNATURE = "sim-signature"
_FAILURES = {
    Failure.CONTENT: ("DataInspectionFailed", "Output data may contain inappropriate content."),
    Failure.INTERNAL: ("InternalError", "An internal error has occurred, please try again later."),
}
_BROKEN = {503: "ServiceUnavailable", 504: "GatewayTimeout"}


class Dashscope(Cloud):
    name = "dashscope"
    credentials = DASHSCOPE
    base_path = "/api/v1"
    media_lifetime = KEPT_SECONDS

    def routes(self) -> Sequence[Route]:
        return [
            Route("POST", "/api/v1/services/aigc/{service:path}", self.submit, Kind.SUBMIT),
            Route("GET", "/api/v1/tasks", self.list_all),
            Route("GET", "/api/v1/tasks/", self.list_all),
            Route("GET", "/api/v1/tasks/{task}", self.get, Kind.POLL),
            Route("POST", "/api/v1/tasks/{task}/cancel", self.cancel_one, Kind.CANCEL),
            Route("GET", "/api/v1/uploads", self.grant),
            Route("POST", "/oss", self.upload, public=True),
        ]

    # What every cloud has to say -------------------------------------------------------------------------------------

    def authenticate(self, call: Call) -> None:
        given = call.headers.get("Authorization")
        if given is None:
            raise refusal(401, "InvalidApiKey", "No API-key provided.")
        if given != f"Bearer {self.credentials.api_key}":
            raise refusal(401, "InvalidApiKey", "Invalid API-key provided.")

    def invalid(self, call: Call, error: ValidationError) -> Refusal:  # noqa: ARG002
        first = error.errors()[0]
        return refusal(400, "InvalidParameter", f"{'.'.join(map(str, first['loc']))}: {first['msg']}")

    def not_found(self, call: Call) -> Refusal:
        """A task that is unknown, forgotten or somebody else's is no error to those who ask for it."""
        task = call.path.get("task")
        if task is None:
            return refusal(404, "NotFound", "The requested resource does not exist.")
        if call.request.method == "POST":
            return _too_late()
        return Refusal(200, {"request_id": request_id(), "output": {"task_id": task, "task_status": "UNKNOWN"}})

    def throttled(self, call: Call) -> Refusal:  # noqa: ARG002
        return refusal(429, "Throttling.RateQuota", "Requests rate limit exceeded, please try again later.")

    def broken(self, call: Call, status: int) -> Refusal:  # noqa: ARG002
        return refusal(status, _BROKEN.get(status, "InternalError"), "An internal error has occurred.")

    # Tasks -----------------------------------------------------------------------------------------------------------

    async def submit(self, call: Call) -> Response:
        if len(call.body) > _LARGEST_BODY:
            raise refusal(413, "BadRequest.TooLarge", "Payload Too Large")
        asked = call.read(Creation)
        service = SERVICES.get(asked.model)
        if service is None:
            raise refusal(404, "ModelNotFound", "Model can not be found.")
        directly = call.headers.get("X-DashScope-Async") != "enable"
        check_path(call.path["service"], service, directly=directly)
        check_input(asked, service)
        check_parameters(asked, service)
        self._check_addresses(call, asked.input)
        job = self.create(
            call,
            media=outputs(asked),
            model=asked.model,
            prompt=asked.input.text,
            body=asked.model_dump(mode="json", exclude_unset=True),
            extra={"path": call.path["service"], "asked": asked, "direct": directly},
        )
        if directly:
            return await self._answer(job)
        output = {"task_status": "PENDING", "task_id": job.id}
        return JSONResponse({"output": output, "request_id": request_id()})

    async def _answer(self, job: Job) -> Response:
        if await self.finish(job) is State.FAILED:
            code, message = _FAILURES[job.failure or Failure.INTERNAL]
            raise refusal(400 if job.failure is Failure.CONTENT else 500, code, message)
        return JSONResponse({"output": made(job), "usage": usage(job), "request_id": request_id()})

    async def get(self, call: Call) -> Response:
        job = self._task(call)
        state = job.poll()
        output: dict[str, Any] = {
            "task_id": job.id,
            "task_status": STATUS[state],
            "submit_time": _time(job.created_at),
        }
        if state is not State.QUEUED:
            output["scheduled_time"] = _time(job.started_at)
        if state.ended and job.ended_at:
            output["end_time"] = _time(job.ended_at)
        body: dict[str, Any] = {"request_id": request_id(), "output": output}
        if state is State.FAILED:
            output["code"], output["message"] = _FAILURES[job.failure or Failure.INTERNAL]
        if state is State.SUCCEEDED:
            output |= made(job)
            body["usage"] = usage(job)
        return JSONResponse(body)

    async def cancel_one(self, call: Call) -> Response:
        job = self._task(call)
        if job.state is not State.QUEUED:
            raise _too_late()
        self.cancel(job)
        return JSONResponse({"request_id": request_id()})

    async def list_all(self, call: Call) -> Response:
        asked = Listing.model_validate(dict(call.query))
        number, size = asked.page_no, asked.page_size
        now = datetime.fromtimestamp(self.world.clock.now(), _BEIJING)
        begin, end = _span(asked.start_time, asked.end_time, now)
        jobs = [
            job
            for job in self.jobs()
            if not job.extra["direct"] and begin <= job.created_at <= end and asked.shows(job)
        ]
        return JSONResponse(
            {
                "request_id": request_id(),
                "data": [_listed(job) for job in jobs[(number - 1) * size : number * size]],
                "total": len(jobs),
                "total_page": -(-len(jobs) // size),
                "page_no": number,
                "page_size": size,
            }
        )

    def _task(self, call: Call) -> Job:
        job = self.job(call, call.path["task"])
        if job.extra["direct"] or self.world.clock.now() > job.created_at + KEPT_SECONDS:
            raise self.not_found(call)
        return job

    # Uploads ---------------------------------------------------------------------------------------------------------

    async def grant(self, call: Call) -> Response:
        if call.query.get("action") != "getPolicy" or "model" not in call.query:
            raise refusal(400, "InvalidParameter", "action and model are required.")
        data = {
            "policy": "sim-policy",
            "signature": _SIGNATURE,
            "upload_dir": f"dashscope-instant/sim/{request_id()}",
            "upload_host": f"{call.base_url}/oss",
            "expire_in_seconds": 300,
            "max_file_size_mb": 100,
            "capacity_limit_mb": 999999999,
            "oss_access_key_id": "sim-oss-key",
            "x_oss_object_acl": "private",
            "x_oss_forbid_overwrite": "true",
        }
        return JSONResponse({"request_id": request_id(), "data": data})

    async def upload(self, call: Call) -> Response:
        async with call.request.form() as form:
            file, key = form.get("file"), form.get("key")
            signed = form.get("Signature") == _SIGNATURE and form.get("policy") == "sim-policy"
            if not signed or not isinstance(file, UploadFile) or not isinstance(key, str):
                raise Refusal.by(
                    Response("<Error><Code>AccessDenied</Code></Error>", 403, media_type="application/xml")
                )
            kind = file.content_type or "application/octet-stream"
            self.store(name=key, content_type=kind, content=await file.read())
        return Response(status_code=200)

    def _check_addresses(self, call: Call, asked: Input) -> None:
        resolves = call.headers.get("X-DashScope-OssResourceResolve") == "enable"
        for address in asked.addresses():
            if address.startswith("oss://"):
                known = resolves and self._is_uploaded(address.removeprefix("oss://"))
            else:
                known = address.startswith(("https://", "http://")) or bool(
                    re.match(r"data:\w+/[\w.+-]+;base64,", address)
                )
            if not known:
                raise refusal(400, "InvalidURL", "Required URL is missing or invalid, please check the request URL.")

    def _is_uploaded(self, key: str) -> bool:
        since = self.world.clock.now() - _UPLOAD_SECONDS
        uploads = [one for (cloud, _), one in self.world.uploads.items() if cloud == self.name]
        return any(upload.name == key and upload.created_at > since for upload in uploads)


def _listed(job: Job) -> dict[str, Any]:
    ended = job.ended_at
    return {
        "task_id": job.id,
        "status": STATUS[job.state],
        "model_name": job.model,
        "region": "cn-beijing",
        "request_id": job.id,
        "api_key_id": "1",
        "caller_uid": "1000",
        "caller_parent_id": "1000",
        "gmt_create": int(job.created_at * 1000),
        "start_time": int(job.started_at * 1000),
        "end_time": int(ended * 1000) if ended else None,
        "user_api_unique_key": f"apikey:v1:aigc:{job.extra['path'].replace('/', ':')}:{job.model}",
    }


def _span(start: str | None, end: str | None, now: datetime) -> tuple[float, float]:
    """From when to when tasks are listed; the last 24 hours, unless it is said."""
    try:
        until = datetime.strptime(end, "%Y%m%d%H%M%S").replace(tzinfo=_BEIJING) if end else now
        since = datetime.strptime(start, "%Y%m%d%H%M%S").replace(tzinfo=_BEIJING) if start else until - _LONGEST_SPAN
    except ValueError:
        raise refusal(400, "InvalidParameter", "Times are written as YYYYMMDDhhmmss.") from None
    if until - since > _LONGEST_SPAN:
        raise refusal(400, "InvalidParameter", "The span of time is at most 24 hours.")
    return since.timestamp(), until.timestamp()


def _time(moment: float) -> str:
    local = datetime.fromtimestamp(moment, UTC).astimezone(_BEIJING)
    return local.isoformat(" ", timespec="milliseconds").removesuffix("+08:00")


def _too_late() -> Refusal:
    return refusal(
        400, "UnsupportedOperation", "Failed to cancel the task, please confirm if the task is in PENDING status."
    )
