"""Replicate: predictions of many makers' models. https://replicate.com/docs/reference/http"""

from __future__ import annotations

import asyncio
import mimetypes
import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any, ClassVar

import httpx
from pydantic import BaseModel, Field, SecretStr

from genpulse.errors import (
    ContentBlocked,
    GenPulseError,
    JobMissing,
    ProviderFailed,
    ProviderRejected,
    ProviderThrottled,
)
from genpulse.providers.base import Credentials, Finished, Job, Media, ModelCall, Output, Pending, Provider
from genpulse.providers.marketplace import ModelWire, check, model_input
from genpulse.providers.signatures import StandardWebhookVerifier
from genpulse.providers.wire import Answer, Wire

_UNDER_WAY = frozenset({"starting", "processing"})
_MOST_INLINE = 190_000  # of a file, which is a third longer in base64: 256 kB
_UPLOAD = httpx.Timeout(120.0, connect=10.0, pool=10.0)
_RESETS_IN = re.compile(r"resets in ~?(\d+)\s*s")
_BAR = re.compile(r"\b(\d{1,3})%\|")
_REFUSED = ("nsfw", "sensitive", "content policy", "flagged")


class _Prediction(BaseModel):
    """`status` may be a word that did not exist when this was written; whatever is not under way has ended."""

    id: str = Field(min_length=1)
    status: str
    output: Any = None
    error: str | None = None
    logs: str | None = None
    data_removed: bool = False
    metrics: dict[str, Any] = Field(default_factory=dict)

    @property
    def fraction(self) -> float | None:
        """From the last progress bar that the model has logged, as Replicate's own client does it."""
        bars = _BAR.findall(self.logs or "")
        return min(int(bars[-1]), 100) / 100 if bars else None


class _Urls(BaseModel):
    get: str


class _Uploaded(BaseModel):
    urls: _Urls


class _Secret(BaseModel):
    key: SecretStr = Field(min_length=len("whsec_") + 4)


class Replicate(Provider):
    """Has no idempotency key; its list shows the inputs, but not whose call they came from, so it settles nothing."""

    name: ClassVar[str] = "replicate"
    default_url: ClassVar[str] = "https://api.replicate.com/v1"
    can_cancel: ClassVar[bool] = True

    def __init__(self, base_url: str, credentials: Credentials, client: httpx.AsyncClient) -> None:
        headers = {"Authorization": f"Bearer {credentials.api_key}"}
        self._wire = Wire(self.name, base_url or self.default_url, client, headers=headers, refuse=_refuse)
        self._callbacks = StandardWebhookVerifier.of(credentials.webhook_secret)

    async def submit(self, call: ModelCall) -> Job:
        wire = ModelWire.model_validate(call.wire)
        check(call, wire)
        links = {name: [await self._link(file) for file in files] for name, files in call.media.items()}
        body: dict[str, Any] = {"input": model_input(call, wire, links)}
        if call.callback_url:
            body |= {"webhook": call.callback_url, "webhook_events_filter": ["completed"]}
        made = await self._wire.pay("POST", f"/models/{wire.endpoint}/predictions", _Prediction, json=body)
        return Job(id=made.id)

    async def poll(self, job: Job, call: ModelCall) -> Pending | Finished:  # noqa: ARG002
        seen = await self._wire.ask("GET", f"/predictions/{job.id}", _Prediction)
        if seen.status in _UNDER_WAY:
            return Pending(fraction=seen.fraction)
        if seen.status != "succeeded":
            raise _failure(seen)
        if seen.data_removed:
            raise ProviderFailed("replicate has deleted the files already.", retryable=False)
        links = _links(seen.output)
        seconds = seen.metrics.get("predict_time")
        usage = {"seconds": seconds} if isinstance(seconds, int | float) else {}
        return Finished(outputs=[Output(url=link) for link in links], usage=usage)

    async def cancel(self, job: Job) -> None:
        with suppress(JobMissing, ProviderRejected):  # it is forgotten, or has ended already
            await self._wire.ask("POST", f"/predictions/{job.id}/cancel", _Prediction)

    async def verify_callback(self, headers: Mapping[str, str], body: bytes, *, now: datetime) -> None:
        """By the secret of the settings, or else by the one that Replicate tells the account."""
        if self._callbacks is None:
            told = await self._wire.ask("GET", "/webhooks/default/secret", _Secret)
            self._callbacks = StandardWebhookVerifier(told.key)
        self._callbacks.verify(headers, body, now=now)

    async def _link(self, file: Media) -> str:
        """An address of a file, or the file itself as one; Replicate keeps for a day what is uploaded."""
        if file.url is not None:
            return file.url
        content = await asyncio.to_thread(file.path.read_bytes)
        if len(content) <= _MOST_INLINE:
            return await asyncio.to_thread(file.data_url)
        name = f"input{mimetypes.guess_extension(file.media_type) or ''}"
        files = {"content": (name, content, file.media_type)}
        return (await self._wire.ask("POST", "/files", _Uploaded, files=files, timeout=_UPLOAD)).urls.get


def _refuse(answer: Answer) -> GenPulseError | None:
    """When to come back stands in the text where there is no header."""
    if answer.status != 429 or answer.retry_after is not None or not isinstance(answer.data, dict):
        return None
    said = str(answer.data.get("detail", "throttled"))
    wait = _RESETS_IN.search(said)
    return ProviderThrottled(f"replicate: {said}", retry_after=float(wait[1]) if wait else None)


def _failure(seen: _Prediction) -> GenPulseError:
    said = seen.error or f"the prediction is {seen.status}"
    if any(word in said.lower() for word in _REFUSED):  # its errors are free text
        return ContentBlocked(f"replicate: {said}")
    if seen.status in ("canceled", "aborted"):
        return ProviderRejected(f"replicate: {said}")
    return ProviderFailed(f"replicate: {said}")


def _links(output: Any) -> list[str]:
    """The URLs in an output, whatever form its model gave it."""
    if isinstance(output, str):
        return [output] if output.startswith(("http://", "https://", "data:")) else []
    parts = output.values() if isinstance(output, dict) else output if isinstance(output, list) else ()
    return [link for part in parts for link in _links(part)]
