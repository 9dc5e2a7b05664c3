"""Which pages of other origins may read our answers: the Temporal Web UI, and those of the payload codec alone."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from api.routes.codec import PREFIX

#: What the Web UI sends along; whatever else a request needs is for our own pages and for programs.
_HEADERS = ("Authorization", "Authorization-Extras", "Content-Type", "X-Namespace")


class CodecOrigin:
    """Lets scripts of the Web UI at `origin` decode payloads with the cookie of whoever has signed in; nobody else."""

    def __init__(self, app: ASGIApp, *, origin: str) -> None:
        self._app = app
        parts = urlsplit(origin)
        self._open = CORSMiddleware(
            app,
            allow_origins=[f"{parts.scheme}://{parts.netloc}"] if origin else [],
            allow_methods=["POST"],
            allow_headers=_HEADERS,
            allow_credentials=True,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        for_codec = scope["type"] == "http" and scope["path"].endswith((f"{PREFIX}/decode", f"{PREFIX}/encode"))
        await (self._open if for_codec else self._app)(scope, receive, send)
