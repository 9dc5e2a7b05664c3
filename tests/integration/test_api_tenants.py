"""Tenants over HTTP: made and changed by an operator, and what their limits do to what they may use."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from api.services import Services
from genpulse.db import utc_now
from genpulse.repositories import tenants
from genpulse.schemas.generations import GenerationFault
from genpulse.schemas.plans import Parking
from tests.integration.conftest import CHAIN, SHAPE, Run, assert_problem, png, submit
from tests.integration.tenants import Made, calling, made_tenant, make_key, make_tenant

PATH = "/v1/admin/tenants"
NO_LIMITS = dict.fromkeys(("requests_per_minute", "in_flight", "spend_per_day", "input_bytes", "models"))

Enter = Callable[..., Any]


@pytest.fixture
async def enter(app: FastAPI, api: httpx.AsyncClient) -> AsyncIterator[Enter]:
    """A caller of a new tenant with such limits, and such a key."""
    async with AsyncExitStack() as stack:

        async def entered(*, key: dict[str, Any] | None = None, **limits: Any) -> httpx.AsyncClient:
            made = await made_tenant(api, key=key, limits=limits)
            return await stack.enter_async_context(calling(app, made.secret))

        yield entered


# Made and changed -----------------------------------------------------------------------------------------------------


async def test_a_tenant_has_what_it_was_given(api: httpx.AsyncClient, services: Services) -> None:
    limits = {
        "requests_per_minute": 60,
        "in_flight": 3,
        "spend_per_day": 500,
        "input_bytes": 1000,
        "models": ["local/*"],
    }
    body = {"name": "acme", "limits": limits, "weight": 2.5, "low_balance": 10, "credits": 0}
    answer = await api.post(PATH, json=body)
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert answer.headers["location"].endswith(f"{PATH}/{made['id']}")
    assert (made["object"], made["name"], made["weight"], made["low_balance"]) == ("tenant", "acme", 2.5, 10)
    assert (made["limits"], made["suspended"], made["suspended_at"]) == (limits, False, None)
    assert (await api.get(f"{PATH}/{made['id']}")).json() == made
    async with services.database.reading() as session:
        assert await tenants.get(session, made["id"]) is not None


async def test_without_limits_nothing_limits(api: httpx.AsyncClient) -> None:
    made = (await api.post(PATH, json={"name": "acme"})).json()
    assert (made["limits"], made["weight"], made["low_balance"]) == (NO_LIMITS, 1.0, None)


async def test_the_list_ends_with_the_tenant_that_was_always_there(api: httpx.AsyncClient) -> None:
    made = [await make_tenant(api) for _ in range(3)][::-1]
    first = (await api.get(PATH, params={"limit": 2})).json()
    assert ([one["id"] for one in first["data"]], first["has_more"]) == (made[:2], True)
    rest = (await api.get(PATH, params={"starting_after": made[1]})).json()
    assert ([one["id"] for one in rest["data"]], rest["has_more"]) == ([made[2], "default"], False)


async def test_a_change_keeps_what_it_does_not_name(api: httpx.AsyncClient) -> None:
    tenant_id = await make_tenant(api, limits={"requests_per_minute": 60, "in_flight": 3}, weight=2)
    changed = (await api.patch(f"{PATH}/{tenant_id}", json={"limits": {"in_flight": None, "input_bytes": 5}})).json()
    assert changed["limits"] == NO_LIMITS | {"requests_per_minute": 60, "input_bytes": 5}
    changed = (await api.patch(f"{PATH}/{tenant_id}", json={"name": "new", "low_balance": 7})).json()
    assert (changed["name"], changed["weight"], changed["low_balance"]) == ("new", 2, 7)
    changed = (await api.patch(f"{PATH}/{tenant_id}", json={"low_balance": None})).json()
    assert (changed["name"], changed["low_balance"]) == ("new", None)
    assert (await api.patch(f"{PATH}/{tenant_id}", json={})).json() == changed


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/name"),
        ({"name": ""}, "/name"),
        ({"name": "x", "weight": 0}, "/weight"),
        ({"name": "x", "credits": -1}, "/credits"),
        ({"name": "x", "credits": 1.5}, "/credits"),
        ({"name": "x", "limits": {"requests_per_minute": 0}}, "/limits/requests_per_minute"),
        ({"name": "x", "limits": {"in_flight": "3"}}, "/limits/in_flight"),
        ({"name": "x", "limits": {"models": ["kling"] * 101}}, "/limits/models"),
        ({"name": "x", "limits": {"colour": 1}}, "/limits/colour"),
    ],
)
async def test_what_is_wrong_is_named(api: httpx.AsyncClient, body: dict[str, Any], pointer: str) -> None:
    assert_problem(await api.post(PATH, json=body), 422, "invalid_input", pointer)


@pytest.mark.parametrize("name", ["name", "weight"])
async def test_what_every_tenant_has_cannot_be_taken_away(api: httpx.AsyncClient, name: str) -> None:
    tenant_id = await make_tenant(api)
    assert_problem(await api.patch(f"{PATH}/{tenant_id}", json={name: None}), 422, "invalid_input", f"/{name}")


@pytest.mark.parametrize("tenant_id", [f"ten_{'0' * 26}", "nobody", "gen_01k9d2x8f6v3q7m5r0ha4tjwbe"])
async def test_a_tenant_that_is_not_there(api: httpx.AsyncClient, tenant_id: str) -> None:
    for answer in (
        await api.get(f"{PATH}/{tenant_id}"),
        await api.patch(f"{PATH}/{tenant_id}", json={}),
        await api.get(f"{PATH}/{tenant_id}/keys"),
        await api.post(f"{PATH}/{tenant_id}/keys", json={}),
    ):
        assert_problem(answer, 404, "not_found")


async def test_keys_of_a_tenant_are_listed(api: httpx.AsyncClient) -> None:
    tenant_id = await make_tenant(api)
    made = [await make_key(api, tenant_id, name=name) for name in ("a", "b")][::-1]
    listed = (await api.get(f"{PATH}/{tenant_id}/keys")).json()["data"]
    assert listed == [{name: value for name, value in one.items() if name != "secret"} for one in made]


async def test_a_key_that_has_leaked_is_revoked_by_an_operator(api: httpx.AsyncClient, app: FastAPI) -> None:
    acme, other = await made_tenant(api), await make_tenant(api)
    (key,) = (await api.get(f"{PATH}/{acme.tenant_id}/keys")).json()["data"]
    assert_problem(await api.delete(f"{PATH}/{other}/keys/{key['id']}"), 404, "not_found")
    for _ in range(2):
        assert (await api.delete(f"{PATH}/{acme.tenant_id}/keys/{key['id']}")).status_code == 204
    async with calling(app, acme.secret) as own:
        assert_problem(await own.get("/v1/generations"), 401, "unauthenticated")


# Suspended ------------------------------------------------------------------------------------------------------------


async def test_a_suspended_tenant_is_refused_and_what_it_runs_goes_on(
    api: httpx.AsyncClient, app: FastAPI, services: Services
) -> None:
    acme = await made_tenant(api)
    async with calling(app, acme.secret) as own:
        made = await submit(own)
        assert (await api.patch(f"{PATH}/{acme.tenant_id}", json={"suspended": True})).json()["suspended"]
        problem = assert_problem(await own.get("/v1/generations"), 403, "forbidden")
        assert "suspended" in problem["detail"]
        await Run(services.database, made["id"], acme.tenant_id).succeed()
        again = (await api.patch(f"{PATH}/{acme.tenant_id}", json={"suspended": False})).json()
        assert (again["suspended"], again["suspended_at"]) == (False, None)
        assert (await own.get(f"/v1/generations/{made['id']}")).json()["status"] == "succeeded"


async def test_suspending_again_does_not_change_since_when(api: httpx.AsyncClient) -> None:
    tenant_id = await make_tenant(api, suspended=True)
    first = (await api.get(f"{PATH}/{tenant_id}")).json()
    assert first["suspended_at"]
    assert (await api.patch(f"{PATH}/{tenant_id}", json={"suspended": True})).json() == first


async def test_the_admin_key_is_never_shut_out(api: httpx.AsyncClient, app: FastAPI) -> None:
    key = (await api.post("/v1/keys", json={})).json()
    assert (await api.patch(f"{PATH}/default", json={"suspended": True})).status_code == 200
    async with calling(app, key["secret"]) as client:
        assert_problem(await client.get("/v1/generations"), 403, "forbidden")
    assert (await api.patch(f"{PATH}/default", json={"suspended": False})).status_code == 200


# Models ---------------------------------------------------------------------------------------------------------------


def call(model: str | None = "local/shapes", **values: Any) -> dict[str, Any]:
    return (
        {**SHAPE, "model": model, **values}
        if model
        else {"operation": SHAPE["operation"], "input": SHAPE["input"], **values}
    )


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (SHAPE, "/model"),
        (call("local/none-of-that-name"), "/model"),
        ({**SHAPE, "model": "local/fake", "fallbacks": ["local/shapes"]}, "/fallbacks/0"),
        (CHAIN, "/steps/0/model"),
        (call(None), "/operation"),
    ],
)
async def test_a_model_that_is_not_allowed_is_refused(enter: Enter, body: dict[str, Any], pointer: str) -> None:
    own = await enter(models=["local/fake", "local/motion"])
    assert_problem(await own.post("/v1/generations", json=body), 403, "forbidden", pointer)


async def test_a_model_that_is_allowed_runs(enter: Enter) -> None:
    own = await enter(models=["local/sh*"])
    assert (await submit(own))["model"] == "local/shapes"
    assert (await submit(own, call(None)))["model"] == "local/shapes"


@pytest.mark.parametrize("by", ["tenant", "key"])
async def test_adapters_add_only_what_is_allowed(enter: Enter, by: str) -> None:
    """The model starts from an image, and another one would make it."""
    body = {"model": "local/motion", "operation": "text-to-video", "input": {"prompt": "a red circle", "duration": 2}}
    models = ["local/motion"]
    own = await (enter(models=models) if by == "tenant" else enter(key={"models": models}))
    problem = assert_problem(await own.post("/v1/generations", json=body), 422, "invalid_input", "/model")
    assert "no model that you may use makes one" in problem["detail"]
    both = await enter(models=["local/motion", "local/shapes"])
    assert [step["model"] for step in (await submit(both, body))["steps"]] == ["local/shapes", "local/motion"]


async def test_tenant_and_key_both_have_to_allow_it(enter: Enter) -> None:
    own = await enter(models=["local/*"], key={"models": ["*/shapes"]})
    assert (await submit(own))["model"] == "local/shapes"
    refused = await own.post("/v1/generations", json={**SHAPE, "model": "local/fake"})
    assert_problem(refused, 403, "forbidden", "/model")


async def test_each_of_a_batch_is_judged_on_its_own(enter: Enter) -> None:
    own = await enter(models=["local/shapes"])
    body = {"generations": [SHAPE, {**SHAPE, "model": "local/fake"}]}
    answer = (await own.post("/v1/generations:batch", json=body)).json()
    assert [one["status"] for one in answer["data"]] == [202, 403]


async def test_the_list_of_models_shows_those_that_are_allowed(api: httpx.AsyncClient, enter: Enter) -> None:
    own = await enter(models=["local/shapes"])
    assert [one["id"] for one in (await own.get("/v1/models")).json()["data"]] == ["local/shapes"]
    assert (await own.get("/v1/models/local/shapes")).status_code == 200
    assert_problem(await own.get("/v1/models/local/motion"), 404, "not_found")
    assert len((await api.get("/v1/models")).json()["data"]) > 1


async def test_the_limits_of_default_hold_for_the_admin_key(api: httpx.AsyncClient) -> None:
    await api.patch(f"{PATH}/default", json={"limits": {"models": ["local/motion"]}})
    assert_problem(await api.post("/v1/generations", json=SHAPE), 403, "forbidden", "/model")
    await api.patch(f"{PATH}/default", json={"limits": {"models": None}})
    assert (await submit(api))["status"] == "queued"


async def test_a_dead_letter_is_retried_with_allowed_models_alone(
    api: httpx.AsyncClient, app: FastAPI, services: Services
) -> None:
    acme = await made_tenant(api, limits={"models": ["local/shapes"]})
    async with calling(app, acme.secret) as own:
        made = await submit(own)
        await park(services, acme, made["id"])
        retry = f"/v1/generations/{made['id']}/retry"
        assert_problem(await own.post(retry, json={"model": "local/fake"}), 403, "forbidden", "/model")
        many = (await own.post("/v1/generations:retry", json={"filter": {}, "model": "local/fake"})).json()
        assert [(one["id"], one["problem"]["status"]) for one in many["refused"]] == [(made["id"], 403)]
        assert (await own.post(retry)).status_code == 202


async def park(services: Services, of: Made, generation_id: str) -> None:
    run = Run(services.database, generation_id, of.tenant_id)
    await run.begin()
    fault = GenerationFault(code="provider_unavailable", message="x", retryable=True, provider="local", details={})
    kept_until = utc_now() + timedelta(days=1)
    await run.records.park(
        Parking(generation_id=generation_id, position=0, round=0, fault=fault, kept_until=kept_until)
    )


# Sizes ----------------------------------------------------------------------------------------------------------------


async def test_a_file_larger_than_the_tenant_may_send(enter: Enter) -> None:
    picture = png(64, 64)
    small, enough = await enter(input_bytes=len(picture) - 1), await enter(input_bytes=len(picture))
    for padding in (b"", b"x" * 90_000):  # more than the form around it may have
        sent = {"files": {"file": ("a.png", picture + padding)}}
        problem = assert_problem(await small.post("/v1/assets", **sent), 413, "payload_too_large", "/file")
        assert problem["details"] == {"max_bytes": len(picture) - 1, "limit": "input_bytes"}
    assert (await enough.post("/v1/assets", files={"file": ("a.png", picture)})).status_code == 201


async def test_the_limit_of_the_service_still_holds(enter: Enter) -> None:
    own = await enter(input_bytes=10**9)
    answer = await own.post("/v1/assets", files={"file": ("a.png", b"x" * 120_000)})
    assert assert_problem(answer, 413, "payload_too_large")["details"] == {"max_bytes": 100_000}


async def test_a_file_within_a_request_is_measured_as_it_is(enter: Enter) -> None:
    picture = png(64, 64)
    data = f"data:image/png;base64,{base64.b64encode(picture).decode()}"
    body = {"model": "local/motion", "operation": "image-to-video", "input": {"image": {"data": data}, "duration": 2}}
    small, enough = await enter(input_bytes=len(picture) - 1), await enter(input_bytes=len(picture))
    refused = await small.post("/v1/generations", json=body)
    assert_problem(refused, 413, "payload_too_large", "/input/image/data")
    assert (await small.get("/v1/assets")).json()["data"] == []
    await submit(enough, body)
