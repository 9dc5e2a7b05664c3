"""Around every request: its id, its line in the log, its metrics, and an answer when something unexpected happens."""

from __future__ import annotations

import time
from collections.abc import MutableMapping
from typing import Any

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import problems
from api.headers import request_id
from api.metrics import Metrics

log = structlog.get_logger(__name__)

QUIET_PATHS = frozenset({"/healthz", "/readyz", "/metrics"})  # asked every few seconds by machines


class RequestContext:
    """Pure ASGI, because wrapping the answer's stream would cost more than all of this."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        own_id = request_id(Headers(scope=scope).get("x-request-id"))
        scope.setdefault("state", {})["request_id"] = own_id
        answer = _Answer(send, own_id, scope["state"])
        begun = time.perf_counter()
        with structlog.contextvars.bound_contextvars(request_id=own_id):
            try:
                await self._app(scope, receive, answer.send)
            except ClientDisconnect:
                log.info("http.disconnected", method=scope["method"], path=scope["path"])
            except Exception:
                log.exception("http.crashed", method=scope["method"], path=scope["path"])
                if (
                    answer.status
                ):  # too late to say so: the server cuts the connection, so that nobody takes it as whole
                    raise
                problem = problems.internal(problems.Occurrence(scope["path"], own_id))
                await problems.response(problem)(scope, receive, answer.send)
            finally:
                self._report(scope, answer.status, time.perf_counter() - begun)

    def _report(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "")
        self._metrics.observe_request(scope["method"], route, status, seconds)
        if scope["path"] not in QUIET_PATHS:
            # Without the query: it may carry a signature.
            log.info(
                "http.request", method=scope["method"], path=scope["path"], status=status, ms=round(seconds * 1000, 1)
            )


class _Answer:
    """Sends, adds the request id and `state.answer_headers`, and remembers the status; 0 until there is one."""

    def __init__(self, send: Send, own_id: str, state: MutableMapping[str, Any]) -> None:
        self.status = 0
        self._send = send
        self._own_id = own_id
        self._state = state

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["X-Request-Id"] = self._own_id
            headers.update(self._state.get("answer_headers", {}))
        await self._send(message)
