"""Callers that cost little: keep-alive HTTP/1.1 over a bare stream, so that a benchmark measures the server."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit


class Connection:
    """One keep-alive connection to the API."""

    def __init__(self, url: str, key: str) -> None:
        parts = urlsplit(url)
        self._address = (parts.hostname or "", parts.port or 80)
        self._headers = f"Host: {parts.netloc}\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n"

    async def open(self) -> None:
        self._reader, self._writer = await asyncio.open_connection(*self._address)

    def close(self) -> None:
        self._writer.close()

    async def request(self, method: str, path: str, body: bytes = b"") -> tuple[int, dict[str, Any]]:
        """Send a request and read its JSON answer."""
        head = f"{method} {path} HTTP/1.1\r\n{self._headers}Content-Length: {len(body)}\r\n\r\n"
        self._writer.write(head.encode() + body)
        answer = (await self._reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(answer.split("content-length:", 1)[1].split("\r\n", 1)[0])
        return int(answer.split(" ", 2)[1]), json.loads(await self._reader.readexactly(length))


@dataclass
class Submissions:
    """What the callers saw: ids, milliseconds of each answer, and seconds in all."""

    ids: list[str] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    seconds: float = 0.0


async def submit_many(url: str, key: str, body: dict[str, Any], *, callers: int, count: int) -> Submissions:
    """Submit `count` times from `callers` callers, each one after its last answer. Any answer but 202 raises."""
    seen, turns, payload = Submissions(), iter(range(count)), json.dumps(body).encode()
    started = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(callers):
            group.create_task(_call(Connection(url, key), payload, turns, seen))
    seen.seconds = time.perf_counter() - started
    return seen


async def _call(connection: Connection, payload: bytes, turns: Iterator[int], seen: Submissions) -> None:
    await connection.open()
    for _ in turns:
        sent = time.perf_counter()
        status, answer = await connection.request("POST", "/v1/generations", payload)
        seen.latencies.append((time.perf_counter() - sent) * 1000)
        if status != 202:
            raise RuntimeError(f"{status}: {answer}")
        seen.ids.append(answer["id"])
    connection.close()
