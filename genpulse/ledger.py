"""Credits: held when a generation is accepted, captured or released when it has ended, granted, given back, expired.

Every function works within its caller's transaction, so that what is written of a generation and what is written of its
credits are written together or not at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from functools import partial

from sqlalchemy.ext.asyncio import AsyncSession

from genpulse.db import Database, utc_now
from genpulse.errors import (
    IdempotencyKeyReused,
    InsufficientCredits,
    InvalidInput,
    ModelNotPriced,
    NotFound,
    SpendLimitReached,
)
from genpulse.models import CreditLotRow, CreditTransactionRow
from genpulse.pricing import most
from genpulse.repositories import balances, deliveries, steps, tenants, webhooks
from genpulse.repositories.balances import Account, Entry
from genpulse.schemas.credits import CreditChange, Credits, ExpiringCredits, Quote
from genpulse.schemas.states import GenerationStatus
from genpulse.schemas.webhooks import CreditsFacts

LOW_BALANCE = "credits.low"


@dataclass(frozen=True, kw_only=True)
class Bound:
    """The most that a generation may cost, and what of it has no price: its place in the request, and in words."""

    credits: int
    unpriced: Sequence[tuple[str, str]] = ()


async def hold(session: AsyncSession, tenant_id: str, generation_id: str, bound: Bound) -> Account:
    """Set aside what a generation may cost, or, repeated with what has been added, what it may cost besides.

    Raises InsufficientCredits, SpendLimitReached, and ModelNotPriced.
    """
    entry = Entry(
        kind="hold",
        available=-bound.credits,
        held=bound.credits,
        committed=bound.credits,
        generation_id=generation_id,
    )
    is_priced, now = not bound.unpriced, utc_now()
    account = await balances.post(session, tenant_id, entry, at=now, is_priced=is_priced)
    if account is None:
        await expire(session, tenant_id, now=now)
        account = await balances.post(session, tenant_id, entry, at=now, is_priced=is_priced, is_expiry_done=True)
    if account is None:
        await _explain(session, tenant_id, bound, now)
    assert account is not None
    return account


async def _explain(session: AsyncSession, tenant_id: str, bound: Bound, now: datetime) -> None:
    """Raise what stands against a hold."""
    account = await balances.get(session, tenant_id)
    if account is None:
        raise NotFound(f"There is no tenant {tenant_id}.")
    if bound.unpriced and not account.is_unlimited:
        field, what = bound.unpriced[0]
        raise ModelNotPriced(f"{what} has no price here, so it cannot be paid for with credits.", field=field)
    if not account.is_unlimited and account.available < bound.credits:
        raise InsufficientCredits(
            f"This may cost {bound.credits} credits, and {account.available} are available. "
            "POST /v1/generations:estimate says what a request may cost.",
            needed=bound.credits,
            available=account.available,
        )
    tomorrow = datetime.combine(now.date() + timedelta(days=1), time(), tzinfo=now.tzinfo)
    committed = account.committed if account.day == now.date() else 0
    raise SpendLimitReached(
        f"This may cost {bound.credits} credits; with the {committed} that are held or spent today (UTC) that would be "
        "more than the limit for a day.",
        needed=bound.credits,
        spent_today=committed,
        retry_after=max(1, int((tomorrow - now).total_seconds())),
    )


async def settle(session: AsyncSession, generation_id: str, status: GenerationStatus) -> Account | None:
    """Resolve the hold of a generation that has just ended: capture what its steps have cost, release the rest.

    Of one that was cancelled, what its provider bills in full is captured too. Return the account, which is locked;
    None where the generation's tenant has none.
    """
    if status is GenerationStatus.CANCELED:
        await _charge_canceled(session, generation_id)
    bill = await steps.bill_of(session, generation_id)
    charged, now = bill.charged, utc_now()
    # What was held on an earlier day counted towards that day's limit.
    is_of_today = bill.created_at.date() == now.date()
    counted = bill.held if is_of_today else await balances.held_on(session, generation_id, now.date())
    entry = Entry(
        kind="capture" if charged else "release",
        available=bill.held - charged,
        held=-bill.held,
        spent=charged,
        committed=-min(counted, bill.held - charged),
        generation_id=generation_id,
    )
    account = await balances.post(session, bill.tenant_id, entry, at=now)
    if account is None:
        return None
    await _spend_lots(session, account, charged)
    if charged:
        await _warn(session, bill.tenant_id, account, before=account.balance + charged)
    return account


async def _charge_canceled(session: AsyncSession, generation_id: str) -> None:
    """What was accepted before it was cancelled, and is billed in full all the same, is the caller's to pay."""
    for position, model, quotes in await steps.billed_when_canceled(session, generation_id):
        if model in quotes:
            quote = Quote.model_validate(quotes[model])
            charged, cost = most(quote.charge), most(quote.cost)
            await steps.add_charge(session, generation_id, position, charged=charged, cost=cost)


