"""Two products, each with keys of its own: the Agents API, and Dream Machine, which came before it."""

from __future__ import annotations

from typing import ClassVar, TypeVar
from urllib.parse import urlsplit

import httpx

from genpulse.errors import ProviderAuthFailed
from genpulse.providers.base import Credentials, Finished, Job, ModelCall, Pending, Provider
from genpulse.providers.luma.agents import Agents
from genpulse.providers.luma.dream import Dream
from genpulse.providers.luma.model import ModelWire

Part = TypeVar("Part", Agents, Dream)

_LUMA = ".lumalabs.ai"


class Luma(Provider):
    """Neither product has an idempotency key or a way to cancel: a call whose answer was lost stays unknown."""

    name: ClassVar[str] = "luma"
    default_url: ClassVar[str] = Agents.default_url

    def __init__(self, base_url: str, credentials: Credentials, client: httpx.AsyncClient) -> None:
        url = (base_url or self.default_url).rstrip("/")
        key, dream_key = credentials.api_key, credentials.access_key
        self._agents = Agents(url, key, client) if key else None
        self._dream = Dream(_dream_url(url), dream_key, client) if dream_key else None

    async def submit(self, call: ModelCall) -> Job:
        wire = ModelWire.model_validate(call.wire)
        if wire.form.is_dream:
            return await _needed(self._dream, "access_key").submit(call, wire)
        return await _needed(self._agents, "api_key").submit(call, wire)

    async def poll(self, job: Job, call: ModelCall) -> Pending | Finished:
        if ModelWire.model_validate(call.wire).form.is_dream:
            return await _needed(self._dream, "access_key").poll(job)
        return await _needed(self._agents, "api_key").poll(job)


def _needed(part: Part | None, what: str) -> Part:
    if part is None:
        raise ProviderAuthFailed(f"luma: this model needs GENPULSE_PROVIDERS__LUMA__{what.upper()}.")
    return part


def _dream_url(agents_url: str) -> str:
    """Luma has a host for each product; any other host, such as a gateway, serves both."""
    if (urlsplit(agents_url).hostname or "").endswith(_LUMA):
        return Dream.default_url
    return f"{agents_url.removesuffix('/v1')}/dream-machine/v1"
