"""What route functions ask for, as annotated types. All of it is async: the framework gives threads to what is not."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Header, Path, Query, Request
from fastapi.security import HTTPBearer

from api import headers
from api.services import Services
from genpulse.db import utc_now
from genpulse.errors import InvalidInput
from genpulse.ids import Prefix, id_form, is_id
from genpulse.schemas.pages import MAX_PAGE
from genpulse.security import Caller, Scope
from genpulse.signing import link_expiry
from genpulse.views import Views

_bearer = HTTPBearer(auto_error=False, scheme_name="key", description="`Authorization: Bearer gp_…`")


async def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


def _caller_with(scope: Scope) -> Callable[..., Awaitable[Caller]]:
    # The route checked the key before it read the body (api/routing.py); what the key allows is checked here.
    async def caller(request: Request, _key: Annotated[object, Depends(_bearer)]) -> Caller:
        found: Caller = request.state.caller
        found.require(scope)
        return found

    return caller


def base_url_of(request: Request) -> str:
    """Where callers find this API; without a slash at the end."""
    services: Services = request.app.state.services
    return (services.settings.server.public_url or str(request.base_url)).rstrip("/")


async def _views(request: Request) -> Views:
    services: Services = request.app.state.services
    settings = services.settings
    return Views(
        base_url=base_url_of(request),
        signer=services.signer,
        expires_at=link_expiry(utc_now(), settings.security.link_lifetime),
        temporal=settings.temporal,
    )


async def _request_id(request: Request) -> str:
    own_id: str = request.state.request_id
    return own_id


async def _idempotency_key(
    given: Annotated[
        str | None,
        Header(
            alias="Idempotency-Key",
            description="The same key with the same body answers with the same generation",
            json_schema_extra={"pattern": headers.IDEMPOTENCY_KEY_FORM},
        ),
    ] = None,
) -> str | None:
    return headers.idempotency_key(given)


async def _wait(
    prefer: Annotated[
        str | None, Header(description="`wait=N`: answer when it has ended, or after N seconds (at most 60)")
    ] = None,
) -> int:
    return headers.wait_seconds(prefer)


@dataclass(frozen=True)
class Cursor:
    """Which part of a list: at most `limit` entries, older than `starting_after`."""

    limit: int
    starting_after: str | None


def cursor_of(prefix: Prefix) -> Callable[..., Awaitable[Cursor]]:
    """Page parameters of a list of objects with such ids."""
    # Not in the annotation, where the framework could not see `prefix`.
    no_id = Query(
        None, description="Id of the last entry of the page before", json_schema_extra={"pattern": id_form(prefix)}
    )

    async def cursor(
        limit: Annotated[int, Query(ge=1, le=MAX_PAGE, description="Entries at most")] = 20,
        starting_after: str | None = no_id,
    ) -> Cursor:
        if starting_after is not None and not is_id(prefix, starting_after):
            raise InvalidInput(
                f"`starting_after` must be the id of the last entry of the page before ({prefix}_…).",
                field="starting_after",
            )
        return Cursor(limit, starting_after)

    return cursor


ServicesDep = Annotated[Services, Depends(_services)]
Reader = Annotated[Caller, Depends(_caller_with(Scope.READ))]
Maker = Annotated[Caller, Depends(_caller_with(Scope.GENERATE))]
Manager = Annotated[Caller, Depends(_caller_with(Scope.MANAGE))]
Operator = Annotated[Caller, Depends(_caller_with(Scope.ADMIN))]
ViewsDep = Annotated[Views, Depends(_views)]
RequestId = Annotated[str, Depends(_request_id)]
IdempotencyKey = Annotated[str | None, Depends(_idempotency_key)]
Wait = Annotated[int, Depends(_wait)]
GenerationId = Annotated[str, Path(description="Id of a generation", examples=["gen_01k9d2x8f6v3q7m5r0ha4tjwbe"])]
AssetId = Annotated[str, Path(description="Id of an asset", examples=["ast_01k9d2x8f6v3q7m5r0ha4tjwbe"])]
WebhookId = Annotated[str, Path(description="Id of a webhook", examples=["whk_01k9d2x8f6v3q7m5r0ha4tjwbe"])]
KeyId = Annotated[str, Path(description="Id of a key", examples=["key_01k9d2x8f6v3q7m5r0ha4tjwbe"])]
TenantId = Annotated[str, Path(description="Id of a tenant", examples=["ten_01k9d2x8f6v3q7m5r0ha4tjwbe"])]
DeliveryId = Annotated[str, Path(description="Id of a delivery", examples=["evt_01k9d2x8f6v3q7m5r0ha4tjwbe"])]
