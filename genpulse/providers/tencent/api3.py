"""API 3.0: every service is one signed path; the action stands in a header, and an error in the body of a 200."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import Any, Generic, TypeVar

import httpx
from pydantic import BaseModel, ConfigDict, SecretStr
from pydantic.alias_generators import to_pascal

from genpulse.errors import OutcomeUnknown, ProviderUnavailable
from genpulse.providers.signatures import SignedAuth, TencentSigner
from genpulse.providers.tencent.errors import refused
from genpulse.providers.wire import Wire

PATIENCE = httpx.Timeout(300.0, connect=10.0, pool=10.0)  # pictures are made within the answer


class Pascal(BaseModel):
    """Named as the cloud names: `SessionId` on the wire is `session_id` here."""

    model_config = ConfigDict(alias_generator=to_pascal, populate_by_name=True, coerce_numbers_to_str=True)

    def body(self) -> dict[str, Any]:
        """What is not set is not sent."""
        return self.model_dump(by_alias=True, exclude_none=True)


Read = TypeVar("Read", bound=Pascal)


class Enveloped(BaseModel, Generic[Read]):
    Response: Read


class Api:
    """One service, asked with one pair of keys."""

    def __init__(
        self,
        url: str,
        client: httpx.AsyncClient,
        *,
        service: str,
        version: str,
        keys: tuple[str, str],
        region: str | None = None,
    ) -> None:
        signer = TencentSigner(secret_id=keys[0], secret_key=SecretStr(keys[1]), service=service)
        auth = SignedAuth(signer, partial(datetime.now, UTC))
        headers = {"X-TC-Version": version, "X-TC-Language": "en-US"} | ({"X-TC-Region": region} if region else {})
        make = partial(Wire, "tencent", url, client, auth=auth, headers=headers)
        self._paid = make(refuse=partial(refused, lost=OutcomeUnknown))
        self._free = make(refuse=partial(refused, lost=ProviderUnavailable))

    async def pay(self, action: str, into: type[Read], body: dict[str, Any], *, patient: bool = False) -> Read:
        sent = _sent(action, body) | ({"timeout": PATIENCE} if patient else {})
        return (await self._paid.pay("POST", "/", Enveloped[into], **sent)).Response  # type: ignore[valid-type]

    async def ask(self, action: str, into: type[Read], body: dict[str, Any]) -> Read:
        return (await self._free.ask("POST", "/", Enveloped[into], **_sent(action, body))).Response  # type: ignore[valid-type]


def _sent(action: str, body: dict[str, Any]) -> dict[str, Any]:
    return {"json": body, "headers": {"X-TC-Action": action}}
