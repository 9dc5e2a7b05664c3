"""The result of a check."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from genpulse.errors import GenPulseError

_EXAMPLES = 3


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Whether something is as it should be, and a sentence on it.

    Of an invariant: its `id` in docs/invariants.md, how much was `checked`, how much of it is `broken`, and some
    `examples` of that.
    """

    subject: str
    ok: bool
    sentence: str
    id: str | None = None
    checked: int | None = None
    broken: int | None = None
    examples: tuple[str, ...] = ()

    @classmethod
    def of_invariant(cls, number: str, sentence: str, *, subject: str, checked: int, broken: Sequence[str]) -> Finding:
        """What was seen of an invariant."""
        return cls(
            subject=subject,
            ok=not broken,
            sentence=sentence,
            id=number,
            checked=checked,
            broken=len(broken),
            examples=tuple(broken[:_EXAMPLES]),
        )

    @property
    def line(self) -> str:
        """As a person reads it: `I07 Every step of a succeeded generation has succeeded: 1,234 checked, 0 broken`."""
        if self.id is None:
            return self.sentence
        line = f"{self.id} {self.sentence}: {self.checked:,} checked, {self.broken:,} broken"
        if not self.examples:
            return line
        more = ", …" if self.broken and self.broken > len(self.examples) else ""
        return f"{line} ({', '.join(self.examples)}{more})"


class Ailment(GenPulseError, branch=True):
    """A check failed; the message says what is wrong and what helps. It only becomes a finding."""


async def find(subject: str, check: Callable[[], Awaitable[str]]) -> Finding:
    """Run a check that returns a sentence, or raises a GenPulseError with one."""
    try:
        return Finding(subject=subject, ok=True, sentence=await check())
    except GenPulseError as error:
        return Finding(subject=subject, ok=False, sentence=error.message)
