"""What Vidu answers with, and what its codes mean: the same ones refuse a request and tell why a task failed."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, RootModel

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
from genpulse.providers.wire import Answer, throttled

_BLOCKED = frozenset({"TaskPromptPolicyViolation", "AuditSubmitIllegal", "CreationPolicyViolation"})
_WRONG = frozenset(
    {
        "BadRequest",
        "FieldLacking",
        "FieldUnwanted",
        "FieldInvalid",
        "FieldItemCountOutOfRange",
        "PageSizeOutOfRange",
        "ImageDownloadFailure",
        "ImageFormatInvalid",
        "ModelUnavailable",
    }
)
_REFUSALS: dict[str, type[GenPulseError]] = {
    **dict.fromkeys(_BLOCKED, ContentBlocked),
    **dict.fromkeys(_WRONG, ProviderRejected),
    "CreditInsufficient": ProviderQuotaSpent,
    "OperationInProcess": ProviderThrottled,
    "QuotaExceeded": ProviderThrottled,
    "TooManyRequests": ProviderThrottled,
    "SystemThrottling": ProviderThrottled,
    "Unauthorized": ProviderAuthFailed,
    "Forbidden": ProviderAuthFailed,
    "Conflict": ProviderRejected,
    "UserCancelled": ProviderRejected,
    "InternalServiceFailure": ProviderUnavailable,
}
_FAILURES: dict[str, type[GenPulseError]] = {
    **dict.fromkeys(_BLOCKED, ContentBlocked),
    **dict.fromkeys(_WRONG, ProviderRejected),
    "CreditInsufficient": ProviderQuotaSpent,
}
#: The request was cut off on Vidu's side: it may have been taken by then.
_CUT_OFF = "Canceled"
_NOT_FOUND = 404


class _Answer(BaseModel):
    """Ids are written as texts, and read as numbers by some of Vidu's own clients."""

    model_config = ConfigDict(coerce_numbers_to_str=True)


class Created(_Answer):
    task_id: str = Field(min_length=1)


class _Creation(BaseModel):
    url: str


class Task(_Answer):
    state: str
    err_code: str | None = None
    credits: float | None = None
    progress: float | None = None
    creations: list[_Creation] | None = None


class Anything(RootModel[Any]):
    """An answer of which only the status counts."""


def refused(answer: Answer, *, lost: type[GenPulseError]) -> GenPulseError | None:
    """The error that Vidu words; `lost` is what becomes of a request that was cut off."""
    if answer.status < 400 or answer.status == _NOT_FOUND:  # what is not found is told by the status alone
        return None
    code, message = _told(answer)
    said = _sentence(code, message)
    if code == _CUT_OFF:
        return lost(said)
    kind = _REFUSALS.get(code)
    return throttled(said, answer) if kind is ProviderThrottled else kind(said) if kind else None


def failure(code: str) -> GenPulseError:
    """What a task failed with, long after it was accepted."""
    return _FAILURES.get(code, ProviderFailed)(_sentence(code, "the task failed"))


def _told(answer: Answer) -> tuple[str, str]:
    """Code and message, wherever they stand: `reason` is the documented place, and others have been seen."""
    data = answer.data if isinstance(answer.data, dict) else {}
    inner = data["error"] if isinstance(data.get("error"), dict) else data
    places = (inner.get(name) for name in ("reason", "err_code", "code"))
    code = next((place for place in places if isinstance(place, str) and place), "")
    return code, str(inner.get("message") or "")


def _sentence(code: str, message: str) -> str:
    return f"vidu: {message or 'refused'}{f' ({code})' if code else ''}"
