"""What BFL answers with, and what its states and errors mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, Field

from genpulse.errors import (
    ContentBlocked,
    GenPulseError,
    JobMissing,
    ProviderAuthFailed,
    ProviderFailed,
    ProviderQuotaSpent,
    ProviderRejected,
    ProviderThrottled,
    ProviderUnavailable,
)
from genpulse.providers.base import Finished, Output, Pending
from genpulse.providers.wire import Answer, throttled

_FAILURES: dict[str, type[GenPulseError]] = {
    "Request Moderated": ContentBlocked,
    "Content Moderated": ContentBlocked,
    "Error": ProviderFailed,
    "Task not found": JobMissing,
}
_REFUSALS: dict[int, type[GenPulseError]] = {
    400: ProviderRejected,
    402: ProviderQuotaSpent,
    403: ProviderAuthFailed,
    422: ProviderRejected,
    429: ProviderThrottled,
    500: ProviderUnavailable,
    503: ProviderUnavailable,
}
_BILLED = {"cost": "credits", "input_mp": "input_mp", "output_mp": "output_mp"}


class Created(BaseModel):
    """With a webhook there is no `polling_url`."""

    id: str = Field(min_length=1)
    polling_url: str | None = None
    cost: float | None = None
    input_mp: float | None = None
    output_mp: float | None = None

    def handle(self) -> dict[str, str]:
        """What is told only now: where to ask, and what it costs."""
        return {name: str(value) for name, value in self.model_dump(exclude={"id"}, exclude_none=True).items()}


class _Result(BaseModel):
    sample: str | None = None
    prompt: str | None = None
    seed: int | None = None


class Task(BaseModel):
    """`status` may be a word that did not exist when this was written; whatever has not ended is under way."""

    status: str
    result: _Result | None = None
    progress: float | None = None
    details: dict[str, Any] | None = None

    def state(self, handle: Mapping[str, str]) -> Pending | Finished:
        """Raises what the task failed with."""
        if kind := _FAILURES.get(self.status):
            raise kind(f"bfl: {self.status}{f' ({self.details})' if self.details else ''}")
        if self.status != "Ready":
            return Pending(fraction=None if self.progress is None else min(max(self.progress, 0.0), 1.0))
        result = self.result or _Result()
        return Finished(
            outputs=[Output(url=result.sample)] if result.sample else [],
            parameters=result.model_dump(include={"prompt", "seed"}, exclude_none=True),
            usage={name: float(handle[told]) for told, name in _BILLED.items() if told in handle},
        )


def refused(answer: Answer) -> GenPulseError | None:
    """The error that BFL words, in any of its ways; nothing was accepted then."""
    said, kind = _told(answer.data), _REFUSALS.get(answer.status)
    if not said or kind is None:
        return None
    return throttled(said, answer) if kind is ProviderThrottled else kind(said)


def _told(data: Any) -> str:
    if not isinstance(data, dict):
        return ""
    said = data.get("detail") or data.get("message") or data.get("error")
    if isinstance(said, list):
        said = "; ".join(_one(item) for item in said)
    return f"bfl: {said}" if said else ""


def _one(item: Any) -> str:
    """One of the things that are wrong with a body, and where."""
    if not isinstance(item, dict):
        return str(item)
    where = [str(part) for part in item.get("loc") or () if part != "body"]
    return f"{'.'.join(where) or 'body'}: {item.get('msg')}"
