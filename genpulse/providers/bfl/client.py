"""The client: a task per call, asked for at the address that its cluster gave."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import ClassVar

import httpx
from pydantic import SecretStr

from genpulse.providers.base import Credentials, Finished, Job, ModelCall, Pending, Provider
from genpulse.providers.bfl.answers import Created, Task, refused
from genpulse.providers.bfl.requests import ModelWire, body_of
from genpulse.providers.signatures import BflWebhookVerifier
from genpulse.providers.wire import Wire

_OWN_HOSTS = ("bfl.ai",)
#: Hosts that hand a call on to one of several clusters.
_MANY_CLUSTERS = frozenset({"api.bfl.ai", "api.eu.bfl.ai", "api.us.bfl.ai"})


class Bfl(Provider):
    """Has no idempotency key and no list: a call whose answer was lost stays unknown.

    A call with a webhook is answered without the address to ask at. Only the cluster that took it knows it then, so
    callbacks are asked for only where the account's own address is that of one cluster.
    """

    name: ClassVar[str] = "bfl"
    default_url: ClassVar[str] = "https://api.bfl.ai"

    def __init__(self, base_url: str, credentials: Credentials, client: httpx.AsyncClient) -> None:
        url, headers = base_url or self.default_url, {"x-key": credentials.api_key or ""}
        self._wire = Wire(self.name, url, client, headers=headers, refuse=refused, own=_OWN_HOSTS)
        self._calls_back = httpx.URL(url).host not in _MANY_CLUSTERS
        self._secret = credentials.webhook_secret
        self._callbacks = _verifier(credentials)

    async def submit(self, call: ModelCall) -> Job:
        wire = ModelWire.model_validate(call.wire)
        webhook = call.callback_url if self._calls_back else None
        secret = self._secret if webhook else None
        body = await asyncio.to_thread(body_of, call, wire, webhook_url=webhook, webhook_secret=secret)
        made = await self._wire.pay("POST", f"/v1/{wire.model}", Created, json=body)
        return Job(id=made.id, handle=made.handle())

    async def poll(self, job: Job, call: ModelCall) -> Pending | Finished:  # noqa: ARG002
        address = job.handle.get("polling_url")
        if address is None:
            task = await self._wire.ask("GET", "/v1/get_result", Task, params={"id": job.id})
        else:
            task = await self._wire.ask("GET", address, Task)
        return task.state(job.handle)

    async def verify_callback(self, headers: Mapping[str, str], body: bytes, *, now: datetime) -> None:
        if self._callbacks is not None:
            self._callbacks.verify(headers, body, now=now)


def _verifier(credentials: Credentials) -> BflWebhookVerifier | None:
    """The header's name can be told, because examples differ."""
    if not credentials.webhook_secret:
        return None
    header = credentials.options.get("webhook_header", BflWebhookVerifier.header)
    return BflWebhookVerifier(SecretStr(credentials.webhook_secret), header)
