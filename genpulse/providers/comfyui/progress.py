"""How far a run is. The server tells it once, on a socket, to who listens under the run's own id at that moment."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode, urlsplit, urlunsplit

import websockets
from pydantic import BaseModel, Field, ValidationError

_LISTEN_SECONDS = 30.0
_FIRST_WORD_SECONDS = 1.0
_MOST_BYTES = 64 * 2**20  # of a preview
_FINISHED = "finished"


class _Frame(BaseModel):
    type: str
    data: dict[str, Any] = Field(default_factory=dict)


class _Node(BaseModel):
    value: float = 0
    max: float = 0
    state: str = ""

    @property
    def share(self) -> float:
        if self.state == _FINISHED:
            return 1.0
        return min(1.0, self.value / self.max) if self.max > 0 else 0.0


class _State(BaseModel):
    """Of the nodes that have begun; the others are left out."""

    nodes: dict[str, _Node]


@dataclass
class _Ear:
    """What one listener has heard last, until it is taken."""

    heard: asyncio.Event = field(default_factory=asyncio.Event)
    fraction: float | None = None
    listening: asyncio.Task[None] | None = None

    def take(self) -> float | None:
        fraction, self.fraction = self.fraction, None
        return fraction


class Progress:
    """Listens to each run that is asked about, beyond the answer: steps may be further apart than questions.

    A listener ends after a while, and who still asks begins another. So none outlives its run for long, and where
    several workers ask about one run, of whom the server tells only the last that came, they take turns.
    """

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        parts = urlsplit(url)
        scheme = "wss" if parts.scheme == "https" else "ws"
        self._url = urlunsplit((scheme, parts.netloc, f"{parts.path}/ws", "", ""))
        self._headers = dict(headers)
        self._ears: dict[str, _Ear] = {}

    async def of(self, run_id: str, *, nodes: int) -> float | None:
        """The share of a run's nodes that is done, unless it was told before or nothing is known of it."""
        ear = self._ears.get(run_id)
        if ear is None:
            ear = self._ears[run_id] = _Ear()
            ear.listening = asyncio.create_task(self._listen(run_id, ear, nodes))
            with suppress(TimeoutError):
                await asyncio.wait_for(ear.heard.wait(), _FIRST_WORD_SECONDS)
        return ear.take()

    async def _listen(self, run_id: str, ear: _Ear, nodes: int) -> None:
        url = f"{self._url}?{urlencode({'clientId': run_id})}"
        try:
            with suppress(OSError, TimeoutError, websockets.WebSocketException):
                async with (
                    asyncio.timeout(_LISTEN_SECONDS),
                    _Connect(url, additional_headers=self._headers, proxy=None, max_size=_MOST_BYTES) as socket,
                ):
                    async for frame in socket:
                        if _is_end(frame, run_id):
                            return
                        fraction = _share(frame, run_id, nodes)
                        if fraction is not None:
                            ear.fraction = fraction
                            ear.heard.set()
        finally:
            ear.heard.set()
            self._ears.pop(run_id, None)


class _Connect(websockets.connect):
    """Stays at the server of the settings: a redirect would take the key along, and could lead into our own network."""

    def process_redirect(self, exc: Exception) -> Exception:
        return exc


def _read(frame: str | bytes, run_id: str) -> _Frame | None:
    """A message about this run; binary ones are previews."""
    if isinstance(frame, bytes):
        return None
    try:
        message = _Frame.model_validate_json(frame)
    except ValidationError:
        return None
    return message if message.data.get("prompt_id") == run_id else None


def _is_end(frame: str | bytes, run_id: str) -> bool:
    """The last message of a run, however it ended: that no node is executed."""
    message = _read(frame, run_id)
    return message is not None and message.type == "executing" and message.data.get("node", "") is None


def _share(frame: str | bytes, run_id: str, nodes: int) -> float | None:
    message = _read(frame, run_id)
    if message is None or message.type != "progress_state":
        return None
    try:
        begun = _State.model_validate(message.data).nodes
    except ValidationError:
        return None
    return sum(node.share for node in begun.values()) / max(nodes, len(begun), 1)
