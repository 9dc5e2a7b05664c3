"""One run's progress: a fraction that never goes back, and the parts it is made of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from genpulse.schemas.engine import OnProgress

Item = TypeVar("Item")


class Progress:
    """Passes fractions on to the caller, whose exception is how a run is cancelled.

    A fraction below what was reported already (a second attempt after memory ran out) repeats the highest one, so
    the caller still gets its chance to cancel.
    """

    def __init__(self, report: OnProgress) -> None:
        self._report = report
        self._reached = 0.0

    def __call__(self, fraction: float) -> None:
        self._reached = max(self._reached, min(fraction, 1.0))
        self._report(self._reached)


def part(on_progress: OnProgress, start: float, end: float) -> OnProgress:
    """Return a progress of its own, 0 to 1, that fills the stretch from `start` to `end` of the whole."""
    return lambda fraction: on_progress(start + (end - start) * fraction)


def counted(items: Iterable[Item], total: int, on_progress: OnProgress) -> Iterator[Item]:
    """Yield the items, reporting after each how many of `total` have been dealt with."""
    for number, item in enumerate(items, start=1):
        yield item
        on_progress(number / total)
