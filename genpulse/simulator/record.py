"""Every request that came, so that a test can ask what was sent and how it was answered."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from genpulse.simulator.wire import Call, Kind

_KEPT = 100_000
_LONGEST_BODY = 1_000_000
_REDACTED = "[redacted]"
_SECRET_HEADERS = frozenset(
    {
        "api-key", "authorization", "cookie", "proxy-authorization", "x-api-key", "x-bce-security-token",
        "x-goog-api-key", "x-key", "x-security-token", "x-tc-token",
    }
)  # fmt: skip
_SECRET_PARAMETERS = frozenset({"access_token", "client_secret", "key", "token"})


@dataclass(kw_only=True)
class Entry:
    """One request; no status: it got no answer, or none yet."""

    time: float
    cloud: str
    kind: Kind
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any
    status: int | None = None


class Record:
    """The latest requests, oldest first."""

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque(maxlen=_KEPT)

    def add(self, call: Call, *, cloud: str, kind: Kind, time: float) -> Entry:
        entry = Entry(
            time=time,
            cloud=cloud,
            kind=kind,
            method=call.request.method,
            path=call.request.url.path,
            query=_redacted(call.query.items(), _SECRET_PARAMETERS),
            headers=_redacted(call.headers.items(), _SECRET_HEADERS),
            body=_readable(call.body),
        )
        self._entries.append(entry)
        return entry

    def find(self, *, cloud: str | None = None, kind: str | None = None) -> list[Entry]:
        return [entry for entry in self._entries if cloud in {None, entry.cloud} and kind in {None, entry.kind}]

    def clear(self) -> None:
        self._entries.clear()


def _redacted(pairs: Iterable[tuple[str, str]], secret: frozenset[str]) -> dict[str, str]:
    return {name: _REDACTED if name.lower() in secret else value for name, value in pairs}


def _readable(body: bytes) -> Any:
    if len(body) > _LONGEST_BODY:
        return f"[{len(body)} bytes]"
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return f"[{len(body)} bytes]"
    try:
        return json.loads(text)
    except ValueError:
        return text or None
