"""Runs the workers of the yardstick in a process of their own: `python -m tests.load.bare_worker ADDRESS QUEUE`."""

from __future__ import annotations

import asyncio
import sys

from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Worker

from tests.load.bare_workflow import BareWorkflow, note, work


async def main(address: str, queue: str) -> None:
    """Work until the process is ended."""
    client = await Client.connect(address, data_converter=pydantic_data_converter)
    flows = Worker(client, task_queue=queue, workflows=[BareWorkflow], activities=[note], no_remote_activities=True)
    works = Worker(client, task_queue=f"{queue}-work", activities=[work])
    async with flows, works:
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
