"""What DashScope answers, and what its error codes mean."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, Field, RootModel

from genpulse.errors import (
    ContentBlocked,
    GenPulseError,
    JobMissing,
    ProviderAuthFailed,
    ProviderFailed,
    ProviderQuotaSpent,
    ProviderRejected,
    ProviderThrottled,
    ProviderUnavailable,
)
from genpulse.providers.wire import Answer

#: By code, or by what stands before its first dot. What is not here is a wrong request.
_MEANINGS: dict[str, type[GenPulseError]] = {
    "DataInspectionFailed": ContentBlocked,
    "IPInfringementSuspect": ContentBlocked,
    "CustomRoleBlocked": ContentBlocked,
    "FaqRuleBlocked": ContentBlocked,
    "InvalidApiKey": ProviderAuthFailed,
    "NOT AUTHORIZED": ProviderAuthFailed,
    "AccessDenied": ProviderAuthFailed,
    "Model.AccessDenied": ProviderAuthFailed,
    "Workspace.AccessDenied": ProviderAuthFailed,
    "Arrearage": ProviderQuotaSpent,
    "AllocationQuota": ProviderQuotaSpent,
    "CommodityNotPurchased": ProviderQuotaSpent,
    "PrepaidBillOverdue": ProviderQuotaSpent,
    "PostpaidBillOverdue": ProviderQuotaSpent,
    "Throttling": ProviderThrottled,
    "ModelServingError": ProviderUnavailable,
    "ModelUnavailable": ProviderUnavailable,
    "ServiceUnavailable": ProviderUnavailable,
}
#: The cloud broke; whether a task came of the request, it does not say.
_BROKEN = frozenset({"InternalError", "SystemError", "ModelServiceFailed"})
#: Somewhere inside the cloud an answer was lost.
_TIMED_OUT = frozenset({"RequestTimeOut", "GatewayTimeout"})
_QUOTA_SECONDS = 60.0  # when an allocated quota is normally free again


class Nothing(RootModel[Any]):
    """An answer that is not looked at; its body may be empty."""


class Result(BaseModel):
    """A picture, or why there is none."""

    url: str | None = None
    orig_prompt: str | None = None
    actual_prompt: str | None = None


class ResultVideo(BaseModel):
    video_url: str | None = None


class Sound(BaseModel):
    url: str | None = None


class ContentPart(BaseModel):
    image: str | None = None


class ChoiceMessage(BaseModel):
    content: list[ContentPart] = Field(default_factory=list)


class Choice(BaseModel):
    message: ChoiceMessage


class Made(BaseModel):
    """What a model has made; where it stands depends on its family."""

    results: list[Result] | ResultVideo = Field(default_factory=list[Result])
    choices: list[Choice] = Field(default_factory=list)
    video_url: str | None = None
    output_video_url: str | None = None
    image_url: str | None = None
    audio: Sound | None = None
    orig_prompt: str | None = None
    actual_prompt: str | None = None

    @property
    def pictures(self) -> list[Result]:
        return self.results if isinstance(self.results, list) else []

    def links(self) -> list[str]:
        parts = [part.image for choice in self.choices for part in choice.message.content]
        animated = self.results.video_url if isinstance(self.results, ResultVideo) else None
        others = [self.video_url, self.output_video_url, animated, self.image_url, self.audio and self.audio.url]
        return [link for link in (*(one.url for one in self.pictures), *parts, *others) if link]

    def asked(self) -> set[str]:
        """The prompts as they were sent, where the service repeats them."""
        return {prompt for prompt in (self.orig_prompt, *(one.orig_prompt for one in self.pictures)) if prompt}

    def rewritten(self) -> str | None:
        """The prompt that the cloud made of it."""
        prompts = (self.actual_prompt, *(one.actual_prompt for one in self.pictures))
        return next((prompt for prompt in prompts if prompt), None)


class DirectAnswer(BaseModel):
    """Of a synchronous model."""

    output: Made
    usage: dict[str, Any] = Field(default_factory=dict)


class CreatedTask(BaseModel):
    task_id: str = Field(min_length=1)


class Created(BaseModel):
    output: CreatedTask


class TaskOutput(Made):
    """`code` and `message` say why it failed."""

    task_status: str
    code: str = ""
    message: str = ""


class Task(BaseModel):
    output: TaskOutput
    usage: dict[str, Any] = Field(default_factory=dict)


class ListedTask(BaseModel):
    """`gmt_create` is in milliseconds."""

    task_id: str
    model_name: str
    gmt_create: float

    @property
    def created_at(self) -> datetime:
        return datetime.fromtimestamp(self.gmt_create / 1000, UTC)


class TaskPage(BaseModel):
    data: list[ListedTask]
    total_page: int


class UploadPolicy(BaseModel):
    """Leave to put one file into the cloud's temporary storage."""

    policy: str
    signature: str
    upload_dir: str
    upload_host: str
    oss_access_key_id: str
    x_oss_object_acl: str
    x_oss_forbid_overwrite: str


class UploadGrant(BaseModel):
    data: UploadPolicy


def refusal(answer: Answer, *, broken: type[GenPulseError]) -> GenPulseError | None:
    """What an error answer means; `broken` is for those of the cloud itself. A `code` at the top is an error always."""
    data = answer.data
    code = data.get("code") if isinstance(data, dict) else None
    if not code or not isinstance(code, str) or _family(code) == "NotFound":
        return None
    if code in _TIMED_OUT and answer.status >= 500:
        return None
    error = meaning(code, str(data.get("message", "")), broken=broken)
    if isinstance(error, ProviderThrottled):
        wait = _QUOTA_SECONDS if code == "Throttling.AllocationQuota" else None
        error.details["retry_after"] = answer.retry_after if answer.retry_after is not None else wait
    return error


def task_failure(output: TaskOutput) -> GenPulseError:
    """Why a task has ended without a result."""
    match output.task_status:
        case "UNKNOWN":
            return JobMissing("dashscope does not know the task, or not any more.")
        case "CANCELED":
            return ProviderRejected("dashscope: the task was cancelled")
    if output.code == "InternalError.Timeout":
        return ProviderFailed("dashscope gave up on the task after three hours.", retryable=False)
    error = meaning(output.code, output.message or "the task failed", broken=ProviderFailed)
    # It was accepted: whatever may pass is a failure of this task by now.
    return ProviderFailed(error.message) if isinstance(error, ProviderThrottled | ProviderUnavailable) else error


def meaning(code: str, message: str, *, broken: type[GenPulseError]) -> GenPulseError:
    said = f"dashscope: {message or code}"
    if _family(code) in _BROKEN or code in _TIMED_OUT or not code:
        return broken(said)
    kind = _MEANINGS.get(code) or _MEANINGS.get(_family(code), ProviderRejected)
    return kind(said, error_type=code)


def _family(code: str) -> str:
    return code.partition(".")[0]
