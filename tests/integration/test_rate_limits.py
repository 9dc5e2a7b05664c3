"""Requests per minute: the count in memory and on a real Valkey, and what every answer tells of it."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis

from api.app import create_app
from api.services import Services
from genpulse.errors import DependencyDown
from genpulse.limits.requests import MemoryRequests, RedisRequests, RequestCounter, Taken, request_counter
from genpulse.settings import RedisSettings, Settings
from tests.integration.conftest import SHAPE, assert_problem, png, submit
from tests.integration.tenants import Made, calling, made_tenant
from tests.servers.valkey import ValkeyServer, valkey_server

PATH = "/v1/admin/tenants"


@pytest.fixture(scope="module")
def server() -> Iterator[ValkeyServer]:
    with valkey_server() as running:
        yield running


@pytest.fixture(params=["memory", "valkey"])
async def counter(request: pytest.FixtureRequest) -> AsyncIterator[RequestCounter]:
    if request.param == "memory":
        yield MemoryRequests()
        return
    async with Redis.from_url(request.getfixturevalue("server").url) as client:
        yield RedisRequests(client, prefix=uuid4().hex)


# The count ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("per_minute", [1, 7, 60])
async def test_as_many_as_may_come_in_a_minute_may_come_at_once(counter: RequestCounter, per_minute: int) -> None:
    taken = [await counter.take("acme", per_minute) for _ in range(per_minute + 1)]
    assert [one.granted for one in taken] == [True] * per_minute + [False]
    if per_minute < 60:  # of which one more comes every second
        assert [one.remaining for one in taken] == [*reversed(range(per_minute)), 0]
    assert all(0 < one.more_in <= -(-60 // per_minute) for one in taken)


async def test_tenants_do_not_take_from_one_another(counter: RequestCounter) -> None:
    assert (await counter.take("acme", 1)).granted
    assert not (await counter.take("acme", 1)).granted
    assert (await counter.take("other", 1)).granted


async def test_what_is_refused_takes_nothing(counter: RequestCounter) -> None:
    """At 600 a minute there is one more every tenth of a second, however often somebody asks in vain."""
    while (await counter.take("acme", 600)).granted:
        pass
    granted = 0
    async with asyncio.timeout(30):
        while granted < 3:
            granted += (await counter.take("acme", 600)).granted
            await asyncio.sleep(0.005)


async def test_a_higher_limit_holds_at_once(counter: RequestCounter) -> None:
    assert [(await counter.take("acme", 2)).more_in for _ in range(3)][-1] > 20
    assert (await counter.take("acme", 6000)).more_in == 1


async def test_many_who_come_at_once_get_no_more(counter: RequestCounter) -> None:
    taken = await asyncio.gather(*(counter.take("acme", 5) for _ in range(50)))
    assert sum(one.granted for one in taken) == 5


@given(st.integers(1, 5000), st.lists(st.floats(0, 70), min_size=1, max_size=60))
def test_beyond_what_may_come_at_once_there_are_no_more_than_so_many_a_minute(
    per_minute: int, pauses: list[float]
) -> None:
    now, granted = 0.0, list[float]()
    counter = MemoryRequests(lambda: now)

    async def ask(times: int) -> None:
        for _ in range(times):
            taken = await counter.take("acme", per_minute)
            if not taken.granted:
                assert taken.remaining == 0
                return
            granted.append(now)

    for pause in pauses:
        now += pause
        asyncio.run(ask(2 * per_minute if per_minute < 50 else 5))
    assert len(granted) <= per_minute * (1 + sum(pauses[1:]) / 60) + 1e-6


async def test_when_it_says_so_there_is_one_more() -> None:
    now = 0.0
    counter = MemoryRequests(lambda: now)
    *_, taken = [await counter.take("acme", 3) for _ in range(3)]
    now += (await counter.take("acme", 3)).more_in
    assert taken.remaining == 0
    assert (await counter.take("acme", 3)).granted


async def test_memory_forgets_whoever_sends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genpulse.limits.requests._MANY", 3)
    now = 0.0
    counter = MemoryRequests(lambda: now)
    for tenant in range(10):
        await counter.take(str(tenant), 60)
        now += 1
    assert len(counter._full_at) <= 3


async def test_valkey_forgets_whoever_sends_nothing(server: ValkeyServer) -> None:
    async with Redis.from_url(server.url) as client:
        prefix = uuid4().hex
        await RedisRequests(client, prefix=prefix).take("acme", 2)
        assert 0 < await client.pttl(f"{prefix}:acme") <= 30_000


async def test_two_processes_count_together(server: ValkeyServer) -> None:
    settings = Settings(redis=RedisSettings(url=server.url))
    tenant = uuid4().hex
    async with request_counter(settings) as one, request_counter(settings) as other:
        taken = [await which.take(tenant, 3) for which in (one, other, one, other)]
    assert [each.granted for each in taken] == [True, True, True, False]


async def test_a_count_that_is_away_is_asked_again_only_after_a_while(server: ValkeyServer) -> None:
    now = 0.0
    async with Redis.from_url(server.url, socket_timeout=0.2) as client:
        counter = RedisRequests(client, prefix=uuid4().hex, clock=lambda: now)
        await counter.take("acme", 5)
        os.kill(server.pid, signal.SIGSTOP)
        try:
            with pytest.raises(DependencyDown, match="does not answer"):
                await counter.take("acme", 5)
            with pytest.raises(DependencyDown, match="did not answer a moment ago"):
                await counter.take("acme", 5)
        finally:
            os.kill(server.pid, signal.SIGCONT)
        now += 1.1
        assert isinstance(await counter.take("acme", 5), Taken)


# Over HTTP ------------------------------------------------------------------------------------------------------------


def left(answer: httpx.Response, quota: int) -> int:
    """How many the answer says are left."""
    assert answer.headers["ratelimit-policy"] == f'"requests";q={quota};w=60'
    found = re.fullmatch(r'"requests";r=(\d+);t=(\d+)', answer.headers["ratelimit"])
    assert found and int(found[2]) >= 1
    return int(found[1])


@pytest.fixture
async def acme(api: httpx.AsyncClient) -> Made:
    return await made_tenant(api, limits={"requests_per_minute": 30})


@pytest.fixture
async def own(app: FastAPI, acme: Made) -> AsyncIterator[httpx.AsyncClient]:
    async with calling(app, acme.secret) as client:
        yield client


async def stream(own: httpx.AsyncClient) -> httpx.Response:
    made = await submit(own)
    await own.post(f"/v1/generations/{made['id']}/cancel")
    async with own.stream("GET", f"/v1/generations/{made['id']}/events") as answer:
        return answer


async def content(own: httpx.AsyncClient) -> httpx.Response:
    made = (await own.post("/v1/assets", files={"file": ("a.png", png())})).json()
    return await own.get(f"/v1/assets/{made['id']}/content")


ANSWERS: dict[str, tuple[int, Callable[[httpx.AsyncClient], Awaitable[httpx.Response]]]] = {
    "a list": (200, lambda own: own.get("/v1/generations")),
    "accepted": (202, lambda own: own.post("/v1/generations", json=SHAPE)),
    "not there": (404, lambda own: own.get("/v1/generations/gen_01k9d2x8f6v3q7m5r0ha4tjwbe")),
    "wrong": (422, lambda own: own.post("/v1/generations", json={})),
    "an unknown parameter": (422, lambda own: own.get("/v1/generations?colour=red")),
    "no JSON": (415, lambda own: own.post("/v1/generations", content=b"x")),
    "a scope that is missing": (403, lambda own: own.get("/v1/system")),
    "a stream": (200, stream),
    "a file": (200, content),
}


@pytest.mark.parametrize("which", ANSWERS)
async def test_every_answer_says_what_is_left(own: httpx.AsyncClient, which: str) -> None:
    status, ask = ANSWERS[which]
    answer = await ask(own)
    assert answer.status_code == status, answer.text
    assert left(answer, 30) < 30


async def test_beyond_the_limit_nothing_is_done(api: httpx.AsyncClient, app: FastAPI) -> None:
    acme = await made_tenant(api, limits={"requests_per_minute": 2})
    async with calling(app, acme.secret) as own:
        assert [left(await own.post("/v1/generations", json=SHAPE), 2) for _ in range(2)] == [1, 0]
        answer = await own.post("/v1/generations", json=SHAPE)
        problem = assert_problem(answer, 429, "rate_limited")
        assert left(answer, 2) == 0
        assert answer.headers["retry-after"] == str(problem["details"]["retry_after"])
        assert 0 < int(answer.headers["retry-after"]) <= 30
        await api.patch(f"{PATH}/{acme.tenant_id}", json={"limits": {"requests_per_minute": None}})
        answer = await own.get("/v1/generations")
    assert len(answer.json()["data"]) == 2
    assert "ratelimit" not in answer.headers and "ratelimit-policy" not in answer.headers


async def test_keys_of_a_tenant_count_together(
    api: httpx.AsyncClient, app: FastAPI, acme: Made, own: httpx.AsyncClient
) -> None:
    second = (await own.post("/v1/keys", json={})).json()
    async with calling(app, second["secret"]) as other:
        assert left(await other.get("/v1/generations"), 30) == 28


async def test_wrong_keys_and_links_are_not_counted(own: httpx.AsyncClient, app: FastAPI) -> None:
    made = (await own.post("/v1/assets", files={"file": ("a.png", png())})).json()
    async with calling(app, "gp_live_wrong") as stranger:
        for answer in (await stranger.get("/v1/generations"), await stranger.get(made["url"])):
            assert "ratelimit" not in answer.headers and "ratelimit-policy" not in answer.headers
    assert left(await own.get("/v1/generations"), 30) == 28


async def test_requests_are_counted_in_the_metrics(api: httpx.AsyncClient, app: FastAPI) -> None:
    acme = await made_tenant(api, limits={"requests_per_minute": 1})
    before = await metric(api, "genpulse_http_requests_refused_total")
    async with calling(app, acme.secret) as own:
        assert [(await own.get("/v1/generations")).status_code for _ in range(3)] == [200, 429, 429]
    assert await metric(api, "genpulse_http_requests_refused_total") == before + 2


async def metric(api: httpx.AsyncClient, name: str) -> float:
    page = (await api.get("/metrics")).text
    return next(float(line.split()[-1]) for line in page.splitlines() if line.startswith(name))


async def test_requests_pass_while_nobody_can_count_them(
    api: httpx.AsyncClient, api_settings: Settings, services: Services, tmp_path: Path
) -> None:
    acme = await made_tenant(api, limits={"requests_per_minute": 1})
    settings = api_settings.model_copy(update={"redis": RedisSettings(url="redis://127.0.0.1:1/0")})
    app = create_app(settings)
    async with app.router.lifespan_context(app), calling(app, acme.secret) as own:
        answers = [await own.get("/v1/generations") for _ in range(3)]
        assert [one.status_code for one in answers] == [200] * 3
        assert {one.headers["ratelimit-policy"] for one in answers} == {'"requests";q=1;w=60'}
        assert not any("ratelimit" in one.headers for one in answers)
        assert await metric(own, "genpulse_http_requests_uncounted_total") == 3
