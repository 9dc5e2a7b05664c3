"""The client: pictures within the answer, videos as interactions, Veo as long operations of Vertex AI."""

from __future__ import annotations

import base64
import binascii
from contextlib import suppress
from typing import Any, ClassVar

import httpx

from genpulse.errors import (
    ContentBlocked,
    JobMissing,
    OutcomeUnknown,
    ProviderAuthFailed,
    ProviderFailed,
    ProviderRejected,
)
from genpulse.providers.base import Credentials, Finished, Job, ModelCall, Output, Pending, Provider
from genpulse.providers.google.answers import (
    Created,
    Generated,
    Interaction,
    LongOperation,
    Nothing,
    Predicted,
    refused,
)
from genpulse.providers.google.requests import ModelWire, Product, body_of
from genpulse.providers.google.vertex import Vertex, stored_at
from genpulse.providers.wire import Wire

_PATIENCE = httpx.Timeout(300.0, connect=10.0, pool=10.0)  # pictures are made within the answer
_INTERACTIONS = "/v1/interactions"
_UNDER_WAY = frozenset({"queued", "in_progress", "requires_action", "requires_continuation"})
_OPERATION = "/operations/"
_OWN_HOSTS = ("googleapis.com",)


class Google(Provider):
    """Has no idempotency key and no list: a call whose answer was lost stays unknown."""

    name: ClassVar[str] = "google"
    default_url: ClassVar[str] = "https://generativelanguage.googleapis.com"
    can_cancel: ClassVar[bool] = True

    def __init__(self, base_url: str, credentials: Credentials, client: httpx.AsyncClient) -> None:
        base_url = (base_url or self.default_url).rstrip("/")
        self._key = {"x-goog-api-key": credentials.api_key} if credentials.api_key else {}
        self._wire = Wire(self.name, base_url, client, refuse=refused, own=_OWN_HOSTS)
        self._vertex = Vertex(credentials, base_url if base_url != self.default_url else None)

    async def submit(self, call: ModelCall) -> Job | Finished:
        wire = ModelWire.model_validate(call.wire)
        body = body_of(call, wire)
        match wire.product:
            case Product.GEMINI:
                return await self._picture(wire.model, body)
            case Product.INTERACTION:
                begun = await self._wire.pay("POST", _INTERACTIONS, Interaction, json=body, headers=self._gemini)
                return self._ended(begun) or Job(id=begun.id)
            case Product.VEO:
                url = self._vertex.call(wire.model, "predictLongRunning")
                begun_there = await self._wire.pay("POST", url, Created, json=body, headers=self._vertex.headers)
                return Job(id=begun_there.name)
        return await self._imagen(wire.model, body)

    async def poll(self, job: Job, call: ModelCall) -> Pending | Finished:  # noqa: ARG002
        return await (self._operation(job.id) if _OPERATION in job.id else self._interaction(job.id))

    async def cancel(self, job: Job) -> None:
        """Only interactions can be stopped."""
        if _OPERATION not in job.id:
            with suppress(JobMissing, ProviderRejected):
                await self._wire.ask("POST", f"{_INTERACTIONS}/{job.id}/cancel", Nothing, headers=self._gemini)

    @property
    def _gemini(self) -> dict[str, str]:
        if not self._key:
            raise ProviderAuthFailed("Gemini needs an API key: set GENPULSE_PROVIDERS__GOOGLE__API_KEY.")
        return self._key

    async def _picture(self, model: str, body: dict[str, Any]) -> Finished:
        path = f"/v1/models/{model}:generateContent"
        made = await self._wire.pay("POST", path, Generated, json=body, headers=self._gemini, timeout=_PATIENCE)
        pictures = made.pictures()
        if not pictures:
            raise made.why_none() or OutcomeUnknown("google answered without a picture and without a reason.")
        return Finished(outputs=[Output(content=_bytes(one)) for one in pictures], usage=_numbers(made.usage_metadata))

    async def _imagen(self, model: str, body: dict[str, Any]) -> Finished:
        """Of several pictures, those that were filtered out are missing."""
        url = self._vertex.call(model, "predict")
        answer = await self._wire.pay(
            "POST", url, Predicted, json=body, headers=self._vertex.headers, timeout=_PATIENCE
        )
        pictures = [one.bytes_base64_encoded for one in answer.predictions if one.bytes_base64_encoded]
        if not pictures:
            reasons = [one.rai_filtered_reason for one in answer.predictions if one.rai_filtered_reason]
            raise ContentBlocked(f"google: {reasons[0] if reasons else 'no picture was let through.'}")
        return Finished(outputs=[Output(content=_bytes(one)) for one in pictures], usage={"images": len(pictures)})

    async def _interaction(self, job_id: str) -> Pending | Finished:
        found = await self._wire.ask("GET", f"{_INTERACTIONS}/{job_id}", Interaction, headers=self._gemini)
        return self._ended(found) or Pending()

    def _ended(self, found: Interaction) -> Finished | None:
        """What came of it; None while it is under way. Words in place of a video are a refusal."""
        if found.status in _UNDER_WAY:
            return None
        if found.status != "completed":
            raise found.failure()
        made = found.made()
        if not made and (said := found.said()):
            raise ContentBlocked(f"google made no video, but said: {said[:200]}")
        return Finished(
            outputs=[
                Output(url=one.uri, headers=self._key_for(one.uri))
                if one.uri
                else Output(content=_bytes(one.data or ""))
                for one in made
            ],
            usage=_numbers(found.usage or {}),
        )

    def _key_for(self, url: str) -> dict[str, str]:
        """A link is opened with the key; nobody but Google, or who stands in for it, is shown that."""
        return self._key if self._wire.is_own(url) else {}

    async def _operation(self, name: str) -> Pending | Finished:
        url = self._vertex.method(name.partition(_OPERATION)[0], "fetchPredictOperation")
        body, headers = {"operationName": name}, self._vertex.headers
        found = await self._wire.ask("POST", url, LongOperation, json=body, headers=headers)
        if not found.done:
            return Pending()
        if failure := found.failure():
            raise failure
        videos = found.response.videos if found.response else []
        outputs = [
            Output(url=stored_at(one.gcs_uri), headers=headers)
            if one.gcs_uri
            else Output(content=_bytes(one.bytes_base64_encoded or ""))
            for one in videos
            if one.gcs_uri or one.bytes_base64_encoded
        ]
        return Finished(outputs=outputs, usage={"videos": len(outputs)})


def _bytes(encoded: str) -> bytes:
    """Of either alphabet, as in proto JSON."""
    try:
        return base64.b64decode(encoded.replace("-", "+").replace("_", "/"), validate=True)
    except binascii.Error as error:
        raise ProviderFailed("google answered with a file that cannot be read.") from error


def _numbers(usage: dict[str, Any]) -> dict[str, int | float]:
    return {name: value for name, value in usage.items() if isinstance(value, int | float)}
