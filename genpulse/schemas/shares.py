"""For whom something waits: what decides whose turn it is."""

from __future__ import annotations

from dataclasses import dataclass

from genpulse.schemas.states import Priority

#: The weights of tenants, from the least to the greatest. Temporal has the same bounds.
LEAST_WEIGHT, MOST_WEIGHT = 0.001, 1000.0

_ORDER = {Priority.HIGH: 0, Priority.NORMAL: 1, Priority.LOW: 2}


@dataclass(frozen=True, kw_only=True)
class Share:
    """Tenants that wait get turns in proportion to their weights, a tenant's jobs by their priority."""

    tenant: str
    weight: float = 1.0
    priority: Priority = Priority.NORMAL

    def __post_init__(self) -> None:
        if not LEAST_WEIGHT <= self.weight <= MOST_WEIGHT:
            raise ValueError(f"a weight is from {LEAST_WEIGHT} to {MOST_WEIGHT:.0f}: {self}")

    @property
    def cost(self) -> int:
        """By how much a turn moves the tenant on. A whole number, so that no rounding parts those who count."""
        return round(1_000_000 / self.weight)

    @property
    def order(self) -> int:
        """The smaller goes first within the tenant."""
        return _ORDER[self.priority]


def bounded(weight: float) -> float:
    """The weight that is nearest to it."""
    return min(max(weight, LEAST_WEIGHT), MOST_WEIGHT)
