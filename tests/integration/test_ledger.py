"""Credits on both databases: random sequences of whatever can happen to a balance, with crashes and repetitions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from genpulse import ledger
from genpulse.db import Database, utc_now
from genpulse.doctor.invariants import look
from genpulse.doctor.ledger import of_credits
from genpulse.errors import (
    IdempotencyKeyReused,
    InsufficientCredits,
    InvalidInput,
    ModelNotPriced,
    NotFound,
    SpendLimitReached,
)
from genpulse.ids import new_id
from genpulse.ledger import Bound
from genpulse.models import (
    CreditAccountRow,
    CreditLotRow,
    CreditTransactionRow,
    DeliveryRow,
    GenerationRow,
    StepRow,
    TenantRow,
    WebhookRow,
)
from genpulse.repositories import balances, generations, tenants, webhooks
from genpulse.repositories.balances import Entry
from genpulse.schemas.credits import CreditChange
from genpulse.schemas.states import GenerationStatus
from genpulse.submissions import fingerprint
from tests.integration.conftest import database_url
from tests.tables import create_tables, generation_row, step_row

ADMIN = "administrator"


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
async def database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Database]:
    made = Database(await database_url(request, tmp_path_factory.mktemp("ledger")))
    await create_tables(made)
    yield made
    await made.dispose()


@dataclass
class Purse:
    """A tenant with credits, and what can happen to them."""

    database: Database
    tenant_id: str
    open: list[str] = field(default_factory=list)

    async def grant(self, amount: int, **values: Any) -> CreditTransactionRow:
        return await self.change(CreditChange(amount=amount, **values))

    async def change(self, wanted: CreditChange) -> CreditTransactionRow:
        row, _ = await ledger.change(self.database, self.tenant_id, wanted, made_by=ADMIN)
        return row

    async def hold(self, amount: int) -> str:
        """Submit something that may cost so much."""
        async with self.database.transaction() as session:
            generation_id = await _plant(session, self.tenant_id, amount)
            await ledger.hold(session, self.tenant_id, generation_id, Bound(credits=amount))
        return generation_id

    async def end(self, generation_id: str, status: GenerationStatus, *, charged: int = 0) -> bool:
        """End it, where it has not ended, as `records.finish` does."""
        async with self.database.transaction() as session:
            entered = await generations.enter(session, generation_id, status)
            if entered:
                step = update(StepRow).where(col(StepRow.generation_id) == generation_id)
                await session.execute(step.values(charged=charged))
                await ledger.settle(session, generation_id, status)
        return entered

    async def account(self) -> CreditAccountRow:
        async with self.database.reading() as session:
            found = await balances.get(session, self.tenant_id)
        assert found is not None
        return found

    async def figures(self) -> tuple[int, int]:
        """What is available, and what is held."""
        account = await self.account()
        return account.available, account.held

    async def lines(self) -> list[tuple[str, int, int]]:
        async with self.database.reading() as session:
            rows = await balances.page(session, self.tenant_id, limit=1000)
        return [(row.kind, row.available, row.held) for row in reversed(rows)]

    async def pass_expiry(self) -> None:
        """Whatever expires has done so, a moment ago."""
        past = utc_now() - timedelta(seconds=1)
        async with self.database.transaction() as session:
            await session.execute(
                update(CreditLotRow).where(col(CreditLotRow.tenant_id) == self.tenant_id).values(expires_at=past)
            )
            await balances.note_expiry(session, self.tenant_id)


@pytest.fixture
async def purse(database: Database) -> Purse:
    return await open_purse(database)


async def open_purse(database: Database, **values: Any) -> Purse:
    tenant_id = new_id("ten")
    async with database.transaction() as session:
        await tenants.add(session, TenantRow(id=tenant_id, name="a tenant", created_at=utc_now(), **values))
    return Purse(database, tenant_id)


async def _plant(session: AsyncSession, tenant_id: str, held: int) -> str:
    now, generation_id = utc_now(), new_id("gen")
    row = generation_row(generation_id, tenant_id=tenant_id, status=GenerationStatus.RUNNING, admitted_at=now)
    step = step_row(generation_id, held=held)
    await session.execute(insert(GenerationRow), [row.model_dump()])
    await session.execute(insert(StepRow), [step.model_dump()])
    return generation_id


async def broken(database: Database) -> dict[str, Sequence[str]]:
    """Which invariants do not hold, and for whom."""
    found = {one.id: (await look(database, one))[1] for one in of_credits()}
    return {name: ids for name, ids in found.items() if ids}


# Whatever happens -----------------------------------------------------------------------------------------------------


class Crash(Exception):
    """The process dies before it can commit."""


AMOUNT = st.integers(1, 60)
ACTION = st.one_of(
    st.tuples(st.just("grant"), AMOUNT, st.booleans()),
    st.tuples(st.just("hold"), AMOUNT, st.just(0)),
    st.tuples(st.just("end"), st.integers(0, 5), st.integers(0, 60)),
    st.tuples(st.just("adjust"), st.integers(-40, 40).filter(bool), st.just(0)),
    st.tuples(st.just("refund"), st.integers(0, 5), AMOUNT),
    st.tuples(st.just("pass"), st.just(0), st.just(0)),
    st.tuples(st.just("expire"), st.just(0), st.just(0)),
)
#: How often it is tried, and whether the first time dies half way.
STEP = st.tuples(ACTION, st.integers(1, 2), st.booleans())
REFUSALS = (InsufficientCredits, InvalidInput)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(STEP, min_size=1, max_size=14))
async def test_whatever_happens_the_books_are_in_order(database: Database, script: list[Any]) -> None:
    purse, ended = await open_purse(database), list[str]()
    for (kind, first, second), times, dies in script:
        if dies:
            with pytest.raises(Crash):
                await _act(_dying(purse), ended, kind, first, second)
        for _ in range(times):
            await _act(purse, ended, kind, first, second)
        account = await purse.account()
        assert account.available >= 0 <= account.held
        assert account.available + account.held + account.spent + account.granted == 0
    for generation_id in purse.open:
        await purse.end(generation_id, GenerationStatus.FAILED)
    assert (await purse.account()).held == 0
    assert await broken(database) == {}


async def _act(purse: Purse, ended: list[str], kind: str, first: int, second: int) -> None:
    try:
        match kind:
            case "grant":
                soon = utc_now() + timedelta(hours=1)
                await purse.grant(first, expires_at=soon if second else None)
            case "hold":
                purse.open.append(await purse.hold(first))
            case "adjust":
                await purse.change(CreditChange(amount=first, kind="adjust"))
            case "end" if purse.open:
                generation_id = purse.open[first % len(purse.open)]
                status = GenerationStatus.SUCCEEDED if second % 2 else GenerationStatus.FAILED
                held = await _held(purse.database, generation_id)
                await purse.end(generation_id, status, charged=min(second, held))
                ended.append(generation_id)
            case "refund" if ended:
                of = ended[first % len(ended)]
                await purse.change(CreditChange(amount=second, kind="refund", generation_id=of))
            case "pass":
                await purse.pass_expiry()
            case "expire":
                async with purse.database.transaction() as session:
                    await ledger.expire(session, purse.tenant_id)
            case _:
                if isinstance(purse.database, _Dying):
                    raise Crash
    except REFUSALS:
        if isinstance(purse.database, _Dying):
            raise Crash from None


async def _held(database: Database, generation_id: str) -> int:
    async with database.reading() as session:
        query = select(col(StepRow.held)).where(col(StepRow.generation_id) == generation_id)
        return int((await session.execute(query)).scalar_one())


class _Dying(Database):
    """Whoever writes there dies before it is committed."""

    def __init__(self, real: Database) -> None:
        self._real = real

    def transaction(self) -> Any:
        return self._die_at_the_end()

    def reading(self) -> Any:
        return self._real.reading()

    def _die_at_the_end(self) -> Any:
        from contextlib import asynccontextmanager

        @asynccontextmanager
        async def dying() -> AsyncIterator[AsyncSession]:
            async with self._real.transaction() as session:
                yield session
                raise Crash

        return dying()


def _dying(purse: Purse) -> Purse:
    return Purse(_Dying(purse.database), purse.tenant_id, list(purse.open))


async def test_whoever_comes_first_gets_it_and_nobody_more_than_there_is(database: Database) -> None:
    purse = await open_purse(database)
    await purse.grant(500)
    outcomes = await asyncio.gather(*(_try(lambda: purse.hold(10)) for _ in range(80)))
    accepted = [one for one in outcomes if isinstance(one, str)]
    assert len(accepted) == 50
    assert await purse.figures() == (0, 500)
    # Each is ended three times at once, with all that can be at the same time.
    endings = [(one, status) for one in accepted for status in (GenerationStatus.FAILED, GenerationStatus.SUCCEEDED)]
    first = await asyncio.gather(
        *(_try(partial(purse.end, *one)) for one in endings * 2),
        *(_try(lambda: purse.hold(7)) for _ in range(20)),
        *(_try(lambda: purse.grant(3)) for _ in range(20)),
    )
    assert sum(one is True for one in first) == 50
    assert await broken(database) == {}


async def _try(act: Callable[[], Awaitable[Any]]) -> Any:
    try:
        return await act()
    except InsufficientCredits as error:
        return error


# One by one -----------------------------------------------------------------------------------------------------------


async def test_what_was_used_is_captured_and_the_rest_released(purse: Purse) -> None:
    await purse.grant(100)
    generation_id = await purse.hold(60)
    assert await purse.figures() == (40, 60)
    assert await purse.end(generation_id, GenerationStatus.SUCCEEDED, charged=45)
    assert await purse.figures() == (55, 0)
    assert await purse.lines() == [("grant", 100, 0), ("hold", -60, 60), ("capture", 15, -60)]


async def test_a_failure_releases_all(purse: Purse) -> None:
    await purse.grant(100)
    generation_id = await purse.hold(60)
    await purse.end(generation_id, GenerationStatus.FAILED)
    assert await purse.figures() == (100, 0)
    assert (await purse.lines())[-1] == ("release", 60, -60)


async def test_the_database_itself_refuses_a_second_resolution(purse: Purse) -> None:
    await purse.grant(100)
    generation_id = await purse.hold(60)
    await purse.end(generation_id, GenerationStatus.FAILED)
    with pytest.raises(IntegrityError):
        async with purse.database.transaction() as session:
            await ledger.settle(session, generation_id, GenerationStatus.FAILED)
    assert await purse.figures() == (100, 0)


async def test_the_database_itself_refuses_a_line_that_does_not_sum_to_zero(purse: Purse) -> None:
    await purse.grant(100)
    with pytest.raises(IntegrityError):
        async with purse.database.transaction() as session:
            await session.execute(text("UPDATE credit_transaction SET available = available + 1"))


async def test_more_than_there_is_is_refused_with_both_figures(purse: Purse) -> None:
    await purse.grant(100)
    with pytest.raises(InsufficientCredits) as refused:
        await purse.hold(101)
    assert refused.value.details == {"needed": 101, "available": 100}
    assert await purse.figures() == (100, 0)


async def test_what_has_no_price_is_only_for_the_unlimited(database: Database, purse: Purse) -> None:
    await purse.grant(100)
    bound = Bound(credits=0, unpriced=[("steps.1.model", "fal/unknown")])
    with pytest.raises(ModelNotPriced, match="fal/unknown") as refused:
        async with database.transaction() as session:
            await ledger.hold(session, purse.tenant_id, "gen_1", bound)
    assert refused.value.field == "steps.1.model"
    async with database.transaction() as session:
        assert (await ledger.hold(session, "default", "gen_1", bound)).is_unlimited


async def test_an_unlimited_account_begins_at_zero_with_its_first_grant(database: Database) -> None:
    tenant_id = new_id("ten")
    async with database.transaction() as session:
        await tenants.add(session, TenantRow(id=tenant_id, name="t", created_at=utc_now()), is_unlimited=True)
    purse = Purse(database, tenant_id)
    running, over = await purse.hold(30), await purse.hold(20)
    await purse.end(over, GenerationStatus.SUCCEEDED, charged=20)
    assert await purse.figures() == (-50, 30)
    await purse.grant(100)
    assert await purse.figures() == (100, 30)
    await purse.end(running, GenerationStatus.FAILED)
    with pytest.raises(InsufficientCredits):
        await purse.hold(131)


async def test_a_day_has_its_limit(database: Database) -> None:
    purse = await open_purse(database, spend_per_day=100)
    await purse.grant(1000)
    failing, other = await purse.hold(60), await purse.hold(40)
    with pytest.raises(SpendLimitReached) as refused:
        await purse.hold(1)
    assert 0 < refused.value.details["retry_after"] <= 24 * 3600
    await purse.end(failing, GenerationStatus.FAILED)
    await purse.end(other, GenerationStatus.SUCCEEDED, charged=40)
    await purse.hold(60)
    with pytest.raises(SpendLimitReached):
        await purse.hold(1)
    yesterday = (utc_now() - timedelta(days=1)).date()
    async with database.transaction() as session:
        await session.execute(
            update(CreditAccountRow).where(col(CreditAccountRow.tenant_id) == purse.tenant_id).values(day=yesterday)
        )
    await purse.hold(100)


async def test_a_line_that_comes_with_the_day_before_does_not_begin_the_day_anew(database: Database) -> None:
    purse = await open_purse(database, spend_per_day=100)
    await purse.grant(1000)
    await purse.hold(100)
    late = Entry(kind="hold", available=-1, held=1, committed=1, generation_id="gen_late")
    async with database.transaction() as session:
        assert await balances.post(session, purse.tenant_id, late, at=utc_now() - timedelta(days=1)) is None
        correction = Entry(kind="adjust", available=1, granted=-1)
        assert await balances.post(session, purse.tenant_id, correction, at=utc_now() - timedelta(days=1))
    with pytest.raises(SpendLimitReached):
        await purse.hold(1)


async def test_what_was_held_today_for_an_earlier_generation_is_given_back_to_the_day(database: Database) -> None:
    """As by a retry with a dearer model."""
    purse, yesterday = await open_purse(database, spend_per_day=100), utc_now() - timedelta(days=1)
    async with database.transaction() as session:
        generation_id = await _plant(session, purse.tenant_id, 100)
        of_generation = col(GenerationRow.id) == generation_id
        await session.execute(update(GenerationRow).where(of_generation).values(created_at=yesterday))
        first = Entry(kind="hold", available=-20, held=20, committed=20, generation_id=generation_id)
        for entry in (Entry(kind="grant", available=1000, granted=-1000), first):
            await balances.post(session, purse.tenant_id, entry, at=yesterday)
        await ledger.hold(session, purse.tenant_id, generation_id, Bound(credits=80))
    assert (await purse.account()).committed == 80
    await purse.end(generation_id, GenerationStatus.SUCCEEDED, charged=30)
    assert (await purse.account()).committed == 80 - 70


async def test_refunds_give_back_no_more_than_was_charged(purse: Purse) -> None:
    await purse.grant(100)
    generation_id = await purse.hold(50)
    await purse.end(generation_id, GenerationStatus.SUCCEEDED, charged=50)
    await purse.change(CreditChange(amount=30, kind="refund", generation_id=generation_id))
    with pytest.raises(InvalidInput, match="has cost 20 credits"):
        await purse.change(CreditChange(amount=21, kind="refund", generation_id=generation_id))
    assert await purse.figures() == (80, 0)


async def test_a_change_with_a_key_happens_once(database: Database, purse: Purse) -> None:
    async def change(amount: int) -> tuple[CreditTransactionRow, bool]:
        wanted = CreditChange(amount=amount, note="invoice 7")
        return await ledger.change(
            database,
            purse.tenant_id,
            wanted,
            made_by=ADMIN,
            idempotency_key="invoice-7",
            fingerprint=fingerprint(wanted.model_dump(mode="json")),
        )

    made = await asyncio.gather(*(change(100) for _ in range(10)))
    assert len({row.id for row, _ in made}) == 1
    assert sum(not replayed for _, replayed in made) == 1
    assert await purse.figures() == (100, 0)
    with pytest.raises(IdempotencyKeyReused):
        await change(200)


@pytest.mark.parametrize("kind", ["adjust", "refund"])
async def test_a_change_that_could_not_happen_twice_is_repeated_all_the_same(
    database: Database, purse: Purse, kind: Literal["adjust", "refund"]
) -> None:
    await purse.grant(5)
    if kind == "refund":
        charged = await purse.hold(5)
        await purse.end(charged, GenerationStatus.SUCCEEDED, charged=5)
        wanted = CreditChange(amount=5, kind=kind, generation_id=charged)
    else:
        wanted = CreditChange(amount=-5, kind=kind)
    key = {"idempotency_key": "case-8", "fingerprint": fingerprint(wanted.model_dump(mode="json"))}
    changes = (ledger.change(database, purse.tenant_id, wanted, made_by=ADMIN, **key) for _ in range(5))
    made = await asyncio.gather(*changes)
    assert len({row.id for row, _ in made}) == 1
    assert await purse.figures() == ((5, 0) if kind == "refund" else (0, 0))


async def test_an_unknown_tenant_has_nothing_to_change(database: Database) -> None:
    with pytest.raises(NotFound):
        await Purse(database, "ten_unknown").grant(1)


# Credits that expire --------------------------------------------------------------------------------------------------


SOON = timedelta(hours=1)


async def test_what_expires_first_is_spent_first(database: Database, purse: Purse) -> None:
    await purse.grant(100)
    await purse.grant(50, expires_at=utc_now() + 2 * SOON)
    await purse.grant(30, expires_at=utc_now() + SOON)
    generation_id = await purse.hold(60)
    await purse.end(generation_id, GenerationStatus.SUCCEEDED, charged=60)
    async with database.reading() as session:
        assert [lot.remaining for lot in await balances.lots(session, purse.tenant_id)] == [20]


async def test_expired_credits_cannot_be_held(purse: Purse) -> None:
    await purse.grant(100)
    await purse.grant(50, expires_at=utc_now() + SOON)
    await purse.pass_expiry()
    with pytest.raises(InsufficientCredits) as refused:
        await purse.hold(101)
    assert refused.value.details["available"] == 100
    await purse.hold(100)
    assert await purse.figures() == (0, 100)
    assert ("expire", -50, 0) in await purse.lines()


async def test_what_has_expired_is_not_shown_any_more(database: Database, purse: Purse) -> None:
    await purse.grant(100, expires_at=utc_now() + SOON)
    await purse.grant(7)
    await purse.hold(30)
    await purse.pass_expiry()
    async with database.reading() as session:
        shown = await ledger.balance_of(session, purse.tenant_id)
    assert (shown.available, shown.held, [one.amount for one in shown.expiring]) == (7, 30, [30])
    with pytest.raises(InsufficientCredits) as refused:
        await purse.hold(8)
    assert refused.value.details["available"] == shown.available


async def test_what_is_held_expires_once_it_is_released(purse: Purse) -> None:
    await purse.grant(50, expires_at=utc_now() + SOON)
    generation_id = await purse.hold(40)
    await purse.pass_expiry()
    async with purse.database.transaction() as session:
        assert await ledger.expire(session, purse.tenant_id) == 10
    assert await purse.figures() == (0, 40)
    await purse.end(generation_id, GenerationStatus.SUCCEEDED, charged=15)
    assert await purse.figures() == (0, 0)
    assert (await purse.account()).spent == 15
    assert await broken(purse.database) == {}


async def test_expired_credits_that_are_held_keep_nobody_from_spending_others(purse: Purse) -> None:
    await purse.grant(50, expires_at=utc_now() + SOON)
    first = await purse.hold(40)
    await purse.pass_expiry()
    await purse.grant(100)
    second = await purse.hold(100)
    assert await purse.figures() == (0, 140)
    await purse.end(first, GenerationStatus.FAILED)
    assert await purse.figures() == (40, 100), "what expires first counts as held by the other one now"
    await purse.end(second, GenerationStatus.FAILED)
    assert await purse.figures() == (100, 0)


# Events ---------------------------------------------------------------------------------------------------------------


async def test_a_low_balance_is_told_once_when_it_becomes_low(database: Database) -> None:
    purse = await open_purse(database, low_balance=50)
    hook = WebhookRow(
        id=new_id("whk"), tenant_id=purse.tenant_id, url="https://example.com", events=[], created_at=utc_now()
    )
    async with database.transaction() as session:
        await webhooks.add(session, hook)
    await purse.grant(100)
    for charged in (30, 30, 30):
        generation_id = await purse.hold(30)
        await purse.end(generation_id, GenerationStatus.SUCCEEDED, charged=charged)
    async with database.reading() as session:
        query = select(DeliveryRow).where(col(DeliveryRow.webhook_id) == hook.id)
        told = [row for row in (await session.execute(query)).scalars() if row.type == "credits.low"]
    assert len(told) == 1
    assert '"available":40' in told[0].payload
