"""The duties of upkeep, one activity each: what they do is the core's."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from temporalio import activity

from activities.failures import to_temporal
from activities.pacing import alive
from genpulse.errors import GenPulseError
from genpulse.schemas.upkeep import DutyOrder, DutyReport

if TYPE_CHECKING:
    from genpulse.sweep import Sweeper
    from genpulse.upkeep import Reconciler, Retention


@dataclass(frozen=True)
class UpkeepActivities:
    """Each may be repeated, by itself or beside another one."""

    reconciler: Reconciler
    sweeper: Sweeper
    retention: Retention

    @activity.defn(name="upkeep.reconcile_rows")
    async def reconcile_rows(self, order: DutyOrder) -> DutyReport:
        """Rows without a workflow."""
        async with _on_duty():
            return await self.reconciler.rows(order.begin_after)

    @activity.defn(name="upkeep.reconcile_runs")
    async def reconcile_runs(self, _order: DutyOrder) -> DutyReport:
        """Workflows without a row."""
        async with _on_duty():
            return await self.reconciler.runs()

    @activity.defn(name="upkeep.reconcile_deliveries")
    async def reconcile_deliveries(self, order: DutyOrder) -> DutyReport:
        """Events without a workflow."""
        async with _on_duty():
            return await self.reconciler.deliveries(order.begin_after)

    @activity.defn(name="upkeep.close_attempts")
    async def close_attempts(self, _order: DutyOrder) -> DutyReport:
        """Attempts without an answer."""
        async with _on_duty():
            return await self.reconciler.attempts()

    @activity.defn(name="upkeep.expire")
    async def expire(self, order: DutyOrder) -> DutyReport:
        """What has been kept for long enough, and assets without an owner."""
        async with _on_duty():
            return await self.retention.expire(order.begin_after)

    @activity.defn(name="upkeep.sweep_storage")
    async def sweep_storage(self, order: DutyOrder) -> DutyReport:
        """Files that no asset needs."""
        async with _on_duty():
            return await self.sweeper.sweep(order.begin_after)

    def all(self) -> list[Callable[..., Any]]:
        """What a worker registers."""
        return [
            self.reconcile_rows,
            self.reconcile_runs,
            self.reconcile_deliveries,
            self.close_attempts,
            self.expire,
            self.sweep_storage,
        ]


@asynccontextmanager
async def _on_duty() -> AsyncIterator[None]:
    async with alive():
        try:
            yield
        except GenPulseError as error:
            raise to_temporal(error, None) from error
