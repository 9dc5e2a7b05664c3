"""One generation: its steps one after another, each recorded, and an ending that is recorded whatever happens."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from activities.engine import EngineActivities
    from activities.failures import DEADLINE_EXCEEDED, OUTCOME_UNKNOWN, fault_of
    from activities.providers import ProviderActivities
    from activities.records import RecordActivities
    from genpulse.schemas import attributes
    from genpulse.schemas.generations import GenerationFault
    from genpulse.schemas.plans import (
        Choice,
        Ending,
        GenerationResult,
        GenerationTicket,
        StepOrder,
        StepOutcome,
        StepTicket,
    )
    from genpulse.schemas.states import GenerationStatus
    from workflows.policies import CLOUD, CLOUD_CANCEL, CLOUD_SEND, DEAD_LETTER_RETENTION, ENGINE, FALL_BACK_ON, RECORD


@workflow.defn(name="GenerationWorkflow")
class GenerationWorkflow:
    """Its id is the generation's. It carries ids and states; prompts and media stay in database and storage."""

    def __init__(self) -> None:
        self._callbacks = 0

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

    async def _run_step(self, ticket: GenerationTicket, step: StepTicket) -> None:
        """With its model, or, where that cannot do it, with its fallbacks in turn."""
        models = [Choice(model=step.model, queue=step.queue), *step.fallbacks]
        for number, choice in enumerate(models, start=1):
            try:
                return await self._run_with(choice, ticket, step, has_next=number < len(models))
            except ActivityError as error:
                if number == len(models) or fault_of(error).code not in FALL_BACK_ON:
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
        )
        self._describe(choice, ticket, step)
        await workflow.execute_local_activity_method(RecordActivities.submit_step, order, **RECORD)
        summary = f"{step.id}: {step.operation} on {choice.model}"
        if choice.model.startswith("local/"):
            await workflow.execute_activity_method(
                EngineActivities.run,
                order,
                task_queue=choice.queue,
                schedule_to_close_timeout=_time_left(ticket),
                summary=summary,
                **ENGINE,
            )
        else:
            await self._run_at_cloud(order, choice, ticket, summary)

    async def _run_at_cloud(self, order: StepOrder, choice: Choice, ticket: GenerationTicket, summary: str) -> None:
        self._callbacks = 0
        try:
            accepted = await workflow.execute_activity_method(
                ProviderActivities.submit,
                order,
                task_queue=choice.queue,
                schedule_to_close_timeout=_time_left(ticket),
                summary=f"{summary}: send",
                **CLOUD_SEND,
            )
            _stop_if_cancelled()
            if accepted.outcome is None:
                await self._await_job(order, choice, ticket, summary)
        except BaseException as error:
            if is_cancelled_exception(error):
                await asyncio.shield(self._cancel_at_cloud(order, choice))
            elif isinstance(error, ActivityError) and fault_of(error).code == OUTCOME_UNKNOWN:
                await self._park(ticket, fault_of(error))
            elif isinstance(error, ActivityError) and fault_of(error).code == DEADLINE_EXCEEDED:
                await self._cancel_at_cloud(order, choice)
            raise

    async def _await_job(self, order: StepOrder, choice: Choice, ticket: GenerationTicket, summary: str) -> None:
        """Poll as often as the model merits, and at once whenever the cloud calls back.

        The call back may come before the answer that tells of the job: those are counted since the step was sent.
        """
        while True:
            seen = self._callbacks
            polling = workflow.start_activity_method(
                ProviderActivities.poll,
                order.model_copy(update={"called_back": seen > 0}),
                task_queue=choice.queue,
                schedule_to_close_timeout=_time_left(ticket),
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

    async def _cancel_at_cloud(self, order: StepOrder, choice: Choice) -> None:
        with suppress(ActivityError):  # what cannot be cancelled goes on at the cloud, and its attempt says so
            await workflow.execute_activity_method(
                ProviderActivities.cancel, order, task_queue=choice.queue, summary="cancel", **CLOUD_CANCEL
            )

    async def _park(self, ticket: GenerationTicket, fault: GenerationFault) -> None:
        """Wait for a person; when nobody comes in time, the failure takes its course."""
        parked = GenerationStatus.DEAD_LETTERED
        ending = Ending(generation_id=ticket.generation_id, status=parked, fault=fault)
        await workflow.execute_local_activity_method(RecordActivities.park, ending, **RECORD)
        workflow.upsert_search_attributes([attributes.STATUS.value_set(parked.value)])
        workflow.set_current_details(f"**dead letter**: {fault.message}")
        await workflow.sleep(DEAD_LETTER_RETENTION, summary="kept as a dead letter")

    async def _fail(self, ticket: GenerationTicket, fault: GenerationFault) -> ApplicationError:
        workflow.set_current_details(f"**{fault.code}** {fault.message}")
        await self._end(ticket, GenerationStatus.FAILED, fault)
        return ApplicationError(fault.message, fault, type=fault.code, non_retryable=True)

    async def _end(
        self, ticket: GenerationTicket, status: GenerationStatus, fault: GenerationFault | None = None
    ) -> GenerationResult:
        ending = Ending(generation_id=ticket.generation_id, status=status, fault=fault)
        result = await workflow.execute_local_activity_method(RecordActivities.finish, ending, **RECORD)
        workflow.upsert_search_attributes([attributes.STATUS.value_set(status.value)])
        return result

    def _describe(self, choice: Choice, ticket: GenerationTicket, step: StepTicket) -> None:
        provider = choice.model.partition("/")[0]
        workflow.set_current_details(
            f"Step {step.position + 1} of {len(ticket.steps)}: **{step.id}** ({step.operation}) on `{choice.model}`, "
            f"provider {provider}, queue {choice.queue}"
        )


def _stop_if_cancelled() -> None:
    """An activity whose cancellation is waited for may succeed all the same; then nothing else tells of it."""
    if workflow.cancellation_reason() is not None:
        raise asyncio.CancelledError


def _heard(polling: asyncio.Future[StepOutcome]) -> None:
    """A poll that another one takes over from may end as it likes; to have asked is what asyncio wants."""
    if not polling.cancelled():
        polling.exception()


def _time_left(ticket: GenerationTicket) -> timedelta:
    left = ticket.deadline_at - workflow.now()
    if left <= timedelta(0):
        raise ApplicationError("The deadline passed.", type="deadline_exceeded", non_retryable=True)
    return left
