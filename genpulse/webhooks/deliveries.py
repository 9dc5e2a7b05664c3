"""Trying to deliver an event: what is noted before and after, and what an answer leads to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import httpx
import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from genpulse.db import Database
from genpulse.errors import SecretUnreadable
from genpulse.failpoints import Failpoint
from genpulse.models import DeliveryRow, WebhookRow
from genpulse.repositories import deliveries, webhooks
from genpulse.schemas.webhooks import DeliveryOrder, DeliveryOutcome, DeliveryStatus
from genpulse.webhooks.endpoints import Endpoints, disable
from genpulse.webhooks.sending import Answer, post_event
from genpulse.webhooks.signing import active_secrets, signed_headers

#: However long a receiver asks us to wait.
MAX_WAIT = timedelta(days=1)

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Try:
    """A try that has been noted, and may be made."""

    number: int
    delivery: DeliveryRow
    webhook: WebhookRow
    at: datetime


@dataclass(frozen=True)
class Deliveries:
    """Sends events. Each method but `send` is one transaction; none but that goes out."""

    database: Database
    endpoints: Endpoints
    client: httpx.AsyncClient
    now: Callable[[], datetime]

    @Failpoint("deliveries.begin")
    async def begin(self, order: DeliveryOrder) -> Try | DeliveryOutcome:
        """Note that it is tried; or say what came of it, where that is known already."""
        now = self.now()
        async with self.database.transaction() as session:
            delivery = await deliveries.get_any(session, order.delivery_id)
            webhook = await webhooks.get(session, delivery.tenant_id, delivery.webhook_id) if delivery else None
            if delivery is None or webhook is None:  # its deliveries go with it, perhaps a moment ago
                return DeliveryOutcome(status="failed", note="The webhook has been deleted.")
            if webhook.disabled_at is not None:
                await deliveries.finish(session, delivery.id, "failed", in_round=order.round, at=now)
                return DeliveryOutcome(status="failed", note="The webhook is disabled.")
            number = await deliveries.open_attempt(session, delivery.id, in_round=order.round, at=now)
            if number is None:
                return DeliveryOutcome(status=_settled(delivery), note="It is over.")
            return Try(number, delivery, webhook, now)

    @Failpoint("deliveries.send")
    async def send(self, attempt: Try) -> Answer:
        """Sign the event, and send it once."""
        body = attempt.delivery.payload.encode()
        try:
            secrets = await self._secrets(attempt)
        except SecretUnreadable as error:
            return Answer(error=f"It was not sent: {error.message}")
        headers = signed_headers(attempt.delivery.id, body, secrets, at=attempt.at)
        return await post_event(self.client, attempt.webhook.url, body, headers)

    @Failpoint("deliveries.conclude")
    async def conclude(self, order: DeliveryOrder, attempt: Try, answer: Answer) -> DeliveryOutcome:
        """Note the answer, and what follows from it. May be repeated."""
        async with self.database.transaction() as session:
            await deliveries.close_attempt(
                session,
                attempt.delivery.id,
                attempt.number,
                duration_ms=round(answer.seconds * 1000),
                status_code=answer.status_code,
                error=answer.error,
                answer=answer.text,
            )
            outcome = await self._outcome(session, order, attempt, answer)
        log.info(
            "webhook.tried",
            delivery_id=attempt.delivery.id,
            webhook_id=attempt.webhook.id,
            number=attempt.number,
            status=outcome.status,
            answered=answer.status_code,
        )
        return outcome

    async def _secrets(self, attempt: Try) -> list[str]:
        keeper = attempt.webhook
        if keeper.secret is not None:
            return active_secrets(keeper, self.endpoints.sealer, at=attempt.at)
        common = await self.endpoints.request_secret(self.database, keeper.tenant_id)
        return active_secrets(common, self.endpoints.sealer, at=attempt.at)

    # The endpoint's row is always taken before those of deliveries, so that two tries never wait for each other.

    async def _outcome(
        self, session: AsyncSession, order: DeliveryOrder, attempt: Try, answer: Answer
    ) -> DeliveryOutcome:
        now = self.now()
        if answer.error is None:
            await webhooks.note_success(session, attempt.webhook.id)
            await deliveries.finish(session, attempt.delivery.id, "delivered", in_round=order.round, at=now)
            return DeliveryOutcome(status="delivered", note=f"It answered {answer.status_code}.")
        await webhooks.note_failure(session, attempt.webhook.id, since=attempt.at)
        if answer.is_gone:
            await disable(session, attempt.webhook, "gone")
        elif order.next_in is not None:
            return await self._postponed(session, order, answer)
        elif await self._is_failing(session, order, attempt):
            await disable(session, attempt.webhook, "failing")
        await deliveries.finish(session, attempt.delivery.id, "failed", in_round=order.round, at=now)
        return DeliveryOutcome(status="failed", note=answer.error)

    async def _postponed(self, session: AsyncSession, order: DeliveryOrder, answer: Answer) -> DeliveryOutcome:
        assert order.next_in is not None
        assert answer.error is not None
        wait = max(order.next_in, min(answer.retry_after or 0.0, MAX_WAIT.total_seconds()))
        due = self.now() + timedelta(seconds=wait)
        if not await deliveries.postpone(session, order.delivery_id, in_round=order.round, to=due):
            return DeliveryOutcome(status="failed", note="It is over, or asked for again.")
        return DeliveryOutcome(status="pending", note=answer.error, wait_seconds=wait)

    async def _is_failing(self, session: AsyncSession, order: DeliveryOrder, attempt: Try) -> bool:
        """Whether nothing at all has arrived there, all through the days for which this event was tried.

        A ping is tried for no days; and what a person has asked for again is not over.
        """
        present = await deliveries.get_any(session, order.delivery_id)
        if present is None or present.round != order.round or present.type == "webhook.ping":
            return False
        return not await deliveries.has_arrived_since(session, attempt.webhook.id, order.since)


def _settled(delivery: DeliveryRow) -> DeliveryStatus:
    return "delivered" if delivery.status == "delivered" else "failed"
