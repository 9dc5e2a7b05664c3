"""The yardstick: a workflow with the same commands as a one-step generation, whose activities do nothing."""

from __future__ import annotations

from datetime import timedelta

from temporalio import activity, workflow

SECONDS = timedelta(seconds=10)


@activity.defn
async def note(_text: str) -> None:
    """A local activity without work."""


@activity.defn
async def work(text: str) -> str:
    """An activity without work."""
    return text


@workflow.defn
class BareWorkflow:
    """Two local activities and one ordinary one, as GenerationWorkflow has for one step."""

    @workflow.run
    async def run(self, queue: str) -> str:
        await workflow.execute_local_activity(note, "begin", start_to_close_timeout=SECONDS)
        result = await workflow.execute_activity(work, "x", task_queue=queue, start_to_close_timeout=SECONDS)
        await workflow.execute_local_activity(note, "end", start_to_close_timeout=SECONDS)
        return result
