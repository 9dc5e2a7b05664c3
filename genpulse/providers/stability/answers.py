"""What Stability AI answers with, and what its errors mean."""

from __future__ import annotations

from pydantic import BaseModel, Field, ValidationError

from genpulse.errors import (
    ContentBlocked,
    GenPulseError,
    ProviderAuthFailed,
    ProviderFailed,
    ProviderQuotaSpent,
    ProviderRejected,
    ProviderThrottled,
    ProviderUnavailable,
)
from genpulse.providers.base import Finished, Output
from genpulse.providers.wire import Answer

_STATUSES: dict[int, type[GenPulseError]] = {
    400: ProviderRejected,
    401: ProviderAuthFailed,
    402: ProviderQuotaSpent,
    403: ProviderAuthFailed,
    413: ProviderRejected,
    422: ProviderRejected,
    500: ProviderUnavailable,
    503: ProviderUnavailable,
}
#: For so long an account is shut out that has asked too often.
_BLOCKED_SECONDS = 60.0


class Created(BaseModel):
    id: str = Field(min_length=1)


class _Told(BaseModel):
    name: str = ""
    errors: list[str] = Field(default_factory=list)


def refused(answer: Answer) -> GenPulseError | None:
    """The error that Stability words, or why there is no picture worth having although it answers with 200."""
    if 200 <= answer.status < 300:
        return _unfinished(answer.headers.get("finish-reason", "SUCCESS"))
    try:
        told = _Told.model_validate(answer.data)
    except ValidationError:
        told = _Told()
    said = f"stability: {'; '.join(told.errors) or 'refused'} ({told.name or answer.status})"
    if answer.status == 429:
        return ProviderThrottled(said, retry_after=answer.retry_after or _BLOCKED_SECONDS)
    if told.name == "content_moderation":
        return ContentBlocked(said)
    kind = _STATUSES.get(answer.status) if told.name else None
    return kind(said) if kind else None


def picture(answer: Answer, lost: type[GenPulseError]) -> Finished:
    """The picture in the answer. One whose headers do not say how it ended did not come from Stability as it was."""
    if "finish-reason" not in answer.headers:
        raise lost("stability answered with something that is no finished picture.")
    seed = answer.headers.get("seed", "")
    return Finished(
        outputs=[Output(content=answer.content)], parameters={"seed": int(seed)} if seed.isdecimal() else {}
    )


def _unfinished(reason: str) -> GenPulseError | None:
    if reason == "SUCCESS":
        return None
    said = f"stability: the picture is not to be had ({reason})"
    return ContentBlocked(said) if reason == "CONTENT_FILTERED" else ProviderFailed(said)
