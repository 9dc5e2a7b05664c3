"""Making and changing tenants and their keys."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy.ext.asyncio import AsyncSession

from genpulse import ledger, places
from genpulse.db import utc_now
from genpulse.errors import Forbidden, InvalidInput, KeyInactive, NotFound
from genpulse.ids import is_id, new_id
from genpulse.keys import digest, new_key, shown_parts
from genpulse.models import ApiKeyRow, TenantRow
from genpulse.repositories import keys, tenants
from genpulse.schemas.credits import CreditChange
from genpulse.schemas.tenants import AllowedModels, ApiKeyCreate, KeyRotation, Scope, TenantCreate, TenantUpdate
from genpulse.security import DEFAULT_TENANT, Caller


@dataclass(frozen=True)
class TenantKeys:
    """What may be done with a tenant's keys. `digester` is the server's own key."""

    digester: bytes

    async def create(
        self, session: AsyncSession, tenant_id: str, wanted: ApiKeyCreate, *, by: Caller
    ) -> tuple[ApiKeyRow, str]:
        """A new key and its secret. Raises Forbidden where it could do more than whoever makes it."""
        models = wanted.models or (list(by.key_models) if by.key_models else None)
        _refuse_more(by, wanted.scopes, models)
        if wanted.expires_at is not None and wanted.expires_at <= utc_now():
            raise InvalidInput("`expires_at` must be in the future.", field="expires_at")
        return await self._add(
            session,
            tenant_id=tenant_id,
            name=wanted.name,
            scopes=[one.value for one in Scope if one in wanted.scopes],
            models=models,
            expires_at=wanted.expires_at,
        )

    async def rotate(
        self, session: AsyncSession, tenant_id: str, key_id: str, wanted: KeyRotation, *, by: Caller
    ) -> tuple[ApiKeyRow, str]:
        """A new key like this one, which ends with the overlap. Raises NotFound, Forbidden, KeyInactive."""
        row, now = await find_key(session, tenant_id, key_id), utc_now()
        _refuse_more(by, [Scope(one) for one in row.scopes], row.models)
        until = now + timedelta(seconds=wanted.overlap_seconds)
        new, secret = await self._add(
            session,
            tenant_id=tenant_id,
            name=row.name,
            scopes=row.scopes,
            models=row.models,
            expires_at=row.expires_at,
        )
        ends = until if row.expires_at is None else min(until, row.expires_at)
        if not await keys.replace(session, tenant_id, key_id, by=new.id, at=now, until=ends):
            raise KeyInactive(f"{key_id} was revoked, has expired, or was rotated already; make a new key instead.")
        return new, secret

    async def revoke(self, session: AsyncSession, tenant_id: str, key_id: str) -> None:
        """It works no more, in any process, after five seconds; saying so again is harmless. Raises NotFound."""
        await find_key(session, tenant_id, key_id)
        await keys.revoke(session, tenant_id, key_id, at=utc_now())

    async def _add(self, session: AsyncSession, **values: Any) -> tuple[ApiKeyRow, str]:
        secret = new_key()
        prefix, last_four = shown_parts(secret)
        row = ApiKeyRow(
            id=new_id("key"),
            digest=digest(secret, self.digester),
            prefix=prefix,
            last_four=last_four,
            created_at=utc_now(),
            **values,
        )
        await keys.add(session, row)
        return row, secret


def state_of(row: ApiKeyRow, now: datetime) -> Literal["active", "expired", "revoked"]:
    """Whether a key works."""
    if row.revoked_at is not None:
        return "revoked"
    return "expired" if row.expires_at is not None and row.expires_at <= now else "active"


async def find_key(session: AsyncSession, tenant_id: str, key_id: str) -> ApiKeyRow:
    """A key of the tenant. Raises NotFound."""
    row = await keys.get(session, tenant_id, key_id) if is_id("key", key_id) else None
    if row is None:
        raise NotFound(f"There is no key {key_id}.")
    return row


async def find_tenant(session: AsyncSession, tenant_id: str) -> TenantRow:
    """A tenant. Raises NotFound."""
    known = tenant_id == DEFAULT_TENANT or is_id("ten", tenant_id)
    row = await tenants.get(session, tenant_id) if known else None
    if row is None:
        raise NotFound(f"There is no tenant {tenant_id}.")
    return row


async def create_tenant(session: AsyncSession, wanted: TenantCreate, *, by: str) -> TenantRow:
    """A new tenant. Its credits are its initial grant."""
    now = utc_now()
    row = TenantRow(
        id=new_id("ten"),
        name=wanted.name,
        weight=wanted.weight,
        low_balance=wanted.low_balance,
        suspended_at=now if wanted.suspended else None,
        created_at=now,
        **wanted.limits.model_dump(),
    )
    await tenants.add(session, row)
    if wanted.credits:
        first = CreditChange(amount=wanted.credits, note="Initial credits")
        await ledger.write_change(session, row.id, first, made_by=by)
    return row


async def change_tenant(session: AsyncSession, tenant_id: str, wanted: TenantUpdate) -> TenantRow:
    """Change what was given. Raises NotFound, and InvalidInput for what cannot be empty."""
    row = await find_tenant(session, tenant_id)
    values = wanted.model_dump(exclude_unset=True, exclude={"limits", "suspended"})
    for name in ("name", "weight"):
        if name in values and values[name] is None:
            raise InvalidInput(f"`{name}` cannot be null; leave it out to keep it.", field=name)
    if wanted.limits is not None:
        values |= wanted.limits.model_dump(exclude_unset=True)
    if wanted.suspended is not None and wanted.suspended is not (row.suspended_at is not None):
        values["suspended_at"] = utc_now() if wanted.suspended else None
    if values:
        await tenants.change(session, tenant_id, **values)
        await places.look_again(session, tenant_id)
        session.expire(row)
    return await find_tenant(session, tenant_id)


def _refuse_more(by: Caller, scopes: list[Scope], models: list[str] | None) -> None:
    """A key makes none that can do more: else whoever may manage could do everything."""
    if missing := [one for one in scopes if one not in by.scopes]:
        raise Forbidden(
            f"A key gives no scope that it does not have: yours lacks {', '.join(f'`{one}`' for one in missing)}.",
            field="scopes",
        )
    own = AllowedModels(by.key_models)
    if not own.are_all and (models is None or not own.cover(models)):
        raise Forbidden(
            f"A key gives no models that it may not use: yours may use {', '.join(by.key_models or ())} only.",
            field="models",
        )
