"""Whether the models of the catalogue can be used right now."""

from __future__ import annotations

import time
from collections.abc import Mapping

from genpulse.catalog import Catalog
from genpulse.circuits import Circuit, Circuits
from genpulse.errors import DependencyDown
from genpulse.queues import describe_queues
from genpulse.schemas.catalog import Health, ModelSpec
from genpulse.schemas.system import QueueState
from genpulse.temporal import TemporalConnection

_FRESH_SECONDS = 5.0


class HealthWatch:
    """Looks at circuits and queues, at most once in a few seconds."""

    def __init__(self, catalog: Catalog, circuits: Circuits, temporal: TemporalConnection) -> None:
        self._queues = sorted({model.queue for model in catalog.all()})
        self._circuits = circuits
        self._temporal = temporal
        self._seen: tuple[Mapping[str, Circuit], Mapping[str, QueueState]] = ({}, {})
        self._seen_at = float("-inf")

    async def now(self) -> HealthReport:
        """How things stand. What cannot be found out is unknown, and no error."""
        if time.monotonic() - self._seen_at > _FRESH_SECONDS:
            queues = {one.name: one for one in await describe_queues(self._temporal, self._queues)}
            self._seen = (await self._known_circuits(), queues)
            self._seen_at = time.monotonic()
        return HealthReport(*self._seen)

    async def down(self) -> set[str]:
        """Providers whose circuit is open: the router leaves them out."""
        circuits = await self._known_circuits()
        return {account for account, circuit in circuits.items() if circuit.state == "open"}

    async def _known_circuits(self) -> Mapping[str, Circuit]:
        try:
            return await self._circuits.all()
        except DependencyDown:
            return {}


class HealthReport:
    """Circuits and queues at one instant."""

    def __init__(self, circuits: Mapping[str, Circuit], queues: Mapping[str, QueueState]) -> None:
        self._circuits = circuits
        self._queues = queues

    def of(self, model: ModelSpec) -> Health:
        """Down without workers or with an open circuit, degraded after failures."""
        circuit = self._circuits.get(model.provider, Circuit())
        queue = self._queues.get(model.queue)
        if queue is None or queue.workers is None:
            return "unknown"
        if not queue.workers or circuit.state == "open":
            return "down"
        return "degraded" if circuit.failures else "healthy"
