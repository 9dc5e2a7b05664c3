"""Endpoints of webhooks, and the secrets of those that come with a request."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import and_, bindparam, delete, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from genpulse.models import WebhookRow, WebhookSecretRow, metadata

# Writes name tables and not classes, see `generations`.
_WEBHOOK = metadata.tables[WebhookRow.__tablename__]
_SECRET = metadata.tables[WebhookSecretRow.__tablename__]

#: Put together once, because it is asked at every change of every generation.
_LISTENING = (
    select(_WEBHOOK.c.id, _WEBHOOK.c.events)
    .where(
        or_(
            and_(_WEBHOOK.c.tenant_id == bindparam("of_tenant"), _WEBHOOK.c.generation_id.is_(None)),
            _WEBHOOK.c.generation_id == bindparam("of_generation"),
        ),
        _WEBHOOK.c.disabled_at.is_(None),
    )
    .with_for_update(read=True, key_share=True)
)


async def add(session: AsyncSession, row: WebhookRow) -> None:
    """Insert a new endpoint."""
    await session.execute(insert(_WEBHOOK), [row.model_dump()])


async def get(session: AsyncSession, tenant_id: str, webhook_id: str) -> WebhookRow | None:
    """One endpoint of the tenant."""
    query = select(WebhookRow).where(col(WebhookRow.id) == webhook_id, col(WebhookRow.tenant_id) == tenant_id)
    return (await session.execute(query)).scalar_one_or_none()


async def page(
    session: AsyncSession,
    tenant_id: str,
    *,
    limit: int,
    starting_after: str | None = None,
    generation_id: str | None = None,
) -> Sequence[WebhookRow]:
    """The tenant's standing endpoints, or the one that came with a generation, newest first; at most `limit`."""
    query = select(WebhookRow).where(
        col(WebhookRow.tenant_id) == tenant_id,
        col(WebhookRow.generation_id) == generation_id if generation_id else col(WebhookRow.generation_id).is_(None),
    )
    if starting_after is not None:
        query = query.where(col(WebhookRow.id) < starting_after)
    return (await session.execute(query.order_by(col(WebhookRow.id).desc()).limit(limit))).scalars().all()


async def count(session: AsyncSession, tenant_id: str) -> int:
    """How many standing endpoints the tenant has."""
    query = select(func.count()).where(_WEBHOOK.c.tenant_id == tenant_id, _WEBHOOK.c.generation_id.is_(None))
    return (await session.execute(query)).scalar_one()


async def listening(
    session: AsyncSession, tenant_id: str, kind: str, *, generation_id: str | None = None
) -> Sequence[str]:
    """Ids of the endpoints that want an event of the tenant, or of that generation of its.

    They cannot be deleted before the transaction ends, so that deliveries to them can be inserted.
    """
    found = await session.execute(_LISTENING, {"of_tenant": tenant_id, "of_generation": generation_id})
    return [one for one, events in found if not events or kind in events]


async def change(session: AsyncSession, tenant_id: str, webhook_id: str, **values: Any) -> None:
    """Change an endpoint of the tenant."""
    query = update(_WEBHOOK).where(_WEBHOOK.c.id == webhook_id, _WEBHOOK.c.tenant_id == tenant_id)
    await session.execute(query.values(**values))


async def disable(session: AsyncSession, webhook_id: str, reason: str, *, at: datetime) -> bool:
    """Send it nothing any more. Return False where it is disabled already."""
    query = update(_WEBHOOK).where(_WEBHOOK.c.id == webhook_id, _WEBHOOK.c.disabled_at.is_(None))
    changed = query.values(disabled_at=at, disabled_reason=reason).returning(_WEBHOOK.c.id)
    return (await session.execute(changed)).first() is not None


async def note_failure(session: AsyncSession, webhook_id: str, *, since: datetime) -> None:
    """A try has failed; it matters when the first one in a row did."""
    query = update(_WEBHOOK).where(_WEBHOOK.c.id == webhook_id, _WEBHOOK.c.failing_since.is_(None))
    await session.execute(query.values(failing_since=since))


async def note_success(session: AsyncSession, webhook_id: str) -> None:
    """A try has succeeded."""
    query = update(_WEBHOOK).where(_WEBHOOK.c.id == webhook_id, _WEBHOOK.c.failing_since.is_not(None))
    await session.execute(query.values(failing_since=None))


async def remove(session: AsyncSession, tenant_id: str, webhook_id: str) -> None:
    """Forget an endpoint of the tenant with all that was on its way there."""
    await session.execute(delete(_WEBHOOK).where(_WEBHOOK.c.id == webhook_id, _WEBHOOK.c.tenant_id == tenant_id))


async def secret_of(session: AsyncSession, tenant_id: str) -> WebhookSecretRow | None:
    """The tenant's secret for webhooks that come with a request; None until it is needed."""
    query = select(WebhookSecretRow).where(col(WebhookSecretRow.tenant_id) == tenant_id)
    return (await session.execute(query)).scalar_one_or_none()


async def add_secret(session: AsyncSession, row: WebhookSecretRow) -> None:
    """The tenant's first secret. Raises IntegrityError where it has one."""
    await session.execute(insert(_SECRET), [row.model_dump()])


async def change_secret(session: AsyncSession, tenant_id: str, **values: Any) -> None:
    """Change the tenant's secret."""
    await session.execute(update(_SECRET).where(_SECRET.c.tenant_id == tenant_id).values(**values))
