"""Kling: who asks."""

from __future__ import annotations

import pytest

from genpulse.errors import (
    ProviderAuthFailed,
)
from genpulse.providers.base import Credentials
from genpulse.simulator.clouds import kling as simulated
from tests.unit.kling.shared import (
    BOTH,
    PAIR,
    World,
    call,
)


@BOTH
async def test_a_pair_of_keys_is_good_for_half_an_hour_from_now(world: World, model: str) -> None:
    await world.made(call(model), world.account(PAIR))
    for ahead, code in ((60, 1003), (-3600, 1004)):
        with pytest.raises(ProviderAuthFailed, match=str(code)):
            await world.account(PAIR, ahead=ahead).submit(call(model))


@pytest.mark.parametrize(
    "credentials",
    [
        Credentials(api_key="other"),
        Credentials(),
        Credentials(access_key="sim-access-key", secret_key="other"),
        Credentials(access_key="other", secret_key="sim-secret"),
        Credentials(api_key="e30.e30.e30"),
    ],
)
async def test_others_are_refused(world: World, credentials: Credentials) -> None:
    with pytest.raises(ProviderAuthFailed):
        await world.account(credentials).submit(call("kling-3.0"))
    assert world.simulator.jobs == {}


@pytest.mark.parametrize(("header", "code"), [(None, 1001), ("Key x", 1002), ("Bearer a.b.c", 1002)])
async def test_headers_are_looked_at_first(world: World, header: str | None, code: int) -> None:
    headers = {} if header is None else {"Authorization": header}
    answer = await world.http.post("http://sim/kling/text-to-video/none", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (401, code)


async def test_the_new_generation_may_refuse_tokens(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulated.Kling, "tokens_everywhere", False)
    await world.account(PAIR).submit(call("kling-v3"))
    with pytest.raises(ProviderAuthFailed):
        await world.account(PAIR).submit(call("kling-3.0"))
