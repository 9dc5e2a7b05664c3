"""Thousands of jobs in flight at clouds on one worker, half of them called back about, half polled for.

Real processes and PostgreSQL; the clouds are the simulator, on the same machine. Bounded: it ends by itself.
"""

from __future__ import annotations

import asyncio
import os
import signal
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import httpx
from temporalio.client import Client

from genpulse.catalog.clouds import cloud_models
from genpulse.settings import Settings
from genpulse.stack import EmbeddedStack, Ports, embedded_stack
from genpulse.stack.ports import free_ports
from genpulse.temporal import data_converter
from tests.load.callers import submit_many
from tests.load.processes import Cpu, cpu_ms, memory_mb
from tests.servers.postgres import postgres_server

JOBS = int(os.environ.get("GENPULSE_BENCH_JOBS", "2000"))
#: What each account may send a second: jobs end as they were sent, one after another.
RATE = 4.0
CALLED_BACK, POLLED = "kling/kling-3.0", "dashscope/wan2.7-t2v"
PROMPT = {"prompt": "a red circle"}
#: All have been sent before the first is done.
SECONDS_PER_JOB = JOBS / 2 / RATE * 1.25 + 30
PATIENCE = 4 * SECONDS_PER_JOB + 300
PROCESSES = ("worker", "api", "temporal", "simulator")


@dataclass
class Flight:
    """What one run showed. Lags are seconds from done at the cloud to recorded here, files stored, by model."""

    memory: dict[str, float]
    cpu: dict[str, float]
    events: dict[str, int]
    lags: dict[str, list[float]]
    in_flight: int
    seconds: float


async def fly(*, kill: bool) -> Flight:
    """Run them all; with `kill`, the worker is killed while all are in flight."""
    with postgres_server(durable=True) as postgres, tempfile.TemporaryDirectory(prefix="genpulse-bench-") as folder:
        url = await postgres.create_database()
        (api,) = free_ports(1)
        environment = {
            "GENPULSE_DATABASE__URL": url,
            "GENPULSE_TELEMETRY__LOG_LEVEL": "warning",
            "GENPULSE_SERVER__PUBLIC_URL": f"http://127.0.0.1:{api}",
        }
        for cloud in ("KLING", "DASHSCOPE"):
            environment |= {
                f"GENPULSE_PROVIDERS__{cloud}__RATE": str(RATE),
                f"GENPULSE_PROVIDERS__{cloud}__BURST": "10",
            }
        async with embedded_stack(Path(folder), ports=Ports(api=api), environment=environment, simulate=True) as stack:
            await stack.stop("worker-gpu")
            database = await asyncpg.connect(url.replace("+asyncpg", ""))
            try:
                return await _fly(stack, database, kill=kill)
            finally:
                await database.close()


async def _fly(stack: EmbeddedStack, database: asyncpg.Connection, *, kill: bool) -> Flight:
    async with httpx.AsyncClient(base_url=f"{stack.simulator_url}/_control", timeout=60) as world:
        (await world.put("/settings", json={"seconds_per_job": SECONDS_PER_JOB})).raise_for_status()
        cpu = Cpu({name: _process(stack, name) for name in PROCESSES})
        cpu.start()
        started = time.perf_counter()
        for model in (CALLED_BACK, POLLED):
            body = {"model": model, "operation": "text-to-video", "input": PROMPT, "deadline_seconds": 86400}
            await submit_many(stack.api_url, stack.admin_key, body, callers=8, count=JOBS // 2)
        sent = "SELECT count(*) FROM attempt WHERE provider_job_id IS NOT NULL"
        await _until(database, sent, JOBS)
        in_flight = JOBS - int(await database.fetchval("SELECT count(*) FROM generation WHERE finished_at IS NOT NULL"))
        memory = {name: memory_mb(stack.pid(name) or 0) for name in PROCESSES}
        if kill:
            before = cpu_ms(stack.pid("worker") or 0)
            os.kill(stack.pid("worker") or 0, signal.SIGKILL)
            cpu.add("worker", before)
        await _until(database, "SELECT count(*) FROM generation WHERE finished_at IS NOT NULL", JOBS)
        seconds = time.perf_counter() - started
        wrong = await database.fetchval("SELECT count(*) FROM generation WHERE status <> 'succeeded'")
        jobs = (await world.get("/jobs")).json()["jobs"]
        if wrong or len(jobs) != JOBS:
            raise RuntimeError(f"{wrong} did not succeed; {len(jobs)} jobs were made for {JOBS} generations.")
        used = {name: ms / JOBS for name, ms in cpu.used().items()}
        lags = await _lags(database, jobs)
        return Flight(memory, used, await _events(stack, database), lags, in_flight, seconds)


async def _until(database: asyncpg.Connection, count: str, wanted: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while (seen := await database.fetchval(count)) < wanted:
        if time.monotonic() > deadline:
            raise RuntimeError(f"{seen} of {wanted} after {PATIENCE:.0f} s.")
        await asyncio.sleep(1)


async def _lags(database: asyncpg.Connection, jobs: Sequence[dict[str, Any]]) -> dict[str, list[float]]:
    done = {job["id"]: job["ended_at"] for job in jobs}
    rows = await database.fetch("SELECT provider || '/' || model AS model, provider_job_id, finished_at FROM attempt")
    lags: dict[str, list[float]] = {CALLED_BACK: [], POLLED: []}
    for row in rows:
        lags[row["model"]].append(row["finished_at"].timestamp() - done[row["provider_job_id"]])
    return lags


async def _events(stack: EmbeddedStack, database: asyncpg.Connection) -> dict[str, int]:
    """Most history events of a hundred generations of each kind."""
    client = await Client.connect(stack.temporal_address, data_converter=data_converter(Settings().temporal))
    most = {}
    for model in (CALLED_BACK, POLLED):
        rows = await database.fetch(
            "SELECT generation_id FROM generation_step WHERE model = $1 ORDER BY generation_id LIMIT 100", model
        )
        lengths = [await _history_length(client, row["generation_id"]) for row in rows]
        most[model] = max(lengths)
    return most


async def _history_length(client: Client, generation_id: str) -> int:
    return (await client.get_workflow_handle(generation_id).describe()).history_length


def _process(stack: EmbeddedStack, name: str) -> Any:
    return lambda: [stack.pid(name) or 0]


def rows(flight: Flight, what: str) -> list[tuple[str, str, str]]:
    """The figures of one run, with their aims."""
    interval = next(spec for spec in cloud_models(["dashscope"]) if spec.id == POLLED).poll.most
    return [
        (f"{what}: jobs in flight at once", str(flight.in_flight), str(JOBS)),
        (f"{what}: memory then, MB", _by_process(flight.memory), ""),
        (f"{what}: CPU ms per job, {SECONDS_PER_JOB:.0f} s long", _by_process(flight.cpu), ""),
        (f"{what}: most history events, called back / polled", " / ".join(map(str, flight.events.values())), ""),
        (f"{what}: lag when called back, p50 / p99 s", _points(flight.lags[CALLED_BACK]), "p99 < 1"),
        (f"{what}: lag when polled, p50 / p99 s", _points(flight.lags[POLLED]), f"p99 < {2 * interval:.0f}"),
    ]


def _by_process(values: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.0f}" for name, value in values.items())


def _points(lags: list[float]) -> str:
    points = statistics.quantiles(lags, n=100)
    return f"{points[49]:.2f} / {points[98]:.2f}"
