"""One request as a cloud sees it, and the ways to answer it or not to."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

import httpx
from pydantic import BaseModel
from starlette.datastructures import Headers, QueryParams, UploadFile
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

CONNECTION = "genpulse.simulator.connection"
"""Where the app notes the server's connection in the scope, so that it can be cut."""

Model = TypeVar("Model", bound=BaseModel)


class Kind(StrEnum):
    """What a call is for; faults can be limited to kinds."""

    SUBMIT = "submit"
    POLL = "poll"
    RESULT = "result"
    CANCEL = "cancel"
    MEDIA = "media"
    OTHER = "other"


@dataclass(frozen=True)
class FormFile:
    """A file of a form."""

    name: str
    content: bytes


@dataclass(frozen=True)
class Call:
    """A request whose body is read."""

    request: Request
    body: bytes

    @property
    def headers(self) -> Headers:
        return self.request.headers

    @property
    def query(self) -> QueryParams:
        return self.request.query_params

    @property
    def path(self) -> Mapping[str, str]:
        """The parameters in the path."""
        return self.request.path_params

    @property
    def base_url(self) -> str:
        """The cloud's address as the caller wrote it, without a slash at the end."""
        url = self.request.url
        return f"{url.scheme}://{url.netloc}{self.request.scope['root_path']}"

    @property
    def inner_path(self) -> str:
        """The path as the cloud itself knows it."""
        return self.request.url.path.removeprefix(self.request.scope["root_path"])

    def json(self) -> Any:
        """The body, or None when it is no JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    async def form(self) -> tuple[dict[str, str], list[FormFile]]:
        """The fields and the files of a form."""
        async with self.request.form() as form:
            fields = {name: value for name, value in form.multi_items() if isinstance(value, str)}
            files = [
                FormFile(name, await value.read())
                for name, value in form.multi_items()
                if isinstance(value, UploadFile)
            ]
        return fields, files

    def read(self, model: type[Model]) -> Model:
        """The body as a model; what is wrong with it is answered by the cloud's `invalid`."""
        return model.model_validate_json(self.body.decode(errors="replace"))  # so that errors quote text


class Refusal(Exception):
    """An answer that ends the handling of a call."""

    def __init__(self, status: int, body: object, headers: Mapping[str, str] | None = None) -> None:
        self.body = body
        self.response: Response = JSONResponse(body, status, headers)

    @classmethod
    def by(cls, response: Response) -> Refusal:
        """With an answer that is no JSON."""
        refusal = cls(response.status_code, None)
        refusal.response = response
        return refusal


Handler = Callable[[Call], Awaitable[Response]]


@dataclass(frozen=True)
class Route:
    """A path of a cloud. `kind` may look at the call, where one path serves all; `public` needs no credentials."""

    method: str
    path: str
    handler: Handler
    kind: Kind | Callable[[Call], Kind] = Kind.OTHER
    public: bool = False


class Ending(StrEnum):
    """How a connection can end without an answer."""

    CLOSED = "closed"
    RESET = "reset"
    SILENT = "silent"


class HangUp(Response):
    """No answer. Under a server, the connection really ends so; in process, httpx' error for it is raised."""

    _ERRORS: Mapping[Ending, httpx.TransportError] = {
        Ending.CLOSED: httpx.RemoteProtocolError("Server disconnected without sending a response."),
        Ending.RESET: httpx.ReadError("Connection reset by peer"),
        Ending.SILENT: httpx.ReadTimeout("The server does not answer."),
    }

    def __init__(self, ending: Ending) -> None:
        super().__init__()
        self.ending = ending

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - nothing is sent
        connection: asyncio.Transport | None = scope.get(CONNECTION)
        if connection is None:
            error = self._ERRORS[self.ending]
            raise type(error)(str(error))
        if self.ending is Ending.CLOSED:
            connection.close()
        elif self.ending is Ending.RESET:
            _reset(connection)
        while (await receive())["type"] != "http.disconnect":
            pass


def _reset(connection: asyncio.Transport) -> None:
    # With a linger time of zero the kernel sends RST instead of an orderly end.
    connection.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.abort()
