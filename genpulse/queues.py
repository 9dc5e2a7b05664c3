"""Task queues as Temporal knows them: how much waits in each, since when, and who works on it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import UTC, timedelta

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client
from temporalio.service import RPCError

from genpulse.failpoints import Failpoint
from genpulse.schemas.queues import WORKFLOW_QUEUE
from genpulse.schemas.system import QueueState, WorkerState
from genpulse.temporal import TemporalConnection

_RPC_TIMEOUT = timedelta(seconds=2)


async def describe_queues(temporal: TemporalConnection, names: Iterable[str]) -> list[QueueState]:
    """The state of each queue; of unknown depth while Temporal does not answer."""
    try:
        client = await temporal()
    except RuntimeError:
        return [_unknown(name) for name in names]
    return list(await asyncio.gather(*(_describe(client, name) for name in names)))


@Failpoint("temporal.describe")
async def _describe(client: Client, name: str) -> QueueState:
    kind = TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW if name == WORKFLOW_QUEUE else TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY
    request = DescribeTaskQueueRequest(
        namespace=client.namespace, task_queue=TaskQueue(name=name), task_queue_type=kind, report_stats=True
    )
    try:
        answer = await client.workflow_service.describe_task_queue(request, timeout=_RPC_TIMEOUT)
    except RPCError:
        return _unknown(name)
    return QueueState(
        name=name,
        depth=answer.stats.approximate_backlog_count,
        oldest_seconds=round(answer.stats.approximate_backlog_age.ToTimedelta().total_seconds(), 1),
        workers=[
            WorkerState(identity=one.identity, last_seen_at=one.last_access_time.ToDatetime(UTC))
            for one in answer.pollers
        ],
    )


def _unknown(name: str) -> QueueState:
    return QueueState(name=name, depth=None, oldest_seconds=None, workers=None)
