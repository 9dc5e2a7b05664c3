"""How Google says things: errors, refusals, times."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from genpulse.simulator.jobs import Failure, Job
from genpulse.simulator.wire import Refusal

WORDS = "The output was filtered because it may violate the safety policies."


def error(code: int, status: str, message: str, details: list[dict[str, str]] | None = None) -> Refusal:
    body: dict[str, Any] = {"code": code, "message": message, "status": status}
    return Refusal(code, {"error": body | ({"details": details} if details else {})})


def moderated(job: Job) -> bool:
    return job.failure is Failure.CONTENT


def iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat().replace("+00:00", "Z")
