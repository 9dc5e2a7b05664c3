"""How long a duty may take in one go."""

from __future__ import annotations

import time
from datetime import timedelta

#: Well within what its activity is given, so that it can say where it stopped.
DUTY_TIME = timedelta(minutes=2)


class Watch:
    """Tells when a duty has had its time."""

    def __init__(self, limit: timedelta = DUTY_TIME) -> None:
        self._ends_at = time.monotonic() + limit.total_seconds()

    @property
    def is_over(self) -> bool:
        return time.monotonic() >= self._ends_at
