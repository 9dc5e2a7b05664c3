"""What must be true after a storm, held against the database, the object store, Temporal and the simulated clouds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import httpx
from temporalio.client import Client

from genpulse.doctor import Finding, check_stored
from genpulse.temporal import DATA_CONVERTER
from tests.faults.storm.callers import Seen
from tests.faults.storm.plan import Plan
from tests.faults.storm.world import World, until

#: Open are those that wait for a person, and no others.
_OPEN = "WorkflowType = 'GenerationWorkflow' AND ExecutionStatus = 'Running'"
_FINAL = ("succeeded", "failed", "canceled")
_SHOWN = 10


@dataclass
class Verdict:
    """What there was, and in `complaints` what should not have been."""

    statuses: Counter[str] = field(default_factory=Counter)
    reasons: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """How many ended for which reason: status, error code and message."""
    seconds: list[float] = field(default_factory=list)
    """From accepted to succeeded."""
    lost: int = 0
    made_twice: int = 0
    jobs: int = 0
    paid_twice: int = 0
    attempts: int = 0
    captured: int = 0
    """Credits, of all generations."""
    stranded: int = 0
    """Holds that nobody will resolve."""
    charged_twice: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    cloud_calls: int = 0
    invariants: list[Finding] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


async def judge(plan: Plan, world: World, seen: Seen) -> Verdict:
    """Look at everything that is left."""
    verdict = Verdict()
    verdict.complaints += seen.wrong[:_SHOWN]
    database = await asyncpg.connect(world.database)
    try:
        await _judge_generations(verdict, database, plan, seen)
        await _judge_jobs(verdict, database, world, plan)
        await _judge_workflows(verdict, database, world)
        await _judge_credits(verdict, database)
    finally:
        await database.close()
    verdict.invariants = [finding async for finding in check_stored(world.settings)]
    verdict.complaints += [finding.line for finding in verdict.invariants if not finding.ok]
    return verdict


async def _judge_generations(verdict: Verdict, database: asyncpg.Connection, plan: Plan, seen: Seen) -> None:
    rows = await database.fetch(_GENERATIONS)
    verdict.statuses = Counter(row["status"] for row in rows)
    made = Counter(row["idempotency_key"] for row in rows)
    known = {row["idempotency_key"]: row["id"] for row in rows}
    twice = [key for key, count in made.items() if count > 1]
    lost = [key for key, one in seen.ids.items() if known.get(key) != one]
    verdict.made_twice, verdict.lost = len(twice), len(lost)
    verdict.complaints += _each("made more than one generation", twice)
    verdict.complaints += _each("was accepted and is lost", lost)
    asked = {wish.key for wish in plan.wishes()}
    verdict.complaints += _each("was never accepted", sorted(asked - seen.ids.keys()))
    verdict.complaints += _each("was never asked for", sorted(known.keys() - asked))
    for row in rows:
        _judge_end(verdict, row)
    told = {row["id"]: row["status"] for row in rows}
    verdict.complaints += _each(
        "was told to have ended otherwise", [one for one, status in seen.ended.items() if told.get(one) != status]
    )


_GENERATIONS = """
    SELECT id, idempotency_key, status, error ->> 'code' AS code, error ->> 'message' AS message,
        extract(epoch FROM finished_at - created_at)::float AS seconds
    FROM generation
