"""Kling: lost answers."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from genpulse.errors import (
    OutcomeUnknown,
)
from genpulse.providers.base import Finished
from tests.unit.kling.shared import (
    BOTH,
    World,
    answering,
    call,
)


@BOTH
@pytest.mark.parametrize("kind", ["lost_answer", "malformed"])
async def test_a_call_whose_answer_was_lost_is_found(world: World, model: str, kind: str) -> None:
    world.fault(type=kind, kinds=["submit"], times=1)
    account, asked = world.account(), call(model)
    with pytest.raises(OutcomeUnknown):
        await account.submit(asked)
    job = await account.find(asked, sent_at=datetime.now(UTC))
    assert job is not None
    world.clock.advance(3)
    assert isinstance(await account.poll(job, asked), Finished)
    assert len(world.simulator.find_jobs(key=asked.key)) == 1


@BOTH
async def test_a_call_that_was_not_accepted_is_not_found(world: World, model: str) -> None:
    world.fault(type="connection_reset", kinds=["submit"])
    with pytest.raises(OutcomeUnknown):
        await world.account().submit(call(model))
    assert await world.account().find(call(model), sent_at=datetime.now(UTC)) is None


@pytest.mark.parametrize(("status", "code"), [(404, 1203), (400, 1201)])
async def test_an_unknown_id_is_no_job_however_it_is_said(status: int, code: int) -> None:
    account = answering(status, {"code": code, "message": "no", "request_id": "r"})
    assert await account.find(call("kling-v3"), sent_at=datetime.now(UTC)) is None
