"""A real little HTTP server on loopback that says what a test has put into it, and remembers who asked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Seen:
    """One request."""

    method: str
    path: str
    headers: dict[str, str]


@dataclass
class FileServer:
    """What is at which path: JSON, bytes, or another address."""

    port: int = 0
    answers: dict[str, Any] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)
    host: str = "127.0.0.1"

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def answer(self, path: str) -> bytes:
        if path in self.redirects:
            return _answer("302 Found", b"", f"Location: {self.redirects[path]}\r\n")
        if path in self.answers:
            return _answer("200 OK", json.dumps(self.answers[path]).encode(), "Content-Type: application/json\r\n")
        if path in self.files:
            return _answer("200 OK", self.files[path])
        return _answer("404 Not Found", b"")


def _answer(status: str, body: bytes, headers: str = "") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n{headers}\r\n"
    return head.encode() + body


@asynccontextmanager
async def file_server(address: str = "127.0.0.1") -> AsyncIterator[FileServer]:
    """Serve until the end of the block."""
    served = FileServer(host=address)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *lines = head.split("\r\n")
            method, path, _ = first.split(" ", 2)
            pairs = (line.partition(":") for line in lines if line)
            headers = {name.lower(): value.strip() for name, _, value in pairs}
            served.seen.append(Seen(method, path, headers))
            await reader.readexactly(int(headers.get("content-length", 0)))
            writer.write(served.answer(path))
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client went away, as some tests want it to
        finally:
            writer.close()

    server = await asyncio.start_server(talk, address, 0)
    served.port = server.sockets[0].getsockname()[1]
    try:
        yield served
    finally:
        server.close()
