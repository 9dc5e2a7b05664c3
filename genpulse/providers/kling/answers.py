"""What Kling answers: tasks of both generations of its API, and what its error codes mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, Literal, TypeVar

from pydantic import BaseModel, Field

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
from genpulse.providers.base import Finished, Output, Pending
from genpulse.providers.wire import Answer, throttled

Data = TypeVar("Data")

#: One HTTP status serves several meanings, so the code in the body decides. Codes that are not here say nothing about
#: whether the call was accepted (5000 internal error, 5002 internal time-out): the wire treats those as lost answers.
_MEANINGS: dict[int, type[GenPulseError]] = {
    1000: ProviderAuthFailed,
    1001: ProviderAuthFailed,
    1002: ProviderAuthFailed,
    1003: ProviderAuthFailed,  # our clock is ahead
    1004: ProviderAuthFailed,  # our clock is behind: every request has a fresh token
    1100: ProviderAuthFailed,
    1101: ProviderQuotaSpent,
    1102: ProviderQuotaSpent,
    1103: ProviderAuthFailed,
    1200: ProviderRejected,
    1201: ProviderRejected,
    1202: ProviderRejected,
    1203: ProviderRejected,
    1300: ContentBlocked,
    1301: ContentBlocked,
    1302: ProviderThrottled,
    1303: ProviderThrottled,
    1304: ProviderAuthFailed,
    5001: ProviderUnavailable,
}
#: Why a task failed is free text; moderation has no code of its own there.
_BLOCKED = ("risk control", "sensitive", "moderation", "policy", "violat", "inappropriate")


class Answered(BaseModel, Generic[Data]):
    """The envelope of every answer; any other code is an error, whatever the HTTP status."""

    code: Literal[0]
    data: Data


class File(BaseModel):
    """Sounds come in two formats, which the generations name differently; voices and elements are no files at all."""

    id: str | None = None
    url: str | None = None
    wav_url: str | None = None
    mp3_url: str | None = None
    url_wav: str | None = None
    url_mp3: str | None = None
    duration: str | float | None = None
    wav_duration: str | float | None = None
    duration_wav: str | float | None = None

    @property
    def link(self) -> str | None:
        return self.url or self.wav_url or self.url_wav or self.mp3_url or self.url_mp3

    @property
    def seconds(self) -> float | None:
        return _number(self.duration or self.wav_duration or self.duration_wav)


class Billed(BaseModel):
    charge_type: str = ""
    currency: str = ""
    amount: str | float | None = None


class Task(BaseModel):
    """A task of the new generation."""

    id: str = Field(min_length=1)
    status: str
    message: str | None = None
    outputs: list[File] | None = None
    billing: list[Billed] | None = None

    def state(self) -> Pending | Finished:
        usage: dict[str, float] = {}
        for one in self.billing or ():
            unit = "units" if one.charge_type == "unit" else one.currency.lower() or "cash"
            usage[unit] = usage.get(unit, 0.0) + (_number(one.amount) or 0.0)
        return _state(self.status, self.message, self.outputs or (), usage, name="video_id")


class V1Result(BaseModel):
    videos: list[File] = Field(default_factory=list)
    images: list[File] = Field(default_factory=list)
    series_images: list[File] = Field(default_factory=list)
    audios: list[File] = Field(default_factory=list)

    def files(self) -> list[File]:
        """A sound that was made for a video is in the video."""
        return [*self.videos, *self.images, *self.series_images] or self.audios


class V1Task(BaseModel):
    """A task of the older generation."""

    task_id: str = Field(min_length=1)
    task_status: str
    task_status_msg: str | None = None
    task_result: V1Result | None = None
    final_unit_deduction: str | float | None = None

    def state(self) -> Pending | Finished:
        made = self.task_result or V1Result()
        units = _number(self.final_unit_deduction)
        usage = {} if units is None else {"units": units}
        return _state(
            self.task_status, self.task_status_msg, made.files(), usage, name="video_id" if made.videos else "audio_id"
        )


class Face(BaseModel):
    """Times are milliseconds."""

    face_id: str
    start_time: int = 0
    end_time: int | None = None


class Faces(BaseModel):
    session_id: str = Field(min_length=1)
    face_data: list[Face] = Field(default_factory=list)


def refuse(answer: Answer) -> GenPulseError | None:
    """What an error answer means. A 404 is left to its status: an unknown job is no refused call."""
    if not isinstance(answer.data, dict) or answer.status == 404:
        return None
    code = answer.data.get("code")
    meaning = _MEANINGS.get(code) if isinstance(code, int) else None
    if meaning is None:
        return None
    said = f"kling: {answer.data.get('message') or 'refused'} ({code})"
    return throttled(said, answer) if meaning is ProviderThrottled else meaning(said)


def _state(
    status: str, message: str | None, files: Sequence[File], usage: dict[str, float], *, name: str
) -> Pending | Finished:
    if status == "failed":
        raise _failure(message or "the task failed")
    if status not in ("succeed", "succeeded"):  # as the older and the new generation spell it
        return Pending()
    parameters: dict[str, str | int | float] = {}
    for file in files[:1]:  # what an extension, a lip-sync or an avatar asks for
        if file.id and file.url:
            parameters[name] = file.id
        if file.seconds:
            parameters["duration"] = file.seconds
    outputs = [Output(url=file.link) for file in files if file.link]
    return Finished(outputs=outputs, parameters=parameters, usage=usage)


def _failure(message: str) -> GenPulseError:
    blocked = any(word in message.lower() for word in _BLOCKED)
    return ContentBlocked(f"kling: {message}") if blocked else ProviderFailed(f"kling: {message}")


def _number(value: str | float | None) -> float | None:
    """Numbers come as text, sometimes as none at all."""
    try:
        return None if value is None else float(value)
    except ValueError:
        return None
