"""The Temporal Schedule that has upkeep run: made by whichever worker comes first, brought up to date by every one."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import structlog
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionExecutionStartWorkflow,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
    ScheduleUpdate,
    ScheduleUpdateInput,
)
from temporalio.service import RPCError

from genpulse.runs import Connect
from genpulse.schemas.queues import WORKFLOW_QUEUE
from genpulse.schemas.upkeep import UpkeepOrder, UpkeepReport
from genpulse.settings import UpkeepSettings

SCHEDULE_ID = "genpulse-upkeep"
WORKFLOW_TYPE = "UpkeepWorkflow"

#: A run that nobody works on must not keep the next ones from starting, which wait until it has ended.
_RUN_TIME = timedelta(hours=1)
_RPC_TIMEOUT = timedelta(seconds=10)
_PAUSE = 0.2

log = structlog.get_logger(__name__)


async def set_schedule(client: Client, settings: UpkeepSettings) -> None:
    """Make the schedule, or bring the one that is there to these settings. Whoever has paused it, has paused it."""
    try:
        await client.create_schedule(SCHEDULE_ID, _schedule(settings), rpc_timeout=_RPC_TIMEOUT)
    except ScheduleAlreadyRunningError:
        await client.get_schedule_handle(SCHEDULE_ID).update(
            lambda known: _updated(known, settings), rpc_timeout=_RPC_TIMEOUT
        )
    else:
        log.info("upkeep.scheduled", seconds=settings.interval.total_seconds())


async def keep_schedule(connect: Connect, settings: UpkeepSettings) -> None:
    """See again and again that the schedule is there: Temporal may lose its data while workers run."""
    while True:
        try:
            await set_schedule(await connect(), settings)
        except (RPCError, RuntimeError) as error:
            log.warning("upkeep.not_scheduled", reason=str(error))
        await asyncio.sleep(settings.interval.total_seconds())


async def run_now(client: Client, *, within: timedelta) -> UpkeepReport:
    """Run upkeep once more than the schedule does, and return its report. Raises TimeoutError, WorkflowFailureError."""
    handle = client.get_schedule_handle(SCHEDULE_ID)
    async with asyncio.timeout(within.total_seconds()):
        before = (await handle.describe(rpc_timeout=_RPC_TIMEOUT)).info.num_actions
        await handle.trigger(overlap=ScheduleOverlapPolicy.BUFFER_ONE, rpc_timeout=_RPC_TIMEOUT)
        while (info := (await handle.describe(rpc_timeout=_RPC_TIMEOUT)).info).num_actions == before:  # noqa: ASYNC110
            await asyncio.sleep(_PAUSE)  # nobody tells: another run may have to end first
        started = info.recent_actions[-1].action
        assert isinstance(started, ScheduleActionExecutionStartWorkflow)
        run = client.get_workflow_handle(started.workflow_id, run_id=started.first_execution_run_id)
        return UpkeepReport.model_validate(await run.result())


def _schedule(settings: UpkeepSettings) -> Schedule:
    return Schedule(
        action=ScheduleActionStartWorkflow(
            WORKFLOW_TYPE,
            UpkeepOrder(),
            id=SCHEDULE_ID,
            task_queue=WORKFLOW_QUEUE,
            execution_timeout=_RUN_TIME,
            static_summary="reconciliation and retention",
        ),
        spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=settings.interval)]),
        # What was missed while Temporal was down is made up for by the next run.
        policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP, catchup_window=timedelta(minutes=1)),
    )


def _updated(known: ScheduleUpdateInput, settings: UpkeepSettings) -> ScheduleUpdate | None:
    wanted = _schedule(settings)
    schedule = known.description.schedule
    if schedule.spec == wanted.spec and schedule.policy == wanted.policy:
        return None
    wanted.state = schedule.state
    return ScheduleUpdate(schedule=wanted)
