"""Looking at what runs: every invariant between the database and Temporal, page by page.

Lists may be some seconds behind, and generations go on meanwhile. So what moved a moment ago is left out, and what
looks broken is asked about one by one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Container, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from genpulse.db import Database, utc_now
from genpulse.doctor.findings import Finding
from genpulse.models import DeliveryRow
from genpulse.repositories import deliveries, upkeep
from genpulse.repositories.upkeep import Quiet
from genpulse.runs import Fate, OpenRun, ask, open_deliveries, open_runs
from genpulse.schemas.states import GenerationStatus
from genpulse.settings import Settings
from genpulse.temporal import connect
from genpulse.upkeep import SCHEDULE_ID, WORKFLOW_TYPE

Row = TypeVar("Row", Quiet, DeliveryRow)

SENTENCES = {
    "T01": "Every open workflow has a generation that has not ended",
    "T02": "Every generation that Temporal was given and that has not ended has an open workflow",
    "T03": "What waits as a dead letter in Temporal does so in the database, and the other way round",
    "T04": "No workflow fails at the same place again and again",
    "T05": "Upkeep has been done within three of its intervals",
    "T06": "Every event that Temporal was given and that is to be told has an open workflow",
}

#: What is under way between the two has arrived by then.
LATELY = timedelta(seconds=30)

_PAGE = 500
_MOST = 1000  # of what looks broken: more are not asked about
_STUCK = "TemporalReportedProblems IN ('category=WorkflowTaskFailed', 'category=WorkflowTaskTimedOut')"
_UPKEEP_DONE = f"WorkflowType = '{WORKFLOW_TYPE}' AND ExecutionStatus = 'Completed'"


async def check_running(settings: Settings, *, lately: timedelta = LATELY) -> AsyncIterator[Finding]:
    """One finding for each invariant."""
    client = await connect(settings.temporal)
    database = Database(settings.database_url, pool_size=1)
    before = utc_now() - lately
    try:
        runs = {run.generation_id: run async for run in open_runs(client)}
        unfinished = partial(_all, database, upkeep.quiet, before)
        untold = partial(_all, database, deliveries.under_way, before)
        rows, told = await unfinished(), await untold()
        yield _finding("T01", len(runs), await _without_generation(client, database, runs.values(), before))
        yield _finding("T02", len(rows), await _without_run(client, runs, rows, unfinished))
        yield _finding("T03", *_contradictions(runs, rows))
        yield _finding("T04", len(runs), [run.generation_id async for run in open_runs(client, _STUCK)])
        yield _finding("T05", *await _overdue(client))
        yield _finding("T06", len(told), await _without_run(client, await open_deliveries(client), told, untold))
    finally:
        await database.dispose()


def _finding(number: str, checked: int, broken: Sequence[str]) -> Finding:
    return Finding.of_invariant(number, SENTENCES[number], subject="running", checked=checked, broken=broken)


async def _all(database: Database, find: Callable[..., Awaitable[Sequence[Row]]], before: datetime) -> list[Row]:
    rows: list[Row] = []
    while True:
        async with database.reading() as session:
            page = await find(session, before=before, after=rows[-1].id if rows else "", limit=_PAGE)
        if not page:
            return rows
        rows += page


async def _without_generation(
    client: Client, database: Database, runs: Iterable[OpenRun], before: datetime
) -> list[str]:
    ids = [run.generation_id for run in runs if run.started_at <= before]
    strays: list[str] = []
    for start in range(0, len(ids), _PAGE):
        page = ids[start : start + _PAGE]
        async with database.reading() as session:
            ended = await upkeep.endings(session, page)
        strays += [one for one in page if one not in ended or ((at := ended[one]) is not None and at <= before)]
    return [one for one in strays[:_MOST] if (await ask(client, one)).fate is Fate.OPEN]


async def _without_run(
    client: Client, known: Container[str], rows: Sequence[Row], look_again: Callable[[], Awaitable[Sequence[Row]]]
) -> list[str]:
    lost = [row.id for row in rows if row.id not in known][:_MOST]
    lost = [one for one in lost if (await ask(client, one)).fate is not Fate.OPEN]
    still = {row.id for row in await look_again()} if lost else set()
    return [one for one in lost if one in still]


def _contradictions(runs: Mapping[str, OpenRun], rows: Sequence[Quiet]) -> tuple[int, list[str]]:
    kept = GenerationStatus.DEAD_LETTERED
    checked, broken = 0, []
    for row in rows:
        if row.status is GenerationStatus.QUEUED:  # to go on, which its workflow hears when there is a place for it
            continue
        run = runs.get(row.id)
        says = row.status is kept, run is not None and run.status == kept.value
        checked += any(says)
        if run is not None and says[0] != says[1]:
            broken.append(row.id)
    return checked, broken


async def _overdue(client: Client) -> tuple[int, list[str]]:
    """There is nothing to look at where no worker has made the schedule yet."""
    try:
        known = await client.get_schedule_handle(SCHEDULE_ID).describe()
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        return 0, []
    since = utc_now() - 3 * known.schedule.spec.intervals[0].every
    if known.info.created_at > since:
        return 1, []
    async for run in client.list_workflows(_UPKEEP_DONE, limit=1):  # the newest
        if run.close_time is not None and run.close_time > since:
            return 1, []
    return 1, [f"{SCHEDULE_ID} is paused" if known.schedule.state.paused else SCHEDULE_ID]
