"""What MiniMax answers with, and what its two kinds of errors mean.

The first generation of the API answers 200 and says in `base_resp` what came of it; the second uses HTTP statuses.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

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

#: An error that is worded means that nothing was accepted, but for a timeout behind the front (1001).
_CODES: dict[int, type[GenPulseError]] = {
    1000: ProviderUnavailable,
    1001: OutcomeUnknown,
    1002: ProviderThrottled,
    1004: ProviderAuthFailed,
    1008: ProviderQuotaSpent,
    1013: ProviderUnavailable,
    1024: ProviderUnavailable,
    1026: ContentBlocked,
    1027: ContentBlocked,
    1028: ProviderQuotaSpent,
    1030: ProviderQuotaSpent,
    1033: ProviderUnavailable,
    1039: ProviderThrottled,
    1041: ProviderThrottled,
    2038: ProviderAuthFailed,
    2042: ProviderAuthFailed,
    2045: ProviderThrottled,
    2049: ProviderAuthFailed,
    2056: ProviderQuotaSpent,
    2061: ProviderAuthFailed,
}
_TYPES: dict[str, type[GenPulseError]] = {
    "bad_request_error": ProviderRejected,
    "authorized_error": ProviderAuthFailed,
    "insufficient_balance_error": ProviderQuotaSpent,
    "unprocessable_entity_error": ContentBlocked,
    "rate_limit_error": ProviderThrottled,
    "overloaded_error": ProviderUnavailable,
}
_NO_SUCH_TASK = "invalid task_id"
_CODE_AT_THE_END = re.compile(r"\((\d+)\)\s*$")


class BaseResp(BaseModel):
    status_code: int = 0
    status_msg: str = ""


class _Answer(BaseModel):
    """Ids are numbers here and texts there; they are texts to us."""

    model_config = ConfigDict(coerce_numbers_to_str=True)


class Created(_Answer):
    task_id: str = Field(min_length=1)


class VideoStatus(StrEnum):
    """Of a task of the first generation; the official tool waits for `Failed`, where the service says `Fail`."""

    SUCCESS = "Success"
    FAIL = "Fail"
    FAILED = "Failed"


class Video(_Answer):
    """One made from a template has a `video_url`, any other a file that tells it."""

    status: str
    file_id: str = ""
    video_url: str = ""
    video_width: int = 0
    video_height: int = 0
    base_resp: BaseResp = Field(default_factory=BaseResp)


class _File(_Answer):
    download_url: str = Field(min_length=1)


class Retrieved(BaseModel):
    file: _File


class _TaskError(BaseModel):
    code: str = ""
    message: str = ""


class _TaskContent(BaseModel):
    url: str | None = None


class _Task(_Answer):
    id: str
    status: str
    content: _TaskContent | None = None
    error: _TaskError | None = None
    resolution: str | None = None
    duration: float | None = None
    ratio: str | None = None
    usage: dict[str, Any] = Field(default_factory=dict)


class Task(BaseModel):
    task: _Task


class _ImageData(BaseModel):
    image_urls: list[str] = Field(default_factory=list)


class Images(BaseModel):
    data: _ImageData | None = None


class _SpeechData(BaseModel):
    audio: str = ""


class _SpeechFacts(BaseModel):
    usage_characters: int = 0


class Speech(BaseModel):
    data: _SpeechData | None = None
    extra_info: _SpeechFacts = Field(default_factory=_SpeechFacts)


class _MusicFacts(BaseModel):
    """In milliseconds."""

    music_duration: int = 0


class Music(BaseModel):
    data: _SpeechData | None = None
    extra_info: _MusicFacts = Field(default_factory=_MusicFacts)


class _Upload(_Answer):
    file_id: int


class Uploaded(BaseModel):
    file: _Upload


class Cloned(BaseModel):
    """`demo_audio` is a link."""

    demo_audio: str = ""
    input_sensitive: bool = False


class Designed(BaseModel):
    """`trial_audio` is the sound itself, in hexadecimal digits."""

    voice_id: str = Field(min_length=1)
    trial_audio: str = Field("", pattern=r"^([0-9a-fA-F]{2})*$")


class Nothing(BaseModel):
    pass


def refused(answer: Answer) -> GenPulseError | None:
    """The error that MiniMax words, in either way and with whichever status."""
    if not isinstance(answer.data, dict):
        return None
    if isinstance(answer.data.get("base_resp"), dict):
        return _of_code(answer)
    return _of_type(answer)


def failure(code: int, message: str) -> GenPulseError:
    """What a task failed with, long after it was accepted."""
    kind = ContentBlocked if _CODES.get(code) is ContentBlocked else ProviderFailed
    return kind(f"minimax: {message or 'the task failed'}" + (f" ({code})" if code else ""))


def _of_code(answer: Answer) -> GenPulseError | None:
    try:
        told = BaseResp.model_validate(answer.data["base_resp"])
    except ValidationError:
        return None
    if not told.status_code or answer.data.get("status"):  # with a status, it is what the task failed with
        return None
    said = f"minimax: {told.status_msg or 'refused'} ({told.status_code})"
    kind = _CODES.get(told.status_code, ProviderRejected)
    return throttled(said, answer) if kind is ProviderThrottled else kind(said, error_code=told.status_code)


def _of_type(answer: Answer) -> GenPulseError | None:
    error = answer.data.get("error")
    if answer.status < 400 or not isinstance(error, dict):
        return None
    message = str(error.get("message", ""))
    said = f"minimax: {message}"
    if _NO_SUCH_TASK in message:
        return JobMissing(said)
    kind = _TYPES.get(str(error.get("type", "")))
    if kind is ProviderRejected and (code := _CODE_AT_THE_END.search(message)):
        kind = _CODES.get(int(code[1]), ProviderRejected)
    return throttled(said, answer) if kind is ProviderThrottled else kind(said) if kind else None
