"""Image processing in COS: a picture is put into a bucket, and asked for enlarged or cleaned."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any

import httpx
from pydantic import BaseModel, SecretStr, model_validator

from genpulse.errors import GenPulseError
from genpulse.providers.base import Finished, ModelCall, Output
from genpulse.providers.signatures import SignedAuth, TencentCosSigner
from genpulse.providers.tencent.api3 import PATIENCE
from genpulse.providers.tencent.errors import refused_by_cos
from genpulse.providers.tencent.model import needed, wire_of
from genpulse.providers.wire import Wire


class _Nothing(BaseModel):
    """The answer has no body that says anything."""

    @model_validator(mode="before")
    @classmethod
    def _whatever(cls, _: Any) -> dict[str, Any]:
        return {}


class Process:
    """The picture is in the bucket for as long as the call takes."""

    def __init__(self, url: str, client: httpx.AsyncClient, *, keys: tuple[str, str]) -> None:
        signer = TencentCosSigner(secret_id=keys[0], secret_key=SecretStr(keys[1]))
        auth = SignedAuth(signer, partial(datetime.now, UTC))
        self._wire = Wire("tencent", url, client, auth=auth, refuse=refused_by_cos)

    async def make(self, call: ModelCall) -> Finished:
        file, path = needed(call, "image"), _path(call)
        query = _query(call)
        headers = {"Content-Type": file.media_type}
        await self._wire.ask("PUT", path, _Nothing, content=file.path.read_bytes(), headers=headers)
        try:
            made = await self._wire.pay_file("GET", path, params=query, timeout=PATIENCE)
        finally:
            with suppress(GenPulseError):  # the bucket's own rules may remove what stays behind
                await self._wire.ask("DELETE", path, _Nothing)
        return Finished(outputs=[Output(content=made.content)])


def _path(call: ModelCall) -> str:
    return f"/genpulse/{hashlib.sha256(call.key.encode()).hexdigest()[:40]}"


def _query(call: ModelCall) -> dict[str, str]:
    query = {"ci-process": wire_of(call).action}
    if "scale" in call.input:
        query["magnify"] = str(int(call.input["scale"]))
    return query | {name: str(value) for name, value in call.options.items()}
