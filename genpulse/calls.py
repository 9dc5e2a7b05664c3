"""Paid calls as the database knows them: opened, sent, accepted. Each method is one transaction and may be repeated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from genpulse.db import Database, utc_now
from genpulse.errors import AlreadyFinished, InvariantBroken
from genpulse.failpoints import Failpoint
from genpulse.models import AttemptRow
from genpulse.providers.base import Finished, Job, Output
from genpulse.records import StepWork
from genpulse.repositories import steps
from genpulse.schemas.generations import GenerationFault
from genpulse.schemas.states import Billing

if TYPE_CHECKING:
    from genpulse.records import Records
    from genpulse.schemas.plans import StepOrder


@dataclass(frozen=True, kw_only=True)
class Call:
    """A step at a cloud, as far as it has come.

    `answer` is there where the outputs came at once. `sent_at` without `job_id` or `answer` means that nobody knows the
    outcome. `failed` is what it has ended with: it was accepted, may have been paid for, and is not sent again.
    """

    work: StepWork
    number: int
    key: str
    account: str | None
    endpoint: str | None
    sent_at: datetime | None
    job_id: str | None
    handle: dict[str, str]
    answer: Finished | None = None
    failed: GenerationFault | None = None

    @property
    def is_accepted(self) -> bool:
        return self.job_id is not None or self.answer is not None


class Calls:
    """Writes down what was sent where, before it is sent and after it was accepted."""

    def __init__(self, database: Database, records: Records) -> None:
        self._database = database
        self._records = records

    @Failpoint("calls.open")
    async def open(self, order: StepOrder) -> Call:
        """Take the step up, or go on with the call that an earlier worker opened for this model.

        Raises AlreadyFinished when it need not be run any more. A step that has succeeded has outputs in its `work`.
        """
        known = await self._last(order)
        if known is not None and _is_binding(known):
            return _call(order, known, await self._records.step_work(order))
        work = await self._records.begin_step(order)
        if work.outputs:
            return _done(work)
        opened = await self._last(order)
        if opened is None:
            raise InvariantBroken(f"{order.generation_id} has no open attempt at step {order.position}.")
        return _call(order, opened, work)

    @Failpoint("calls.resume")
    async def resume(self, order: StepOrder) -> Call:
        """The call that was opened, however far it has come since. Never opens another. Raises AlreadyFinished."""
        # In this order: the step may succeed in between, and then it is the step that tells.
        row = await self._last(order)
        work = await self._records.step_work(order)
        if work.outputs:
            return _done(work)
        if row is None or not _is_binding(row):
            raise AlreadyFinished("The attempt has ended.")
        return _call(order, row, work)

    @Failpoint("calls.sent")
    async def sent(self, order: StepOrder) -> Call | None:
        """The running call, where it has been sent. One that has not is closed: from here on nobody can send it.

        Raises AlreadyFinished when the step need not be run any more.
        """
        async with self._database.transaction() as session:
            await steps.close_unsent(session, order.generation_id, order.position, status="canceled")
        row = await self._last(order)
        if row is None or row.status != "running":
            return None
        return _call(order, row, await self._records.step_work(order))

    async def is_over(self, order: StepOrder, call: Call) -> bool:
        """Whether the call has ended, or nobody waits for it any more."""
        row = await self._last(order)
        return row is None or row.number != call.number or row.status != "running" or row.billing is not None

    async def key_of(self, order: StepOrder) -> str | None:
        """By which the limiter, and maybe the cloud, knows the last call, also one that has ended; None without one."""
        row = await self._last(order)
        return None if row is None else _key(order, row)

    @Failpoint("calls.sending")
    async def sending(self, order: StepOrder, call: Call, *, account: str, endpoint: str) -> None:
        """The call is about to be sent. From here on it is never sent a second time unless `withdrawn`.

        Raises AlreadyFinished where another worker was faster: one that had been taken for lost may come back.
        """
        await self._note(order, call, unsent=True, account=account, endpoint=endpoint, sent_at=utc_now())

    @Failpoint("calls.withdrawn")
    async def withdrawn(self, order: StepOrder, call: Call) -> None:
        """The cloud has not accepted it, for certain."""
        await self._note(order, call, sent_at=None)

    @Failpoint("calls.accepted")
    async def accepted(self, order: StepOrder, call: Call, job: Job) -> None:
        """The cloud has accepted it as this job."""
        await self._note(order, call, provider_job_id=job.id, handle=dict(job.handle))

    @Failpoint("calls.answered")
    async def answered(self, order: StepOrder, call: Call, answer: Finished) -> None:
        """The cloud has accepted it, and made these outputs already, which are behind URLs."""
        kept = asdict(answer) | {"outputs": [{"url": output.url} for output in answer.outputs]}
        await self._note(order, call, answer=kept)

    @Failpoint("calls.given_up")
    async def given_up(
        self, order: StepOrder, call: Call, billing: Billing, usage: Mapping[str, int | float] | None
    ) -> None:
        """Nobody waits for the call any more; this is what the cloud bills for it."""
        values: dict[str, Any] = {"billing": billing.value} | ({"usage": dict(usage)} if usage else {})
        await self._note(order, call, **values)

    async def _note(self, order: StepOrder, call: Call, *, unsent: bool = False, **values: object) -> None:
        async with self._database.transaction() as session:
            if not await steps.note_attempt(
                session, order.generation_id, order.position, call.number, unsent=unsent, **values
            ):
                raise AlreadyFinished("The attempt has ended, or another worker has sent it.")

    async def _last(self, order: StepOrder) -> AttemptRow | None:
        async with self._database.reading() as session:
            return await steps.last_attempt(
                session, order.generation_id, order.position, order.model, in_round=order.round
            )


def _is_binding(row: AttemptRow) -> bool:
    """Whether the call goes on, or has come to an end that no other may follow.

    A worker may write down that a job has failed and die, or be overtaken by another one, before Temporal knows.
    """
    return row.status == "running" or (row.status == "failed" and row.sent_at is not None)


def _key(order: StepOrder, row: AttemptRow) -> str:
    return f"{order.generation_id}-{order.position}-{row.number}"


def _call(order: StepOrder, row: AttemptRow, work: StepWork) -> Call:
    return Call(
        work=work,
        number=row.number,
        key=_key(order, row),
        account=row.account,
        endpoint=row.endpoint,
        sent_at=row.sent_at,
        job_id=row.provider_job_id,
        handle=row.handle or {},
        answer=_answer(row.answer) if row.answer else None,
        failed=GenerationFault.model_validate(row.error) if row.status == "failed" else None,
    )


def _answer(kept: Mapping[str, Any]) -> Finished:
    return Finished(**{**kept, "outputs": [Output(**output) for output in kept["outputs"]]})


def _done(work: StepWork) -> Call:
    return Call(work=work, number=0, key="", account=None, endpoint=None, sent_at=None, job_id=None, handle={})
