"""Kling: errors."""

from __future__ import annotations

import pytest

from genpulse.errors import (
    ContentBlocked,
    GenPulseError,
    JobMissing,
    OutcomeUnknown,
    ProviderAuthFailed,
    ProviderFailed,
    ProviderQuotaSpent,
    ProviderRejected,
    ProviderThrottled,
    ProviderUnavailable,
)
from genpulse.providers.base import Finished, Job, Pending
from tests.unit.kling.shared import (
    BOTH,
    World,
    answering,
    call,
    task_of,
)


@pytest.mark.parametrize(
    ("status", "code", "paid", "free"),
    [
        (401, 1000, ProviderAuthFailed, ProviderAuthFailed),
        (401, 1001, ProviderAuthFailed, ProviderAuthFailed),
        (401, 1002, ProviderAuthFailed, ProviderAuthFailed),
        (401, 1003, ProviderAuthFailed, ProviderAuthFailed),
        (401, 1004, ProviderAuthFailed, ProviderAuthFailed),
        (429, 1100, ProviderAuthFailed, ProviderAuthFailed),
        (429, 1101, ProviderQuotaSpent, ProviderQuotaSpent),
        (429, 1102, ProviderQuotaSpent, ProviderQuotaSpent),
        (403, 1103, ProviderAuthFailed, ProviderAuthFailed),
        (400, 1200, ProviderRejected, ProviderRejected),
        (400, 1201, ProviderRejected, ProviderRejected),
        (404, 1202, ProviderRejected, JobMissing),
        (404, 1203, ProviderRejected, JobMissing),
        (400, 1300, ContentBlocked, ContentBlocked),
        (400, 1301, ContentBlocked, ContentBlocked),
        (429, 1302, ProviderThrottled, ProviderThrottled),
        (429, 1303, ProviderThrottled, ProviderThrottled),
        (429, 1304, ProviderAuthFailed, ProviderAuthFailed),
        (500, 5000, OutcomeUnknown, ProviderUnavailable),
        (503, 5001, ProviderUnavailable, ProviderUnavailable),
        (504, 5002, OutcomeUnknown, ProviderUnavailable),
        (200, 1303, ProviderThrottled, ProviderThrottled),
        (200, 5000, OutcomeUnknown, ProviderUnavailable),
        (200, 1999, OutcomeUnknown, ProviderUnavailable),
        (400, 1999, ProviderRejected, ProviderRejected),
        (200, [], OutcomeUnknown, ProviderUnavailable),
    ],
)
@BOTH
async def test_what_an_error_code_means(
    status: int, code: object, paid: type[GenPulseError], free: type[GenPulseError], model: str
) -> None:
    account = answering(status, {"code": code, "message": "no", "request_id": "r"})
    handle = {"path": "/v1/videos/text2video"} if model == "kling-v3" else {}
    with pytest.raises(GenPulseError) as sent:
        await account.submit(call(model))
    with pytest.raises(GenPulseError) as asked:
        await account.poll(Job(id="1", handle=handle), call(model))
    assert (type(sent.value), type(asked.value)) == (paid, free)


@BOTH
@pytest.mark.parametrize(("code", "error"), [("content", ContentBlocked), ("internal", ProviderFailed)])
async def test_a_task_may_fail_after_it_was_accepted(
    world: World, model: str, code: str, error: type[GenPulseError]
) -> None:
    world.fault(type="fails", code=code)
    with pytest.raises(error):
        await world.made(call(model))


@BOTH
async def test_a_task_is_queued_runs_and_has_results(world: World, model: str) -> None:
    account = world.account()
    job = await task_of(account, call(model))
    for _ in range(2):
        assert await account.poll(job, call(model)) == Pending()
        world.clock.advance(1)
    state = await account.poll(job, call(model))
    assert isinstance(state, Finished)
    assert state.parameters == {"duration": 5.0, "video_id": str(int(job.id) + 1)}


@BOTH
async def test_a_success_may_have_no_files_yet(world: World, model: str) -> None:
    world.fault(type="no_outputs")
    assert (await world.made(call(model))).outputs == []


@BOTH
async def test_a_task_may_be_hidden_at_first(world: World, model: str) -> None:
    world.fault(type="hidden_at_first")
    account = world.account()
    job = await task_of(account, call(model))
    with pytest.raises(JobMissing):
        await account.poll(job, call(model))
    assert await account.poll(job, call(model)) == Pending()


async def test_bills_are_read_as_far_as_they_can_be() -> None:
    billing = [
        {"charge_type": "cash", "currency": "USD", "amount": "0.42"},
        {"charge_type": "unit", "amount": "3"},
        {"charge_type": "unit", "amount": ""},
    ]
    outputs = [
        {"type": "audio", "id": "9", "wav_url": "https://k/1.wav", "mp3_url": "https://k/1.mp3"},
        {"type": "element", "id": "8"},
    ]
    task = {"id": "1", "status": "succeeded", "outputs": outputs, "billing": billing, "new": 1}
    state = await answering(200, {"code": 0, "data": [task]}).poll(Job(id="1"), call("kling-3.0"))
    assert isinstance(state, Finished)
    assert state.usage == {"usd": 0.42, "units": 3.0}
    assert [output.url for output in state.outputs] == ["https://k/1.wav"]
    assert state.parameters == {}
