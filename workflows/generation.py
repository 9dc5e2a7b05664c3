"""One generation: its steps one after another, each recorded, and an ending that is recorded whatever happens."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ApplicationError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from activities.engine import EngineActivities
    from activities.failures import fault_of
    from activities.records import RecordActivities
    from genpulse.schemas import attributes
    from genpulse.schemas.generations import GenerationFault
    from genpulse.schemas.plans import Ending, GenerationResult, GenerationTicket, StepOrder, StepTicket
    from genpulse.schemas.states import GenerationStatus
    from workflows.policies import ENGINE, RECORD


@workflow.defn(name="GenerationWorkflow")
class GenerationWorkflow:
    """Its id is the generation's. It carries ids and states; prompts and media stay in database and storage."""

    @workflow.run
    async def run(self, ticket: GenerationTicket) -> GenerationResult:
        """Run every step. Fails, or is cancelled, as the generation is."""
        try:
            for step in ticket.steps:
                await self._run_step(ticket, step)
            return await self._end(ticket, GenerationStatus.SUCCEEDED)
        except BaseException as error:
            if is_cancelled_exception(error):
                await asyncio.shield(self._end(ticket, GenerationStatus.CANCELED))
                raise
            if not isinstance(error, Exception):
                raise  # the worker is dropping this run from its cache; another one goes on with it
            raise await self._fail(ticket, fault_of(error)) from error

    async def _run_step(self, ticket: GenerationTicket, step: StepTicket) -> None:
        order = StepOrder(
            generation_id=ticket.generation_id,
            tenant_id=ticket.tenant_id,
            position=step.position,
            total=len(ticket.steps),
        )
        self._describe(ticket, step)
        await workflow.execute_local_activity_method(RecordActivities.submit_step, order, **RECORD)
        await workflow.execute_activity_method(
            EngineActivities.run,
            order,
            task_queue=step.queue,
            schedule_to_close_timeout=_time_left(ticket),
            summary=f"{step.id}: {step.operation} on {step.model}",
            **ENGINE,
        )

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

    def _describe(self, ticket: GenerationTicket, step: StepTicket) -> None:
        provider = step.model.partition("/")[0]
        workflow.set_current_details(
            f"Step {step.position + 1} of {len(ticket.steps)}: **{step.id}** ({step.operation}) on `{step.model}`, "
            f"provider {provider}, queue {step.queue}"
        )


def _time_left(ticket: GenerationTicket) -> timedelta:
    left = ticket.deadline_at - workflow.now()
    if left <= timedelta(0):
        raise ApplicationError("The deadline passed.", type="deadline_exceeded", non_retryable=True)
    return left
