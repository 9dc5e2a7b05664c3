"""Who may begin: of a tenant's generations only so many are under way at once. The others wait, and are not refused.

It is counted while the tenant's credit account is locked, so that two never take the same place.
"""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncSession

from genpulse.repositories import balances, generations, tenants
from genpulse.repositories.balances import Account

_BATCH = 1000  # of which a statement names every one


async def take_place(session: AsyncSession, account: Account, generation_id: str) -> bool:
    """A generation is to be under way: have it wait where there is no place for it. Return whether there is one."""
    if await _has_place(session, account.tenant_id, account.in_flight):
        return True
    # The limit may have changed while the account was waited for; whoever changed it has filled the places by then.
    if await _has_place(session, account.tenant_id, await tenants.in_flight(session, account.tenant_id)):
        return True
    await generations.hold_back(session, generation_id)
    return False


async def _has_place(session: AsyncSession, tenant_id: str, in_flight: int | None) -> bool:
    return in_flight is None or await generations.count_admitted(session, tenant_id) <= in_flight


async def fill_places(session: AsyncSession, account: Account) -> int:
    """Have as many begin as there are places for. Return how many. Repeating it is harmless."""
    if account.in_flight is None:
        begun = 0
        while batch := await generations.admit(session, account.tenant_id, limit=_BATCH):
            begun += batch
        return begun
    free = account.in_flight - await generations.count_admitted(session, account.tenant_id)
    return await generations.admit(session, account.tenant_id, limit=free) if free > 0 else 0


async def return_to_place(session: AsyncSession, generation_id: str) -> None:
    """A generation that was not under way goes on: have it wait where there is no place for it."""
    tenant_id = await generations.limited_tenant_of(session, generation_id)
    account = await balances.lock(session, tenant_id) if tenant_id is not None else None
    if account is not None:
        await take_place(session, account, generation_id)


async def leave_place(session: AsyncSession, generation_id: str) -> None:
    """A generation is not under way any more, although it has not ended: another one may begin."""
    tenant_id = await generations.limited_tenant_of(session, generation_id)
    if tenant_id is not None:
        await look_again(session, tenant_id)


async def look_again(session: AsyncSession, tenant_id: str) -> int:
    """Fill the places of a tenant: one has become free, or there are more of them. Return how many have begun."""
    account = await balances.lock(session, tenant_id)
    return await fill_places(session, account) if account is not None else 0
