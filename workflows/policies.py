"""Every time-out and retry policy of the workflows, with its reason."""

from __future__ import annotations

from datetime import timedelta
from typing import TypedDict

from temporalio.common import RetryPolicy
from temporalio.workflow import ActivityCancellationType


class LocalOptions(TypedDict):
    """Options of a local activity."""

    start_to_close_timeout: timedelta
    retry_policy: RetryPolicy


class RemoteOptions(TypedDict):
    """Options of an activity on a queue of its own; its deadline is the generation's."""

    start_to_close_timeout: timedelta
    heartbeat_timeout: timedelta
    retry_policy: RetryPolicy
    cancellation_type: ActivityCancellationType


#: One short database transaction. While the database is away it is tried for ever: giving up would leave a row that
#: says something untrue. Ten seconds are long for a transaction of milliseconds, and short enough to notice a hung one.
RECORD: LocalOptions = {
    "start_to_close_timeout": timedelta(seconds=10),
    "retry_policy": RetryPolicy(
        initial_interval=timedelta(milliseconds=200), backoff_coefficient=2.0, maximum_interval=timedelta(seconds=10)
    ),
}

#: One step on the local engine.
#: - start to close: an hour bounds a hung device; the slowest real step is minutes.
#: - heartbeat: sent every second; after 10 s of silence the worker is taken for lost and the step goes to another.
#: - attempts: each lost worker uses one up; ten outlast a rolling restart of a fleet and still end a step that kills
#:   whichever worker takes it.
#: - cancellation waits until the device really is free, so that `canceled` is never shown of a step still running.
ENGINE: RemoteOptions = {
    "start_to_close_timeout": timedelta(hours=1),
    "heartbeat_timeout": timedelta(seconds=10),
    "retry_policy": RetryPolicy(
        initial_interval=timedelta(seconds=1),
        backoff_coefficient=2.0,
        maximum_interval=timedelta(seconds=30),
        maximum_attempts=10,
    ),
    "cancellation_type": ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
}
