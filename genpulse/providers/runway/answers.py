"""What Runway answers with, what its errors mean, and why a task failed."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, RootModel
from pydantic.alias_generators import to_camel

from genpulse.errors import (
    ContentBlocked,
    GenPulseError,
    ProviderFailed,
    ProviderQuotaSpent,
    ProviderRejected,
    ProviderUnavailable,
)
from genpulse.providers.wire import Answer

_NO_CREDITS = "enough credits"
#: Runway says these itself when it has taken nothing; of other server errors nobody knows.
_DOWN = frozenset({502, 503})
_BLOCKED = ("SAFETY.", "INPUT_PREPROCESSING.SAFETY.")
#: What the same input would lead to again.
_HOPELESS = "INTERNAL.BAD_OUTPUT."


class _Answer(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class Created(_Answer):
    id: str = Field(min_length=1)


class _Cost(_Answer):
    credits: float


class Task(_Answer):
    status: str
    progress: float | None = None
    output: list[str] = Field(default_factory=list)
    cost: _Cost | None = None
    failure: str | None = None
    failure_code: str | None = None


class NewUpload(_Answer):
    """Where a file is to be sent, with which fields, and what it is called afterwards."""

    upload_url: str
    fields: dict[str, str]
    runway_uri: str


class Anything(RootModel[Any]):
    """An answer of which only the status counts."""


def refused(answer: Answer) -> GenPulseError | None:
    """The error that Runway words, where the status does not say it all."""
    said = answer.data.get("error") if isinstance(answer.data, dict) else None
    if not isinstance(said, str) or answer.status < 400:
        return None
    if answer.status == 400:
        kind = ProviderQuotaSpent if _NO_CREDITS in said.lower() else ProviderRejected
        return kind(f"runway: {said}{_issues(answer.data.get('issues'))}")
    return ProviderUnavailable(f"runway: {said}") if answer.status in _DOWN else None


def failure(task: Task) -> GenPulseError:
    """What a task failed with, long after it was accepted."""
    code = task.failure_code or ""
    said = f"runway: {task.failure or 'the task failed'}{f' ({code})' if code else ''}"
    if code.startswith(_BLOCKED):
        return ContentBlocked(said)
    if code == "ASSET.INVALID":
        return ProviderRejected(said)
    return ProviderFailed(said, retryable=False) if code.startswith(_HOPELESS) else ProviderFailed(said)


def _issues(issues: object) -> str:
    """Which fields are wrong, as far as it is told: `[{"path": ["ratio"], "message": "…"}]`."""
    if not isinstance(issues, list):
        return ""
    told = []
    for issue in (one for one in issues if isinstance(one, dict)):
        path = issue.get("path")
        where = ".".join(map(str, path)) if isinstance(path, list) else ""
        told.append(": ".join(part for part in (where, str(issue.get("message") or "")) if part))
    return f" ({'; '.join(told)})" if told else ""
