"""What Luma's errors mean. Both products word them in `detail`: a sentence, or a list of what is wrong with a body."""

from __future__ import annotations

from typing import Any

from genpulse.errors import ContentBlocked, GenPulseError, ProviderQuotaSpent, ProviderRejected, ProviderUnavailable
from genpulse.providers.wire import Answer

_MODERATED = ("moderat", "content policy")
_NO_MONEY = ("insufficient credit", "insufficient balance", "not enough credit")
#: Luma asks to send these again; what an application words has not accepted anything, what a proxy shows may have.
_DOWN = frozenset({502, 503})


def refused_by_agents(answer: Answer) -> GenPulseError | None:
    """The Agents API knows statuses only; the rest is left to them."""
    if answer.status in _DOWN and (said := _said(answer)):
        return ProviderUnavailable(f"luma: {said}")
    return refused_by_dream(answer)


def refused_by_dream(answer: Answer) -> GenPulseError | None:
    """Of the statuses that Dream Machine uses for several things, which one it is."""
    said = _said(answer)
    return worded(said, ProviderRejected) if said and answer.status in (400, 413, 422) else None


def worded(said: str, otherwise: type[GenPulseError]) -> GenPulseError:
    """An error by its words, where there is no code."""
    text = said.lower()
    if any(word in text for word in _MODERATED):
        return ContentBlocked(f"luma: {said}")
    if any(word in text for word in _NO_MONEY):
        return ProviderQuotaSpent(f"luma: {said}")
    return otherwise(f"luma: {said}")


def _said(answer: Answer) -> str:
    detail = answer.data.get("detail") if isinstance(answer.data, dict) else None
    if isinstance(detail, list):
        return "; ".join(_of_field(one) for one in detail)
    return str(detail or "")


def _of_field(one: Any) -> str:
    if not isinstance(one, dict):
        return str(one)
    where = ".".join(str(part) for part in one.get("loc", ()) if part != "body")
    return f"{one.get('msg', 'refused')}{f' (at {where})' if where else ''}"
