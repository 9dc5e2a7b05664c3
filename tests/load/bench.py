"""`make bench`: what orchestration costs: real processes, PostgreSQL, `local/fake`; loopback only, bounded."""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
from rich.console import Console
from rich.table import Table
from temporalio.client import Client

from genpulse.settings import Settings
from genpulse.stack import EmbeddedStack, Ports, embedded_stack
from genpulse.temporal import data_converter
from tests.load import in_flight
from tests.load.bare_workflow import BareWorkflow
from tests.load.callers import Connection, Submissions, submit_many
from tests.load.processes import Cpu, machine
from tests.servers.postgres import PostgresServer, postgres_server

CALLERS = 16
SUBMISSIONS = 2000
SINGLE = 30
BARE = 1000
WARM_UP = 60
DRAIN_SECONDS = 300
BODY = {"model": "local/fake", "operation": "text-to-image", "input": {"prompt": "x"}}
REPORT = Path("docs/benchmarks.md")
NOTES = "\n## Notes"


@dataclass
class Figures:
    """What one run measured."""

    burst: Submissions
    finished_per_second: float
    single_ms: list[float]
    cpu_ms: dict[str, float]
    bare_cpu_ms: dict[str, float]
    bare_per_second: float
    events: int
    flights: dict[str, in_flight.Flight] = field(default_factory=dict)


async def main() -> Figures:
    """Start everything and measure."""
    with postgres_server(durable=True) as postgres, tempfile.TemporaryDirectory(prefix="genpulse-bench-") as folder:
        url = await postgres.create_database()
        environment = {"GENPULSE_DATABASE__URL": url, "GENPULSE_TELEMETRY__LOG_LEVEL": "warning"}
        async with embedded_stack(Path(folder), ports=Ports(), environment=environment) as stack:
            await stack.stop("worker-gpu")  # no model runs here; its idle polling would only be noise
            figures = await _measure(stack, postgres, url)
    figures.flights["clouds"] = await in_flight.fly(kill=False)
    figures.flights["clouds, worker killed"] = await in_flight.fly(kill=True)
    return figures


async def _measure(stack: EmbeddedStack, postgres: PostgresServer, url: str) -> Figures:
    database = await asyncpg.connect(url.replace("+asyncpg", ""))
    client = await Client.connect(stack.temporal_address, data_converter=data_converter(Settings().temporal))
    await submit_many(stack.api_url, stack.admin_key, BODY, callers=4, count=WARM_UP)
    await _drained(database)
    bare_cpu, bare_rate = await _bare(stack, client)
    single = await _single(stack)
    cpu = Cpu({name: _process(stack, name) for name in ("api", "worker", "temporal")} | {"postgres": postgres.pids})
    cpu.start()
    started = time.perf_counter()
    burst = await submit_many(stack.api_url, stack.admin_key, BODY, callers=CALLERS, count=SUBMISSIONS)
    await _drained(database)
    elapsed = time.perf_counter() - started
    used = {name: ms / SUBMISSIONS for name, ms in cpu.used().items()}
    await _check(database)
    await database.close()
    return Figures(
        burst=burst,
        finished_per_second=SUBMISSIONS / elapsed,
        single_ms=single,
        cpu_ms=used,
        bare_cpu_ms=bare_cpu,
        bare_per_second=bare_rate,
        events=await _events(client, burst.ids[-1]),
    )


async def _single(stack: EmbeddedStack) -> list[float]:
    """Milliseconds from submission to the finished answer, one generation at a time."""
    connection, taken = Connection(stack.api_url, stack.admin_key), []
    await connection.open()
    for _ in range(SINGLE):
        sent = time.perf_counter()
        _, answer = await connection.request("POST", "/v1/generations", json.dumps(BODY).encode())
        while answer["status"] not in ("succeeded", "failed"):
            _, answer = await connection.request("GET", f"/v1/generations/{answer['id']}")
            await asyncio.sleep(0.005)
        taken.append((time.perf_counter() - sent) * 1000)
    connection.close()
    return taken


async def _bare(stack: EmbeddedStack, client: Client) -> tuple[dict[str, float], float]:
    """The yardstick in the same run, on the same server."""
    queue = f"bare-{uuid.uuid4()}"
    async with _bare_worker(stack.temporal_address, queue) as pid:
        await _run_bare(client, queue, WARM_UP)
        cpu = Cpu({"worker": lambda: [pid], "temporal": _process(stack, "temporal"), "client": lambda: [os.getpid()]})
        cpu.start()
        started = time.perf_counter()
        await _run_bare(client, queue, BARE)
        elapsed = time.perf_counter() - started
        return {name: ms / BARE for name, ms in cpu.used().items()}, BARE / elapsed


