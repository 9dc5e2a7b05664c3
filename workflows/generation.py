"""One generation: its steps one after another, each recorded, and an ending that is recorded whatever happens.

What fails for a reason that lies in no request is kept as a dead letter, with the run open: a person has it go on, or
ends it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from activities.engine import EngineActivities
    from activities.failures import (
        Spent,
        can_wait,
        fault_of,
        out_of_time,
        ran_out,
        recorded,
        spent_on_engine,
        unknown,
    )
    from activities.providers import ProviderActivities
    from activities.records import RecordActivities
    from genpulse.schemas import attributes
    from genpulse.schemas.generations import GenerationFault
    from genpulse.schemas.plans import (
        Cancellation,
        Choice,
        Ending,
        GenerationResult,
        GenerationTicket,
        Parking,
        Resolution,
        Resumption,
        StepOrder,
        StepOutcome,
        StepTicket,
    )
    from genpulse.schemas.states import GenerationStatus
    from workflows.policies import CLOUD, CLOUD_CANCEL, CLOUD_SEND, ENGINE, FALL_BACK_ON, RECORD


@workflow.defn(name="GenerationWorkflow")
class GenerationWorkflow:
    """Its id is the generation's. It carries ids and states; prompts and media stay in database and storage."""

    @workflow.init
    def __init__(self, ticket: GenerationTicket) -> None:
        self._deadline_at = ticket.deadline_at
        self._round = ticket.round
        self._callbacks = 0
        self._is_parked = ticket.parked is not None
        self._resolution: Resolution | None = None

    @workflow.run
    async def run(self, ticket: GenerationTicket) -> GenerationResult:
        """Run every step. Fails, or is cancelled, as the generation is."""
        try:
            for step in ticket.steps:
                await self._run_step(ticket, step)
                _stop_if_cancelled()
            return await self._end(ticket, GenerationStatus.SUCCEEDED)
        except BaseException as error:
            if is_cancelled_exception(error):
                await asyncio.shield(self._end(ticket, GenerationStatus.CANCELED))
                raise
            if not isinstance(error, Exception):
                raise  # the worker is dropping this run from its cache; another one goes on with it
            raise await self._fail(ticket, fault_of(error)) from error

    # -- one step -------------------------------------------------------------------------------------------------

    async def _run_step(self, ticket: GenerationTicket, step: StepTicket) -> None:
        """Until it is done, or fails in a way that waiting for a person cannot mend."""
        parked = ticket.parked
        if parked is not None and step.position < parked.position:
            return None  # done, by a run that is gone
        choices = [Choice(model=step.model, queue=step.queue), *step.fallbacks]
        if parked is not None and step.position == parked.position:
            resolution = await self._parked(ticket, step, parked.fault, parked.kept_until)
            choices = resolution.choices or choices
        while True:
            try:
                return await self._run_with_any(choices, ticket, step)
            except (ActivityError, ApplicationError) as error:
                _stop_if_cancelled()
                if not can_wait(error):
                    raise
                fault = fault_of(error)
            kept_until = workflow.now() + timedelta(seconds=ticket.kept_seconds)
            resolution = await self._parked(ticket, step, fault, kept_until)
            choices = resolution.choices or choices

    async def _run_with_any(self, choices: Sequence[Choice], ticket: GenerationTicket, step: StepTicket) -> None:
        """With the first model, or, where that cannot do it, with the others in turn."""
        for number, choice in enumerate(choices, start=1):
            try:
                return await self._run_with(choice, ticket, step, has_next=number < len(choices))
            except (ActivityError, ApplicationError) as error:
                if number == len(choices) or fault_of(error).code not in FALL_BACK_ON:
                    raise
        raise AssertionError("a step has a model")

    async def _run_with(self, choice: Choice, ticket: GenerationTicket, step: StepTicket, *, has_next: bool) -> None:
        order = StepOrder(
            generation_id=ticket.generation_id,
            tenant_id=ticket.tenant_id,
            position=step.position,
            model=choice.model,
            total=len(ticket.steps),
            has_next=has_next,
            round=self._round,
            weight=ticket.weight,
            priority=ticket.priority,
        )
        self._describe(choice, ticket, step)
        await workflow.execute_local_activity_method(RecordActivities.submit_step, order, **RECORD)
        summary = f"{step.id}: {step.operation} on {choice.model}"
        if choice.model.startswith("local/"):
            await self._run_on_engine(order, choice, ticket, summary)
        else:
            await self._run_at_cloud(order, choice, ticket, summary)

    async def _run_on_engine(self, order: StepOrder, choice: Choice, ticket: GenerationTicket, summary: str) -> None:
        left, waiting = self._time_left(workflow.now() + timedelta(seconds=ticket.start_seconds), "start")
        try:
            await workflow.execute_activity_method(
                EngineActivities.run,
                order,
                task_queue=choice.queue,
                schedule_to_start_timeout=left,
                start_to_close_timeout=timedelta(seconds=ticket.run_seconds),
                schedule_to_close_timeout=self._time_left()[0],
                summary=summary,
                **ENGINE,
            )
        except ActivityError as error:
            if ran_out(error):
                raise recorded(fault_of(error, spent=spent_on_engine(error, waiting=waiting))) from error
            raise

    async def _run_at_cloud(self, order: StepOrder, choice: Choice, ticket: GenerationTicket, summary: str) -> None:
        self._callbacks = 0
        left, spent = self._time_left(workflow.now() + timedelta(seconds=ticket.start_seconds), "start")
        try:
            accepted = await workflow.execute_activity_method(
                ProviderActivities.submit,
                order,
                task_queue=choice.queue,
                schedule_to_close_timeout=left,
                summary=f"{summary}: send",
                **CLOUD_SEND,
            )
            _stop_if_cancelled()
            if accepted.outcome is None:
                run_until = workflow.now() + timedelta(seconds=ticket.run_seconds)
                spent = self._time_left(run_until, "run")[1]
                await self._await_job(order, choice, run_until, summary)
        except BaseException as error:
            if is_cancelled_exception(error) or (isinstance(error, ActivityError) and _is_cancelled()):
                await asyncio.shield(self._cancel_at_cloud(order, choice))
                _stop_if_cancelled()
            elif isinstance(error, ActivityError) and ran_out(error):
                raise await self._give_up(order, choice, fault_of(error, spent=spent)) from error
            raise

    async def _await_job(self, order: StepOrder, choice: Choice, run_until: datetime, summary: str) -> None:
        """Poll as often as the model merits, and at once whenever the cloud calls back.

        The call back may come before the answer that tells of the job: those are counted since the step was sent.
        """
        while True:
            seen = self._callbacks
            polling = workflow.start_activity_method(
                ProviderActivities.poll,
                order.model_copy(update={"called_back": seen > 0}),
                task_queue=choice.queue,
                schedule_to_close_timeout=self._time_left(run_until, "run")[0],
                summary=f"{summary}: wait and fetch",
                **CLOUD,
            )
            called = asyncio.create_task(self._called_after(seen))
            await workflow.wait([polling, called], return_when=asyncio.FIRST_COMPLETED)
            called.cancel()
            if polling.done():
                await polling
                return
            polling.cancel()
            polling.add_done_callback(_heard)

    async def _called_after(self, seen: int) -> None:
        await workflow.wait_condition(lambda: self._callbacks > seen)

    @workflow.signal(name="called_back")
    def called_back(self) -> None:
        """The cloud says that something has happened to a job of ours."""
        self._callbacks += 1

    async def _give_up(self, order: StepOrder, choice: Choice, fault: GenerationFault) -> ApplicationError:
        """What a step ends with that has used up its time: never that another model may go ahead beside a job."""
        cancellation = await self._cancel_at_cloud(order, choice)
        return unknown(fault) if cancellation.unknown and fault.code in FALL_BACK_ON else recorded(fault)

    async def _cancel_at_cloud(self, order: StepOrder, choice: Choice) -> Cancellation:
        with suppress(ActivityError):  # what cannot be cancelled goes on at the cloud, and its attempt says so
            return await workflow.execute_activity_method(
                ProviderActivities.cancel, order, task_queue=choice.queue, summary="cancel", **CLOUD_CANCEL
            )
        return Cancellation.uncertain()

    def _time_left(self, until: datetime | None = None, budget: Spent = "deadline") -> tuple[timedelta, Spent]:
        """How long until the deadline, or until that instant, if it is earlier; and which of the two it is."""
        now = workflow.now()
        spent, ends_at = (budget, until) if until and until < self._deadline_at else ("deadline", self._deadline_at)
        if ends_at <= now:
            raise recorded(out_of_time(spent))
        return ends_at - now, spent

    # -- dead letters ---------------------------------------------------------------------------------------------

    async def _parked(
        self, ticket: GenerationTicket, step: StepTicket, fault: GenerationFault, kept_until: datetime
    ) -> Resolution:
        """Wait for a person to have it go on. Fails with the fault when it is discarded, or nobody comes in time."""
        parking = Parking(
            generation_id=ticket.generation_id,
            position=step.position,
            round=self._round,
            fault=fault,
            kept_until=kept_until,
        )
        self._is_parked = True
        await workflow.execute_local_activity_method(RecordActivities.park, parking, **RECORD)
        self._show(GenerationStatus.DEAD_LETTERED, fault)
        workflow.set_current_details(
            f"**dead letter**, kept until {parking.kept_until:%Y-%m-%d %H:%M} UTC: step `{step.id}`, `{fault.code}`\n\n"
            f"{fault.message}\n\n`genpulse jobs retry {ticket.generation_id}` or `genpulse jobs discard …`"
        )
        resolution = await self._decision(ticket, fault, kept_until)
        self._resolution, self._is_parked = None, False
        if resolution.action == "discard":
            raise recorded(fault)
        await self._resume(ticket, step, resolution)
        return resolution

    async def _decision(self, ticket: GenerationTicket, fault: GenerationFault, kept_until: datetime) -> Resolution:
        kept_for = max(kept_until - workflow.now(), timedelta(0))
        with suppress(TimeoutError):
            await workflow.wait_condition(
                lambda: self._resolution is not None, timeout=kept_for, timeout_summary="kept as a dead letter"
            )
        if self._resolution is None:
            ending = Ending(generation_id=ticket.generation_id, status=GenerationStatus.FAILED, fault=fault)
            if await workflow.execute_local_activity_method(RecordActivities.expire, ending, **RECORD):
                raise recorded(fault)
            # Somebody decided at the last moment: it is written down, and on its way here.
            await workflow.wait_condition(lambda: self._resolution is not None)
        assert self._resolution is not None
        return self._resolution

    async def _resume(self, ticket: GenerationTicket, step: StepTicket, resolution: Resolution) -> None:
        first_deadline = ticket.deadline_at - workflow.info().start_time
        self._deadline_at = resolution.deadline_at or workflow.now() + first_deadline
        self._round += 1
        resumption = Resumption(
            generation_id=ticket.generation_id,
            position=step.position,
            round=self._round,
            deadline_at=self._deadline_at,
        )
        await workflow.execute_local_activity_method(RecordActivities.resume, resumption, **RECORD)
        self._show(GenerationStatus.RUNNING)

    @workflow.signal(name="resolve")
    def resolve(self, resolution: Resolution) -> None:
        """A person has decided about the dead letter; what was decided about an earlier one is over."""
        if self._is_parked and resolution.round in (None, self._round):
            self._resolution = resolution

    # -- endings --------------------------------------------------------------------------------------------------

    async def _fail(self, ticket: GenerationTicket, fault: GenerationFault) -> ApplicationError:
        workflow.set_current_details(f"**{fault.code}** {fault.message}")
        await self._end(ticket, GenerationStatus.FAILED, fault)
        return recorded(fault)

    async def _end(
        self, ticket: GenerationTicket, status: GenerationStatus, fault: GenerationFault | None = None
    ) -> GenerationResult:
        ending = Ending(generation_id=ticket.generation_id, status=status, fault=fault)
        result = await workflow.execute_local_activity_method(RecordActivities.finish, ending, **RECORD)
        self._show(status, fault)
        return result

    def _show(self, status: GenerationStatus, fault: GenerationFault | None = None) -> None:
        """To whoever looks for runs in the Web UI."""
        shown = [attributes.STATUS.value_set(status.value)]
        if fault is not None:
            shown.append(attributes.ERROR.value_set(fault.code))
        workflow.upsert_search_attributes(shown)

    def _describe(self, choice: Choice, ticket: GenerationTicket, step: StepTicket) -> None:
        provider = choice.model.partition("/")[0]
        workflow.set_current_details(
            f"Step {step.position + 1} of {len(ticket.steps)}: **{step.id}** ({step.operation}) on `{choice.model}`, "
            f"provider {provider}, queue {choice.queue}"
        )


def _stop_if_cancelled() -> None:
    """An activity whose cancellation is waited for may succeed or fail all the same; then nothing else tells of it."""
    if _is_cancelled():
        raise asyncio.CancelledError


def _is_cancelled() -> bool:
    return workflow.cancellation_reason() is not None


def _heard(polling: asyncio.Future[StepOutcome]) -> None:
    """A poll that another one takes over from may end as it likes; to have asked is what asyncio wants."""
    if not polling.cancelled():
        polling.exception()
