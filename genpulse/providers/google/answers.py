"""What Google answers with, and what its errors mean. What was refused often comes with status 200."""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

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
from genpulse.providers.wire import Answer

_BAD_KEY = "API_KEY_INVALID"
_STATUSES: dict[str, type[GenPulseError]] = {
    "INVALID_ARGUMENT": ProviderRejected,
    "FAILED_PRECONDITION": ProviderQuotaSpent,  # billing is off, or the region is not served
    "UNAUTHENTICATED": ProviderAuthFailed,
    "PERMISSION_DENIED": ProviderAuthFailed,
    "INTERNAL": ProviderUnavailable,
    "UNAVAILABLE": ProviderUnavailable,
}
#: gRPC numbers of an operation that has failed; all others may go better the next time.
_OPERATION_CODES: dict[int, type[GenPulseError]] = {3: ProviderRejected, 7: ProviderAuthFailed}
_BLOCKED = re.compile(r"safety|prohibited|responsible ai|usage guidelines|sensitive|blocked|recitation", re.IGNORECASE)
_SECONDS = re.compile(r"^(\d+(?:\.\d+)?)s$")


class _Camel(BaseModel):
    """Names arrive in camelCase or in snake_case."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class _Inline(_Camel):
    data: str = Field(min_length=1)


class _Part(_Camel):
    text: str | None = None
    inline_data: _Inline | None = None


class _Parts(_Camel):
    parts: list[_Part] = Field(default_factory=list)


class _Candidate(_Camel):
    content: _Parts | None = None
    finish_reason: str = ""
    finish_message: str = ""


class _Feedback(_Camel):
    block_reason: str = ""


class Generated(_Camel):
    """The answer of `generateContent`; one without candidates says why in `prompt_feedback`."""

    candidates: list[_Candidate] = Field(default_factory=list)
    prompt_feedback: _Feedback | None = None
    usage_metadata: dict[str, Any] = Field(default_factory=dict)
    response_id: str = ""

    def pictures(self) -> list[str]:
        parts = [part for one in self.candidates if one.content for part in one.content.parts]
        return [part.inline_data.data for part in parts if part.inline_data]

    def why_none(self) -> GenPulseError | None:
        """The reason for no picture, if one is given."""
        reason = self.prompt_feedback.block_reason if self.prompt_feedback else ""
        if reason:
            return ContentBlocked(f"google: the prompt was blocked ({reason}).")
        for one in self.candidates:
            if one.finish_reason not in ("", "STOP", "MAX_TOKENS", "OTHER", "NO_IMAGE", "MALFORMED_FUNCTION_CALL"):
                return ContentBlocked(
                    f"google: {one.finish_message or 'the picture was blocked'} ({one.finish_reason})."
                )
        said = " ".join(part.text for one in self.candidates if one.content for part in one.content.parts if part.text)
        if not self.candidates and not self.response_id:
            return None
        return ProviderFailed(f"google made no picture{f', but said: {said[:200]}' if said else ''}.")


class _Content(BaseModel):
    type: str
    text: str | None = None
    uri: str | None = None
    data: str | None = None


class _StepError(BaseModel):
    model_config = ConfigDict(coerce_numbers_to_str=True)

    code: str = ""
    message: str = ""


class _Step(BaseModel):
    type: str
    content: list[_Content] = Field(default_factory=list)
    error: _StepError | None = None


class Interaction(BaseModel):
    id: str = Field(min_length=1)
    status: str
    steps: list[_Step] = Field(default_factory=list)
    errors: list[_StepError] = Field(default_factory=list)
    usage: dict[str, Any] | None = None

    def made(self) -> list[_Content]:
        """Of the last output, what is no text."""
        outputs = [step.content for step in self.steps if step.type == "model_output"]
        return [one for one in (outputs[-1] if outputs else []) if one.uri or one.data]

    def said(self) -> str:
        """What the model answered in words where it made nothing."""
        outputs = [step for step in self.steps if step.type == "model_output"]
        return " ".join(one.text for step in outputs for one in step.content if one.text)

    def failure(self) -> GenPulseError:
        errors = [*self.errors, *(step.error for step in self.steps if step.error)]
        code, said = (errors[0].code, errors[0].message) if errors else ("", "")
        return _failed(f"google: {said or f'the interaction is {self.status}'}", f"{code} {said}")


class Created(BaseModel):
    """A long operation that was begun."""

    name: str = Field(min_length=1)


class _Video(_Camel):
    gcs_uri: str | None = None
    bytes_base64_encoded: str | None = Field(None, repr=False)


class _Videos(_Camel):
    videos: list[_Video] = Field(default_factory=list)
    rai_media_filtered_count: int = 0
    rai_media_filtered_reasons: list[str] = Field(default_factory=list)


class _OperationError(BaseModel):
    code: int = 0
    message: str = ""


class LongOperation(Created):
    done: bool = False
    response: _Videos | None = None
    error: _OperationError | None = None

    def failure(self) -> GenPulseError | None:
        """What it failed with; a video that was filtered out is no success."""
        if self.error is not None:
            said = f"google: {self.error.message or 'the operation failed'} ({self.error.code})"
            kind = _OPERATION_CODES.get(self.error.code, ProviderFailed)
            return _failed(said, self.error.message, otherwise=kind)
        if self.response and self.response.rai_media_filtered_count and not self.response.videos:
            reasons = " ".join(self.response.rai_media_filtered_reasons)
            return ContentBlocked(f"google: {reasons or 'the video was filtered out'}")
        return None


class _Prediction(_Camel):
    bytes_base64_encoded: str | None = Field(None, repr=False)
    rai_filtered_reason: str | None = None


class Predicted(_Camel):
    predictions: list[_Prediction] = Field(default_factory=list)


class Nothing(BaseModel):
    pass


class _Detail(_Camel):
    reason: str = ""
    retry_delay: str = ""
    violations: list[dict[str, Any]] | None = None


class _Error(BaseModel):
    code: int = 0
    message: str = ""
    status: str = ""
    details: list[_Detail] = Field(default_factory=list)


class _Told(BaseModel):
    error: _Error


def refused(answer: Answer) -> GenPulseError | None:
    """The error that Google words. What was worded as INTERNAL or UNAVAILABLE was not begun."""
    if 200 <= answer.status < 300:
        return None
    try:
        error = _Told.model_validate(answer.data).error
    except ValidationError:
        return None
    said = f"google: {error.message or 'refused'} ({error.status or answer.status})"
    if any(detail.reason == _BAD_KEY for detail in error.details):
        return ProviderAuthFailed(said)
    if error.status == "RESOURCE_EXHAUSTED" or answer.status == 429:
        return _exhausted(said, error, answer)
    if error.status == "INVALID_ARGUMENT" and _BLOCKED.search(error.message):
        return ContentBlocked(said)
    kind = _STATUSES.get(error.status)
    return kind(said) if kind else None


def _exhausted(said: str, error: _Error, answer: Answer) -> GenPulseError:
    """A quota of the minute comes with a delay, one of the day does not, or says so."""
    delays = [match for detail in error.details if (match := _SECONDS.match(detail.retry_delay))]
    violations = [one for detail in error.details for one in detail.violations or []]
    daily = any("PerDay" in str(one.get("quotaId", "")) for one in violations)
    if daily or (violations and not delays and answer.retry_after is None):
        return ProviderQuotaSpent(said)
    return ProviderThrottled(said, retry_after=float(delays[0][1]) if delays else answer.retry_after)


def _failed(said: str, words: str, *, otherwise: type[GenPulseError] = ProviderFailed) -> GenPulseError:
    return ContentBlocked(said) if _BLOCKED.search(words) else otherwise(said)
