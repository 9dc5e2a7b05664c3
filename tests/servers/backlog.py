"""How much waits in a task queue of a real Temporal server."""

from __future__ import annotations

import asyncio
import time

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client


async def until_waiting(client: Client, queue: str, count: int, *, patience: float = 60) -> None:
    """Return once so many activities wait there."""
    request = DescribeTaskQueueRequest(
        namespace=client.namespace,
        task_queue=TaskQueue(name=queue),
        task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY,
        report_stats=True,
    )
    deadline = time.monotonic() + patience
    while True:
        stats = (await client.workflow_service.describe_task_queue(request)).stats
        if stats.approximate_backlog_count >= count:
            return
        if time.monotonic() > deadline:
            raise TimeoutError(f"{stats.approximate_backlog_count} of {count} wait on {queue}")
        await asyncio.sleep(0.2)
