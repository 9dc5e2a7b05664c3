"""Endpoints: making, changing and trying them, and the secrets that they sign with."""

from __future__ import annotations

from dataclasses import dataclass

import structlog
from pydantic import HttpUrl
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from genpulse.db import Database, utc_now
from genpulse.errors import InvariantBroken, LimitReached, NotFound, UnsafeUrl, WebhookDisabled
from genpulse.ids import is_id, new_id
from genpulse.models import DeliveryRow, WebhookRow, WebhookSecretRow
from genpulse.net import AddressGuard
from genpulse.repositories import deliveries, webhooks
from genpulse.schemas.webhooks import (
    MAX_WEBHOOKS,
    DisabledBecause,
    RequestWebhook,
    SecretRotation,
    WebhookCreate,
    WebhookFacts,
    WebhookUpdate,
)
from genpulse.sealing import Sealer
from genpulse.webhooks.signing import active_secrets, new_secret, rotated

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Endpoints:
    """What a tenant may do with its endpoints. `allow_private` also allows plain http: for development and tests."""

    sealer: Sealer
    allow_private: bool = False

    def accept(self, wanted: RequestWebhook, tenant_id: str) -> str | None:
        """Check the webhook of a request; return its own secret, sealed, where it has one. Raises UnsafeUrl."""
        self._check(wanted.url, "webhook.url")
        return self.sealer.seal(wanted.secret.get_secret_value(), tenant_id) if wanted.secret else None

    async def create(self, session: AsyncSession, tenant_id: str, wanted: WebhookCreate) -> tuple[WebhookRow, str]:
        """A new endpoint and its secret. Raises UnsafeUrl, LimitReached."""
        self._check(wanted.url, "url")
        # Two requests at once may both make the last one: the limit is against scripts that run away.
        if await webhooks.count(session, tenant_id) >= MAX_WEBHOOKS:
            raise LimitReached(f"There are {MAX_WEBHOOKS} webhooks, which is the most; delete one that is not needed.")
        secret = wanted.secret.get_secret_value() if wanted.secret else new_secret()
        row = WebhookRow(
            id=new_id("whk"),
            tenant_id=tenant_id,
            url=str(wanted.url),
            events=list(wanted.events),
            description=wanted.description,
            secret=self.sealer.seal(secret, tenant_id),
            created_at=utc_now(),
        )
        await webhooks.add(session, row)
        return row, secret

    async def change(self, session: AsyncSession, tenant_id: str, webhook_id: str, wanted: WebhookUpdate) -> WebhookRow:
        """Change what was given. Raises NotFound, UnsafeUrl."""
        row = await find_webhook(session, tenant_id, webhook_id)
        values = wanted.model_dump(mode="json", exclude_none=True, exclude={"enabled"})
        if wanted.url is not None:
            self._check(wanted.url, "url")
        if wanted.enabled:
            values |= {"disabled_at": None, "disabled_reason": None, "failing_since": None}
        if values:
            await webhooks.change(session, tenant_id, row.id, **values)
        if wanted.enabled is False:
            await disable(session, row, "requested")
        session.expire(row)
        return await find_webhook(session, tenant_id, webhook_id)

    async def rotate(
        self, session: AsyncSession, tenant_id: str, webhook_id: str, wanted: SecretRotation
    ) -> tuple[WebhookRow, str]:
        """Give an endpoint a new secret. Raises NotFound, also for one that signs with the tenant's."""
        row = await find_webhook(session, tenant_id, webhook_id)
        if row.secret is None:
            raise NotFound(f"{webhook_id} signs with the secret for requests; rotate that one.")
        secret, values = rotated(row, self.sealer, wanted, at=utc_now())
        await webhooks.change(session, tenant_id, row.id, **values)
        session.expire(row)
        return await find_webhook(session, tenant_id, webhook_id), secret

    async def request_secret(self, database: Database, tenant_id: str) -> WebhookSecretRow:
        """The tenant's secret for webhooks that come with a request; made when it is first needed."""
        async with database.reading() as session:
            found = await webhooks.secret_of(session, tenant_id)
        if found is not None:
            return found
        made = WebhookSecretRow(tenant_id=tenant_id, secret=self.sealer.seal(new_secret(), tenant_id))
        try:
            async with database.transaction() as session:
                await webhooks.add_secret(session, made)
        except IntegrityError:  # somebody else was first
            async with database.reading() as session:
                found = await webhooks.secret_of(session, tenant_id)
            if found is None:
                raise InvariantBroken("The tenant has a secret, and has none.") from None
            return found
        return made

    async def rotate_request_secret(
        self, database: Database, tenant_id: str, wanted: SecretRotation
    ) -> WebhookSecretRow:
        """Give the webhooks that come with requests a new secret."""
        row = await self.request_secret(database, tenant_id)
        _, values = rotated(row, self.sealer, wanted, at=utc_now())
        async with database.transaction() as session:
            await webhooks.change_secret(session, tenant_id, **values)
        return WebhookSecretRow(**(row.model_dump() | values))

    def shown(self, row: WebhookSecretRow) -> str:
        """The tenant's secret in plain. Raises SecretUnreadable."""
        return active_secrets(row, self.sealer, at=utc_now())[0]

    def _check(self, url: HttpUrl, field: str) -> None:
        """Raise UnsafeUrl for what can be told before anything is sent; each try checks the address itself."""
        try:
            AddressGuard(allow_private=self.allow_private).check_url(str(url))
            if url.scheme != "https" and not self.allow_private:
                raise UnsafeUrl("events are sent to https URLs only")
        except UnsafeUrl as error:
            error.field = field
            raise


