"""What OpenAI answers with, and what its errors mean."""

from __future__ import annotations

import base64
import binascii
from typing import Any

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
from genpulse.providers.base import Output
from genpulse.providers.wire import Answer

_CODES: dict[str, type[GenPulseError]] = {
    "moderation_blocked": ContentBlocked,
    "content_policy_violation": ContentBlocked,
    "insufficient_quota": ProviderQuotaSpent,
    "billing_hard_limit_reached": ProviderQuotaSpent,
    "invalid_api_key": ProviderAuthFailed,
    "model_not_found": ProviderRejected,
}
_STATUSES: dict[int, type[GenPulseError]] = {
    409: ProviderUnavailable,
    500: ProviderUnavailable,
    503: ProviderUnavailable,
}


class _Picture(BaseModel):
    b64_json: str | None = Field(None, repr=False)
    url: str | None = None


class Images(BaseModel):
    created: int
    data: list[_Picture] = Field(default_factory=list)
    size: str | None = None
    quality: str | None = None
    background: str | None = None
    output_format: str | None = None
    usage: dict[str, Any] | None = None

    def outputs(self) -> list[Output]:
        """The files. Raises ProviderFailed where there is none."""
        made = [_output(one) for one in self.data if one.b64_json or one.url]
        if not made:
            raise ProviderFailed("openai made no picture.")
        return made

    def parameters(self) -> dict[str, str | int | float]:
        told = {"quality": self.quality, "background": self.background, "output_format": self.output_format}
        width, _, height = (self.size or "").partition("x")
        size = {"width": int(width), "height": int(height)} if width.isdecimal() and height.isdecimal() else {}
        return {**size, **{name: value for name, value in told.items() if value}}


class _Error(BaseModel):
    message: str = ""
    type: str | None = None
    code: str | int | None = None
    param: str | None = None


class _Told(BaseModel):
    error: _Error


def refused(answer: Answer) -> GenPulseError | None:
    """The error that OpenAI words; an internal one has made no picture."""
    if 200 <= answer.status < 300:
        return None
    try:
        error = _Told.model_validate(answer.data).error
    except ValidationError:
        return None
    said = f"openai: {error.message or 'refused'} ({error.code or error.type or answer.status})"
    kind = _CODES.get(str(error.code)) or _CODES.get(str(error.type)) or _STATUSES.get(answer.status)
    if kind is None and answer.status == 429:
        return ProviderThrottled(said, retry_after=_wait(answer))
    return kind(said) if kind else None


def _wait(answer: Answer) -> float | None:
    """Seconds; the finer header counts before the usual one."""
    fine = answer.headers.get("retry-after-ms", "")
    try:
        return max(0.0, float(fine) / 1000)
    except ValueError:
        return answer.retry_after


def _output(picture: _Picture) -> Output:
    if not picture.b64_json:
        return Output(url=picture.url)
    try:
        return Output(content=base64.b64decode(picture.b64_json, validate=True))
    except binascii.Error as error:
        raise ProviderFailed("openai answered with a file that cannot be read.") from error
