"""The database against Temporal: rows without a workflow, workflows without a row, calls without an answer.

How a generation ended is Temporal's to say, what it has made is the database's. So Temporal is asked about each case
before anything is changed, and the change is made only if nothing has happened to the row meanwhile.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import timedelta
from typing import TypeVar

import structlog
from sqlalchemy.ext.asyncio import AsyncSession
from temporalio.client import Client

from genpulse.db import Database, utc_now
from genpulse.deadletters import remaining
from genpulse.errors import InvariantBroken
from genpulse.failpoints import Failpoint
from genpulse.models import DeliveryRow, StepRow
from genpulse.records import finish, go_on, park
from genpulse.repositories import deliveries, steps, upkeep
from genpulse.repositories.upkeep import Quiet
from genpulse.runs import Answer, Connect, Fate, OpenRun, ask, end, open_deliveries, open_runs
from genpulse.schemas.generations import GenerationFault
from genpulse.schemas.plans import Ending, Parking
from genpulse.schemas.states import GenerationStatus
from genpulse.schemas.upkeep import DutyReport
from genpulse.upkeep.pacing import DUTY_TIME, Watch

T = TypeVar("T")
Row = TypeVar("Row", Quiet, DeliveryRow)

#: Whatever is under way between database and Temporal has arrived by then.
QUIET_FOR = timedelta(minutes=2)
#: A call to a cloud is over by then, however slowly it answers.
_ANSWERED_WITHIN = timedelta(minutes=15)
_PAGE = 200
_AT_ONCE = 8  # questions to Temporal under way: enough to hide latency, too few to crowd out generations
#: More runs than this of which the database knows less than half: it is not the one that they were started from.
_FEW = 10

log = structlog.get_logger(__name__)


class Reconciler:
    """Brings database and Temporal together again. Several at once do no harm."""

    def __init__(
        self,
        database: Database,
        connect: Connect,
        *,
        kept_for: timedelta,
        quiet_for: timedelta = QUIET_FOR,
        time: timedelta = DUTY_TIME,
    ) -> None:
        self._database = database
        self._connect = connect
        self._kept_for = kept_for
        self._quiet_for = quiet_for
        self._time = time

    async def _mend(
        self,
        begin_after: str,
        find: Callable[..., Awaitable[Sequence[Row]]],
        known: set[str],
        mend: Callable[[Row], Awaitable[str]],
    ) -> DutyReport:
        """Do something about each row of which Temporal lists no open run, page by page, as long as there is time."""
        watch, counts, last = Watch(self._time), Counter[str](), begin_after
        while True:
            before = utc_now() - self._quiet_for
            async with self._database.reading() as session:
                page = await find(session, before=before, after=last, limit=_PAGE)
            if not page:
                return DutyReport(counts=counts)
            counts["looked_at"] += len(page)
            lost = [row for row in page if row.id not in known]
            for batch in _batches(lost, _AT_ONCE):
                counts.update(await asyncio.gather(*(mend(row) for row in batch)))
            last = page[-1].id
            if watch.is_over:
                return DutyReport(counts=counts, stopped_after=last)

    # Rows without a workflow ---------------------------------------------------------------------------------------

    @Failpoint("upkeep.rows")
    async def rows(self, begin_after: str = "") -> DutyReport:
        """See that every unfinished generation that was dispatched has an open workflow, or is started or ended."""
        client = await self._connect()
        known = {run.generation_id async for run in open_runs(client)}
        return await self._mend(begin_after, upkeep.quiet, known, lambda row: self._settle(client, row))

    async def _settle(self, client: Client, row: Quiet) -> str:
        """Do what has to be done about a row that seems to have no open workflow. Return what that was."""
        answer = await ask(client, row.id)
        if answer.fate is Fate.OPEN:
            return "has_a_workflow"
        async with self._database.transaction() as session:
            if not await upkeep.claim(session, row):
                return "has_moved_on"
            chain = (await steps.of_generations(session, [row.id])).get(row.id, [])
            done = await self._resolve(session, row, chain, answer)
        log.warning("upkeep.row_settled", generation_id=row.id, status=row.status, workflow=answer.fate, done=done)
        return done

    async def _resolve(self, session: AsyncSession, row: Quiet, chain: Sequence[StepRow], answer: Answer) -> str:
        ended = _ending(row, chain, answer)
        if ended is not None:
            if row.status is GenerationStatus.DEAD_LETTERED and ended.status is GenerationStatus.SUCCEEDED:
                await go_on(session, row.id, position=len(chain))
            await finish(session, ended)
            return ended.status.value
        if answer.fate is Fate.UNKNOWN or row.status is GenerationStatus.DEAD_LETTERED:
            await upkeep.forget_dispatch(session, row.id)
            return "started_again"
        await self._park(session, row, chain, answer)
        return "dead_lettered"

    async def _park(self, session: AsyncSession, row: Quiet, chain: Sequence[StepRow], answer: Answer) -> None:
        """It waits for a person, and the dispatcher gives it a workflow to wait in."""
        step = remaining(chain)
        assert step is not None
        fault = GenerationFault(
            code="internal",
            message=await self._what_happened(session, step, answer),
            retryable=True,
            provider=None,
            details={"workflow": answer.fate.value},
        )
        kept_until = utc_now() + self._kept_for
        parking = Parking(
            generation_id=row.id, position=step.position, round=row.round, fault=fault, kept_until=kept_until
        )
        await park(session, parking)
        await upkeep.forget_dispatch(session, row.id)

    async def _what_happened(self, session: AsyncSession, step: StepRow, answer: Answer) -> str:
        said = _WHAT_HAPPENED[answer.fate]
        if answer.why:
            said += f" (“{answer.why}”)"
        paid = await steps.in_flight(session, [step.generation_id])
        if call := paid.get((step.generation_id, step.position)):
            job = f"job {call.provider_job_id}" if call.provider_job_id else "a call that may have become a job"
            said += f", while step {step.step_id!r} had {job} at {call.account} that may be billed"
        return f"{said}. A retry goes on from step {step.step_id!r}."

    # Workflows without a row ---------------------------------------------------------------------------------------

    @Failpoint("upkeep.runs")
    async def runs(self) -> DutyReport:
        """See that every open workflow has a generation that has not ended.

        One that has not is cancelled, and terminated if it is still there the next time. Raises InvariantBroken,
        changing nothing, where the database knows so few of them that it must be the wrong one.
        """
        client, counts = await self._connect(), Counter[str]()
        before = utc_now() - self._quiet_for
        runs = [run async for run in open_runs(client) if run.started_at <= before]
        ownerless: list[OpenRun] = []
        for batch in _batches(runs, _PAGE):
            async with self._database.reading() as session:
                ended = await upkeep.endings(session, [run.generation_id for run in batch])
            ownerless += [run for run in batch if run.generation_id not in ended]
            over = [run for run in batch if (at := ended.get(run.generation_id)) is not None and at <= before]
            for run in over:
                counts[await self._end(client, run, "Its generation has ended.")] += 1
        counts["looked_at"] = len(runs)
        if len(ownerless) > max(_FEW, len(runs) / 2):
            raise InvariantBroken(
                f"{len(ownerless)} of {len(runs)} open workflows are of generations that this database does not have. "
                "Is it the right one? None was ended; after a restore from a backup, cancel them by hand."
            )
        for run in ownerless:
            counts[await self._end(client, run, "Its generation is not in the database.")] += 1
        return DutyReport(counts=counts)

    async def _end(self, client: Client, run: OpenRun, why: str) -> str:
        answer = await ask(client, run.generation_id)
        if answer.fate is not Fate.OPEN:
            return "has_ended"
        if not await end(client, run.generation_id, why, by_force=answer.is_canceling):
            return "has_ended"
        done = "terminated" if answer.is_canceling else "cancelled"
        at_clouds = [name for name in answer.pending if name.startswith("providers.")]
        log.warning(
            "upkeep.workflow_ended",
            generation_id=run.generation_id,
            why=why,
            done=done,
            waits_for=list(answer.pending),
            job_may_be_billed=bool(at_clouds),
        )
        return done

    # Events without a workflow -------------------------------------------------------------------------------------

    @Failpoint("upkeep.deliveries")
    async def deliveries(self, begin_after: str = "") -> DutyReport:
        """See that every event on its way to a receiver has an open workflow, or begins its way anew."""
        client = await self._connect()
        known = await open_deliveries(client)
        return await self._mend(begin_after, deliveries.under_way, known, lambda row: self._send_on(client, row))

    async def _send_on(self, client: Client, row: DeliveryRow) -> str:
        answer = await ask(client, row.id)
        if answer.fate is Fate.OPEN:
            return "has_a_workflow"
        async with self._database.transaction() as session:
            if not await deliveries.begin_anew(session, row.id, in_round=row.round, at=utc_now()):
                return "has_moved_on"
        log.warning("upkeep.delivery_begun_anew", delivery_id=row.id, workflow=answer.fate)
        return "started_again"

    # Attempts without an answer ------------------------------------------------------------------------------------

    @Failpoint("upkeep.attempts")
    async def attempts(self) -> DutyReport:
        """Close the attempts that nobody is on any more, and count the calls whose outcome nobody knows yet."""
        now = utc_now()
        async with self._database.transaction() as session:
            closed = await upkeep.close_abandoned(session, before=now - self._quiet_for, error=_ABANDONED)
        async with self._database.reading() as session:
            unanswered = await upkeep.count_unanswered(session, before=now - _ANSWERED_WITHIN)
        if closed or unanswered:
            log.warning("upkeep.attempts", closed=closed, unanswered=unanswered)
        return DutyReport(counts={"closed": closed, "unanswered": unanswered})


def _ending(row: Quiet, chain: Sequence[StepRow], answer: Answer) -> Ending | None:
    """How a generation has ended, where its closed workflow says so, or its steps do."""
    if answer.fate is Fate.UNKNOWN:
        return None
    # Whoever terminated what was being cancelled did what was wanted, by other means.
    if answer.fate is Fate.CANCELED or row.status is GenerationStatus.CANCELING:
        return Ending(generation_id=row.id, status=GenerationStatus.CANCELED)
    if remaining(chain) is None:
        return Ending(generation_id=row.id, status=GenerationStatus.SUCCEEDED)
    if answer.fault is not None:
        return Ending(generation_id=row.id, status=GenerationStatus.FAILED, fault=answer.fault)
    return None


def _batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (items[start : start + size] for start in range(0, len(items), size))


_WHAT_HAPPENED = {
    Fate.TERMINATED: "Somebody terminated its workflow in Temporal",
    Fate.TIMED_OUT: "Its workflow ran out of time in Temporal",
    Fate.FAILED: "Its workflow failed, and could not write down why",
    Fate.COMPLETED: "Its workflow says that it succeeded, but what it made is not in the database",
}
_ABANDONED = {
    "code": "outcome_unknown",
    "message": "Nobody is on this attempt any more; what came of it is not known.",
    "retryable": False,
    "provider": None,
    "details": {},
}
