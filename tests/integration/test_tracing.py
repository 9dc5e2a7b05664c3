"""One trace leads from the HTTP request through the workflow to the model call, over three processes."""

from __future__ import annotations

import re
from pathlib import Path

from genpulse.client import Client
from genpulse.stack import embedded_stack

TRACE_ID = re.compile(r'"trace_id": "0x([0-9a-f]{32})"')
FAKE = {"model": "local/fake", "operation": "text-to-image", "input": {"prompt": "x"}}


async def test_a_trace_spans_api_workflow_and_activity(tmp_path: Path) -> None:
    environment = {"GENPULSE_TELEMETRY__EXPORTER": "console"}
    async with embedded_stack(tmp_path / "data", environment=environment) as stack:
        async with Client(stack.api_url, stack.admin_key) as client:
            generation = await client.submit(FAKE)
            async for _ in client.events(generation.id):
                pass
        await stack.stop("worker", "api")  # the exporters write out what they hold
        logs = {name: stack.data_dir.log_file(name).read_text("utf-8") for name in ("api", "worker")}
    traces = {name: set(TRACE_ID.findall(text)) for name, text in logs.items()}
    shared = traces["api"] & traces["worker"]
    assert shared, "the workflow goes on with the request's trace"
    spans = {name for name in ("engine.run", "GenerationWorkflow") if name in logs["worker"]}
    assert spans == {"engine.run", "GenerationWorkflow"}
