"""Runs as Temporal knows them: which are open, what has become of one, and how to end one.

Visibility, which lists runs, may be some seconds behind; `ask` is not. So whoever acts on a list asks first.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from temporalio.api.enums.v1 import WorkflowExecutionStatus
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle, WorkflowHistoryEventFilterType
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from genpulse.dispatch import DELIVERY_TYPE, WORKFLOW_TYPE
from genpulse.schemas import attributes
from genpulse.schemas.generations import GenerationFault

Connect = Callable[[], Awaitable[Client]]
"""Gives the client, once Temporal answers."""

_OPEN = "WorkflowType = '{type}' AND ExecutionStatus = 'Running'"
_PAGE = 1000
_RPC_TIMEOUT = timedelta(seconds=10)


class Fate(StrEnum):
    """What has become of a run; `unknown` where Temporal has never had it, or has it no more."""

    OPEN = "open"
    UNKNOWN = "unknown"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELED = "canceled"
    TERMINATED = "terminated"
    TIMED_OUT = "timed_out"


_S = WorkflowExecutionStatus
_FATES: dict[int, Fate] = {
    _S.WORKFLOW_EXECUTION_STATUS_COMPLETED: Fate.COMPLETED,
    _S.WORKFLOW_EXECUTION_STATUS_FAILED: Fate.FAILED,
    _S.WORKFLOW_EXECUTION_STATUS_CANCELED: Fate.CANCELED,
    _S.WORKFLOW_EXECUTION_STATUS_TERMINATED: Fate.TERMINATED,
    _S.WORKFLOW_EXECUTION_STATUS_TIMED_OUT: Fate.TIMED_OUT,
}


@dataclass(frozen=True, kw_only=True)
class OpenRun:
    """A run that has not ended; `status` is its generation's, as the run last said."""

    generation_id: str
    started_at: datetime
    status: str | None


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What Temporal says when it is asked about a run.

    `why` is what whoever terminated it wrote, `fault` what a generation failed with; `is_canceling` is true of an open
    one that has been told to end; `pending` names what it waits for, such as `providers.poll`.
    """

    fate: Fate
    why: str = ""
    fault: GenerationFault | None = None
    is_canceling: bool = False
    pending: tuple[str, ...] = ()


async def open_runs(client: Client, condition: str = "") -> AsyncIterator[OpenRun]:
    """Every open run of a generation that fulfils a condition in Temporal's language, page by page."""
    query = _OPEN.format(type=WORKFLOW_TYPE) + (f" AND ({condition})" if condition else "")
    async for run in client.list_workflows(query, page_size=_PAGE, rpc_timeout=_RPC_TIMEOUT):
        status = run.typed_search_attributes.get(attributes.STATUS)
        yield OpenRun(generation_id=run.id, started_at=run.start_time, status=status)


async def open_deliveries(client: Client) -> set[str]:
    """The deliveries that have an open run, by their ids."""
    runs = client.list_workflows(_OPEN.format(type=DELIVERY_TYPE), page_size=_PAGE, rpc_timeout=_RPC_TIMEOUT)
    return {run.id async for run in runs}


async def ask(client: Client, subject: str) -> Answer:
    """What has become of the newest run of a generation or a delivery, whose id is the workflow's."""
    handle = client.get_workflow_handle(subject)
    try:
        raw = (await handle.describe(rpc_timeout=_RPC_TIMEOUT)).raw_description
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        return Answer(fate=Fate.UNKNOWN)
    fate = _FATES.get(raw.workflow_execution_info.status, Fate.OPEN)  # running, or paused by an operator
    match fate:
        case Fate.OPEN:
            return Answer(
                fate=fate,
                is_canceling=raw.workflow_extended_info.cancel_requested,
                pending=tuple(one.activity_type.name for one in raw.pending_activities),
            )
        case Fate.TERMINATED:
            return Answer(fate=fate, why=await _reason(handle))
        case Fate.FAILED:
            return Answer(fate=fate, fault=await _fault(handle))
        case _:
            return Answer(fate=fate)


async def end(client: Client, generation_id: str, reason: str, *, by_force: bool) -> bool:
    """Cancel a run, or, `by_force`, terminate it. Return False where it has ended meanwhile."""
    handle = client.get_workflow_handle(generation_id)
    try:
        if by_force:
            await handle.terminate(reason=reason, rpc_timeout=_RPC_TIMEOUT)
        else:
            await handle.cancel(reason=reason, rpc_timeout=_RPC_TIMEOUT)
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        return False
    return True


async def _reason(handle: WorkflowHandle[Any, Any]) -> str:
    async for event in _last_event(handle):
        return event.workflow_execution_terminated_event_attributes.reason
    return ""


def _last_event(handle: WorkflowHandle[Any, Any]) -> AsyncIterator[HistoryEvent]:
    return handle.fetch_history_events(
        event_filter_type=WorkflowHistoryEventFilterType.CLOSE_EVENT, rpc_timeout=_RPC_TIMEOUT
    )


async def _fault(handle: WorkflowHandle[Any, Any]) -> GenerationFault | None:
    """What the generation would have shown, where the run got as far as to say it."""
    try:
        await handle.result(rpc_timeout=_RPC_TIMEOUT)
    except WorkflowFailureError as error:
        cause = error.cause
        if isinstance(cause, ApplicationError) and cause.details and isinstance(cause.details[0], dict):
            return GenerationFault.model_validate(cause.details[0])
    return None