async def change(
    database: Database,
    tenant_id: str,
    wanted: CreditChange,
    *,
    made_by: str,
    idempotency_key: str | None = None,
    fingerprint: str | None = None,
) -> tuple[CreditTransactionRow, bool]:
    """Grant, give back, or correct, once for each key. Return the line, and whether it was there before.

    Raises what `write_change` raises, and IdempotencyKeyReused.
    """
    write = partial(write_change, made_by=made_by, idempotency_key=idempotency_key, fingerprint=fingerprint)
    async with database.transaction() as session:
        if idempotency_key is None:
            return await write(session, tenant_id, wanted), False
        await balances.lock(session, tenant_id)  # another request with this key may be writing at this moment
        known = await balances.made_with(session, tenant_id, idempotency_key)
        if known is None:
            return await write(session, tenant_id, wanted), False
    if known.fingerprint != fingerprint:
        raise IdempotencyKeyReused(
            "This Idempotency-Key came before with another body. Use a new key for another change.",
            field="Idempotency-Key",
        )
    return known, True


async def write_change(
    session: AsyncSession,
    tenant_id: str,
    wanted: CreditChange,
    *,
    made_by: str,
    idempotency_key: str | None = None,
    fingerprint: str | None = None,
) -> CreditTransactionRow:
    """Write a change of a balance down. An account that was unlimited begins at zero with its first grant.

    Raises NotFound, InvalidInput, InsufficientCredits.
    """
    account, now, is_refund = await balances.lock(session, tenant_id), utc_now(), wanted.kind == "refund"
    if account is None:
        raise NotFound(f"There is no tenant {tenant_id}.")
    if wanted.expires_at is not None and wanted.expires_at <= now:
        raise InvalidInput("`expires_at` must be in the future.", field="expires_at")
    if wanted.kind == "grant" and account.is_unlimited:
        await _begin_at_zero(session, account, now)
    if is_refund:
        await _check_refund(session, tenant_id, wanted)
    entry = Entry(
        kind=wanted.kind,
        available=wanted.amount,
        generation_id=wanted.generation_id,
        note=wanted.note,
        made_by=made_by,
        expires_at=wanted.expires_at,
        spent=-wanted.amount if is_refund else 0,
        granted=0 if is_refund else -wanted.amount,
        idempotency_key=idempotency_key,
        fingerprint=fingerprint,
    )
    after = await balances.post(session, tenant_id, entry, at=now)
    if after is None:
        raise InsufficientCredits(
            f"{-wanted.amount} credits cannot be taken away: {account.available} are available.",
            needed=-wanted.amount,
            available=account.available,
        )
    assert after.transaction_id is not None
    if wanted.expires_at is not None:
        await balances.add_lot(session, tenant_id, after.transaction_id, wanted.amount, wanted.expires_at)
    if wanted.amount < 0:
        await _spend_lots(session, after, -wanted.amount)
        await _warn(session, tenant_id, after, before=after.balance - wanted.amount)
    return await balances.transaction(session, after.transaction_id)