async def find_webhook(session: AsyncSession, tenant_id: str, webhook_id: str) -> WebhookRow:
    """An endpoint of the tenant. Raises NotFound."""
    row = await webhooks.get(session, tenant_id, webhook_id) if is_id("whk", webhook_id) else None
    if row is None:
        raise NotFound(f"There is no webhook {webhook_id}.")
    return row


async def find_delivery(session: AsyncSession, tenant_id: str, webhook_id: str, delivery_id: str) -> DeliveryRow:
    """A delivery to that endpoint of the tenant. Raises NotFound."""
    row = await deliveries.get(session, tenant_id, webhook_id, delivery_id) if is_id("evt", delivery_id) else None
    if row is None:
        raise NotFound(f"There is no delivery {delivery_id} to {webhook_id}.")
    return row


async def ping(session: AsyncSession, tenant_id: str, webhook_id: str) -> DeliveryRow:
    """Put an event on its way that is tried once. Raises NotFound, WebhookDisabled."""
    row = await _enabled(session, tenant_id, webhook_id)
    facts = WebhookFacts(id=row.id)
    return (await deliveries.tell(session, tenant_id, "webhook.ping", facts, [row.id]))[0]


async def redeliver(session: AsyncSession, tenant_id: str, webhook_id: str, delivery_id: str) -> DeliveryRow:
    """Have an event sent again, now, whatever came of it before. Raises NotFound, WebhookDisabled."""
    await _enabled(session, tenant_id, webhook_id)
    row = await find_delivery(session, tenant_id, webhook_id, delivery_id)
    await deliveries.send_again(session, tenant_id, delivery_id, at=utc_now())
    session.expire(row)
    return await find_delivery(session, tenant_id, webhook_id, delivery_id)


async def disable(session: AsyncSession, row: WebhookRow, reason: DisabledBecause) -> None:
    """Send nothing there any more, end what was on its way, and tell the tenant's other endpoints."""
    now = utc_now()
    if not await webhooks.disable(session, row.id, reason, at=now):
        return
    await deliveries.give_up(session, row.id, at=now)
    log.warning("webhook.disabled", webhook_id=row.id, tenant_id=row.tenant_id, reason=reason)
    if row.generation_id is None and reason != "requested":
        others = await webhooks.listening(session, row.tenant_id, "webhook.disabled")
        facts = WebhookFacts(id=row.id, disabled_reason=reason)
        await deliveries.tell(session, row.tenant_id, "webhook.disabled", facts, others)


async def _enabled(session: AsyncSession, tenant_id: str, webhook_id: str) -> WebhookRow:
    row = await find_webhook(session, tenant_id, webhook_id)
    if row.disabled_at is not None:
        raise WebhookDisabled(f"{webhook_id} is disabled; enable it first.")
    return row
