"""`make fairness`: when a few are served that come after many of another tenant: real processes, loopback only.

On a task queue of the Temporal dev server that one slot serves, and at the limiter of a simulated cloud's account.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
from rich.console import Console
from rich.table import Table
from temporalio.client import Client

from genpulse.db import Database, utc_now
from genpulse.models import TenantRow
from genpulse.repositories import tenants
from genpulse.schemas.generations import GenerationCreate
from genpulse.schemas.plans import Plan, PlannedStep
from genpulse.schemas.queues import FAKE_QUEUE, PROVIDER_QUEUES, WORKFLOW_QUEUE, provider_queue
from genpulse.schemas.states import Operation, Priority
from genpulse.settings import Settings
from genpulse.stack import EmbeddedStack, Ports, embedded_stack
from genpulse.submissions import Submission, accept
from genpulse.temporal import data_converter
from tests.load.processes import machine
from tests.servers.backlog import until_waiting
from tests.servers.postgres import postgres_server
from tests.servers.valkey import valkey_server

MANY = int(os.environ.get("GENPULSE_FAIRNESS_JOBS", "500"))
FEW = 5
EVENLY = MANY // 5
RATE = 10.0  # requests a second that the simulated account allows
PATIENCE = 240
ON_ENGINE = (Operation.TEXT_TO_IMAGE, "local/fake", FAKE_QUEUE)
AT_CLOUD = (Operation.TEXT_TO_VIDEO, "dashscope/wan2.7-t2v", provider_queue("dashscope"))
REPORT = Path("docs/fairness.md")
BEGIN, END = "<!-- figures: written by `make fairness` -->", "<!-- end of figures -->"


@dataclass(frozen=True)
class Wish:
    """One generation that somebody asks for."""

    tenant: str
    priority: Priority = Priority.NORMAL
    is_later: bool = False
    """Told from the others, though the product does not."""


A, B, LATER_A = Wish("a"), Wish("b"), Wish("a", is_later=True)
What = tuple[Operation, str, str]  # to be done with which model on which queue
#: What was served when: seconds since the first.
Served = list[tuple[Wish, float]]


async def main() -> list[tuple[str, str, str]]:
    """Run every scenario; return what it showed."""
    few = [A] * MANY + [B] * FEW
    alike = await on_queue([A] * MANY + [LATER_A] * FEW, enough=MANY + FEW)
    fair = await on_queue(few, enough=MANY // 2)
    weighted = await on_queue([A] * EVENLY + [B] * EVENLY, weights={"b": 5.0}, enough=EVENLY)
    one = Wish("a", Priority.LOW), A, Wish("a", Priority.HIGH)
    urgent = await on_queue([wish for wish in one for _ in range(EVENLY // 2)], enough=EVENLY // 2 * 3)
    cried = await on_queue([one[2]] * EVENLY + [B] * FEW, enough=EVENLY + FEW)
    alike_at_cloud = await at_cloud([A] * MANY + [LATER_A] * FEW, enough=MANY + FEW)
    fair_at_cloud = await at_cloud(few, enough=MANY // 2)
    return [
        (f"queue: A {MANY}, then {FEW} more with the same key: the {FEW} are served", *when(alike, LATER_A)),
        (f"queue: A {MANY}, then B {FEW}", *when(fair, B)),
        (f"queue: A {EVENLY}, then B {EVENLY} with weight 5: of the first {EVENLY // 2}", of_first(weighted), ""),
        *[
            (f"queue: A alone, {EVENLY // 2} each of low, normal, high: {w.priority}", middle(urgent, w), "")
            for w in one
        ],
        (f"queue: A {EVENLY}, all high, then B {FEW}, normal", *when(cried, B)),
        (f"account at {RATE:.0f}/s: A {MANY}, then {FEW} more as the same tenant", *when(alike_at_cloud, LATER_A)),
        (f"account at {RATE:.0f}/s: A {MANY}, then B {FEW}", *when(fair_at_cloud, B)),
        ("account: requests a second, while all wait", f"{rate(alike_at_cloud):.1f}, {rate(fair_at_cloud):.1f}", ""),
    ]


def when(served: Served, wish: Wish) -> tuple[str, str]:
    """Its places in the order, and until when the last was served."""
    places = [n for n, (one, _) in enumerate(served, start=1) if one == wish]
    return ", ".join(map(str, places)), f"{max(at for one, at in served if one == wish):.1f} s"


def of_first(served: Served) -> str:
    """How the first ones are shared out."""
    first = [one for one, _ in served[: EVENLY // 2]]
    return f"A {first.count(A)}, B {first.count(B)}"


def middle(served: Served, wish: Wish) -> str:
    """The mean of its places."""
    return f"place {statistics.mean(n for n, (one, _) in enumerate(served, start=1) if one == wish):.0f} on average"


def rate(served: Served) -> float:
    """How many were served a second."""
    return len(served) / served[-1][1]


async def on_queue(wishes: Sequence[Wish], *, weights: Mapping[str, float] | None = None, enough: int) -> Served:
    """The order in which a queue with one slot serves them. All wait before the first is served."""
    query = "SELECT generation_id, started_at FROM generation_step WHERE started_at IS NOT NULL"
    return await served_by(FAKE_QUEUE, query, wishes, ON_ENGINE, weights=weights or {}, enough=enough)


async def at_cloud(wishes: Sequence[Wish], *, enough: int) -> Served:
    """The order in which they are sent to an account that allows so many requests a second; many may ask at once."""
    query = "SELECT generation_id, sent_at FROM attempt WHERE sent_at IS NOT NULL"
    return await served_by(PROVIDER_QUEUES, query, wishes, AT_CLOUD, weights={}, enough=enough)


async def served_by(
    queues: str, query: str, wishes: Sequence[Wish], what: What, *, weights: Mapping[str, float], enough: int
) -> Served:
    """Let all wait in the queue, then have a worker serve it."""
    async with running(weights) as (stack, url), worker(stack, WORKFLOW_QUEUE):
        ids = await submit(url, wishes, what)
        client = await Client.connect(stack.temporal_address, data_converter=data_converter(Settings().temporal))
        await until_waiting(client, what[2], len(wishes), patience=PATIENCE)
        async with worker(stack, queues):
            return await order_of(url, query, ids, enough)


async def submit(url: str, wishes: Sequence[Wish], what: What) -> dict[str, Wish]:
    """Accept them in this order, as the API does; its dispatcher carries them to Temporal."""
    operation, model, queue = what
    prompt = {"prompt": "a red circle"}
    step = PlannedStep(id="make", operation=operation, model=model, queue=queue, input=prompt, provider_options={})
    database, ids = Database(url), {}
    try:
        for wish in wishes:
            body = {"model": model, "operation": operation, "input": prompt, "priority": wish.priority}
            request = GenerationCreate.model_validate(body)
            plan = Plan(steps=[step], adaptions=[])
            submission = Submission(tenant_id=wish.tenant, request=request, plan=plan, request_id="fairness")
            ids[await accept(database, submission)] = wish
    finally:
        await database.dispose()
    return ids


async def order_of(url: str, query: str, ids: Mapping[str, Wish], enough: int) -> Served:
    """Wait until so many have been served, and all of B's few."""
    wanted = FEW if list(ids.values()).count(B) == FEW else 0
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    deadline = time.monotonic() + PATIENCE
    try:
        while True:
            rows = sorted(await connection.fetch(query), key=lambda row: row[1])
            served = [(ids[row[0]], (row[1] - rows[0][1]).total_seconds()) for row in rows]
            if len(served) >= enough and [wish for wish, _ in served].count(B) >= wanted:
                return served
            if time.monotonic() > deadline:
                raise RuntimeError(f"{len(served)} of {enough} after {PATIENCE} s.")
            await asyncio.sleep(0.5)
    finally:
        await connection.close()


