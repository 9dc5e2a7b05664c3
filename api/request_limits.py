"""How much of a request is taken in: its address, its headers, and what of a body is left unread.

Bodies themselves are bounded where they are read: api/bodies.py.
"""

from __future__ import annotations

from dataclasses import dataclass

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import problems
from api.headers import request_id

MAX_TARGET_BYTES = 16 * 1024
MAX_HEADER_BYTES = 32 * 1024
MAX_HEADERS = 100
#: The rest of a body that is read for nothing, so that the connection can be used again.
_MAX_LEFT_BYTES = 64 * 1024


class RequestLimits:
    """Pure ASGI. Whoever exceeds them is answered before anything else looks at what they sent.

    After an answer that comes before the end of a long body the connection is closed: the server would go on reading,
    for as long as somebody goes on sending.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        exchange = _Exchange(receive, send, has_rest=_has_long_body(headers))
        status = _refused(scope)
        if status is None:
            await self._app(scope, exchange.receive, exchange.send)
            return
        own_id = request_id(headers.get("x-request-id"))
        # Without the address: it may be what is too long.
        problem = problems.of_status(status, problems.Occurrence("", own_id))
        await problems.response(problem, {"X-Request-Id": own_id})(scope, receive, exchange.send)


@dataclass
class _Exchange:
    """One request and its answer; knows whether there may be more of the body than anybody wants to read."""

    _receive: Receive
    _send: Send
    has_rest: bool

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request" and not message.get("more_body", False):
            self.has_rest = False
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start" and self.has_rest:
            MutableHeaders(scope=message)["Connection"] = "close"
        await self._send(message)


def _refused(scope: Scope) -> int | None:
    if len(scope.get("raw_path") or b"") + len(scope["query_string"]) > MAX_TARGET_BYTES:
        return 414
    headers = scope["headers"]
    if len(headers) > MAX_HEADERS or sum(len(name) + len(value) for name, value in headers) > MAX_HEADER_BYTES:
        return 431
    return None


def _has_long_body(headers: Headers) -> bool:
    length = headers.get("content-length", "")
    return "transfer-encoding" in headers or (length.isdecimal() and (len(length) > 9 or int(length) > _MAX_LEFT_BYTES))