"""


def _judge_end(verdict: Verdict, row: Mapping[str, Any]) -> None:
    status = row["status"]
    if status not in (*_FINAL, "dead_lettered"):
        verdict.complaints.append(f"{row['id']} has not come to rest: {status}")
    if status in ("failed", "dead_lettered"):
        verdict.reasons[status, row["code"] or "", row["message"] or ""] += 1
        if not row["code"] or not row["message"]:
            verdict.complaints.append(f"{row['id']} is {status} without a reason")
        elif status == "failed" or row["code"] == "internal":  # nothing in a storm is anybody's request's fault
            verdict.complaints.append(f"{row['id']} is {status} for no good reason: {row['code']}: {row['message']}")
    if status == "succeeded":
        verdict.seconds.append(row["seconds"])


async def _judge_jobs(verdict: Verdict, database: asyncpg.Connection, world: World, plan: Plan) -> None:
    """Prompts tell whose jobs they are: every generation of a storm has one step at a cloud at most."""
    control = f"{world.stack.simulator_url}/_control"
    async with httpx.AsyncClient(timeout=120) as simulator:
        jobs = (await simulator.get(f"{control}/jobs")).json()["jobs"]
        verdict.cloud_calls = (await simulator.get(f"{control}/requests")).json()["count"]
        armed = (await simulator.get(f"{control}/faults")).json()
    for fault in armed.get("*", []):
        verdict.faults[fault["type"]] += fault["struck"]
    keys = {wish.prompt: wish.key for wish in plan.wishes()}
    made = Counter(keys.get(job["prompt"], job["prompt"]) for job in jobs)
    twice = [key for key, count in made.items() if count > 1]
    verdict.jobs, verdict.paid_twice = len(jobs), len(twice)
    verdict.complaints += _each("was paid more than once", twice)
    verdict.complaints += _each("is no prompt of ours, and yet a job", sorted(made.keys() - set(keys.values())))
    rows = await database.fetch(_ATTEMPTS)
    verdict.attempts = len(rows)
    sent = {row["idempotency_key"] for row in rows if row["sent_at"] is not None}
    verdict.complaints += _each("has a job that nobody knows of", sorted(made.keys() - sent))
    lost = {row["idempotency_key"] for row in rows if row["status"] == "succeeded" and row["provider"] != "local"}
    verdict.complaints += _each("has succeeded without a job", sorted(lost - made.keys()))


_ATTEMPTS = """
    SELECT generation.idempotency_key, attempt.provider, attempt.status, attempt.sent_at
    FROM attempt JOIN generation ON generation.id = attempt.generation_id
"""


async def _judge_credits(verdict: Verdict, database: asyncpg.Connection) -> None:
    """What is held is what waits for a person, and each of the others was settled once."""
    rows = await database.fetch(_SETTLEMENTS)
    stranded = [row["id"] for row in rows if row["open"] and row["status"] in _FINAL]
    twice = [row["id"] for row in rows if row["settled"] > 1 or (row["settled"] and row["captured"] != row["charged"])]
    early = [row["id"] for row in rows if row["settled"] and row["status"] not in _FINAL]
    verdict.captured = sum(row["captured"] for row in rows)
    verdict.stranded, verdict.charged_twice = len(stranded), len(twice)
    verdict.complaints += _each("has ended, and its credits are held for ever", stranded)
    verdict.complaints += _each("was not charged what it has cost", twice)
    verdict.complaints += _each("was settled and has not ended", early)
    if not verdict.captured:
        verdict.complaints.append("Nothing was charged for anything")


_SETTLEMENTS = """
    SELECT generation.id, generation.status,
        coalesce(sum(line.held), 0)::bigint <> 0 AS open,
        count(*) FILTER (WHERE line.kind IN ('capture', 'release')) AS settled,
        coalesce(sum(line.spent), 0)::bigint AS captured,
        (SELECT sum(step.charged) FROM generation_step step WHERE step.generation_id = generation.id)::bigint AS charged
    FROM generation LEFT JOIN credit_transaction line ON line.generation_id = generation.id
    GROUP BY generation.id, generation.status
"""


async def _judge_workflows(verdict: Verdict, database: asyncpg.Connection, world: World) -> None:
    rows = await database.fetch("SELECT id FROM generation WHERE status = 'dead_lettered'")
    waiting = {row["id"] for row in rows}
    client = await Client.connect(world.stack.temporal_address, data_converter=DATA_CONVERTER)
    opened: set[str] = set()

    async def agree() -> bool:  # the list of workflows lags behind
        nonlocal opened
        opened = {one.id async for one in client.list_workflows(_OPEN)}
        return opened == waiting

    try:
        await until(agree)
    except TimeoutError:
        verdict.complaints += _each("has ended, but its workflow has not", sorted(opened - waiting))
        verdict.complaints += _each("waits for a person, but its workflow has ended", sorted(waiting - opened))


def _each(what: str, subjects: Sequence[str]) -> list[str]:
    shown = [f"{one} {what}" for one in subjects[:_SHOWN]]
    return [*shown, f"{len(subjects) - _SHOWN} more of which each {what}"] if len(subjects) > _SHOWN else shown
