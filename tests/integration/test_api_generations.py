"""Finding, waiting for and cancelling generations; and the models that make them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from sqlalchemy import update

from api.services import Services
from genpulse.ids import new_id
from genpulse.models import GenerationRow
from genpulse.schemas.generations import Generation, GenerationFault
from tests.integration.conftest import CHAIN, SHAPE, Run, assert_problem, submit

Runs = Callable[[str], Run]
FAULT = GenerationFault(code="engine_out_of_memory", message="too large", retryable=False, provider="local", details={})


async def give_to(services: Services, generation_id: str, tenant_id: str) -> None:
    async with services.database.transaction() as session:
        await session.execute(
            update(GenerationRow).where(GenerationRow.id == generation_id).values(tenant_id=tenant_id)  # type: ignore[arg-type]
        )


async def ids(api: httpx.AsyncClient, **query: Any) -> list[str]:
    answer = await api.get("/v1/generations", params=query)
    assert answer.status_code == 200, answer.text
    return [one["id"] for one in answer.json()["data"]]


# One ----------------------------------------------------------------------------------------------------------------


async def test_a_finished_chain_shows_attempts_and_outputs(api: httpx.AsyncClient, run: Runs) -> None:
    made = await submit(api, CHAIN)
    await run(made["id"]).succeed()
    answer = await api.get(f"/v1/generations/{made['id']}")
    generation = Generation.model_validate(answer.json())
    assert (generation.status, generation.progress, generation.error) == ("succeeded", 1.0, None)
    assert "retry-after" not in answer.headers
    assert [step.status for step in generation.steps] == ["succeeded"] * 3
    assert [[one.number for one in step.attempts] for step in generation.steps] == [[1], [1], [1]]
    assert generation.outputs == generation.steps[2].outputs != []
    assert generation.outputs[0].url.startswith("http://api.test/v1/assets/ast_")
    assert generation.started_at and generation.finished_at


async def test_a_failure_says_why_and_where(api: httpx.AsyncClient, run: Runs) -> None:
    made = await submit(api, CHAIN)
    work = run(made["id"])
    await work.begin()
    await work.records.fail_attempt(await work.order(), FAULT)
    await work.end("failed", FAULT)
    generation = (await api.get(f"/v1/generations/{made['id']}")).json()
    assert generation["error"] == FAULT.model_dump()
    assert [step["status"] for step in generation["steps"]] == ["failed", "canceled", "canceled"]
    assert generation["steps"][0]["attempts"][0]["error"]["code"] == "engine_out_of_memory"
    assert generation["outputs"] == []


@pytest.mark.parametrize("path", ["", "/cancel", "/events"])
@pytest.mark.parametrize("which", ["unknown", "foreign", "malformed"])
async def test_what_is_not_the_callers_does_not_exist(
    api: httpx.AsyncClient, services: Services, path: str, which: str
) -> None:
    generation_id = {"unknown": new_id("gen"), "malformed": "nonsense"}.get(which) or (await submit(api))["id"]
    if which == "foreign":
        await give_to(services, generation_id, "other")
    answer = await api.request("POST" if path == "/cancel" else "GET", f"/v1/generations/{generation_id}{path}")
    assert_problem(answer, 404, "not_found")
    assert await ids(api) == []


# Lists --------------------------------------------------------------------------------------------------------------


async def test_pages_are_stable_while_more_comes_in(api: httpx.AsyncClient) -> None:
    made = [(await submit(api))["id"] for _ in range(7)]
    assert await ids(api) == sorted(made, reverse=True)
    seen: list[str] = []
    more = True
    while more:
        query = {"limit": 3} | ({"starting_after": seen[-1]} if seen else {})
        page = (await api.get("/v1/generations", params=query)).json()
        seen += [one["id"] for one in page["data"]]
        more = page["has_more"]
        await submit(api)
    assert seen == sorted(made, reverse=True)


async def test_filters_are_joined(api: httpx.AsyncClient, run: Runs) -> None:
    first = (await submit(api))["id"]
    await run(first).succeed()
    between = datetime.now(UTC).isoformat()
    second = (await submit(api))["id"]
    chain = (await submit(api, CHAIN))["id"]
    assert await ids(api, status="succeeded") == [first]
    assert await ids(api, status="queued") == sorted([second, chain], reverse=True)
    assert await ids(api, status="queued", operation="text-to-image") == [second]
    assert await ids(api, model="local/upscale") == [chain]
    assert await ids(api, created_after=between) == sorted([second, chain], reverse=True)
    assert await ids(api, created_after=between, status="succeeded") == []


@pytest.mark.parametrize(
    "query",
    [
        {"limit": "0"},
        {"limit": "101"},
        {"limit": "many"},
        {"starting_after": "gen_1"},
        {"starting_after": "ast_" + "0" * 26},
        {"status": "done"},
        {"operation": "text-to-song"},
        {"created_after": "yesterday"},
        {"created_after": "2026-01-31T12:00:00"},
        {"created_after": "1700000000"},
        {"created_after": "123e-4"},
        {"offset": "1"},
    ],
)
async def test_a_wrong_parameter_is_named(api: httpx.AsyncClient, query: dict[str, str]) -> None:
    answer = await api.get("/v1/generations", params=query)
    assert_problem(answer, 422, "invalid_input", f"/{next(iter(query))}")


# Waiting ------------------------------------------------------------------------------------------------------------


async def test_waiting_ends_with_the_generation(api: httpx.AsyncClient, run: Runs) -> None:
    waiting = asyncio.create_task(api.post("/v1/generations", json=SHAPE, headers={"Prefer": "wait=60"}))
    while not (made := await ids(api)):  # noqa: ASYNC110 - another request makes it
        await asyncio.sleep(0.02)
    await run(made[0]).succeed()
    answer = await waiting
    assert answer.status_code == 200
    assert answer.headers["preference-applied"] == "wait=60"
    assert answer.headers["location"].endswith(made[0])
    assert answer.json()["status"] == "succeeded"
    assert len(answer.json()["outputs"]) == 1


async def test_waiting_has_an_end(api: httpx.AsyncClient) -> None:
    answer = await api.post("/v1/generations", json=SHAPE, headers={"Prefer": "respond-async, wait=1"})
    assert (answer.status_code, answer.json()["status"]) == (202, "queued")
    assert answer.headers["preference-applied"] == "wait=1"


async def test_a_replay_of_what_has_ended_is_answered_at_once(api: httpx.AsyncClient, run: Runs) -> None:
    made = await submit(api, key="k")
    await run(made["id"]).succeed()
    answer = await api.post("/v1/generations", json=SHAPE, headers={"Idempotency-Key": "k", "Prefer": "wait=60"})
    assert (answer.status_code, answer.headers["idempotency-replayed"]) == (200, "true")


async def test_who_does_not_ask_to_wait_does_not(api: httpx.AsyncClient) -> None:
    answer = await api.post("/v1/generations", json=SHAPE, headers={"Prefer": "wait=soon"})
    assert answer.status_code == 202
    assert "preference-applied" not in answer.headers


# Cancelling ---------------------------------------------------------------------------------------------------------


async def test_cancelling_is_asked_for_once(api: httpx.AsyncClient, run: Runs) -> None:
    made = await submit(api)
    work = run(made["id"])
    await work.begin()
    first, again = [await api.post(f"/v1/generations/{made['id']}/cancel") for _ in range(2)]
    assert first.status_code == again.status_code == 202
    assert first.json()["status"] == again.json()["status"] == "canceling"
    await work.end("canceled")
    third = await api.post(f"/v1/generations/{made['id']}/cancel")
    assert (third.status_code, third.json()["status"]) == (202, "canceled")


@pytest.mark.parametrize("status", ["succeeded", "failed"])
async def test_what_has_ended_cannot_be_cancelled(api: httpx.AsyncClient, run: Runs, status: str) -> None:
    made = await submit(api)
    work = run(made["id"])
    await work.begin()
    await work.end(status, FAULT if status == "failed" else None)
    assert_problem(await api.post(f"/v1/generations/{made['id']}/cancel"), 409, "already_finished")


# Models -------------------------------------------------------------------------------------------------------------


async def test_models_are_listed_by_id_and_in_pages(api: httpx.AsyncClient) -> None:
    page = (await api.get("/v1/models")).json()
    listed = [model["id"] for model in page["data"]]
    assert listed == sorted(listed)
    assert {"local/shapes", "local/motion", "local/upscale"} <= set(listed)
    assert "local/fake" not in listed
    assert not page["has_more"]
    first = (await api.get("/v1/models", params={"limit": 1})).json()
    rest = (await api.get("/v1/models", params={"starting_after": listed[0]})).json()
    assert first["has_more"]
    assert [model["id"] for model in first["data"] + rest["data"]] == listed


async def test_models_are_found_by_what_they_do(api: httpx.AsyncClient) -> None:
    models = (await api.get("/v1/models", params={"operation": "image-to-video"})).json()["data"]
    assert [model["id"] for model in models] == ["local/motion"]
    answer = await api.get("/v1/models", params={"operation": "song"})
    assert_problem(answer, 422, "invalid_input", "/operation")


async def test_a_model_tells_its_inputs_as_json_schema(api: httpx.AsyncClient) -> None:
    model = (await api.get("/v1/models/local/motion")).json()
    schema = model["input_schema"]
    assert (schema["type"], schema["additionalProperties"], schema["required"]) == ("object", False, ["image"])
    assert schema["properties"]["duration"]["maximum"] == model["input_schema"]["properties"]["duration"]["maximum"]
    for one in (await api.get("/v1/models")).json()["data"]:
        _check_schema(one["input_schema"])


def _check_schema(schema: dict[str, Any]) -> None:
    """What every JSON Schema validator would find, of the keywords that are used."""
    known = {"type", "title", "description", "properties", "required", "additionalProperties", "anyOf", "oneOf"}
    known |= {"items", "default", "minimum", "maximum", "multipleOf", "enum", "maxLength", "format"}
    assert schema.keys() <= known
    types = {"object", "array", "string", "integer", "number", "boolean"}
    assert "type" not in schema or schema["type"] in types
    assert set(schema.get("required", ())) <= schema.get("properties", {}).keys()
    if "default" in schema and schema.get("type") in ("integer", "number"):
        assert schema.get("minimum", 0) <= schema["default"] <= schema.get("maximum", 10**9)
    inner = [*schema.get("properties", {}).values(), *schema.get("anyOf", []), *schema.get("oneOf", [])]
    for one in [*inner, *([schema["items"]] if "items" in schema else [])]:
        _check_schema(one)


@pytest.mark.parametrize("name", ["local/nothing", "nobody/shapes"])
async def test_an_unknown_model_is_not_found(api: httpx.AsyncClient, name: str) -> None:
    assert_problem(await api.get(f"/v1/models/{name}"), 404, "not_found")
