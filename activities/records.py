"""Writing down where a generation stands; run as local activities, each one short transaction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from temporalio import activity

from activities.failures import to_temporal
from genpulse.errors import GenPulseError
from genpulse.schemas.plans import Ending, GenerationResult, Parking, Resumption, StepOrder

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
    async def park(self, parking: Parking) -> None:
        """The generation waits for somebody to decide."""
        try:
            await self.records.park(parking)
        except GenPulseError as error:
            raise to_temporal(error, None) from error

    @activity.defn(name="records.resume")
    async def resume(self, resumption: Resumption) -> None:
        """Somebody has decided that it goes on."""
        try:
            await self.records.resume(resumption)
        except GenPulseError as error:
            raise to_temporal(error, None) from error

    @activity.defn(name="records.expire")
    async def expire(self, ending: Ending) -> bool:
        """Nobody has decided in time. False where somebody has after all, and the workflow will hear of it."""
        try:
            return await self.records.expire(ending)
        except GenPulseError as error:
            raise to_temporal(error, None) from error

    @activity.defn(name="records.finish")
    async def finish(self, ending: Ending) -> GenerationResult:
        """The generation has ended."""
        try:
            return await self.records.finish(ending)
        except GenPulseError as error:
            raise to_temporal(error, None) from error