async def _run_bare(client: Client, queue: str, count: int) -> None:
    slots = asyncio.Semaphore(CALLERS)

    async def start() -> Any:
        async with slots:
            return await client.start_workflow(
                BareWorkflow.run, f"{queue}-work", id=str(uuid.uuid4()), task_queue=queue
            )

    handles = await asyncio.gather(*(start() for _ in range(count)))
    await asyncio.gather(*(handle.result() for handle in handles))


@asynccontextmanager
async def _bare_worker(address: str, queue: str) -> AsyncIterator[int]:
    command = (sys.executable, "-m", "tests.load.bare_worker", address, queue)
    process = await asyncio.create_subprocess_exec(*command, preexec_fn=lambda: os.nice(5))
    try:
        yield process.pid
    finally:
        process.terminate()
        await process.wait()


async def _drained(database: asyncpg.Connection) -> None:
    deadline = time.monotonic() + DRAIN_SECONDS
    while await database.fetchval("SELECT count(*) FROM generation WHERE finished_at IS NULL"):
        if time.monotonic() > deadline:
            raise RuntimeError("The backlog did not drain.")
        await asyncio.sleep(0.2)


async def _check(database: asyncpg.Connection) -> None:
    """Figures of a run in which anything failed are no figures."""
    wrong = await database.fetchval("SELECT count(*) FROM generation WHERE status <> 'succeeded'")
    if wrong:
        raise RuntimeError(f"{wrong} generations did not succeed.")


async def _events(client: Client, generation_id: str) -> int:
    handle = client.get_workflow_handle(generation_id)
    await handle.result()  # the database knows of the end a moment before the history does
    return len([event async for event in handle.fetch_history_events()])


def _process(stack: EmbeddedStack, name: str) -> Callable[[], list[int]]:
    return lambda: [stack.pid(name) or 0]


def _rows(figures: Figures) -> list[tuple[str, str, str]]:
    burst, bare = figures.burst, figures.bare_cpu_ms
    ours = figures.cpu_ms["temporal"] + figures.cpu_ms["worker"]
    yardstick = bare["temporal"] + bare["worker"]
    points = statistics.quantiles(burst.latencies, n=100)
    by_process = ", ".join(f"{name} {ms:.1f}" for name, ms in figures.cpu_ms.items())
    return [
        ("accepted submissions/s, 16 callers", f"{len(burst.ids) / burst.seconds:.0f}", "≥ 200"),
        ("submission p50, ms", f"{points[49]:.0f}", ""),
        ("submission p99, ms", f"{points[98]:.0f}", "< 150"),
        ("finished generations/s, submissions included", f"{figures.finished_per_second:.1f}", "≥ 10"),
        ("single generation end to end, median ms", f"{statistics.median(figures.single_ms):.0f}", ""),
        ("CPU ms per generation, by process", by_process, ""),
        ("CPU ms per bare workflow", ", ".join(f"{name} {ms:.1f}" for name, ms in bare.items()), ""),
        ("bare workflows/s", f"{figures.bare_per_second:.1f}", ""),
        ("worker + Temporal server, ours / bare", f"{ours / yardstick:.2f}", "≤ 1.2"),
        ("history events of a one-step generation", str(figures.events), "≤ 22"),
        *(row for what, flight in figures.flights.items() for row in in_flight.rows(flight, what)),
    ]


def _table(figures: Figures) -> Table:
    table = Table("figure", "measured", "aim", title=machine())
    for row in _rows(figures):
        table.add_row(*row)
    return table


def _report(figures: Figures) -> str:
    lines = "\n".join(f"| {' | '.join(row)} |" for row in _rows(figures))
    return (
        "# Benchmarks\n\nWritten by `make bench`: real processes (API, workers, Temporal dev server with its database "
        "in a file, PostgreSQL with fsync on), the model `local/fake`, callers on the same machine. The bare workflow "
        "runs the same number of activities and local activities, all empty, on the same server in the same run. Jobs "
        "at clouds: one worker, the simulator on the same machine; half of the jobs are called back about, half polled "
        "for; the lag is from done at the cloud to recorded here, the file fetched and stored.\n\n"
        f"Machine: {machine()}\n\n| figure | measured | aim |\n|---|---|---|\n{lines}\n"
    )


if __name__ == "__main__":
    measured = asyncio.run(main())
    Console().print(_table(measured))
    _, heading, notes = REPORT.read_text("utf-8").partition(NOTES) if REPORT.exists() else ("", "", "")
    REPORT.write_text(_report(measured) + heading + notes, "utf-8")  # what people wrote below the figures stays
