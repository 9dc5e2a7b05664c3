"""The client: every picture comes within the answer."""

from __future__ import annotations

from typing import ClassVar

import httpx

from genpulse.errors import JobMissing
from genpulse.providers.base import Credentials, Finished, Job, ModelCall, Pending, Provider
from genpulse.providers.openai.answers import Images, refused
from genpulse.providers.openai.requests import sent_for
from genpulse.providers.wire import Wire

_PATIENCE = httpx.Timeout(600.0, connect=10.0, pool=10.0)
_ACCOUNT = {"organization": "OpenAI-Organization", "project": "OpenAI-Project"}


class Openai(Provider):
    """Has no idempotency key and keeps no jobs: a call whose answer was lost stays unknown."""

    name: ClassVar[str] = "openai"
    default_url: ClassVar[str] = "https://api.openai.com/v1"

    def __init__(self, base_url: str, credentials: Credentials, client: httpx.AsyncClient) -> None:
        headers = {"Authorization": f"Bearer {credentials.api_key}"}
        headers |= {
            header: credentials.options[name] for name, header in _ACCOUNT.items() if name in credentials.options
        }
        self._wire = Wire(self.name, base_url or self.default_url, client, headers=headers, refuse=refused)

    async def submit(self, call: ModelCall) -> Job | Finished:
        path, sent = await sent_for(call)
        made = await self._wire.pay("POST", path, Images, timeout=_PATIENCE, **sent)
        usage = {name: value for name, value in (made.usage or {}).items() if isinstance(value, int | float)}
        return Finished(outputs=made.outputs(), parameters=made.parameters(), usage=usage)

    async def poll(self, job: Job, call: ModelCall) -> Pending | Finished:  # noqa: ARG002
        """There is nothing to ask about."""
        raise JobMissing("openai keeps no jobs: pictures come within the answer.")
