"""A bucket in COS, in which pictures lie for as long as something is made of them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

import httpx
from pydantic import BaseModel, SecretStr, model_validator

from genpulse.errors import GenPulseError
from genpulse.providers.base import Media, ModelCall
from genpulse.providers.signatures import SignedAuth, TencentCosSigner
from genpulse.providers.tencent.api3 import PATIENCE
from genpulse.providers.tencent.errors import refused_by_cos
from genpulse.providers.wire import Wire


class _Nothing(BaseModel):
    """The answer has no body that says anything."""

    @model_validator(mode="before")
    @classmethod
    def _whatever(cls, _: Any) -> dict[str, Any]:
        return {}


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a bucket is: its address, and what other services call it."""

    url: str
    name: str
    region: str


class Bucket:
    """Asked with the pair of keys."""

    def __init__(self, place: Place, client: httpx.AsyncClient, *, keys: tuple[str, str]) -> None:
        signer = TencentCosSigner(secret_id=keys[0], secret_key=SecretStr(keys[1]))
        auth = SignedAuth(signer, partial(datetime.now, UTC))
        self.place = place
        self._wire = Wire("tencent", place.url, client, auth=auth, refuse=refused_by_cos)

    async def put(self, call: ModelCall, file: Media) -> str:
        """Put a file there; return its path, which is the same whenever this call is repeated."""
        path = f"/genpulse/{hashlib.sha256(call.key.encode()).hexdigest()[:40]}.{file.media_type.rpartition('/')[2]}"
        headers = {"Content-Type": file.media_type}
        await self._wire.ask("PUT", path, _Nothing, content=file.path.read_bytes(), headers=headers)
        return path

    async def processed(self, path: str, query: Mapping[str, str]) -> bytes:
        """What a process makes of a file. It is paid for."""
        answer = await self._wire.pay_file("GET", path, params=query, timeout=PATIENCE)
        return answer.content

    async def drop(self, path: str) -> None:
        """Take a file away; one that stays behind is for the bucket's own rules to remove."""
        with suppress(GenPulseError):
            await self._wire.ask("DELETE", path, _Nothing)
