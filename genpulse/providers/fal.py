"""fal.ai: models of many makers behind one queue. https://fal.ai/docs/model-apis/model-endpoints/queue"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Any, ClassVar

import httpx
from pydantic import BaseModel, Field

from genpulse.errors import (
    ContentBlocked,
    Forbidden,
    GenPulseError,
    JobMissing,
    ProviderAuthFailed,
    ProviderFailed,
    ProviderQuotaSpent,
    ProviderRejected,
    ProviderUnavailable,
)
from genpulse.providers.base import Credentials, Finished, Job, ModelCall, Output, Pending, Provider
from genpulse.providers.marketplace import ModelWire, check, model_input
from genpulse.providers.signatures import FalWebhookVerifier
from genpulse.providers.wire import Answer, Wire

_OWN_HOSTS = ("fal.ai", "fal.run")
_KEYS = "https://rest.fal.ai/.well-known/jwks.json"
_KEEP_KEYS = 24 * 3600.0
_LOOK_FOR_NEW_KEYS = 60.0
#: Error types of models after which the same call may succeed; unknown ones are final, as fal advises.
_PASSING = frozenset(
    {
        "internal_server_error",
        "generation_timeout",
        "downstream_service_error",
        "downstream_service_unavailable",
        "request_timeout",
        "startup_timeout",
        "runner_scheduling_failure",
        "runner_connection_timeout",
        "runner_disconnected",
        "runner_connection_refused",
        "runner_connection_error",
        "runner_incomplete_response",
        "runner_server_error",
        "internal_error",
    }
)


class _Submitted(BaseModel):
    request_id: str = Field(min_length=1)
    status_url: str
    response_url: str
    cancel_url: str


class _Status(BaseModel):
    status: str
    error: str | None = None
    error_type: str | None = None


class _File(BaseModel):
    url: str


class _Result(BaseModel):
    images: list[_File] = Field(default_factory=list)
    image: _File | None = None
    video: _File | None = None
    audio: _File | None = None
    seed: int | None = None
    has_nsfw_concepts: list[bool] | None = None

    @property
    def is_blocked(self) -> bool:
        """Whether the checker has flagged every picture: they come, and are black."""
        return bool(self.images and self.has_nsfw_concepts and all(self.has_nsfw_concepts))

    def files(self) -> list[_File]:
        return [*self.images, *(one for one in (self.image, self.video, self.audio) if one is not None)]


class _Key(BaseModel):
    x: str


class _Keys(BaseModel):
    keys: list[_Key]


class _Anything(BaseModel):
    pass


class Fal(Provider):
    """Has no idempotency key and no list: a call whose answer was lost stays unknown."""

    name: ClassVar[str] = "fal"
    default_url: ClassVar[str] = "https://queue.fal.run"
    can_cancel: ClassVar[bool] = True

    def __init__(self, base_url: str, credentials: Credentials, client: httpx.AsyncClient) -> None:
        headers = {"Authorization": f"Key {credentials.api_key}"}
        url = base_url or self.default_url
        wire = partial(Wire, self.name, url, client, headers=headers, own=_OWN_HOSTS)
        self._queue = wire(refuse=partial(_refuse, passing=ProviderUnavailable))
        self._key_url = _KEYS if url == self.default_url else f"{url.rstrip('/')}/.well-known/jwks.json"
        self._keys: tuple[str, ...] = ()
        self._keys_at = float("-inf")
        # What the model failed with the result answers with, long after the call was accepted.
        self._results = wire(refuse=partial(_refuse, passing=ProviderFailed))

    async def submit(self, call: ModelCall) -> Job:
        wire = ModelWire.model_validate(call.wire)
        check(call, wire)
        links = {name: [file.url_or_data() for file in files] for name, files in call.media.items()}
        params = {"fal_webhook": call.callback_url} if call.callback_url else None
        # What fal repeats by itself it repeats at its own expense; we are billed for one result.
        body = model_input(call, wire, links)
        sent = await self._queue.pay("POST", f"/{wire.endpoint}", _Submitted, json=body, params=params)
        return Job(
            id=sent.request_id,
            handle={"status": sent.status_url, "result": sent.response_url, "cancel": sent.cancel_url},
        )

    async def poll(self, job: Job, call: ModelCall) -> Pending | Finished:  # noqa: ARG002
        status = await self._queue.ask("GET", job.handle["status"], _Status)
        if status.status != "COMPLETED":
            return Pending()
        if status.error or status.error_type:
            raise _failure(status.error_type or "", status.error or "the model failed", ProviderFailed)
        result = await self._results.ask("GET", job.handle["result"], _Result)
        if result.is_blocked:
            raise ContentBlocked("fal: the pictures were flagged by its safety checker.")
        return Finished(
            outputs=[Output(url=file.url) for file in result.files()],
            parameters={"seed": result.seed} if result.seed is not None else {},
        )

    async def cancel(self, job: Job) -> None:
        with suppress(JobMissing, ProviderRejected):  # it is forgotten, or has ended already
            await self._queue.ask("PUT", job.handle["cancel"], _Anything)

    async def verify_callback(self, headers: Mapping[str, str], body: bytes, *, now: datetime) -> None:
        """By the keys that fal publishes, kept for a day. A signature by none of them may be by a new one."""
        await self._refresh(_KEEP_KEYS)
        try:
            FalWebhookVerifier(self._keys).verify(headers, body, now=now)
        except Forbidden:
            if not await self._refresh(_LOOK_FOR_NEW_KEYS):
                raise
            FalWebhookVerifier(self._keys).verify(headers, body, now=now)

    async def _refresh(self, age: float) -> bool:
        """Get the keys, unless those at hand are younger than `age` seconds."""
        if time.monotonic() - self._keys_at < age:
            return False
        told = await self._queue.ask("GET", self._key_url, _Keys)
        self._keys, self._keys_at = tuple(key.x for key in told.keys), time.monotonic()
        return True


def _refuse(answer: Answer, *, passing: type[GenPulseError]) -> GenPulseError | None:
    if answer.status < 400 or not isinstance(answer.data, dict):
        return None
    detail: Any = answer.data.get("detail")
    if isinstance(detail, list) and detail and isinstance(detail[0], dict):
        first = detail[0]
        field = ".".join(str(part) for part in first.get("loc", ()) if part != "body")
        where = f" (at {field})" if field else ""
        return _failure(str(first.get("type", "")), f"{first.get('msg', 'refused')}{where}", passing)
    kind = answer.data.get("error_type") or answer.headers.get("X-Fal-Error-Type") or ""
    if kind:
        # Of its platform: what became of the call the status has told, so at the result it is the asking that failed.
        return _failure(kind, str(detail or kind), ProviderUnavailable)
    if answer.status == 403 and any(word in str(detail).lower() for word in ("balance", "locked")):
        return ProviderQuotaSpent(f"fal: {detail}")
    return ProviderAuthFailed(f"fal: {detail}") if answer.status in (401, 403) else None


def _failure(kind: str, message: str, passing: type[GenPulseError]) -> GenPulseError:
    """An error of a model, or of fal's own; it has been answered, so nothing is unknown, and 5xx are not billed."""
    said = f"fal: {message}"
    if kind == "content_policy_violation":
        return ContentBlocked(said)
    if kind in _PASSING:
        return passing(said)
    return ProviderRejected(said, error_type=kind)
