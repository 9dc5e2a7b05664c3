"""Paid calls as the database knows them: opened, sent, accepted. Each method is one transaction and may be repeated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from genpulse.db import Database, utc_now
from genpulse.errors import AlreadyFinished, InvariantBroken
from genpulse.models import AttemptRow
from genpulse.providers.base import Finished, Job, Output
from genpulse.records import StepWork
from genpulse.repositories import steps
from genpulse.schemas.generations import GenerationFault

if TYPE_CHECKING:
    from genpulse.records import Records
    from genpulse.schemas.plans import StepOrder


@dataclass(frozen=True, kw_only=True)
class Call:
    """A step at a cloud, as far as it has come.

    `answer` is there where the outputs came at once. `sent_at` without `job_id` or `answer` means that nobody knows the
    outcome.
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

    @property
    def is_accepted(self) -> bool:
        return self.job_id is not None or self.answer is not None


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """A job at an account, and the key of the call that made it."""

    account: str
    key: str
    job: Job


class Calls:
    """Writes down what was sent where, before it is sent and after it was accepted."""

    def __init__(self, database: Database, records: Records) -> None:
        self._database = database
        self._records = records

    async def open(self, order: StepOrder) -> Call:
        """Take the step up, or go on with the call that an earlier worker opened for this model.

        Raises AlreadyFinished when it need not be run any more. A step that has succeeded has outputs in its `work`.
        """
        known = await self._running(order)
        if known is not None and f"{known.provider}/{known.model}" == order.model:
            return _call(order, known, await self._records.step_work(order))
        work = await self._records.begin_step(order)
        if work.outputs:
            return _done(work)
        opened = await self._running(order)
        if opened is None:
            raise InvariantBroken(f"{order.generation_id} has no open attempt at step {order.position}.")
        return _call(order, opened, work)

    async def resume(self, order: StepOrder) -> Call | GenerationFault:
        """Go on with the call that was accepted.

        A callback starts a poll beside one that may just be telling what the job failed with; then there is no call any
        more, but that failure. Raises AlreadyFinished when the step need not be run any more.
        """
        known = await self._running(order)
        work = await self._records.step_work(order)
        if work.outputs:
            return _done(work)
        if known is not None and f"{known.provider}/{known.model}" == order.model:
            return _call(order, known, work)
        async with self._database.reading() as session:
            ended = await steps.ended_attempt(session, order.generation_id, order.position, order.model)
        if ended is None or ended.error is None:
            raise InvariantBroken(f"{order.generation_id} has no attempt at step {order.position} to go on with.")
        return GenerationFault.model_validate(ended.error)

    async def latest(self, order: StepOrder) -> Accepted | None:
        """The job of the running call, where it was accepted."""
        row = await self._running(order)
        if row is None or row.account is None or row.provider_job_id is None:
            return None
        job = Job(id=row.provider_job_id, handle=row.handle or {})
        return Accepted(account=row.account, key=_key(order, row), job=job)

    async def sending(self, order: StepOrder, call: Call, *, account: str, endpoint: str) -> None:
        """The call is about to be sent. From here on it is never sent a second time unless `withdrawn`."""
        await self._note(order, call, account=account, endpoint=endpoint, sent_at=utc_now())

    async def withdrawn(self, order: StepOrder, call: Call) -> None:
        """The cloud has not accepted it, for certain."""
        await self._note(order, call, sent_at=None)

    async def accepted(self, order: StepOrder, call: Call, job: Job) -> None:
        """The cloud has accepted it as this job."""
        await self._note(order, call, provider_job_id=job.id, handle=dict(job.handle))

    async def answered(self, order: StepOrder, call: Call, answer: Finished) -> None:
        """The cloud has accepted it, and made these outputs already, which are behind URLs."""
        kept = asdict(answer) | {"outputs": [{"url": output.url} for output in answer.outputs]}
        await self._note(order, call, answer=kept)

    async def _note(self, order: StepOrder, call: Call, **values: object) -> None:
        async with self._database.transaction() as session:
            if not await steps.note_attempt(session, order.generation_id, order.position, call.number, **values):
                raise AlreadyFinished("The attempt has ended.")

    async def _running(self, order: StepOrder) -> AttemptRow | None:
        async with self._database.reading() as session:
            return await steps.running_attempt(session, order.generation_id, order.position)


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
    )


def _answer(kept: Mapping[str, Any]) -> Finished:
    return Finished(**{**kept, "outputs": [Output(**output) for output in kept["outputs"]]})


def _done(work: StepWork) -> Call:
    return Call(work=work, number=0, key="", account=None, endpoint=None, sent_at=None, job_id=None, handle={})
