"""The client: pictures come within the answer, but for the creative upscaler's."""

from __future__ import annotations

import asyncio
from typing import ClassVar

import httpx

from genpulse.errors import OutcomeUnknown, ProviderUnavailable
from genpulse.providers.base import Credentials, Finished, Job, ModelCall, Pending, Provider
from genpulse.providers.stability.answers import Created, picture, refused
from genpulse.providers.stability.requests import ModelWire, form_of
from genpulse.providers.wire import Wire

_PATIENCE = httpx.Timeout(300.0, connect=10.0, pool=10.0)
_NOT_YET = 202
_AS_BYTES = {"Accept": "image/*"}


class Stability(Provider):
    """Has no idempotency key, no list and no cancelling: a call whose answer was lost stays unknown."""

    name: ClassVar[str] = "stability"
    default_url: ClassVar[str] = "https://api.stability.ai"

    def __init__(self, base_url: str, credentials: Credentials, client: httpx.AsyncClient) -> None:
        headers = {"Authorization": f"Bearer {credentials.api_key}"}
        self._wire = Wire(self.name, base_url or self.default_url, client, headers=headers, refuse=refused)

    async def submit(self, call: ModelCall) -> Job | Finished:
        wire = ModelWire.model_validate(call.wire)
        path, form = f"/v2beta/stable-image/{wire.path}", await asyncio.to_thread(form_of, call, wire)
        if wire.later:
            return Job(id=(await self._wire.pay("POST", path, Created, files=form)).id)
        answer = await self._wire.pay_file("POST", path, files=form, headers=_AS_BYTES, timeout=_PATIENCE)
        return picture(answer, OutcomeUnknown)

    async def poll(self, job: Job, call: ModelCall) -> Pending | Finished:  # noqa: ARG002
        answer = await self._wire.ask_file("GET", f"/v2beta/results/{job.id}", headers=_AS_BYTES)
        return Pending() if answer.status == _NOT_YET else picture(answer, ProviderUnavailable)
