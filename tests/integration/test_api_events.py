"""Event streams: complete, in order, resumable, and over when the generation or the server is."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from api import events
from api.services import Services
from genpulse.errors import DependencyDown
from genpulse.repositories import events as repository
from genpulse.repositories import generations
from genpulse.settings import Settings
from genpulse.watch import Watch
from tests.integration.conftest import AUTH, CHAIN, SHAPE, ApiServer, Run, assert_problem, submit

Runs = Callable[[str], Run]


class Event(NamedTuple):
    id: int | None
    type: str
    data: dict[str, Any]


def parse(text: str) -> list[Event]:
    found = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if "data" in fields:
            number = int(fields["id"]) if "id" in fields else None
            found.append(Event(number, fields["event"], json.loads(fields["data"])))
    return found


async def read(client: httpx.AsyncClient, generation_id: str, *, after: int = 0, until: int = 10**9) -> list[Event]:
    """Events of one connection, until the stream ends or event `until` was seen."""
    headers = {"Last-Event-ID": str(after)} if after else {}
    text = ""
    async with client.stream("GET", f"/v1/generations/{generation_id}/events", headers=headers) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        async for chunk in answer.aiter_text():
            text += chunk
            whole = parse(text.rpartition("\n\n")[0] + "\n\n")
            if whole and (whole[-1].id or 0) >= until:
                return whole
    return parse(text)


# A generation that has ended: no waiting, so the application answers within this process -----------------------------


async def test_what_has_ended_is_told_from_the_beginning(api: httpx.AsyncClient, run: Runs) -> None:
    made = await submit(api)
    work = run(made["id"])
    await work.begin()
    await work.progress(0.5)
    await work.finish_step()
    await work.end("succeeded")
    answer = await api.get(f"/v1/generations/{made['id']}/events")
    assert answer.headers["cache-control"] == "no-store"
    assert answer.text.startswith("retry: ")
    told = parse(answer.text)
    assert [one.id for one in told] == list(range(1, len(told) + 1))
    assert [one.type for one in told] == ["status", "attempt", "progress", "output", "progress", "status", "done"]
    assert told[0].data == {"status": "running"}
    assert told[2].data == {"step": "main", "step_progress": 0.5, "progress": 0.5}
    assert told[-1].data == {"status": "succeeded", "error": None}
    asset = told[3].data["asset"]
    assert asset["url"].startswith(f"http://api.test/v1/assets/{asset['id']}/content?expires=")


async def test_resuming_goes_on_after_the_last_event(api: httpx.AsyncClient, run: Runs) -> None:
    made = await submit(api)
    await run(made["id"]).succeed()
    whole = await read(api, made["id"])
    for seen in range(1, len(whole)):
        assert await read(api, made["id"], after=seen) == whole[seen:]
    by_query = await api.get(f"/v1/generations/{made['id']}/events", params={"last_event_id": 2})
    assert parse(by_query.text) == whole[2:]


async def test_after_the_last_event_there_is_nothing_to_come_back_for(api: httpx.AsyncClient, run: Runs) -> None:
    made = await submit(api)
    await run(made["id"]).succeed()
    last = (await read(api, made["id"]))[-1].id
    answer = await api.get(f"/v1/generations/{made['id']}/events", headers={"Last-Event-ID": str(last)})
    assert (answer.status_code, answer.content) == (204, b"")


@pytest.mark.parametrize("given", ["x", "-1", "1.5", "²", "99999999999"])
async def test_an_event_id_that_is_none_is_refused(api: httpx.AsyncClient, given: str) -> None:
    made = await submit(api)
    answer = await api.get(f"/v1/generations/{made['id']}/events", params={"last_event_id": given})
    assert_problem(answer, 400, "malformed_request", "/Last-Event-ID")


async def test_more_events_than_are_read_at_once_are_all_told(
    api: httpx.AsyncClient, run: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "_BATCH", 3)
    made = await submit(api, CHAIN)
    await run(made["id"]).succeed()
    told = await read(api, made["id"])
    assert [one.id for one in told] == list(range(1, len(told) + 1))
    assert told[-1].type == "done"


async def test_a_stream_ends_after_its_time_and_keeps_the_line_open_until_then(
    api: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "PING_SECONDS", 0.05)
    monkeypatch.setattr(events, "MAX_SECONDS", 0.3)
    made = await submit(api)
    text = (await api.get(f"/v1/generations/{made['id']}/events")).text
    assert text.count(": ping\n\n") >= 2
    assert parse(text) == [Event(None, "status", {"status": "queued"})]


async def test_a_stream_outlives_an_absence_of_the_database(
    api: httpx.AsyncClient, run: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await submit(api)
    await run(made["id"]).succeed()
    reads, real = [], repository.after

    async def failing_twice(*given: Any, **options: Any) -> Any:
        reads.append(1)
        if len(reads) < 3:
            raise DependencyDown("gone for a moment")
        return await real(*given, **options)

    monkeypatch.setattr(repository, "after", failing_twice)
    assert (await read(api, made["id"]))[-1].type == "done"


# Real connections ---------------------------------------------------------------------------------------------------


async def test_before_anything_has_happened_the_status_is_told(remote: httpx.AsyncClient) -> None:
    made = await submit(remote)
    async with remote.stream("GET", f"/v1/generations/{made['id']}/events") as answer:
        text = ""
        async for chunk in answer.aiter_text():
            text += chunk
            if "data:" in text:
                break
    assert parse(text) == [Event(None, "status", {"status": "queued"})]


async def test_whoever_reconnects_misses_nothing_and_hears_nothing_twice(remote: httpx.AsyncClient, run: Runs) -> None:
    made = await submit(remote)
    work = run(made["id"])

    async def write() -> None:
        await work.begin()
        for hundredth in range(1, 100):
            await work.progress(hundredth / 100)
        await work.finish_step()
        await work.end("succeeded")

    async def follow(stride: int) -> list[int]:
        seen: list[int] = []
        while True:
            last = seen[-1] if seen else 0
            told = [one for one in await read(remote, made["id"], after=last, until=last + stride) if one.id]
            seen += [one.id for one in told if one.id]
            if told and told[-1].type == "done":
                return seen

    _, *followed = await asyncio.gather(write(), follow(1), follow(7), follow(40), follow(10**6))
    for seen in followed:
        assert seen == list(range(1, len(seen) + 1))
        assert len(seen) == 105


async def test_a_waiting_submission_hears_of_another_process(remote: httpx.AsyncClient, run: Runs) -> None:
    waiting = asyncio.create_task(remote.post("/v1/generations", json=SHAPE, headers={"Prefer": "wait=20"}))
    while not (made := (await remote.get("/v1/generations")).json()["data"]):  # noqa: ASYNC110 - another process
        await asyncio.sleep(0.02)
    await run(made[0]["id"]).succeed()
    answer = await waiting
    assert (answer.status_code, answer.json()["status"]) == (200, "succeeded")


async def test_a_stream_does_not_outlive_its_key(remote: httpx.AsyncClient, run: Runs, services: Services) -> None:
    key = (await remote.post("/v1/keys", json={"scopes": ["read"]})).json()
    made = await submit(remote)
    theirs = {"Authorization": f"Bearer {key['secret']}"}
    async with remote.stream("GET", f"/v1/generations/{made['id']}/events", headers=theirs) as answer:
        chunks = answer.aiter_text()
        assert "queued" in await anext(chunks)
        assert (await remote.delete(f"/v1/keys/{key['id']}")).is_success
        await run(made["id"]).begin()
        async with asyncio.timeout(20):
            assert [chunk async for chunk in chunks] == []


@pytest.fixture
async def own_server(api_settings: Settings, services: Services, tmp_path: Path) -> AsyncIterator[ApiServer]:
    """A server that the test may stop."""
    server = ApiServer(api_settings, tmp_path / "log")
    try:
        await asyncio.to_thread(server.wait_until_up)
        yield server
    finally:
        server.kill()


async def test_a_stopping_server_ends_streams_and_waits_at_once(own_server: ApiServer) -> None:
    async with httpx.AsyncClient(base_url=own_server.url, headers=AUTH, timeout=30) as client:
        made = await submit(client)
        waiting = asyncio.create_task(client.post("/v1/generations", json=SHAPE, headers={"Prefer": "wait=60"}))
        async with client.stream("GET", f"/v1/generations/{made['id']}/events") as answer:
            chunks = answer.aiter_text()
            assert "queued" in await anext(chunks)
            await asyncio.sleep(0.5)
            stopping = asyncio.create_task(asyncio.to_thread(own_server.terminate))
            async with asyncio.timeout(10):
                assert [chunk async for chunk in chunks] == []
        assert (await waiting).status_code == 202
        await stopping
    assert "Traceback" not in own_server.log()
    assert "Application shutdown complete" in own_server.log()


# The watch ----------------------------------------------------------------------------------------------------------


async def test_the_watch_asks_once_for_everybody_and_never_for_nobody(
    api: httpx.AsyncClient, services: Services, run: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [(await submit(api))["id"] for _ in range(3)]
    asked: list[list[str]] = []
    real = generations.versions

    async def counted(session: Any, ids: list[str]) -> dict[str, int]:
        asked.append(sorted(set(ids)))
        return await real(session, ids)

    monkeypatch.setattr(generations, "versions", counted)
    observed = Watch(services.database)
    waiting = [asyncio.create_task(observed.newer(one, 0)) for one in made * 5]
    await asyncio.sleep(0)
    for one in made:
        await run(one).begin()
    assert await asyncio.gather(*waiting) == [True] * 15
    assert asked[0] == sorted(made)
    assert len(asked) <= 5
    await asyncio.sleep(0.5)
    before = len(asked)
    await asyncio.sleep(0.5)
    assert len(asked) == before


async def test_the_watch_keeps_waiting_while_the_database_is_down(
    api: httpx.AsyncClient, services: Services, run: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = (await submit(api))["id"]
    tries, real = [], generations.versions

    async def failing_twice(session: Any, ids: list[str]) -> dict[str, int]:
        tries.append(1)
        if len(tries) < 3:
            raise DependencyDown("gone for a moment")
        return await real(session, ids)

    monkeypatch.setattr(generations, "versions", failing_twice)
    await run(made).begin()
    assert await Watch(services.database).newer(made, 0)
    assert len(tries) == 3


async def test_a_stopped_watch_releases_everybody(api: httpx.AsyncClient, services: Services) -> None:
    made = (await submit(api))["id"]
    observed = Watch(services.database)
    waiting = asyncio.create_task(observed.newer(made, 0))
    await asyncio.sleep(0)
    await observed.close()
    assert await waiting is False
    assert await observed.newer(made, 0) is False
