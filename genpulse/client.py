"""What the command line needs of the HTTP API: a few typed calls. Not an SDK."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx
from pydantic import ValidationError

from genpulse.errors import GenPulseError
from genpulse.schemas.assets import Asset
from genpulse.schemas.catalog import Model
from genpulse.schemas.credits import Credits, Transaction
from genpulse.schemas.deadletters import Bulk
from genpulse.schemas.generations import Generation
from genpulse.schemas.pages import MAX_PAGE, Page, Problem
from genpulse.schemas.tenants import ApiKey, ApiKeyWithSecret, Tenant
from genpulse.schemas.usage import Usage
from genpulse.schemas.webhooks import MAX_WEBHOOKS, Delivery, Webhook, WebhookWithSecret

_TIMEOUT = httpx.Timeout(30, connect=5)

#: The server speaks at least this often on an event stream; silence beyond it is a dead connection.
_STREAM_TIMEOUT = httpx.Timeout(60, connect=5)

#: For how long a watcher tries to reach a server that went away: a restart takes a few seconds.
_PATIENCE_SECONDS = 60.0
_RECONNECT_SECONDS = 1.0


class ClientError(GenPulseError, branch=True):
    """The API refused or did not answer. It ends at the terminal, so it has no code of its own.

    `problem` is what the API said, where it said something.
    """

    def __init__(self, message: str, problem: Problem | None = None) -> None:
        super().__init__(message)
        self.problem = problem


class Unreachable(ClientError, branch=True):
    """No answer came; whether the request arrived is unknown."""


@dataclass(frozen=True)
class Event:
    """One server-sent event."""

    id: str
    type: str
    data: dict[str, Any]


class Client:
    """Calls the API at `url` with `key`; an async context manager. `transport` is httpx's seam for tests."""

    def __init__(self, url: str, key: str | None, *, transport: httpx.AsyncBaseTransport | None = None) -> None:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self.url = url.rstrip("/")
        self._http = httpx.AsyncClient(base_url=self.url, headers=headers, timeout=_TIMEOUT, transport=transport)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def submit(self, request: dict[str, Any], *, idempotency_key: str | None = None) -> Generation:
        """Submit a generation or a chain, in the form of `POST /v1/generations`."""
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        answer = await self._call("POST", "/v1/generations", json=request, headers=headers)
        return Generation.model_validate(answer)

    async def get(self, generation_id: str) -> Generation:
        """A generation as it is now."""
        return Generation.model_validate(await self._call("GET", f"/v1/generations/{generation_id}"))

    async def cancel(self, generation_id: str) -> Generation:
        """Ask for a generation to be cancelled."""
        return Generation.model_validate(await self._call("POST", f"/v1/generations/{generation_id}/cancel"))

    async def retry(self, generation_id: str, *, model: str | None = None) -> Generation:
        """Have a dead letter go on, with another model for the step that failed where one is named."""
        answer = await self._call("POST", f"/v1/generations/{generation_id}/retry", json=_given(model=model))
        return Generation.model_validate(answer)

    async def discard(self, generation_id: str) -> Generation:
        """End a dead letter as failed."""
        return Generation.model_validate(await self._call("POST", f"/v1/generations/{generation_id}/discard"))

    async def decide(self, action: str, wanted: dict[str, Any], **options: Any) -> Bulk:
        """`retry` or `discard` all dead letters that a filter names, a page of them; or preview what that would hit."""
        answer = await self._call("POST", f"/v1/generations:{action}", json={"filter": wanted, **_given(**options)})
        return Bulk.model_validate(answer)

    async def generations(self, *, limit: int = 20, **filters: str | None) -> list[Generation]:
        """The newest generations; filters are those of `GET /v1/generations`."""
        answer = await self._call("GET", "/v1/generations", params={"limit": limit, **_given(**filters)})
        return Page[Generation].model_validate(answer).data

    async def webhooks(self) -> list[Webhook]:
        """The standing webhooks, all of them: there are few."""
        answer = await self._call("GET", "/v1/webhooks", params={"limit": MAX_WEBHOOKS})
        return Page[Webhook].model_validate(answer).data

    async def add_webhook(self, url: str, *, events: Sequence[str] = (), description: str = "") -> WebhookWithSecret:
        """Have events sent to a URL."""
        body = {"url": url, "events": list(events), "description": description}
        return WebhookWithSecret.model_validate(await self._call("POST", "/v1/webhooks", json=body))

    async def change_webhook(self, webhook_id: str, **values: Any) -> Webhook:
        """Change what is given."""
        return Webhook.model_validate(await self._call("PATCH", f"/v1/webhooks/{webhook_id}", json=values))

    async def remove_webhook(self, webhook_id: str) -> None:
        """Delete a webhook with its log."""
        async with self._open("DELETE", f"/v1/webhooks/{webhook_id}"):
            pass

    async def rotate_webhook(self, webhook_id: str, *, overlap_seconds: int) -> WebhookWithSecret:
        """Give a webhook a new secret."""
        body = {"overlap_seconds": overlap_seconds}
        return WebhookWithSecret.model_validate(
            await self._call("POST", f"/v1/webhooks/{webhook_id}/rotate", json=body)
        )

    async def ping_webhook(self, webhook_id: str) -> Delivery:
        """Have a webhook sent something."""
        return Delivery.model_validate(await self._call("POST", f"/v1/webhooks/{webhook_id}/ping"))

    async def deliveries(self, webhook_id: str, *, limit: int = 20, **filters: str | None) -> list[Delivery]:
        """What was sent to a webhook, newest first."""
        asked = {"limit": limit, **_given(**filters)}
        answer = await self._call("GET", f"/v1/webhooks/{webhook_id}/deliveries", params=asked)
        return Page[Delivery].model_validate(answer).data

    async def delivery(self, webhook_id: str, delivery_id: str) -> Delivery:
        """What became of one event."""
        return Delivery.model_validate(await self._call("GET", f"/v1/webhooks/{webhook_id}/deliveries/{delivery_id}"))

    async def redeliver(self, webhook_id: str, delivery_id: str) -> Delivery:
        """Have an event sent again."""
        path = f"/v1/webhooks/{webhook_id}/deliveries/{delivery_id}/redeliver"
        return Delivery.model_validate(await self._call("POST", path))

    async def keys(self, tenant: str | None = None) -> list[ApiKey]:
        """The newest keys of the key's own tenant, or of another one."""
        answer = await self._call("GET", _keys_of(tenant), params={"limit": MAX_PAGE})
        return Page[ApiKey].model_validate(answer).data

    async def key(self, key_id: str) -> ApiKey:
        """One key."""
        return ApiKey.model_validate(await self._call("GET", f"/v1/keys/{key_id}"))

    async def create_key(self, tenant: str | None = None, **values: Any) -> ApiKeyWithSecret:
        """A new key of the key's own tenant, or of another one."""
        return ApiKeyWithSecret.model_validate(await self._call("POST", _keys_of(tenant), json=_given(**values)))

    async def rotate_key(self, key_id: str, *, overlap_seconds: int) -> ApiKeyWithSecret:
        """A new key in place of one."""
        body = {"overlap_seconds": overlap_seconds}
        return ApiKeyWithSecret.model_validate(await self._call("POST", f"/v1/keys/{key_id}/rotate", json=body))

    async def revoke_key(self, key_id: str, tenant: str | None = None) -> None:
        """Have a key work no more; one of another tenant where that is named."""
        async with self._open("DELETE", f"{_keys_of(tenant)}/{key_id}"):
            pass

    async def tenants(self) -> list[Tenant]:
        """The newest tenants."""
        answer = await self._call("GET", "/v1/admin/tenants", params={"limit": MAX_PAGE})
        return Page[Tenant].model_validate(answer).data

    async def create_tenant(self, **values: Any) -> Tenant:
        """A new tenant, without a key."""
        return Tenant.model_validate(await self._call("POST", "/v1/admin/tenants", json=_given(**values)))

    async def change_tenant(self, tenant: str, **values: Any) -> Tenant:
        """Change what is given."""
        path = f"/v1/admin/tenants/{tenant}"
        return Tenant.model_validate(await self._call("PATCH", path, json=_given(**values)))

    async def credits(self, tenant: str | None = None) -> Credits:
        """The balance of the key's tenant, or of another one."""
        return Credits.model_validate(await self._call("GET", _credits_of(tenant)))

    async def transactions(
        self, tenant: str | None = None, *, limit: int = 20, **filters: str | None
    ) -> list[Transaction]:
        """The newest lines of the ledger of the key's tenant, or of another one."""
        path = f"{_credits_of(tenant)}/ledger"
        answer = await self._call("GET", path, params={"limit": limit, **_given(**filters)})
        return Page[Transaction].model_validate(answer).data

    async def usage(self, by: str) -> Usage:
        """What credits were spent on."""
        return Usage.model_validate(await self._call("GET", "/v1/usage", params={"by": by}))

    async def change_credits(self, tenant: str, *, key: str | None = None, **values: Any) -> Transaction:
        """Change a tenant's balance, as `CreditChange` has it; with the same key once."""
        headers = {"Idempotency-Key": key} if key else {}
        answer = await self._call("POST", _credits_of(tenant), json=_given(**values), headers=headers)
        return Transaction.model_validate(answer)

    async def models(self) -> list[Model]:
        """The catalogue, all pages of it."""
        found: list[Model] = []
        while True:
            after = {"starting_after": found[-1].id} if found else {}
            page = Page[Model].model_validate(await self._call("GET", "/v1/models", params=after))
            found += page.data
            if not page.has_more or not page.data:
                return found

    async def model(self, model_id: str) -> Model:
        """One model of the catalogue, also one that is not listed."""
        return Model.model_validate(await self._call("GET", f"/v1/models/{quote(model_id)}"))

    async def upload(self, file: Path) -> Asset:
        """Upload a file."""
        try:
            with file.open("rb") as content:
                return Asset.model_validate(
                    await self._call("POST", "/v1/assets", files={"file": (file.name, content)})
                )
        except OSError as error:
            raise ClientError(f"{file} cannot be read: {error.strerror}.") from error

    async def download(self, asset: Asset, target: Path) -> None:
        """Save an asset's bytes; `target` is complete or not there."""
        draft = target.with_name(f".{target.name}.part")
        try:
            async with self._open("GET", f"/v1/assets/{asset.id}/content") as response:
                with draft.open("wb") as file:
                    async for chunk in response.aiter_bytes():
                        file.write(chunk)
            draft.replace(target)
        finally:
            draft.unlink(missing_ok=True)

    async def events(self, generation_id: str) -> AsyncIterator[Event]:
        """Everything that has happened and will happen to a generation; ends after `done`.

        A lost connection is taken up again where it broke. Raises Unreachable when the server stays away.
        """
        last_id, gone_since = "", None
        while True:
            try:
                async for event in self._stream(generation_id, last_id):
                    last_id, gone_since = event.id or last_id, None
                    yield event
                    if event.type == "done":
                        return
            except Unreachable:
                gone_since = gone_since or time.monotonic()
                if time.monotonic() - gone_since > _PATIENCE_SECONDS:
                    raise
            await asyncio.sleep(_RECONNECT_SECONDS)

    async def _stream(self, generation_id: str, last_id: str) -> AsyncIterator[Event]:
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last_id} if last_id else {})
        url = f"/v1/generations/{generation_id}/events"
        async with self._open("GET", url, headers=headers, timeout=_STREAM_TIMEOUT) as response:
            buffer = b""
            async for chunk in response.aiter_bytes():
                # Not by `aiter_lines`, which also splits at characters that may stand within JSON, such as U+2028.
                *blocks, buffer = (buffer + chunk).replace(b"\r\n", b"\n").split(b"\n\n")
                for event in filter(None, map(_parse_event, blocks)):
                    yield event

    async def _call(self, method: str, path: str, **options: Any) -> Any:
        async with self._open(method, path, **options) as response:
            await response.aread()
            try:
                return response.json()
            except ValueError as error:
                raise ClientError(f"{self.url} does not answer like GenPulse; is the address right?") from error

    @asynccontextmanager
    async def _open(self, method: str, path: str, **options: Any) -> AsyncIterator[httpx.Response]:
        try:
            async with self._http.stream(method, path, **options) as response:
                if response.is_error:
                    await response.aread()
                    raise _refusal(response)
                yield response
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise ClientError(f"{self.url!r} is no address of an API.") from error
        except httpx.ConnectError as error:
            raise Unreachable(f"Nothing answers at {self.url}; `genpulse up` starts GenPulse.") from error
        except httpx.TransportError as error:
            raise Unreachable(f"The connection to {self.url} broke ({type(error).__name__}).") from error


