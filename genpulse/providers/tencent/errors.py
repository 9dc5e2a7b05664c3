"""What the error codes of API 3.0, of VOD's tasks, of TokenHub and of COS mean."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from genpulse.errors import (
    ContentBlocked,
    GenPulseError,
    JobMissing,
    OutcomeUnknown,
    ProviderAuthFailed,
    ProviderFailed,
    ProviderQuotaSpent,
    ProviderRejected,
    ProviderThrottled,
    ProviderUnavailable,
)
from genpulse.providers.wire import Answer, throttled

Kind = type[GenPulseError]


def _all(kind: Kind, codes: str) -> Iterable[tuple[str, Kind]]:
    return ((code, kind) for code in codes.split())


#: Whole codes first, then what stands before their first dot. An error that the cloud words means that nothing was
#: accepted, but for a timeout behind its front.
_CODES: dict[str, Kind] = dict(
    [
        *_all(ProviderThrottled, "RequestLimitExceeded LimitExceeded FailedOperation.EngineServerLimitExceeded"),
        *_all(ProviderUnavailable, "InternalError FailedOperation FailedOperation.InnerError"),
        *_all(ProviderUnavailable, "FailedOperation.ServerError FailedOperation.RpcFail FailedOperation.Unknown"),
        *_all(ProviderUnavailable, "FailedOperation.ConsoleServerError FailedOperation.EngineServerError"),
        *_all(ProviderUnavailable, "FailedOperation.DriverFailed FailedOperation.ModerationResponseError"),
        *_all(ProviderUnavailable, "FailedOperation.DBError FailedOperation.NetWorkError ResourceInUse"),
        *_all(OutcomeUnknown, "FailedOperation.RequestTimeout FailedOperation.EngineRequestTimeout"),
        *_all(OutcomeUnknown, "FailedOperation.TaskDuplicate"),
        *_all(ContentBlocked, "OperationDenied.TextIllegalDetected OperationDenied.ImageIllegalDetected"),
        *_all(ContentBlocked, "FailedOperation.GenerateImageFailed FailedOperation.ModerationFailed"),
        *_all(ContentBlocked, "FailedOperation.ModerationAudioFailed ContentModerationFailed"),
        *_all(ContentBlocked, "InvalidParameter.ViolationContent InvalidParameter.VoilationContent"),
        *_all(JobMissing, "FailedOperation.JobNotExist FailedOperation.JobNotFound"),
        *_all(ProviderQuotaSpent, "ResourceUnavailable ResourcesSoldOut ResourceInsufficient"),
        *_all(ProviderQuotaSpent, "FailedOperation.ServiceNotActivated FailedOperation.ServiceStop"),
        *_all(ProviderQuotaSpent, "FailedOperation.ServiceStopArrears FailedOperation.ResourcePackExhausted"),
        *_all(ProviderQuotaSpent, "FailedOperation.FreeResourcePackExhausted FailedOperation.UserUnAuthError"),
        *_all(ProviderQuotaSpent, "ActionOffline"),
        *_all(ProviderAuthFailed, "AuthFailure UnauthorizedOperation FailedOperation.InvalidVodUser"),
        *_all(ProviderAuthFailed, "FailedOperation.InvalidAccount FailedOperation.NoPrivileges"),
    ]
)
_FAMILIES = frozenset(
    {
        "AuthFailure",
        "InternalError",
        "LimitExceeded",
        "RequestLimitExceeded",
        "ResourceInsufficient",
        "ResourceUnavailable",
        "ResourcesSoldOut",
        "UnauthorizedOperation",
    }
)
_WRONG_INPUT = ("InvalidParameter", "InvalidParameterValue", "MissingParameter", "ResourceNotFound")

_HUB_STATUS: dict[int, Kind] = {
    400: ProviderRejected,
    401: ProviderAuthFailed,
    402: ProviderQuotaSpent,
    403: ProviderAuthFailed,
    429: ProviderThrottled,
    451: ContentBlocked,
    502: ProviderUnavailable,
}

_COS_CODE = re.compile(rb"<Code>([^<]*)</Code>")
_COS_MESSAGE = re.compile(rb"<Message>([^<]*)</Message>")
_COS: dict[str, Kind] = {
    "AccessDenied": ProviderAuthFailed,
    "InvalidAccessKeyId": ProviderAuthFailed,
    "SignatureDoesNotMatch": ProviderAuthFailed,
    "RequestTimeTooSkewed": ProviderAuthFailed,
    "ExpiredToken": ProviderAuthFailed,
    "NoSuchBucket": ProviderAuthFailed,
    "SlowDown": ProviderThrottled,
    "RequestLimitExceeded": ProviderThrottled,
    "InternalError": ProviderUnavailable,
    "ServiceUnavailable": ProviderUnavailable,
}


class CloudError(BaseModel):
    """As API 3.0 words it."""

    model_config = ConfigDict(coerce_numbers_to_str=True)

    Code: str = ""
    Message: str = ""


class HubError(BaseModel):
    """As TokenHub words it, for a request or for a task."""

    model_config = ConfigDict(coerce_numbers_to_str=True)

    code: str = ""
    type: str = ""
    message: str = ""


def refused(answer: Answer, *, lost: Kind) -> GenPulseError | None:
    """API 3.0 reports errors with status 200. `lost` is what an unknown outcome is called."""
    response = answer.data.get("Response") if isinstance(answer.data, dict) else None
    error = _read(CloudError, response.get("Error")) if isinstance(response, dict) else None
    if error is None:
        return None
    kind = _kind(error.Code) or ProviderRejected
    said = _said(error.Message, error.Code)
    if kind is ProviderThrottled:
        return throttled(said, answer)
    return (lost if kind is OutcomeUnknown else kind)(said, error_code=error.Code)


def failure(code: str, message: str) -> GenPulseError:
    """What a job failed with, long after it was accepted."""
    kind = _kind(code)
    if kind is not ContentBlocked:
        kind = ProviderRejected if code.partition(".")[0] in _WRONG_INPUT else ProviderFailed
    return kind(_said(message, code), error_code=code)


def refused_by_hub(answer: Answer) -> GenPulseError | None:
    error = _read(HubError, answer.data.get("error")) if isinstance(answer.data, dict) else None
    kind = _HUB_STATUS.get(answer.status)
    if error is None or kind is None:
        return None
    said = _said(error.message, error.code)
    return throttled(said, answer) if kind is ProviderThrottled else kind(said, error_code=error.code)


def hub_failure(error: HubError | None) -> GenPulseError:
    """What a task at TokenHub failed with."""
    error = error or HubError()
    kind = ContentBlocked if error.code.startswith("451") or "content" in error.type else ProviderFailed
    return kind(_said(error.message, error.code))


def refused_by_cos(answer: Answer) -> GenPulseError | None:
    """COS answers with a file, or with an error in XML."""
    found = _COS_CODE.search(answer.content[:4096]) if answer.status >= 400 else None
    if found is None:
        return None
    code, message = found[1].decode(errors="replace"), _COS_MESSAGE.search(answer.content[:4096])
    kind = _COS.get(code) or (ProviderRejected if answer.status < 500 else None)
    said = _said(message[1].decode(errors="replace") if message else "", code)
    if kind is ProviderThrottled:
        return throttled(said, answer)
    return kind(said, error_code=code) if kind else None


def _kind(code: str) -> Kind | None:
    head = code.partition(".")[0]
    return _CODES.get(code) or (_CODES[head] if head in _FAMILIES else None)


def _read(model: type[Any], given: Any) -> Any:
    """The error if this is one; anything else is the status's to say."""
    try:
        return model.model_validate(given)
    except ValidationError:
        return None


def _said(message: str, code: str) -> str:
    return f"tencent: {message or 'refused'}" + (f" ({code})" if code else "")
