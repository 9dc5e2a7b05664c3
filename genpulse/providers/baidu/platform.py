"""The Open AI platform: who asks is proved by an application's access token or, without one, by a signature."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import httpx
from pydantic import BaseModel, Field

from genpulse.errors import ProviderAuthFailed
from genpulse.providers.baidu.errors import STALE, refused_by_platform
from genpulse.providers.baidu.keys import Pair, signed
from genpulse.providers.wire import Wire

Read = TypeVar("Read", bound=BaseModel)


class _Token(BaseModel):
    access_token: str = Field(min_length=1)


class Tokens:
    """An application's access token. It lasts for weeks; that it has expired is learned from being refused."""

    def __init__(self, wire: Wire, application: Pair) -> None:
        self._wire = wire
        self._asked = {
            "grant_type": "client_credentials",
            "client_id": application[0],
            "client_secret": application[1],
        }
        self._token: str | None = None
        self._turn = asyncio.Lock()

    async def current(self, *, instead_of: str | None = None) -> str:
        """The one that is known, unless it is the one that was refused; many who need another ask for one once."""
        async with self._turn:
            if self._token in (None, instead_of):
                found = await self._wire.ask("POST", "/oauth/2.0/token", _Token, params=self._asked)
                self._token = found.access_token
            assert self._token is not None
            return self._token


class Platform:
    """Every call is a POST."""

    def __init__(
        self,
        url: str,
        client: httpx.AsyncClient,
        *,
        application: Pair | None,
        keys: Pair | None,
    ) -> None:
        auth = signed(keys) if keys and not application else None
        self._wire = Wire("baidu", url, client, auth=auth, refuse=refused_by_platform)
        self._tokens = Tokens(self._wire, application) if application else None

    async def pay(self, path: str, into: type[Read], **sent: Any) -> Read:
        return await self._with_token(lambda more: self._wire.pay("POST", path, into, **sent, **more))

    async def ask(self, path: str, into: type[Read], **sent: Any) -> Read:
        return await self._with_token(lambda more: self._wire.ask("POST", path, into, **sent, **more))

    async def _with_token(self, send: Callable[[dict[str, Any]], Awaitable[Read]]) -> Read:
        """Once more with a fresh token where one is refused: nothing was accepted then."""
        if self._tokens is None:
            return await send({})
        token = await self._tokens.current()
        try:
            return await send({"params": {"access_token": token}})
        except ProviderAuthFailed as error:
            if error.details.get("error_code") not in STALE:
                raise
        return await send({"params": {"access_token": await self._tokens.current(instead_of=token)}})
