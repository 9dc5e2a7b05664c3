"""Telling receivers what has happened: one try, noted before and after."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from temporalio import activity

from activities.failures import to_temporal
from activities.pacing import alive, insist
from genpulse.errors import GenPulseError
from genpulse.schemas.webhooks import DeliveryOrder, DeliveryOutcome

if TYPE_CHECKING:
    from genpulse.webhooks.deliveries import Deliveries


@dataclass(frozen=True)
class DeliveryActivities:
    """The way out to receivers."""

    deliveries: Deliveries

    @activity.defn(name="delivery.attempt")
    async def attempt(self, order: DeliveryOrder) -> DeliveryOutcome:
        """Send an event once. Whatever the receiver does with it is a result; only what is ours fails."""
        async with alive():
            try:
                return await self._attempt(order)
            except GenPulseError as error:
                raise to_temporal(error, None) from error

    async def _attempt(self, order: DeliveryOrder) -> DeliveryOutcome:
        begun = await self.deliveries.begin(order)
        if isinstance(begun, DeliveryOutcome):
            return begun
        answer = await self.deliveries.send(begun)
        # What has arrived and is not noted would be sent again.
        return await insist(lambda: self.deliveries.conclude(order, begun, answer))
