"""The result of a check."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from genpulse.errors import GenPulseError


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Whether something is as it should be, and a sentence on it."""

    subject: str
    ok: bool
    sentence: str


class Ailment(GenPulseError, branch=True):
    """A check failed; the message says what is wrong and what helps. It only becomes a finding."""


async def find(subject: str, check: Callable[[], Awaitable[str]]) -> Finding:
    """Run a check that returns a sentence, or raises a GenPulseError with one."""
    try:
        return Finding(subject=subject, ok=True, sentence=await check())
    except GenPulseError as error:
        return Finding(subject=subject, ok=False, sentence=error.message)
