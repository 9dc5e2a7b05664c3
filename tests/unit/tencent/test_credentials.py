"""Tencent Cloud: credentials."""

from __future__ import annotations

import httpx
import pytest

from genpulse.errors import (
    GenPulseError,
    ProviderAuthFailed,
    ProviderRejected,
)
from genpulse.providers.base import Finished, Job
from genpulse.providers.tencent import Tencent
from genpulse.simulator.credentials import TENCENT
from tests.clouds import Files, World
from tests.unit.tencent.shared import (
    HUB,
    JOB,
    SYNC,
    TEXT,
    VOD,
    account,
    call,
    least,
)


@pytest.mark.parametrize("name", ["access_key", "secret_key", "api_key"])
@pytest.mark.parametrize("model", [VOD, JOB, *SYNC])
async def test_a_wrong_credential_is_refused(world: World[Tencent], files: Files, model: str, name: str) -> None:
    right = {
        "api_key": TENCENT.api_key,
        "access_key": TENCENT.access_key,
        "secret_key": TENCENT.secret_key,
        "options": dict(TENCENT.options),
    }
    wrong = world.account(**right | {name: "wrong"})
    if (model == "hy-image-3.0") is (name == "api_key"):
        with pytest.raises(ProviderAuthFailed, match=r"AuthFailure|401002|Signature|AccessKey"):
            await wrong.submit(least(model, files))
    else:
        assert isinstance(await wrong.submit(least(model, files)), Job | Finished)


async def test_a_clock_that_is_off_is_refused(world: World[Tencent], files: Files) -> None:
    world.clock.advance(301)
    with pytest.raises(ProviderAuthFailed, match="SignatureExpire"):
        await world.account().submit(call(VOD, TEXT, prompt="a fox"))
    world.clock.advance(10_000)
    with pytest.raises(ProviderAuthFailed, match="expired"):
        await world.account().submit(least("ci-super-resolution", files))


@pytest.mark.parametrize(
    ("model", "missing"),
    [(VOD, "access_key"), (JOB, "access_key"), ("refine-image", "access_key"), (HUB, "api_key")],
)
async def test_what_is_missing_is_named(world: World[Tencent], files: Files, model: str, missing: str) -> None:
    other = {"api_key": "x"} if missing == "access_key" else {"access_key": "x", "secret_key": "x"}
    with pytest.raises(ProviderAuthFailed, match=missing):
        await world.account(**other).submit(least(model, files))


async def test_a_bucket_and_an_account_are_needed(world: World[Tencent], files: Files) -> None:
    pair = {"access_key": TENCENT.access_key, "secret_key": TENCENT.secret_key}
    with pytest.raises(ProviderAuthFailed, match="`bucket` in the options"):
        await world.account(**pair).submit(least("ci-super-resolution", files))
    with pytest.raises(ProviderAuthFailed, match="is a number"):
        await world.account(**pair, options={"sub_app_id": "mine"}).submit(least(VOD, files))
    with pytest.raises(ProviderRejected, match="SubAppId"):
        await world.account(**pair).submit(least(VOD, files))


async def test_each_service_has_a_host(files: Files) -> None:
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(400)

    for model in (VOD, JOB, "refine-image", "enhance-image", "hy-image-3.0", "ci-super-resolution"):
        with pytest.raises(GenPulseError):
            await account(httpx.MockTransport(answer), Tencent.default_url).submit(least(model, files))
    assert [one.url.host for one in asked] == [
        "vod.tencentcloudapi.com",
        "vclm.tencentcloudapi.com",
        "aiart.tencentcloudapi.com",
        "tiia.tencentcloudapi.com",
        "tokenhub.tencentmaas.com",
        "x-1.cos.ap-guangzhou.myqcloud.com",
    ]
    assert [one.headers.get("X-TC-Region") for one in asked[:4]] == [None, *["ap-guangzhou"] * 3]
    assert [one.headers["X-TC-Version"] for one in asked[:4]] == [
        "2018-07-17",
        "2024-05-23",
        "2022-12-29",
        "2019-05-29",
    ]
