"""Callers that behave like real ones: an idempotency key, the same request again when no answer came, and patience."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, repeat
from typing import Any

import httpx

from genpulse.schemas.states import GenerationStatus
from tests.faults.storm.plan import Plan, Wish

_TIMEOUT = httpx.Timeout(15, connect=3)
_ASK_AGAIN = (0.5, 1.0, 2.0, 4.0)
_LOOK_AGAIN = (1.0, 1.5, 2.0, 3.0, 5.0)
_PROBLEM = "application/problem+json"
_DONE = frozenset({"succeeded", "failed", "canceled", "dead_lettered"})


@dataclass
class Seen:
    """What all callers together saw. `wrong` are answers that nobody should ever get."""

    ids: dict[str, str] = field(default_factory=dict)
    """By the key of each that was accepted."""
    ended: dict[str, str] = field(default_factory=dict)
    """The status of each that came to rest, by id."""
    answers: Counter[int] = field(default_factory=Counter)
    broken: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    accepted_ms: list[float] = field(default_factory=list)
    """From a caller's first try to the answer 202."""
    replayed: int = 0
    cancels: int = 0


class Callers:
    """All callers of a storm, and what they have seen."""

    def __init__(self, url: str, key: str, plan: Plan) -> None:
        self.seen = Seen()
        self._plan = plan
        self._turns = asyncio.Semaphore(plan.at_once)
        self._more = asyncio.Event()
        self._headers = {"Authorization": f"Bearer {key}"}
        self._url = url

    async def call(self) -> None:
        """Let all of them ask for what they want, and wait until everything has come to rest."""
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=20)
        async with (
            httpx.AsyncClient(base_url=self._url, headers=self._headers, timeout=_TIMEOUT, limits=limits) as self._http,
            asyncio.TaskGroup() as group,
        ):
            started = time.monotonic()
            for wish in self._plan.wishes():
                await asyncio.sleep(max(0.0, started + wish.moment * self._plan.seconds - time.monotonic()))
                await self._turns.acquire()
                group.create_task(self._live(wish))

    async def reached(self, accepted: float) -> None:
        """Return once so many have been accepted."""
        while len(self.seen.ids) < accepted:
            self._more.clear()
            await self._more.wait()

    async def _live(self, wish: Wish) -> None:
        try:
            generation_id = await self._submit(wish)
            if wish.sends_twice and await self._submit(wish) != generation_id:
                self.seen.wrong.append(f"{wish.key} made two generations")
            if wish.cancels_after is not None:
                await asyncio.sleep(wish.cancels_after)
                await self._cancel(generation_id)
            await self._follow(generation_id)
        finally:
            self._turns.release()

    async def _submit(self, wish: Wish) -> str:
        begun = time.perf_counter()
        answer = await self._ask("POST", "/v1/generations", json=wish.request, headers={"Idempotency-Key": wish.key})
        if answer.status_code != httpx.codes.ACCEPTED:
            raise RuntimeError(f"{answer.status_code} to {wish.request}: {answer.text}")  # the storm itself is wrong
        self.seen.accepted_ms.append((time.perf_counter() - begun) * 1000)
        self.seen.replayed += "idempotency-replayed" in answer.headers
        generation_id: str = answer.json()["id"]
        self.seen.ids[wish.key] = generation_id
        self._more.set()
        return generation_id

    async def _cancel(self, generation_id: str) -> None:
        answer = await self._ask("POST", f"/v1/generations/{generation_id}/cancel")
        self.seen.cancels += answer.status_code == httpx.codes.ACCEPTED

    async def _follow(self, generation_id: str) -> None:
        """Look until it has ended, or has become a dead letter."""
        for pause in _pauses(_LOOK_AGAIN):
            await asyncio.sleep(pause)
            answer = await self._ask("GET", f"/v1/generations/{generation_id}")
            if answer.status_code != httpx.codes.OK:
                self.seen.wrong.append(f"{generation_id} was accepted, and then: {answer.status_code} {answer.text}")
                return
            status = answer.json()["status"]
            if status in _DONE:
                self.seen.ended[generation_id] = GenerationStatus(status)
                return

    async def _ask(self, method: str, path: str, **sent: Any) -> httpx.Response:
        """Ask until there is an answer that says yes, or no."""
        for pause in _pauses(_ASK_AGAIN):
            try:
                answer = await self._http.request(method, path, **sent)
            except httpx.TransportError as error:
                self.seen.broken[type(error).__name__] += 1
            else:
                self._note(method, path, answer)
                if not answer.is_server_error:
                    return answer
            await asyncio.sleep(pause)
        raise AssertionError("there is always another pause")

    def _note(self, method: str, path: str, answer: httpx.Response) -> None:
        status = answer.status_code
        self.seen.answers[status] += 1
        if answer.is_success:
            return
        problem = _problem(answer)
        is_down = status == httpx.codes.SERVICE_UNAVAILABLE and "retry-after" in answer.headers
        if not problem.get("code") or (answer.is_server_error and not is_down):
            self.seen.wrong.append(f"{method} {path}: {status} {answer.text[:300]}")


def _problem(answer: httpx.Response) -> Mapping[str, Any]:
    try:
        told = answer.json() if answer.headers.get("content-type") == _PROBLEM else {}
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _pauses(first: tuple[float, ...]) -> Iterator[float]:
    return chain(first, repeat(first[-1]))
