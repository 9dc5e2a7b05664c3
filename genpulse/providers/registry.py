"""The clouds that this installation has accounts at."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

import httpx

from genpulse.errors import ProviderAuthFailed, ProviderFailed, UnsafeUrl
from genpulse.failpoints import Failpoint
from genpulse.limits import AccountLimits
from genpulse.net import download, http_client
from genpulse.providers.baidu import Baidu
from genpulse.providers.base import Credentials, Output, Provider
from genpulse.providers.bfl import Bfl
from genpulse.providers.comfyui import Comfyui
from genpulse.providers.dashscope import Dashscope
from genpulse.providers.fal import Fal
from genpulse.providers.google import Google
from genpulse.providers.guarded import GuardedProvider
from genpulse.providers.kling import Kling
from genpulse.providers.luma import Luma
from genpulse.providers.minimax import Minimax
from genpulse.providers.openai import Openai
from genpulse.providers.replicate import Replicate
from genpulse.providers.runway import Runway
from genpulse.providers.stability import Stability
from genpulse.providers.tencent import Tencent
from genpulse.providers.vidu import Vidu
from genpulse.providers.volcengine import Volcengine
from genpulse.settings import ProviderSettings, Settings

_FETCH_SECONDS = 300.0


class Client(Protocol):
    """How a cloud's client is made."""

    name: str
    default_url: str

    def __call__(self, base_url: str, credentials: Credentials, client: httpx.AsyncClient) -> Provider: ...


CLIENTS: dict[str, Client] = {
    client.name: client
    for client in (
        Baidu,
        Bfl,
        Comfyui,
        Dashscope,
        Fal,
        Google,
        Kling,
        Luma,
        Minimax,
        Openai,
        Replicate,
        Runway,
        Stability,
        Tencent,
        Vidu,
        Volcengine,
    )
}


@dataclass(frozen=True, kw_only=True)
class Account:
    """An account at a cloud: its client, where that sends to, and how fast and how much it may."""

    name: str
    endpoint: str
    provider: GuardedProvider
    limits: AccountLimits
    http: httpx.AsyncClient
    max_bytes: int

    @Failpoint("providers.fetch")
    async def fetch(self, output: Output, to: Path) -> Path:
        """Bring a file that it has made here, before its link expires.

        Raises AssetUnavailable, MediaRejected, and ProviderFailed for a link into a network that is none of its.
        """
        if output.content is not None:
            await asyncio.to_thread(to.write_bytes, output.content)
            return to
        assert output.url is not None
        try:
            await download(
                self.http,
                output.url,
                to,
                max_bytes=self.max_bytes,
                timeout=_FETCH_SECONDS,
                headers=output.headers,
            )
        except UnsafeUrl as error:
            raise ProviderFailed(
                f"{self.name} gave a file that is not fetched: {error.message}", retryable=False
            ) from error
        return to


@asynccontextmanager
async def open_accounts(settings: Settings) -> AsyncIterator[Accounts]:
    """The accounts that are configured, each with a pool of connections of its own: a cloud that hangs stops no other.

    Each may reach its own endpoint wherever that is, and public addresses.
    """
    async with AsyncExitStack() as stack:
        clients = {
            name: await stack.enter_async_context(
                http_client(allow_private=settings.network.allow_private, trusted_urls=[one.base_url])
            )
            for name, one in settings.providers.items()
        }
        yield Accounts(settings.providers, clients, max_bytes=settings.uploads.max_bytes)


class Accounts:
    """Accounts by cloud."""

    def __init__(
        self,
        configured: Mapping[str, ProviderSettings],
        clients: Mapping[str, httpx.AsyncClient],
        *,
        max_bytes: int = 2**30,
    ) -> None:
        self._accounts = {
            name: _account(name, settings, clients[name], max_bytes)
            for name, settings in configured.items()
            if name in CLIENTS
        }

    def of(self, model_id: str) -> Account:
        """The account that runs this model. Raises ProviderAuthFailed where there is none."""
        name = model_id.partition("/")[0]
        account = self._accounts.get(name)
        if account is None:
            raise ProviderAuthFailed(
                f"This worker has no account at {name}: set GENPULSE_PROVIDERS__{name.upper()}__… as for the API."
            )
        return account

    async def verify_callback(self, cloud: str, headers: Mapping[str, str], body: bytes, *, now: datetime) -> None:
        """Raise Forbidden unless the cloud has signed this, where it signs and its secret is known."""
        if cloud in self._accounts:
            await self._accounts[cloud].provider.verify_callback(headers, body, now=now)

    def all(self) -> list[Account]:
        return list(self._accounts.values())


def endpoint_of(name: str, settings: ProviderSettings) -> str:
    """Where calls of the account go."""
    return settings.base_url or (CLIENTS[name].default_url if name in CLIENTS else "")


def limits_of(settings: ProviderSettings) -> AccountLimits:
    """How fast and how much the account may."""
    return AccountLimits(rate=settings.rate, burst=settings.burst or 1, concurrency=settings.concurrency)


def _account(name: str, settings: ProviderSettings, client: httpx.AsyncClient, max_bytes: int) -> Account:
    secrets = {
        key: secret.get_secret_value()
        for key in ("api_key", "access_key", "secret_key", "webhook_secret")
        if (secret := getattr(settings, key)) is not None
    }
    options = {key: secret.get_secret_value() for key, secret in settings.options.items()}
    make, endpoint = CLIENTS[name], endpoint_of(name, settings)
    provider = make(endpoint, Credentials(**secrets, options=options), client)
    return Account(
        name=name,
        endpoint=endpoint,
        provider=GuardedProvider(provider, [*secrets.values(), *options.values()]),
        limits=limits_of(settings),
        http=client,
        max_bytes=max_bytes,
    )
