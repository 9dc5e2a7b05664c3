"""Retrying and discarding dead letters through the API, one by one and in bulk."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest

from api.services import Services
from genpulse.db import utc_now
from genpulse.deadletters import decide, discarding
from genpulse.errors import NotFound
from genpulse.repositories import generations, tenants, upkeep
from genpulse.schemas.deadletters import DeadLetterFilter
from genpulse.schemas.generations import GenerationFault
from genpulse.schemas.plans import Parking
from tests.integration.conftest import CHAIN, SHAPE, Run, assert_problem, plant_asset, submit

FAKE = SHAPE | {"model": "local/fake"}


def fault(code: str = "provider_unavailable", provider: str | None = "local") -> GenerationFault:
    return GenerationFault(code=code, message="Not now.", retryable=True, provider=provider, details={})


@pytest.fixture
def park(run: Callable[[str], Run]):
    """Bring a generation to where it waits, as its workflow does."""

    async def park(generation_id: str, error: GenerationFault | None = None, *, position: int = 0) -> None:
        work = run(generation_id)
        for done in range(position):
            await work.begin(done)
            await work.finish_step(done)
        await work.begin(position)
        parking = Parking(
            generation_id=generation_id,
            position=position,
            round=0,
            fault=error or fault(),
            kept_until=utc_now() + timedelta(days=7),
        )
        await work.records.park(parking)

    return park


async def shown(api: httpx.AsyncClient, generation_id: str) -> dict[str, Any]:
    answer = await api.get(f"/v1/generations/{generation_id}")
    assert answer.status_code == 200
    return dict(answer.json())


async def test_it_shows_why_it_waits_and_until_when(api: httpx.AsyncClient, park) -> None:
    made = await submit(api, CHAIN)
    await park(made["id"], position=1)
    seen = await shown(api, made["id"])
    assert seen["status"] == "dead_lettered"
    assert seen["error"]["code"] == "provider_unavailable"
    assert seen["dead_letter"]["since"] < seen["dead_letter"]["until"]
    assert [step["status"] for step in seen["steps"]] == ["succeeded", "failed", "queued"]
    assert len(seen["steps"][0]["outputs"]) == 1, "what was done is kept"
    assert seen["steps"][1]["attempts"][0]["billing"] == "none", "nothing was sent"
    listed = (await api.get("/v1/generations", params={"error_code": "provider_unavailable"})).json()["data"]
    assert [one["id"] for one in listed] == [made["id"]]
    assert (await api.get("/v1/generations", params={"error_code": "internal"})).json()["data"] == []


async def test_a_retry_goes_on_and_waits_to_be_told_to_its_workflow(
    api: httpx.AsyncClient, services: Services, park
) -> None:
    made = await submit(api, CHAIN)
    await park(made["id"], position=1)
    answer = await api.post(f"/v1/generations/{made['id']}/retry")
    assert answer.status_code == 202
    seen = answer.json()
    assert (seen["status"], seen["error"], seen["dead_letter"]) == ("queued", None, None)
    assert [step["status"] for step in seen["steps"]] == ["succeeded", "queued", "queued"]
    assert seen["deadline_at"] > made["deadline_at"]
    async with services.database.reading() as session:
        (row,) = await generations.resolutions_unsent(session, limit=10)
    assert row.resolution is not None
    assert (row.round, row.resolution["action"], row.resolution["round"]) == (1, "retry", 0)
    assert [one["model"] for one in row.resolution["choices"]] == ["local/motion"]


async def test_a_second_decision_is_refused(api: httpx.AsyncClient, park) -> None:
    made = await submit(api)
    await park(made["id"])
    assert (await api.post(f"/v1/generations/{made['id']}/retry")).status_code == 202
    for action in ("retry", "discard"):
        assert_problem(await api.post(f"/v1/generations/{made['id']}/{action}"), 409, "not_dead_lettered")


async def test_discarding_ends_it_with_its_reason(api: httpx.AsyncClient, park) -> None:
    made = await submit(api)
    await park(made["id"])
    answer = await api.post(f"/v1/generations/{made['id']}/discard")
    assert answer.status_code == 202
    assert (answer.json()["status"], answer.json()["error"]["code"]) == ("failed", "provider_unavailable")
    assert answer.json()["finished_at"]
    assert_problem(await api.post(f"/v1/generations/{made['id']}/retry"), 409, "already_finished")


@pytest.mark.parametrize("action", ["retry", "discard"])
async def test_what_is_not_there_or_does_not_wait(api: httpx.AsyncClient, action: str) -> None:
    assert_problem(await api.post(f"/v1/generations/gen_{'0' * 26}/{action}"), 404, "not_found")
    made = await submit(api)
    assert_problem(await api.post(f"/v1/generations/{made['id']}/{action}"), 409, "not_dead_lettered")


async def test_another_model_must_be_able_to_take_the_step(api: httpx.AsyncClient, park) -> None:
    made = await submit(api)
    await park(made["id"])
    where = f"/v1/generations/{made['id']}/retry"
    assert_problem(await api.post(where, json={"model": "local/nothing"}), 422, "unknown_model", "/model")
    assert_problem(await api.post(where, json={"model": "local/upscale"}), 422, "invalid_input", "/model")
    assert_problem(await api.post(where, json={"models": "x"}), 422, "invalid_input", "/models")
    assert (await shown(api, made["id"]))["status"] == "dead_lettered"
    answer = await api.post(where, json={"model": "local/fake"})
    assert answer.status_code == 202


async def test_a_parking_that_is_repeated_undoes_no_retry(api: httpx.AsyncClient, run, park) -> None:
    """Temporal promises at least once: the same parking may be written down again after somebody has decided."""
    made = await submit(api)
    await park(made["id"])
    await api.post(f"/v1/generations/{made['id']}/retry")
    again = Parking(
        generation_id=made["id"], position=0, round=0, fault=fault(), kept_until=utc_now() + timedelta(days=7)
    )
    await run(made["id"]).records.park(again)
    assert (await shown(api, made["id"]))["status"] == "queued"


async def test_a_retry_waits_for_a_place(api: httpx.AsyncClient, services: Services, run, park) -> None:
    """Of a tenant that may have one generation under way, another one has the place meanwhile."""
    async with services.database.transaction() as session:
        await tenants.change(session, "default", in_flight=1)
    late, other = await submit(api), await submit(api)
    await park(late["id"])
    retried = (await api.post(f"/v1/generations/{late['id']}/retry")).json()
    assert (retried["status"], retried["queue_position"]) == ("queued", 1)
    async with services.database.reading() as session:
        assert await generations.resolutions_unsent(session, limit=10) == []
    await run(other["id"]).succeed()
    assert (await shown(api, late["id"]))["queue_position"] is None
    async with services.database.reading() as session:
        assert [one.id for one in await generations.resolutions_unsent(session, limit=10)] == [late["id"]]


async def test_what_is_parked_while_it_waits_for_a_place_gets_a_workflow_to_wait_in(
    api: httpx.AsyncClient, services: Services, run, park
) -> None:
    """As when its workflow is terminated before it goes on."""
    async with services.database.transaction() as session:
        await tenants.change(session, "default", in_flight=1)
    late, _ = await submit(api), await submit(api)
    await park(late["id"])
    await api.post(f"/v1/generations/{late['id']}/retry")
    again = Parking(
        generation_id=late["id"], position=0, round=1, fault=fault(), kept_until=utc_now() + timedelta(days=7)
    )
    await run(late["id"]).records.park(again)
    async with services.database.transaction() as session:
        await upkeep.forget_dispatch(session, late["id"])
    async with services.database.reading() as session:
        due = await generations.undispatched(session, before=utc_now(), limit=10)
    assert late["id"] in [row.id for row in due]


async def test_a_preview_shows_what_would_be_hit_and_does_nothing(api: httpx.AsyncClient, park) -> None:
    ids = [(await submit(api))["id"] for _ in range(3)]
    await park(ids[0])
    await park(ids[1])
    await park(ids[2], fault("engine_out_of_memory"))
    bulk = (await api.post("/v1/generations:retry", json={"preview": True})).json()
    assert (bulk["matched"], bulk["done"], bulk["has_more"]) == (3, 0, False)
    assert bulk["groups"] == [
        {"model": SHAPE["model"], "code": "provider_unavailable", "provider": "local", "count": 2},
        {"model": SHAPE["model"], "code": "engine_out_of_memory", "provider": "local", "count": 1},
    ]
    assert {(await shown(api, one))["status"] for one in ids} == {"dead_lettered"}


@pytest.mark.parametrize(
    ("wanted", "hit"),
    [
        ({}, [0, 1, 2]),
        ({"code": "engine_out_of_memory"}, [2]),
        ({"provider": "fal"}, [1]),
        ({"model": "local/shapes"}, [0, 1]),
        ({"operation": "text-to-video"}, []),
        ({"created_after": "2000-01-01T00:00:00Z", "created_before": "2001-01-01T00:00:00Z"}, []),
        ({"parked_before": "2000-01-01T00:00:00Z"}, []),
        ({"ids": []}, []),
    ],
)
async def test_a_filter_names_what_is_meant(
    api: httpx.AsyncClient, park, wanted: dict[str, Any], hit: list[int]
) -> None:
    ids = [(await submit(api, body))["id"] for body in (SHAPE, SHAPE, FAKE)]
    await park(ids[0])
    await park(ids[1], fault(provider="fal"))
    await park(ids[2], fault("engine_out_of_memory"))
    bulk = (await api.post("/v1/generations:discard", json={"filter": wanted})).json()
    assert (bulk["matched"], bulk["done"], bulk["refused"]) == (len(hit), len(hit), [])
    statuses = [(await shown(api, one))["status"] for one in ids]
    assert [n for n, status in enumerate(statuses) if status == "failed"] == hit


async def test_many_go_page_by_page(api: httpx.AsyncClient, park) -> None:
    ids = [(await submit(api))["id"] for _ in range(103)]
    for one in ids:
        await park(one)
    first = (await api.post("/v1/generations:retry", json={})).json()
    assert (first["matched"], first["done"], first["has_more"], first["last_id"]) == (103, 100, True, ids[99])
    second = (await api.post("/v1/generations:retry", json={"starting_after": first["last_id"]})).json()
    assert (second["matched"], second["done"], second["has_more"]) == (3, 3, False)


async def test_who_cannot_be_retried_is_named_and_the_others_go_on(api: httpx.AsyncClient, services, park) -> None:
    asset = await plant_asset(services)
    larger = {"operation": "image-upscale", "input": {"image": {"asset": asset.id}, "scale": 2}}
    still, enlarged = (await submit(api))["id"], (await submit(api, larger))["id"]
    await park(still)
    await park(enlarged)
    body = {"filter": {"ids": [still, enlarged]}, "model": "local/shapes"}
    bulk = (await api.post("/v1/generations:retry", json=body)).json()
    assert (bulk["matched"], bulk["done"]) == (2, 1)
    (refused,) = bulk["refused"]
    assert (refused["id"], refused["problem"]["code"]) == (enlarged, "invalid_input")
    assert "local/shapes cannot take over" in refused["problem"]["detail"]
    assert [(await shown(api, one))["status"] for one in (still, enlarged)] == ["queued", "dead_lettered"]


async def test_another_tenants_are_not_there(api: httpx.AsyncClient, services: Services, park) -> None:
    made = await submit(api)
    await park(made["id"])
    async with services.database.transaction() as session:
        with pytest.raises(NotFound):
            await decide(session, "another", made["id"], discarding)
        assert await generations.dead_letters(session, "another", DeadLetterFilter(), limit=10) == []


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"filter": {"code": 5}}, "/filter/code"),
        ({"filter": {"ids": ["gen_x"]}}, "/filter/ids/0"),
        ({"filter": {"parked_before": "yesterday"}}, "/filter/parked_before"),
        ({"filters": {}}, "/filters"),
        ({"model": "no slash"}, "/model"),
    ],
)
async def test_a_wrong_filter_is_named(api: httpx.AsyncClient, body: dict[str, Any], pointer: str) -> None:
    assert_problem(await api.post("/v1/generations:retry", json=body), 422, "invalid_input", pointer)


async def test_waiting_for_a_dead_letter_ends_at_once(api: httpx.AsyncClient, services: Services, park) -> None:
    first = await submit(api, key="once")
    await park(first["id"])
    headers = {"Idempotency-Key": "once", "Prefer": "wait=50"}
    answer = await api.post("/v1/generations", json=SHAPE, headers=headers)
    assert (answer.status_code, answer.json()["status"]) == (202, "dead_lettered")
