"""What Temporal keeps encrypted, readable for its Web UI and its command: Temporal's codec server protocol.

Whoever decodes needs the scope `admin`: a key, as programs send it, or the cookie that the page `sign-in` gives for it,
because a page of the Web UI has no key to send.
"""

from __future__ import annotations

import base64
import binascii
from datetime import timedelta
from html import escape
from typing import Annotated, Literal
from urllib.parse import parse_qs, parse_qsl

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, EncodedBytes, EncoderProtocol, Field
from pydantic_core import PydanticCustomError
from temporalio.api.common.v1 import Payload

from api.admission import caller_of
from api.bodies import read_form
from api.deps import Operator, ServicesDep, base_url_of
from api.openapi import KEY_PROBLEMS, problems
from api.routing import KeyRoute, OpenRoute
from api.security_headers import NOTHING
from api.services import Services
from genpulse.codec import EncryptionCodec, Undecodable
from genpulse.db import utc_now
from genpulse.errors import Forbidden, GenPulseError, InvalidInput, NotFound, Unauthenticated
from genpulse.security import Caller, Scope, administrator

PREFIX = "/v1/codec"

_COOKIE = "genpulse_codec"
_SIGNED_IN_FOR = timedelta(hours=8)
_MOST_FORM_BYTES = 4096
_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>GenPulse: sign in to decode</title>
<h1>Read what Temporal keeps encrypted</h1>{said}
<form method="post"><label>Admin key <input type="password" name="key" autocomplete="off" required></label>
<button>Sign in for 8 hours</button></form>
<p>In the Temporal Web UI, open the settings of the codec server (the glasses), choose “Use my browser setting”, give
<code>{codec}</code> and switch on “Include cross-origin credentials”.</p></html>"""


class CodecRoute(KeyRoute):
    """A route for an administrator's key or, where a browser brings no key, for its cookie."""

    async def _identify(self, request: Request) -> Caller:
        if request.headers.get("authorization") or _COOKIE not in request.cookies:
            return await caller_of(request)
        services: Services = request.app.state.services
        given = dict(parse_qsl(request.cookies[_COOKIE]))
        try:
            services.signer.verify(PREFIX, given, now=utc_now())
        except Forbidden:
            raise Unauthenticated(f"You were signed in, and are no more: open {PREFIX}/sign-in again.") from None
        return administrator()


router = APIRouter(
    prefix=PREFIX, tags=["system"], route_class=CodecRoute, responses=KEY_PROBLEMS | problems(400, 404, 413, 415)
)
sign_in_router = APIRouter(prefix=PREFIX, route_class=OpenRoute, include_in_schema=False)


class _Base64(EncoderProtocol):
    """Without tolerance: what is no base64 is a mistake, not nothing."""

    @classmethod
    def decode(cls, data: bytes) -> bytes:
        try:
            return base64.b64decode(data, validate=True)
        except binascii.Error as error:
            raise PydanticCustomError("base64_decode", "must be base64") from error

    @classmethod
    def encode(cls, value: bytes) -> bytes:
        return base64.b64encode(value)

    @classmethod
    def get_json_format(cls) -> Literal["base64"]:
        return "base64"


Base64 = Annotated[bytes, EncodedBytes(encoder=_Base64)]


class EncodedPayload(BaseModel):
    """One payload, as the JSON form of Temporal's protocol has it: bytes are base64."""

    metadata: dict[str, Base64] = Field(default_factory=dict)
    data: Base64 = b""


class PayloadList(BaseModel):
    """Payloads in, as many payloads out, in the same order."""

    payloads: list[EncodedPayload]


StorageRefs = Annotated[
    bool, Query(alias="preserveStorageRefs", description="Sent by the Web UI; there are no such references here")
]


@router.post("/decode")
async def decode_payloads(
    body: PayloadList,
    services: ServicesDep,
    _caller: Operator,
    _refs: StorageRefs = False,  # noqa: FBT002
) -> PayloadList:
    """Decrypt payloads, for the Temporal Web UI and `temporal --codec-endpoint`; others stay as they are."""
    codec = _codec(services)
    try:
        return _told(await codec.decode(_read(body)))
    except Undecodable as error:
        raise InvalidInput(str(error), field="payloads") from error


@router.post("/encode")
async def encode_payloads(
    body: PayloadList,
    services: ServicesDep,
    _caller: Operator,
    _refs: StorageRefs = False,  # noqa: FBT002
) -> PayloadList:
    """Encrypt payloads, such as the input of a signal that is sent by hand."""
    return _told(await _codec(services).encode(_read(body)))


@sign_in_router.get("/sign-in")
async def sign_in_page(request: Request) -> HTMLResponse:
    """Asks for the admin key."""
    return _page(request)


@sign_in_router.post("/sign-in")
async def sign_in(request: Request, services: ServicesDep) -> Response:
    """Gives this browser a cookie that decodes, and does nothing else."""
    form = parse_qs((await read_form(request, _MOST_FORM_BYTES)).decode(errors="replace"))
    try:
        caller = await services.keys.identify(form.get("key", [""])[0].strip())
        caller.require(Scope.ADMIN)
    except GenPulseError as error:
        return _page(request, f"<p><strong>{escape(error.message)}</strong></p>", status=error.status)
    ui = escape(services.settings.temporal.ui_url, quote=True)
    answer = _page(
        request,
        "<p><strong>You are signed in.</strong></p>" + (f'<p><a href="{ui}">Temporal Web UI</a></p>' if ui else ""),
    )
    is_https = services.settings.server.public_url.startswith("https://")
    answer.set_cookie(
        _COOKIE,
        services.signer.sign(PREFIX, utc_now() + _SIGNED_IN_FOR),
        max_age=int(_SIGNED_IN_FOR.total_seconds()),
        path=f"{request.scope.get('root_path', '')}{PREFIX}",
        secure=is_https,
        httponly=True,
        # A Web UI on another site is let in as well where that is safe to do: only its origin may read the answers.
        samesite="none" if is_https else "strict",
    )
    return answer


def _page(request: Request, said: str = "", status: int = 200) -> HTMLResponse:
    policy = NOTHING.replace("form-action 'none'", "form-action 'self'")
    content = _PAGE.format(said=said, codec=escape(base_url_of(request) + PREFIX))
    return HTMLResponse(content, status_code=status, headers={"Content-Security-Policy": policy})


def _codec(services: Services) -> EncryptionCodec:
    if services.codec is None:
        raise NotFound("Nothing is encrypted here: GENPULSE_TEMPORAL__ENCRYPTION_KEY is not set.")
    return services.codec


def _read(body: PayloadList) -> list[Payload]:
    return [Payload(metadata=one.metadata, data=one.data) for one in body.payloads]


def _told(payloads: list[Payload]) -> PayloadList:
    # As JSON has it, because Base64 decodes what it is given.
    return PayloadList(
        payloads=[EncodedPayload.model_construct(metadata=dict(one.metadata), data=one.data) for one in payloads]
    )
