"""What the error codes of Ark and of Visual mean."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ValidationError

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

#: Whole codes first, then what stands before their first dot. An error that the cloud words means that nothing was
#: accepted, and only what succeeds is billed, so none of these leaves the outcome unknown.
_ARK: dict[str, type[GenPulseError]] = {
    "MissingParameter": ProviderRejected,
    "InvalidParameter": ProviderRejected,
    "InvalidImageURL": ProviderRejected,
    "InvalidEndpoint": ProviderRejected,
    "InvalidEndpointOrModel": ProviderRejected,
    "ModelNotOpen": ProviderRejected,
    "TaskRunningCannotCancel": ProviderRejected,
    "AuthenticationError": ProviderAuthFailed,
    "InvalidAccountStatus": ProviderAuthFailed,
    "AccessDenied": ProviderAuthFailed,
    "OperationDenied": ProviderAuthFailed,
    "OperationDenied.ServiceOverdue": ProviderQuotaSpent,
    "AccountOverdueError": ProviderQuotaSpent,
    "SetLimitExceeded": ProviderQuotaSpent,
    "QuotaExceeded": ProviderThrottled,
    "RateLimitExceeded": ProviderThrottled,
    "ModelAccountRpmRateLimitExceeded": ProviderThrottled,
    "ModelAccountTpmRateLimitExceeded": ProviderThrottled,
    "ModelAccountIpmRateLimitExceeded": ProviderThrottled,
    "APIAccountRpmRateLimitExceeded": ProviderThrottled,
    "AccountRateLimitExceeded": ProviderThrottled,
    "RequestBurstTooFast": ProviderThrottled,
    "InflightBatchsizeExceeded": ProviderThrottled,
    "ServerOverloaded": ProviderThrottled,
    "ModelLoadingError": ProviderThrottled,
    "InternalServiceError": ProviderUnavailable,
    "ContentSecurityDetectionError": ProviderUnavailable,
}
_QUEUE_FULL_SECONDS = 60.0  # QuotaExceeded may be a full queue or a spent quota; its code does not tell

_CONTENT = frozenset({50411, 50412, 50413, 50511, 50512, 50516, 50517, 50518, 50519})
_MODERATION_DOWN = frozenset({50520, 50521, 50522})  # final all the same, as Volcengine documents
_BUSY = frozenset({50429, 50430})
_INTERNAL = frozenset({50500, 50501})
_GATEWAY: dict[str, type[GenPulseError]] = {
    "SignatureDoesNotMatch": ProviderAuthFailed,
    "InvalidAccessKey": ProviderAuthFailed,
    "InvalidTimestamp": ProviderAuthFailed,
    "AccessDenied": ProviderAuthFailed,
    "FlowLimitExceeded": ProviderThrottled,
}
DONE = 10000


class ArkError(BaseModel):
    code: str = ""
    message: str = ""
    param: str | None = None


def refused_by_ark(answer: Answer) -> GenPulseError | None:
    """The error that Ark words; anything else is the status's to say."""
    given = answer.data.get("error") if answer.status >= 400 and isinstance(answer.data, dict) else None
    try:
        error = ArkError.model_validate(given)
    except ValidationError:
        return None
    kind = _kind(error.code)
    if kind is None:
        return None
    if kind is ProviderThrottled:
        pause = answer.retry_after
        if pause is None and error.code.startswith("QuotaExceeded"):
            pause = _QUEUE_FULL_SECONDS
        return ProviderThrottled(_said(error), retry_after=pause)
    return kind(_said(error), error_code=error.code)


def ark_failure(error: ArkError) -> GenPulseError:
    """What a task, or one picture of a set, failed with long after the call was accepted."""
    kind = _kind(error.code)
    if kind in (None, ProviderThrottled, ProviderUnavailable):
        kind = ProviderFailed
    return kind(_said(error), error_code=error.code)


def refused_by_visual(answer: Answer) -> GenPulseError | None:
    """The gateway's error, or the service's; one that comes with a task that is done is what the task failed with."""
    if not isinstance(answer.data, dict):
        return None
    metadata = answer.data.get("ResponseMetadata")
    if isinstance(metadata, dict):
        return _of_gateway(answer, metadata.get("Error"))
    code, data = answer.data.get("code"), answer.data.get("data")
    if code == DONE or not isinstance(code, int):
        return None
    ended = isinstance(data, dict) and data.get("status") == "done"
    return _of_service(answer, code, ended=ended)


def _of_gateway(answer: Answer, error: Any) -> GenPulseError | None:
    if not isinstance(error, dict):
        return None
    code = str(error.get("Code", ""))
    said = f"volcengine: {error.get('Message') or code}"
    kind = _GATEWAY.get(code)
    if kind is ProviderThrottled:
        return throttled(said, answer)
    if kind is None and answer.status < 500:
        kind = ProviderAuthFailed if answer.status in (401, 403) else ProviderRejected
    return kind(said, error_code=code) if kind else None


def _of_service(answer: Answer, code: int, *, ended: bool) -> GenPulseError | None:
    said = f"volcengine: {answer.data.get('message') or 'refused'} ({code})"
    if code in _CONTENT:
        return ContentBlocked(said, error_code=code)
    if code in _MODERATION_DOWN:
        return ProviderFailed(said, retryable=False, error_code=code)
    if ended:
        return ProviderFailed(said, error_code=code)
    if code in _BUSY:
        return throttled(said, answer)
    if code in _INTERNAL:
        return ProviderUnavailable(said, error_code=code)
    return ProviderRejected(said, error_code=code) if answer.status < 500 else None


def _kind(code: str) -> type[GenPulseError] | None:
    head = code.partition(".")[0]
    if head.endswith("SensitiveContentDetected"):
        return ContentBlocked
    return _ARK.get(code) or _ARK.get(head)


def _said(error: ArkError) -> str:
    where = f" (at {error.param})" if error.param else ""
    return f"volcengine: {error.message or error.code}{where}"
