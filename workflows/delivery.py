"""One event on its way to one endpoint: tried by the schedule until it has arrived, or nothing more is to be sent."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.delivery import DeliveryActivities
    from genpulse.schemas.queues import WEBHOOK_QUEUE
    from genpulse.schemas.webhooks import DeliveryOrder, DeliveryOutcome, DeliveryResult, DeliveryTicket
    from workflows.policies import DELIVERY, DELIVERY_DELAYS, DELIVERY_JITTER


@workflow.defn(name="DeliveryWorkflow")
class DeliveryWorkflow:
    """Its id is the delivery's, and the `webhook-id` of every try. It carries ids; the event stays in the database."""

    @workflow.init
    def __init__(self, ticket: DeliveryTicket) -> None:
        self._round = ticket.round

    @workflow.run
    async def run(self, ticket: DeliveryTicket) -> DeliveryResult:
        """Try, in rounds: a person who asks for the event again begins the schedule anew."""
        while True:
            present = self._round
            outcome = await self._go_through(present, ticket)
            if self._round == present:
                return DeliveryResult(status=outcome.status)

    async def _go_through(self, present: int, ticket: DeliveryTicket) -> DeliveryOutcome:
        since = workflow.now()
        delays = () if ticket.once else DELIVERY_DELAYS
        for number, delay in enumerate((*delays, None), start=1):
            order = DeliveryOrder(
                delivery_id=ticket.delivery_id,
                round=present,
                since=since,
                next_in=_with_jitter(delay) if delay is not None else None,
            )
            outcome = await workflow.execute_activity_method(
                DeliveryActivities.attempt, order, task_queue=WEBHOOK_QUEUE, summary=f"try {number}", **DELIVERY
            )
            workflow.set_current_details(f"Try {number}: **{outcome.status}**. {outcome.note}")
            if outcome.wait_seconds is None or await self._asked_again(present, within=outcome.wait_seconds):
                return outcome
        raise AssertionError("the last try leads to no other")

    async def _asked_again(self, present: int, *, within: float) -> bool:
        """Whether a person wants it to be tried at once, while the next try is waited for."""
        with suppress(TimeoutError):
            await workflow.wait_condition(
                lambda: self._round > present, timeout=timedelta(seconds=within), timeout_summary="until the next try"
            )
        return self._round > present

    @workflow.signal(name="redeliver")
    def redeliver(self, number: int) -> None:
        """A person has asked for the event again, for the so manieth time; hearing of it twice is harmless."""
        self._round = max(self._round, number)


def _with_jitter(delay: timedelta) -> float:
    return delay.total_seconds() * (1 + DELIVERY_JITTER * workflow.random().random())
