"""Between us and the client of a cloud: what a cloud says is bounded, and never tells our keys.

Error messages of clouds quote what they were sent, at times the key itself; they end in rows, histories, logs and
answers to callers. Everything a client returns or raises passes here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any

from genpulse.errors import GenPulseError, OutcomeUnknown, ProviderFailed, UnsafeUrl
from genpulse.providers.base import Finished, Job, ModelCall, Pending, Provider
from genpulse.redaction import Redactor

_MOST_TEXT = 500
_MOST_FACT = 20_000  # a prompt as the cloud has rewritten it
_MOST_OUTPUTS = 64
_MOST_NUMBERS = 64
_MOST_ID = 255  # as the database keeps them
_MOST_LINK = 4096
_LARGEST = 2**63
#: No database keeps NUL, and no log wants the others.
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


class GuardedProvider:
    """A client whose answers are bounded, and whose errors do not carry the account's own `secrets`."""

    def __init__(self, provider: Provider, secrets: Iterable[str]) -> None:
        self.name = provider.name
        self._provider = provider
        self._redactor = Redactor(secrets)

    @property
    def can_cancel(self) -> bool:
        return self._provider.can_cancel

    def remembers_key(self, call: ModelCall) -> bool:
        return self._provider.remembers_key(call)

    def can_find(self, call: ModelCall) -> bool:
        return self._provider.can_find(call)

    async def submit(self, call: ModelCall) -> Job | Finished:
        with self._without_secrets():
            answer = await self._provider.submit(call)
        return self._job(answer) if isinstance(answer, Job) else self._finished(answer)

    async def poll(self, job: Job, call: ModelCall) -> Pending | Finished:
        with self._without_secrets():
            state = await self._provider.poll(job, call)
        return state if isinstance(state, Pending) else self._finished(state)

    async def cancel(self, job: Job) -> None:
        with self._without_secrets():
            await self._provider.cancel(job)

    async def find(self, call: ModelCall, *, sent_at: datetime) -> Job | None:
        with self._without_secrets():
            job = await self._provider.find(call, sent_at=sent_at)
        return None if job is None else self._job(job)

    async def verify_callback(self, headers: Mapping[str, str], body: bytes, *, now: datetime) -> None:
        with self._without_secrets():
            await self._provider.verify_callback(headers, body, now=now)

    @contextmanager
    def _without_secrets(self) -> Iterator[None]:
        try:
            yield
        except UnsafeUrl as error:
            # The cloud has named that address; the caller, who is told of an UnsafeUrl, can do nothing about it.
            raise ProviderFailed(
                f"{self.name} named an address that is not asked: {error.message}", retryable=False
            ) from error
        except GenPulseError as error:
            error.message = self._said(error.message)
            error.args = (error.message,)
            error.details = {name: self._cleaned(value) for name, value in error.details.items()}
            raise

    def _job(self, job: Job) -> Job:
        """One whose id can be kept and asked for. Whatever else it is, it has been accepted."""
        named = (job.id, *job.handle.values())
        if not 0 < len(job.id) <= _MOST_ID or not all(len(one) <= _MOST_LINK and one.isprintable() for one in named):
            raise OutcomeUnknown(f"{self.name} accepted the call, but gave it an id that cannot be kept.")
        return job

    def _finished(self, made: Finished) -> Finished:
        if len(made.outputs) > _MOST_OUTPUTS:
            raise ProviderFailed(f"{self.name} made {len(made.outputs):,} files of one call.", retryable=False)
        return replace(made, parameters=self._facts(made.parameters), usage=self._facts(made.usage))

    def _facts(self, told: Mapping[str, Any]) -> dict[str, Any]:
        """What every database takes, and no more of it than somebody would read."""
        kept = [(name, value) for name, value in told.items() if _is_plain(value)]
        return {self._said(name): self._cleaned(value, _MOST_FACT) for name, value in kept[:_MOST_NUMBERS]}

    def _cleaned(self, value: Any, most: int = _MOST_TEXT) -> Any:
        return self._said(value, most) if isinstance(value, str) else value

    def _said(self, text: str, most: int = _MOST_TEXT) -> str:
        text = _CONTROLS.sub(" ", self._redactor.text(text))
        return text if len(text) <= most else f"{text[:most]}…"


def _is_plain(value: Any) -> bool:
    """Clouds answer with NaN, which JSON does not know, and with numbers that no column holds."""
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, str) or (isinstance(value, int) and abs(value) < _LARGEST)