@asynccontextmanager
async def running(weights: Mapping[str, float]) -> AsyncIterator[tuple[EmbeddedStack, str]]:
    """A stack whose workers do not run yet, with the two tenants."""
    with (
        postgres_server(durable=True) as postgres,
        valkey_server() as valkey,
        tempfile.TemporaryDirectory(prefix="genpulse-fairness-") as folder,
    ):
        url = await postgres.create_database()
        environment = {
            "GENPULSE_DATABASE__URL": url,
            "GENPULSE_REDIS__URL": valkey.url,
            "GENPULSE_TELEMETRY__LOG_LEVEL": "warning",
            "GENPULSE_WORKER__FAKE_CONCURRENCY": "1",
            "GENPULSE_WORKER__GRACEFUL_SECONDS": "1",
            "GENPULSE_PROVIDERS__DASHSCOPE__RATE": str(RATE),
            "GENPULSE_PROVIDERS__DASHSCOPE__BURST": "5",  # as docs/settings.md advises for many callers
        }
        async with embedded_stack(Path(folder), ports=Ports(), environment=environment, simulate=True) as stack:
            await stack.stop("worker", "worker-gpu")
            database = Database(url)
            async with database.transaction() as session:
                for one in (A, B):
                    row = TenantRow(
                        id=one.tenant, name=one.tenant, weight=weights.get(one.tenant, 1.0), created_at=utc_now()
                    )
                    await tenants.add(session, row, is_unlimited=True)
            await database.dispose()
            yield stack, url


@asynccontextmanager
async def worker(stack: EmbeddedStack, queues: str) -> AsyncIterator[None]:
    """A worker of these queues, in a process of its own."""
    command = (sys.executable, "-P", "-m", "genpulse.cli", "worker", "--queues", queues)
    with (stack.data_dir.path / f"worker-{queues}.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(*command, env=dict(stack.environment), stdout=log, stderr=log)
    try:
        yield
    finally:
        process.kill()  # what it leaves behind is thrown away with everything else
        await process.wait()


def _table(rows: Sequence[tuple[str, ...]]) -> Table:
    table = Table("what waits", "places", "the last of them after", title=machine())
    for row in rows:
        table.add_row(*row)
    return table


def _report(rows: Sequence[tuple[str, ...]]) -> str:
    lines = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return (
        f"{BEGIN}\n\nMachine: {machine()}\n\n"
        f"| what waits | places in the order served | the last of them after |\n|---|---|---|\n{lines}\n\n{END}"
    )


if __name__ == "__main__":
    measured = asyncio.run(main())
    Console().print(_table(measured))
    before, _, rest = REPORT.read_text("utf-8").partition(BEGIN)
    REPORT.write_text(before + _report(measured) + rest.partition(END)[2], "utf-8")
