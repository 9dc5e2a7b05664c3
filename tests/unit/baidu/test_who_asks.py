"""Baidu Cloud: who asks."""

from __future__ import annotations

import asyncio
from dataclasses import asdict

import httpx
import pytest

from genpulse.errors import (
    OutcomeUnknown,
    ProviderAuthFailed,
    ProviderUnavailable,
)
from genpulse.providers.baidu import Baidu
from genpulse.providers.base import Credentials
from genpulse.settings import ProviderSettings
from genpulse.simulator.credentials import BAIDU
from tests.clouds import Files, World
from tests.unit.baidu.shared import (
    ADVANCED,
    BASIC,
    LARGER,
    MUSE,
    PICTURE,
    VOD,
    K,
    V,
    _client,
    call,
    least,
)

APPLICATION = {"app_key": "sim-app-key", "app_secret": "sim-app-secret"}


@pytest.mark.parametrize(
    ("model", "without", "named"),
    [
        *((model, {"api_key"}, "api_key") for model in (PICTURE, MUSE, K, V)),
        (VOD, {"access_key"}, "access_key and secret_key"),
        *((model, {"secret_key", "options"}, "app_key") for model in (LARGER, BASIC, ADVANCED)),
    ],
)
async def test_each_platform_needs_its_own(
    world: World[Baidu], files: Files, model: str, without: set[str], named: str
) -> None:
    known = {name: value for name, value in asdict(BAIDU).items() if value and name not in without}
    error = await world.refused(least(model, files), world.account(**known))
    assert type(error) is ProviderAuthFailed
    assert named in error.message
    assert world.simulator.record.find() == []


@pytest.mark.parametrize("model", [LARGER, ADVANCED])
async def test_a_pair_is_enough_for_the_open_platform(world: World[Baidu], files: Files, model: str) -> None:
    account = world.account(access_key=BAIDU.access_key, secret_key=BAIDU.secret_key)
    assert (await world.made(least(model, files), account)).outputs
    entries = world.simulator.record.find()
    assert not [entry for entry in entries if "token" in entry.path or entry.query]
    assert all("authorization" in entry.headers for entry in entries)


async def test_an_application_is_enough_for_the_open_platform(world: World[Baidu], files: Files) -> None:
    account = world.account(options=APPLICATION)
    await world.made(least(ADVANCED, files), account)
    await world.made(least(LARGER, files), account)
    paths = [entry.path for entry in world.simulator.record.find()]
    assert paths.count("/baidu/oauth/2.0/token") == 1, "the token is kept"
    assert not any("authorization" in entry.headers for entry in world.simulator.record.find())


async def test_an_expired_token_is_replaced_once(world: World[Baidu], files: Files) -> None:
    account = world.account(options=APPLICATION)
    await world.made(least(LARGER, files), account)
    world.clock.advance(31 * 24 * 3600)
    assert (await world.made(least(LARGER, files), account)).outputs
    paths = [entry.path.rpartition("/")[2] for entry in world.simulator.record.find()]
    assert paths == ["token", "image_quality_enhance", "image_quality_enhance", "token", "image_quality_enhance"]
    assert len(world.simulator.find_jobs()) == 2


@pytest.mark.parametrize("code", [100, 110, 111])
async def test_a_token_that_is_refused_again_is_the_end(code: int) -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        if request.url.path.startswith("/oauth"):
            return httpx.Response(200, json={"access_token": f"24.{len(asked)}"})
        return httpx.Response(200, json={"error_code": code, "error_msg": "Access token invalid"})

    account = Baidu("http://x", Credentials(options=APPLICATION), _client(answer))
    with pytest.raises(ProviderAuthFailed):
        await account.submit(call(ADVANCED, prompt="a fox"))
    assert [path[:6] for path in asked] == ["/oauth", "/rpc/2", "/oauth", "/rpc/2"]


async def test_only_a_stale_token_is_replaced() -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        return httpx.Response(200, json={"access_token": "24.x"} if len(asked) == 1 else {"error_code": 6})

    with pytest.raises(ProviderAuthFailed):
        await Baidu("http://x", Credentials(options=APPLICATION), _client(answer)).submit(call(BASIC, prompt="a fox"))
    assert len(asked) == 2


async def test_many_calls_ask_for_one_token(world: World[Baidu]) -> None:
    account = world.account(options=APPLICATION)
    await asyncio.gather(*(account.submit(call(ADVANCED, prompt="a fox")) for _ in range(5)))
    tokens = [entry for entry in world.simulator.record.find() if entry.path.endswith("/token")]
    assert len(tokens) == 1


def test_the_secret_of_an_application_is_not_shown() -> None:
    assert "sim-app-secret" not in repr(Credentials(options=APPLICATION))
    assert "sim-app-secret" not in repr(ProviderSettings.model_validate({"options": APPLICATION}))


@pytest.mark.parametrize("wrong", [{"app_key": "x"}, {"app_secret": "x"}])
async def test_a_wrong_application(world: World[Baidu], files: Files, wrong: dict[str, str]) -> None:
    error = await world.refused(least(LARGER, files), world.account(options=APPLICATION | wrong))
    assert (type(error), "invalid_client" in error.message) == (ProviderAuthFailed, True)


@pytest.mark.parametrize("model", [PICTURE, MUSE, VOD, ADVANCED])
@pytest.mark.parametrize("name", ["api_key", "access_key", "secret_key"])
async def test_wrong_keys(world: World[Baidu], files: Files, model: str, name: str) -> None:
    known = {one: getattr(BAIDU, one) for one in ("api_key", "access_key", "secret_key")} | {name: "wrong"}
    matters = (name == "api_key") is (model in (PICTURE, MUSE))
    try:
        await world.made(least(model, files), world.account(**known))
    except ProviderAuthFailed:
        assert matters
    else:
        assert not matters


async def test_a_token_is_lost_before_anything_is_sent(world: World[Baidu], files: Files) -> None:
    world.fault(type="lost_answer", kinds=["other"])
    error = await world.refused(least(ADVANCED, files), world.account(options=APPLICATION))
    assert type(error) is ProviderUnavailable


@pytest.mark.parametrize(
    ("base_url", "hosts"),
    [
        ("", ["qianfan.baidubce.com", "vod.bj.baidubce.com", "aip.baidubce.com"]),
        ("https://qianfan.baidubce.com/", ["qianfan.baidubce.com", "vod.bj.baidubce.com", "aip.baidubce.com"]),
        ("https://gateway.example/b", ["gateway.example"] * 3),
    ],
)
async def test_each_platform_has_a_host(files: Files, base_url: str, hosts: list[str]) -> None:
    asked: list[httpx.URL] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url)
        return httpx.Response(500)

    account = Baidu(base_url, Credentials(api_key="x", access_key="a", secret_key="s"), _client(answer))
    for model in (PICTURE, VOD, ADVANCED):
        with pytest.raises(OutcomeUnknown):
            await account.submit(least(model, files))
    assert [url.host for url in asked] == hosts
    assert all(url.path.startswith("/b/") is base_url.endswith("/b") for url in asked)