def _keys_of(tenant: str | None) -> str:
    return f"/v1/admin/tenants/{tenant}/keys" if tenant else "/v1/keys"


def _credits_of(tenant: str | None) -> str:
    return f"/v1/admin/tenants/{tenant}/credits" if tenant else "/v1/credits"


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _refusal(response: httpx.Response) -> ClientError:
    try:
        problem = Problem.model_validate_json(response.content)
    except ValidationError:
        return ClientError(f"{response.url} answered {response.status_code} {response.reason_phrase}.")
    if response.status_code == httpx.codes.UNAUTHORIZED:
        return ClientError(f"{problem.detail} Give a key with --key or GENPULSE_API_KEY.", problem)
    fields = "; ".join(f"{one.pointer}: {one.detail}" for one in problem.errors if one.detail not in problem.detail)
    return ClientError(f"{problem.detail} ({fields})" if fields else problem.detail, problem)


def _parse_event(block: bytes) -> Event | None:
    """The event that a block of a stream makes up; None for a comment or a mere retry hint."""
    fields: dict[str, list[str]] = {}
    for line in block.decode().split("\n"):
        name, _, value = line.partition(":")
        fields.setdefault(name, []).append(value.removeprefix(" "))
    if "data" not in fields:
        return None
    data = json.loads("\n".join(fields["data"]))
    return Event(id=fields.get("id", [""])[-1], type=fields.get("event", ["message"])[-1], data=data)