async def balance_of(session: AsyncSession, tenant_id: str) -> Credits:
    """What a tenant has, without what has expired, whether that has been taken away yet or not. Raises NotFound."""
    account, tenant = await balances.get(session, tenant_id), await tenants.get(session, tenant_id)
    if account is None or tenant is None:
        raise NotFound(f"There is no tenant {tenant_id}.")
    lots, now = await balances.lots(session, tenant_id), utc_now()
    lapsed = {lot.transaction_id: over for lot, over in _lapsed(lots, account.held, now)}
    return Credits(
        object="credits",
        available=account.available - sum(lapsed.values()),
        held=account.held,
        unlimited=account.is_unlimited,
        unit="credit",
        low_balance=tenant.low_balance,
        expiring=[
            ExpiringCredits(amount=left, expires_at=lot.expires_at)
            for lot in lots
            if (left := lot.remaining - lapsed.get(lot.transaction_id, 0))
        ],
    )


async def expire(session: AsyncSession, tenant_id: str, *, now: datetime | None = None) -> int:
    """Take away what has expired and is not held. Return how much that was."""
    now = now or utc_now()
    account = await balances.lock(session, tenant_id)
    if account is None or account.expires_at is None or account.expires_at > now:
        return 0
    expired = 0
    for lot, over in _lapsed(await balances.lots(session, tenant_id), account.held, now):
        await _drop(session, tenant_id, lot.transaction_id, over, now)
        expired += over
    if expired:
        await balances.note_expiry(session, tenant_id)
    return expired


def _lapsed(lots: Sequence[CreditLotRow], held: int, now: datetime) -> Iterator[tuple[CreditLotRow, int]]:
    """The lots that have expired, and how much of each is not held.

    Holds are taken to be of what expires first, so what is held stays until the hold is resolved.
    """
    for lot in lots:
        kept = min(lot.remaining, held)
        held -= kept
        if lot.remaining > kept and lot.expires_at <= now:
            yield lot, lot.remaining - kept


async def _drop(session: AsyncSession, tenant_id: str, lot_id: str, amount: int, now: datetime) -> None:
    note = f"What was left of {lot_id}"
    account = await balances.post(
        session, tenant_id, Entry(kind="expire", available=-amount, granted=amount, note=note), at=now
    )
    assert account is not None, "what is not held is available"
    await balances.shrink_lot(session, lot_id, amount)
    await _warn(session, tenant_id, account, before=account.balance + amount)


async def _spend_lots(session: AsyncSession, account: Account, amount: int) -> None:
    """What was spent was of what expires first; and what is not held any more may have expired meanwhile."""
    if account.expires_at is None:
        return
    left, tenant_id = amount, account.tenant_id
    for lot in await balances.lots(session, tenant_id):
        taken = min(lot.remaining, left)
        if taken:
            await balances.shrink_lot(session, lot.transaction_id, taken)
            left -= taken
    await balances.note_expiry(session, tenant_id)
    await expire(session, tenant_id)


async def _begin_at_zero(session: AsyncSession, account: Account, now: datetime) -> None:
    note = "What was used before the account had a balance"
    used = Entry(kind="adjust", available=-account.available, granted=account.available, note=note)
    await balances.post(session, account.tenant_id, used, at=now)
    await balances.limit(session, account.tenant_id)


async def _check_refund(session: AsyncSession, tenant_id: str, wanted: CreditChange) -> None:
    assert wanted.generation_id is not None, "the schema asks for it"
    charged = await balances.charged_for(session, tenant_id, wanted.generation_id)
    if wanted.amount > charged:
        raise InvalidInput(
            f"{wanted.generation_id} has cost {charged} credits; no more can be given back.", field="amount"
        )


async def _warn(session: AsyncSession, tenant_id: str, account: Account, *, before: int) -> None:
    """Tell the tenant's webhooks when the balance has just fallen to the mark, or below."""
    mark = account.low_balance
    if account.is_unlimited or mark is None or not account.balance <= mark < before:
        return
    facts = CreditsFacts(available=account.available, held=account.held, low_balance=mark)
    receivers = await webhooks.listening(session, tenant_id, LOW_BALANCE)
    await deliveries.tell(session, tenant_id, LOW_BALANCE, facts, receivers)
