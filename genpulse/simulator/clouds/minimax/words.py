"""How MiniMax words what it answers, in each of the two generations of its API."""

from __future__ import annotations

import secrets
from typing import Any

from starlette.responses import JSONResponse

from genpulse.simulator.jobs import Failure, Job, State
from genpulse.simulator.wire import Call, Refusal

_TYPES = {
    1004: (401, "authorized_error"),
    1026: (422, "unprocessable_entity_error"),
    1002: (429, "rate_limit_error"),
    2013: (400, "bad_request_error"),
}


def raise_failure(call: Call, job: Job, state: State) -> None:
    if state is State.FAILED:
        moderated = job.failure is Failure.CONTENT
        raise refusal(call, 1027 if moderated else 1013, "output new_sensitive" if moderated else "internal error")


def is_new(call: Call) -> bool:
    return "/v2/" in call.request.url.path


def refusal(call: Call, code: int, said: str) -> Refusal:
    """In the words of the generation that was called."""
    if not is_new(call):
        return Refusal(200, {"base_resp": base(code, said)}, trace())
    status, kind = _TYPES[code]
    return Refusal(status, error(kind, f"{said} ({code})", status), trace())


def error(kind: str, said: str, status: int) -> dict[str, Any]:
    error = {"type": kind, "message": said, "http_code": str(status)}
    return {"type": "error", "error": error, "request_id": secrets.token_hex(16)}


def base(code: int, said: str) -> dict[str, Any]:
    return {"status_code": code, "status_msg": said}


def ok(body: dict[str, Any]) -> JSONResponse:
    return JSONResponse({"base_resp": base(0, "success")} | body, headers=trace())


def trace() -> dict[str, str]:
    return {"Trace-Id": secrets.token_hex(16)}


def number() -> str:
    return str(10**14 + secrets.randbelow(9 * 10**14))
