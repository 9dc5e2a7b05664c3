"""What errors mean, in the words of each of Baidu's platforms."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

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

Kind = type[GenPulseError]

#: Qianfan spells its codes in two ways.
_SPELLINGS = (("genration", "generation"), ("interal", "internal"))
_QIANFAN: dict[str, Kind] = {
    **dict.fromkeys(
        (
            *("malformed_json", "invalid_model", "invalid_messages", "characters_too_long", "tokens_too_long"),
            *("invalid_argument", "invalid_plugin_argument", "invalid_image_url", "method_not_supported"),
            *("invalid_image_generation_prompt", "invalid_image_generation_refer_image"),
            "invalid_video_generation_argument",
        ),
        ProviderRejected,
    ),
    **dict.fromkeys(
        (
            *("image_url_unsafe", "system_unsafe", "user_setting_unsafe", "functions_unsafe"),
            *("video_generation_prompt_unsafe", "video_generation_output_unsafe"),
        ),
        ContentBlocked,
    ),
    **dict.fromkeys(("no_parameter_permission", "invalid_appid", "invalid_iam_token"), ProviderAuthFailed),
    **dict.fromkeys(
        (
            *("internal_error", "dispatch_internal_error", "image_generation_internal_error"),
            *("video_generation_internal_error", "video_generation_risk_system_error"),
        ),
        ProviderUnavailable,
    ),
}
_QIANFAN_TYPES: dict[str, Kind] = {
    "invalid_request_error": ProviderRejected,
    "unsafe_request": ContentBlocked,
    "access_denied": ProviderAuthFailed,
    "method_not_supported": ProviderRejected,
    "rate_limit_exceeded": ProviderThrottled,
    "internal_error": ProviderUnavailable,
}
_FULL = "video_generation_concurrency_exceeded"
_FULL_SECONDS = 30.0  # until a job ends
_UNAUTHORIZED = 401

#: Of the vendor whose models are the K series.
_VENDOR: dict[int, Kind] = {
    **dict.fromkeys(range(1200, 1204), ProviderRejected),
    1301: ContentBlocked,
    1302: ProviderThrottled,
    1303: ProviderThrottled,
    **dict.fromkeys(range(5000, 5003), ProviderUnavailable),
}
_VENDOR_FULL = 1303

#: What signed services have in common.
_SIGNED: dict[str, Kind] = {
    **dict.fromkeys(
        (
            *("AccessDenied", "InvalidAccessKeyId", "InvalidHTTPAuthHeader", "SignatureDoesNotMatch"),
            *("RequestExpired", "OptInRequired"),
        ),
        ProviderAuthFailed,
    ),
    "InternalError": ProviderUnavailable,
}

#: The access token is none, or not any more.
STALE = frozenset({100, 110, 111})
_SENSITIVE = frozenset({282003, 282004})
_PLATFORM: dict[int, Kind] = {
    **dict.fromkeys((1, 2), ProviderUnavailable),
    **dict.fromkeys((4, 18, 216401), ProviderThrottled),
    **dict.fromkeys((17, 19, 282352), ProviderQuotaSpent),
    **dict.fromkeys((6, 13, 14, 15, *STALE), ProviderAuthFailed),
    **dict.fromkeys((216303, 216630, 282000), ProviderFailed),
}


class QianfanError(BaseModel):
    model_config = ConfigDict(coerce_numbers_to_str=True)

    code: str = ""
    type: str = ""
    message: str = ""

    @property
    def known_code(self) -> str:
        code = self.code
        for one, other in _SPELLINGS:
            code = code.replace(one, other)
        return code


def refused_by_qianfan(answer: Answer) -> GenPulseError | None:
    """The error that Qianfan words; anything else is the status's to say."""
    if answer.status < 400 or not isinstance(answer.data, dict):
        return None
    try:
        error = QianfanError.model_validate(answer.data.get("error"))
    except ValidationError:
        return None
    kind = _qianfan_kind(error)
    if kind is ProviderRejected and answer.status == _UNAUTHORIZED:  # the model is there, but not for this account
        kind = ProviderAuthFailed
    if kind is None:
        return None
    return _refusal(kind, _said(error.message, error.code), answer, full=error.known_code == _FULL)


def qianfan_failure(error: QianfanError | None) -> GenPulseError:
    """What a task failed with, long after it was accepted."""
    error = error or QianfanError()
    kind = _qianfan_kind(error)
    return _late(kind)(_said(error.message or "the task failed", error.code))


def refused_by_vendor(answer: Answer) -> GenPulseError | None:
    """Hosted models answer as their vendors do, behind Qianfan's own errors."""
    refused = refused_by_qianfan(answer)
    code = answer.data.get("code") if isinstance(answer.data, dict) else None
    if refused is not None or not isinstance(code, int) or code == 0:
        return refused
    kind = _VENDOR.get(code, ProviderRejected if answer.status < 500 else None)
    said = _said(str(answer.data.get("message") or "refused"), code)
    return _refusal(kind, said, answer, full=code == _VENDOR_FULL) if kind else None


def refused_by_vod(answer: Answer) -> GenPulseError | None:
    """The error of a signed service; of a code that is not known, the status says what it means."""
    if answer.status < 400 or not isinstance(answer.data, dict):
        return None
    code = str(answer.data.get("code") or "")
    kind = _SIGNED.get(code)
    return kind(_said(str(answer.data.get("message") or "refused"), code)) if kind else None


def refused_by_platform(answer: Answer) -> GenPulseError | None:
    """The Open AI platform answers 200, whatever happens; only tokens are refused in another way."""
    data = answer.data
    if not isinstance(data, dict):
        return None
    if isinstance(data.get("error"), str):
        return ProviderAuthFailed(_said(str(data.get("error_description") or "refused"), data["error"]))
    code = data.get("error_code")
    if not isinstance(code, int) or code == 0:
        return None
    said = _said(str(data.get("error_msg") or "refused"), code)
    kind = _PLATFORM.get(code, ProviderRejected)
    if code in _SENSITIVE and data.get("error_detail"):  # the same code tells of a wrong argument
        return ContentBlocked(f"{said}: {_words(data['error_detail'])}", error_code=code)
    return throttled(said, answer) if kind is ProviderThrottled else kind(said, error_code=code)


def platform_failure(code: int) -> GenPulseError:
    """What a task of the Open AI platform failed with."""
    kind = ContentBlocked if code in _SENSITIVE else _PLATFORM.get(code)
    return _late(kind)(_said("the task failed", code))


def _qianfan_kind(error: QianfanError) -> Kind | None:
    code = error.known_code
    if code == _FULL or code.endswith("rate_limit_exceeded"):
        return ProviderThrottled
    return _QIANFAN.get(code) or _QIANFAN_TYPES.get(error.type)


def _late(kind: Kind | None) -> Kind:
    """What would be tried again before a call is accepted is a failure afterwards."""
    return kind if kind in (ContentBlocked, ProviderRejected) else ProviderFailed


def _refusal(kind: Kind, said: str, answer: Answer, *, full: bool) -> GenPulseError:
    if kind is not ProviderThrottled:
        return kind(said)
    pause = answer.retry_after
    return ProviderThrottled(said, retry_after=_FULL_SECONDS if pause is None and full else pause)


def _words(details: Any) -> str:
    found = [one for one in details if isinstance(one, dict)] if isinstance(details, list) else []
    return "; ".join(f"{one.get('msg', '')} {', '.join(map(str, one.get('words') or ()))}".strip() for one in found)


def _said(message: str, code: object) -> str:
    return f"baidu: {message or 'refused'}{f' ({code})' if code else ''}"
