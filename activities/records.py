"""Writing down where a generation stands; run as local activities, each one short transaction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from temporalio import activity

from activities.failures import to_temporal
from genpulse.errors import GenPulseError
from genpulse.schemas.plans import Ending, GenerationResult, StepOrder

if TYPE_CHECKING:
    from genpulse.records import Records


@dataclass(frozen=True)
class RecordActivities:
    """The database, as far as a workflow may write it."""

    records: Records

    @activity.defn(name="records.submit_step")
    async def submit_step(self, order: StepOrder) -> None:
        """The step is handed over to its queue."""
        try:
            await self.records.submit_step(order)
        except GenPulseError as error:
            raise to_temporal(error, None) from error

    @activity.defn(name="records.park")
    async def park(self, ending: Ending) -> None:
        """The generation waits for somebody to decide."""
        try:
            await self.records.park(ending)
        except GenPulseError as error:
            raise to_temporal(error, None) from error

    @activity.defn(name="records.finish")
    async def finish(self, ending: Ending) -> GenerationResult:
        """The generation has ended."""
        try:
            return await self.records.finish(ending)
        except GenPulseError as error:
            raise to_temporal(error, None) from error
