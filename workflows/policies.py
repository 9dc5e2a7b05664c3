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

    heartbeat_timeout: timedelta
    retry_policy: RetryPolicy
    cancellation_type: ActivityCancellationType


class CloudOptions(RemoteOptions):
    """The same, where one try has a limit of its own."""

    start_to_close_timeout: timedelta


class UpkeepOptions(TypedDict):
    """Options of a duty of upkeep."""

    start_to_close_timeout: timedelta
    schedule_to_close_timeout: timedelta
    heartbeat_timeout: timedelta
    retry_policy: RetryPolicy


#: One short database transaction. While the database is away it is tried for ever: giving up would leave a row that
#: says something untrue. Ten seconds are long for a transaction of milliseconds, and short enough to notice a hung one.
RECORD: LocalOptions = {
    "start_to_close_timeout": timedelta(seconds=10),
    "retry_policy": RetryPolicy(
        initial_interval=timedelta(milliseconds=200), backoff_coefficient=2.0, maximum_interval=timedelta(seconds=10)
    ),
}

#: One step on the local engine. What bounds a hung device is the step's time to run, after which it is not tried again.
#: - heartbeat: sent every second; after 10 s of silence the worker is taken for lost and the step goes to another.
#: - attempts: each lost worker uses one up; ten outlast a rolling restart of a fleet and still end a step that kills
#:   whichever worker takes it.
#: - cancellation waits until the device really is free, so that `canceled` is never shown of a step still running.
ENGINE: RemoteOptions = {
    "heartbeat_timeout": timedelta(seconds=10),
    "retry_policy": RetryPolicy(
        initial_interval=timedelta(seconds=1),
        backoff_coefficient=2.0,
        maximum_interval=timedelta(seconds=30),
        maximum_attempts=10,
        non_retryable_error_types=["TemporalTimeout:StartToClose"],
    ),
    "cancellation_type": ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
}

#: Asking a cloud, and fetching what was made.
#: - start to close: a cloud that answers with the pictures themselves takes minutes, and a long video as much to fetch.
#: - heartbeat: as for the engine; a worker killed in the middle is replaced within seconds.
#: - attempts are not counted here: most of them are no failures but the clock by which turns and jobs are waited for.
#:   The activity counts those that are, and ends itself.
#: - cancellation is not waited for: the job is cancelled at the cloud by an activity of its own.
CLOUD: CloudOptions = {
    "start_to_close_timeout": timedelta(minutes=10),
    "heartbeat_timeout": timedelta(seconds=10),
    "retry_policy": RetryPolicy(
        initial_interval=timedelta(seconds=2), backoff_coefficient=2.0, maximum_interval=timedelta(seconds=30)
    ),
    "cancellation_type": ActivityCancellationType.TRY_CANCEL,
}

#: Sending to a cloud. Cancellation waits until it is known what was sent, because only then can that be cancelled.
CLOUD_SEND: CloudOptions = {**CLOUD, "cancellation_type": ActivityCancellationType.WAIT_CANCELLATION_COMPLETED}

#: Cancelling at a cloud, while nothing else of the generation goes on: a minute is tried, then the job is left alone.
CLOUD_CANCEL: CloudOptions = {
    "start_to_close_timeout": timedelta(seconds=30),
    "heartbeat_timeout": timedelta(seconds=10),
    "retry_policy": RetryPolicy(initial_interval=timedelta(seconds=2), maximum_attempts=5),
    "cancellation_type": ActivityCancellationType.TRY_CANCEL,
}

#: One duty of upkeep.
#: - start to close: a duty stops by itself after minutes and says where; this ends one that hangs.
#: - schedule to close: where no worker serves the queue, the other duties and the next run must not wait for it.
#: - heartbeat: sent every few seconds; a worker killed in the middle is replaced, and the duty begins again.
#: - attempts: what is down now is looked at by the next run.
UPKEEP: UpkeepOptions = {
    "start_to_close_timeout": timedelta(minutes=10),
    "schedule_to_close_timeout": timedelta(minutes=15),
    "heartbeat_timeout": timedelta(seconds=10),
    "retry_policy": RetryPolicy(initial_interval=timedelta(seconds=2), maximum_attempts=3),
}

#: What another model may do better: an outage, spent quota, refused credentials, a job that failed. A refused content
#: or a wrong input would be refused elsewhere too, and whatever was sent with an unknown outcome may still be paid for.
FALL_BACK_ON = frozenset(
    {
        "provider_unavailable",
        "provider_throttled",
        "provider_quota",
        "provider_auth",
        "provider_failed",
        "engine_out_of_memory",
    }
)

#: One try to deliver an event to a receiver.
#: - start to close: twenty seconds of sending, and time for a database that is away to come back and be told.
#: - heartbeat: as for the engine; the try of a worker that was killed is made again within seconds.
#: - attempts: what a receiver does wrong is no failure of the activity but its result, and has the schedule below. What
#:   is left is our own, and passes.
DELIVERY: CloudOptions = {
    "start_to_close_timeout": timedelta(minutes=5),
    "heartbeat_timeout": timedelta(seconds=10),
    "retry_policy": RetryPolicy(
        initial_interval=timedelta(seconds=1), backoff_coefficient=2.0, maximum_interval=timedelta(seconds=30)
    ),
    "cancellation_type": ActivityCancellationType.TRY_CANCEL,
}

#: How long after each failed try of an event the next one follows, as Standard Webhooks has it: ten tries over three
#: days, so that a receiver may be down for a weekend.
DELIVERY_DELAYS = (
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=14),
    timedelta(hours=20),
    timedelta(hours=24),
)

#: By up to this share of it each delay is longer, so that what failed together does not come back together.
DELIVERY_JITTER = 0.1
