"""Every fault of the simulator's controls against every cloud: what comes of it, and how many jobs were made."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pytest
from temporalio.client import WorkflowFailureError

from genpulse.schemas.states import GenerationStatus
from genpulse.simulator.clouds import CLOUDS
from genpulse.simulator.faults import FAULTS, Fault
from tests.matrix import FAMILIES, hold
from tests.workflows.conftest import House

#: What a cloud does to us, and what may come of it. Faults with `times` pass.
FAULTS_TRIED: dict[str, tuple[dict[str, Any], set[str]]] = {
    "late": ({"type": "latency", "seconds": 0.2}, {"✓"}),
    "late answer": ({"type": "slow_answer", "seconds": 0.2}, {"✓"}),
    "429": ({"type": "rate_limited", "times": 2}, {"✓"}),
    "429, Retry-After": ({"type": "rate_limited", "retry_after": 7, "times": 2}, {"✓"}),
    "5xx to the call": ({"type": "server_error", "kinds": ["submit"], "times": 1}, {"✓", "?"}),
    "5xx afterwards": ({"type": "server_error", "kinds": ["poll", "result", "media"], "times": 2}, {"✓"}),
    "HTML afterwards": ({"type": "server_error", "html": True, "kinds": ["poll", "result"], "times": 2}, {"✓"}),
    "answer lost": ({"type": "lost_answer", "times": 1}, {"✓", "?"}),
    "half an answer": ({"type": "malformed", "kinds": ["submit"], "times": 1}, {"✓", "?"}),
    "half an answer afterwards": ({"type": "malformed", "kinds": ["poll", "result"], "times": 2}, {"✓"}),
    "reset": ({"type": "connection_reset", "kinds": ["submit"], "times": 1}, {"✓", "?"}),
    "reset afterwards": ({"type": "connection_reset", "kinds": ["poll", "result", "media"], "times": 2}, {"✓"}),
    "hung": ({"type": "hung", "kinds": ["submit"], "times": 1}, {"✓", "?"}),
    "hung afterwards": ({"type": "hung", "kinds": ["poll", "result", "media"], "times": 1}, {"✓"}),
    "unknown at first": ({"type": "hidden_at_first"}, {"✓"}),
    "states in disorder": ({"type": "backwards"}, {"✓"}),
    "callbacks twice": ({"type": "duplicated_callbacks"}, {"✓"}),
    "callbacks in disorder": ({"type": "reordered_callbacks"}, {"✓"}),
    "a page for a file": ({"type": "server_error", "html": True, "status": 200, "kinds": ["media"], "times": 1}, {"✓"}),
    "half a file": ({"type": "malformed", "kinds": ["media"], "times": 1}, {"✓"}),
    "links expired": ({"type": "expired_media", "times": 1}, {"✓"}),
    "no file": ({"type": "no_outputs"}, {"✗ `provider_failed`", "✗ `content_blocked`"}),
    "content refused": ({"type": "fails", "code": "content"}, {"✗ `content_blocked`", "✗ `provider_failed`"}),
    "job fails": ({"type": "fails"}, {"✗ `provider_failed`", "✗ `provider_unavailable`", "?"}),
    "stuck": ({"type": "stuck"}, {"✗ `deadline_exceeded`", "?"}),
}


def test_every_cloud_and_every_fault_is_tried() -> None:
    assert {_cloud(name) for name in FAMILIES} == {cloud.name for cloud in CLOUDS}
    known = {one.model_fields["type"].annotation.__args__[0] for one in Fault.__args__}
    assert {fault["type"] for fault, _ in FAULTS_TRIED.values()} == known


@pytest.mark.parametrize("fault", FAULTS_TRIED)
async def test_a_fault_at_every_cloud(house: House, fault: str) -> None:
    values, possible = FAULTS_TRIED[fault]
    by_cloud = [[name for name in FAMILIES if _cloud(name) == cloud.name] for cloud in CLOUDS]
    found: dict[str, str] = {}
    for outcomes in await asyncio.gather(*(_outcomes(house, names, values) for names in by_cloud)):
        found |= outcomes
    wrong = {name: outcome for name, outcome in found.items() if outcome not in possible}
    assert not wrong, f"{fault}: {wrong}"
    hold("faults", ["", *FAMILIES], {fault: [found[name] for name in FAMILIES]})


def _cloud(family: str) -> str:
    return family.partition(" ")[0]


async def _outcomes(house: House, families: Sequence[str], fault: dict[str, Any]) -> dict[str, str]:
    """Faults are a cloud's: one that strikes so often is tried with one family at a time, others with all at once."""
    together = "times" not in fault and fault["type"] != "fails"  # which, together, would open the circuit
    groups = [families] if together else [[family] for family in families]
    found: dict[str, str] = {}
    for group in groups:
        cloud = _cloud(group[0])
        before = _paid(house, cloud)
        house.world.faults.put(cloud, FAULTS.validate_python([fault]))
        await house.clouds.circuits.worked(cloud)  # what another family has suffered would hold this one up
        outcomes = await asyncio.gather(*(_outcome(house, family, fault) for family in group))
        made = _paid(house, cloud) - before
        assert outcomes.count("✓") <= made <= len(group), f"{group}: {made} jobs were paid for {len(group)}"
        found |= dict(zip(group, outcomes, strict=True))
    return found


def _paid(house: House, cloud: str) -> int:
    """How many jobs a cloud bills for: those that fail are free."""
    return sum(job.failure is None for job in house.world.find_jobs(cloud=cloud))


async def _outcome(house: House, family: str, fault: dict[str, Any]) -> str:
    """How it ends: a tick for a success, `?` for a dead letter, and the error of a failure."""
    deadline = 120 if fault["type"] == "stuck" else 86400  # each poll until then takes a second of real time
    ticket = await house.accept(**FAMILIES[family], deadline_seconds=deadline)
    with suppress(WorkflowFailureError):
        await (await house.start(ticket)).result()
    row, _ = await house.rows(ticket.generation_id)
    if row.status == GenerationStatus.SUCCEEDED:
        return "✓"
    assert row.error is not None
    return "?" if row.error["code"] == "outcome_unknown" else f"✗ `{row.error['code']}`"
