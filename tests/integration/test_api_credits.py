"""Credits over HTTP: what is held, charged and given back, what it was spent on, and what happens without any."""

from __future__ import annotations

import asyncio
import csv
import io
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import update
from sqlmodel import col

from api.services import Services
from genpulse import places
from genpulse.db import utc_now
from genpulse.doctor.invariants import look
from genpulse.doctor.ledger import of_credits
from genpulse.errors import AlreadyFinished
from genpulse.models import TenantRow
from genpulse.repositories import balances, generations, steps, tenants, usage
from genpulse.schemas.generations import GenerationFault
from genpulse.schemas.plans import Parking
from genpulse.schemas.states import Billing
from tests.integration.conftest import CHAIN, SHAPE, Run, assert_problem, asset_row, submit
from tests.integration.tenants import calling, made_tenant

BALANCE = "/v1/admin/tenants/default/credits"
FAULT = GenerationFault(code="provider_failed", message="It failed.", retryable=False, provider=None, details={})
#: One credit for the picture, two for each of the two seconds, one for the larger video.
CHAIN_COST = 6


async def grant(api: httpx.AsyncClient, amount: int, **values: Any) -> dict[str, Any]:
    answer = await api.post(BALANCE, json={"amount": amount} | values)
    assert answer.status_code == 201, answer.text
    line: dict[str, Any] = answer.json()
    return line


async def figures(api: httpx.AsyncClient) -> tuple[int, int]:
    balance = (await api.get("/v1/credits")).json()
    return balance["available"], balance["held"]


async def broken(services: Services) -> list[str]:
    return [one.id for one in of_credits() if (await look(services.database, one))[1]]


async def test_the_default_tenant_is_unlimited_until_it_is_given_a_balance(api: httpx.AsyncClient) -> None:
    await submit(api)
    balance = (await api.get("/v1/credits")).json()
    assert (balance["unlimited"], balance["available"], balance["held"]) == (True, -1, 1)
    line = await grant(api, 100, note="the first")
    assert line["balance"] == {"available": 100, "held": 1}
    assert (await api.get("/v1/credits")).json()["unlimited"] is False


async def test_success_is_charged_and_the_generation_says_so(
    api: httpx.AsyncClient, run: Callable[[str], Run], services: Services
) -> None:
    await grant(api, 10)
    made = await submit(api, CHAIN)
    assert made["cost"] == {"held": CHAIN_COST, "charged": 0, "unit": "credit"}
    assert await figures(api) == (10 - CHAIN_COST, CHAIN_COST)
    await run(made["id"]).succeed()
    done = (await api.get(f"/v1/generations/{made['id']}")).json()
    assert done["cost"] == {"held": 0, "charged": CHAIN_COST, "unit": "credit"}
    assert await figures(api) == (10 - CHAIN_COST, 0)
    assert await broken(services) == []


async def test_a_chain_that_fails_pays_for_what_it_has_done(
    api: httpx.AsyncClient, run: Callable[[str], Run], services: Services
) -> None:
    await grant(api, 10)
    work = run((await submit(api, CHAIN))["id"])
    for position in (0, 1):
        await work.begin(position)
        await work.finish_step(position)
    await work.begin(2)
    await work.end("failed", FAULT)
    assert await figures(api) == (10 - 5, 0)
    lines = (await api.get("/v1/credits/ledger", params={"generation": work.generation_id})).json()["data"]
    assert [(line["kind"], line["available"], line["held"]) for line in lines] == [("capture", 1, -6), ("hold", -6, 6)]
    assert await broken(services) == []


async def test_what_never_began_costs_nothing(api: httpx.AsyncClient, run: Callable[[str], Run]) -> None:
    await grant(api, 10)
    await run((await submit(api))["id"]).end("canceled")
    assert await figures(api) == (10, 0)


async def test_what_was_given_up_for_another_model_is_not_the_callers_to_pay(
    api: httpx.AsyncClient, run: Callable[[str], Run], services: Services
) -> None:
    """Although the first model's provider bills it, and the other one has not begun yet."""
    await grant(api, 10)
    work = run((await submit(api, SHAPE | {"fallbacks": ["local/fake"]}))["id"])
    await work.begin()
    async with services.database.transaction() as session:
        await steps.note_attempt(session, work.generation_id, 0, 1, sent_at=utc_now(), billing=Billing.FULL.value)
    await work.records.submit_step((await work.order()).model_copy(update={"model": "local/fake"}))
    await work.end("canceled")
    assert await figures(api) == (10, 0)
    [attempt] = (await api.get(f"/v1/generations/{work.generation_id}")).json()["steps"][0]["attempts"]
    assert (attempt["status"], attempt["billing"], attempt["error"]["code"]) == ("failed", "full", "provider_failed")


async def test_what_ends_while_somebody_works_on_it_stands_in_nobodys_way(
    api: httpx.AsyncClient, run: Callable[[str], Run]
) -> None:
    works = [run((await submit(api))["id"]) for _ in range(20)]
    for work in works:
        await work.begin()
        ended = await asyncio.gather(work.progress(0.1, 0.2, 0.3), work.end("canceled"), return_exceptions=True)
        assert all(one is None or isinstance(one, AlreadyFinished) for one in ended), ended


@pytest.mark.parametrize(("billing", "charged"), [(Billing.FULL, 1), (Billing.POSSIBLE, 0), (Billing.NONE, 0)])
async def test_what_was_cancelled_costs_what_its_provider_bills_for_certain(
    api: httpx.AsyncClient, run: Callable[[str], Run], services: Services, billing: Billing, charged: int
) -> None:
    await grant(api, 10)
    work = run((await submit(api))["id"])
    await work.begin()
    async with services.database.transaction() as session:
        await steps.note_attempt(session, work.generation_id, 0, 1, sent_at=utc_now(), billing=billing.value)
    await work.end("canceled")
    assert await figures(api) == (10 - charged, 0)
    assert await broken(services) == []


async def test_whoever_took_over_is_charged_at_its_own_price(
    api: httpx.AsyncClient, run: Callable[[str], Run], services: Services
) -> None:
    await grant(api, 10)
    made = await submit(api, SHAPE | {"fallbacks": ["local/fake"]})
    assert made["cost"]["held"] == 5, "that of the dearer one"
    work = run(made["id"])
    order = (await work.order()).model_copy(update={"model": "local/fake"})
    await work.records.submit_step(order)
    await work.records.begin_step(order)
    await work.records.finish_step(order, [asset_row(made_by=order)], parameters={}, adaptions=[])
    await work.end("succeeded")
    assert await figures(api) == (5, 0)
    (row,) = (await api.get("/v1/usage", params={"by": "model"})).json()["data"]
    assert (row["model"], row["charged"]) == ("local/fake", 5)
    assert await broken(services) == []


async def test_a_dead_letter_holds_what_it_held_and_more_for_a_dearer_model(
    api: httpx.AsyncClient, run: Callable[[str], Run], services: Services
) -> None:
    await grant(api, 4)
    made = await submit(api)
    work = run(made["id"])
    await work.begin()
    until = utc_now() + timedelta(days=1)
    parking = Parking(generation_id=made["id"], position=0, round=0, fault=FAULT, kept_until=until)
    await work.records.park(parking)
    assert await figures(api) == (3, 1)
    dearer = {"model": "local/fake"}
    refused = await api.post(f"/v1/generations/{made['id']}/retry", json=dearer)
    assert_problem(refused, 402, "insufficient_credits")
    assert (await api.get(f"/v1/generations/{made['id']}")).json()["status"] == "dead_lettered"
    await grant(api, 1)
    assert (await api.post(f"/v1/generations/{made['id']}/retry", json=dearer)).status_code == 202
    assert await figures(api) == (0, 5)
    await work.end("failed", FAULT)
    assert await figures(api) == (5, 0)
    assert await broken(services) == []


async def test_a_request_that_comes_twice_holds_once(api: httpx.AsyncClient) -> None:
    await grant(api, 10)
    first, again = await submit(api, key="once"), await submit(api, key="once")
    assert first["id"] == again["id"]
    assert await figures(api) == (9, 1)


async def test_without_credits_nothing_is_accepted(api: httpx.AsyncClient) -> None:
    await grant(api, 2)
    problem = assert_problem(await api.post("/v1/generations", json=CHAIN), 402, "insufficient_credits")
    assert problem["details"] == {"needed": CHAIN_COST, "available": 2}
    assert (await api.get("/v1/generations")).json()["data"] == []
    await submit(api)
    assert await figures(api) == (1, 1)


async def test_a_batch_takes_what_there_is(api: httpx.AsyncClient) -> None:
    await grant(api, 3)
    answer = await api.post("/v1/generations:batch", json={"generations": [SHAPE] * 5})
    assert [entry["status"] for entry in answer.json()["data"]] == [202, 202, 202, 402, 402]


async def test_a_thousand_at_once_against_a_balance_for_five_hundred(
    api: httpx.AsyncClient, services: Services
) -> None:
    await grant(api, 500)
    answers = await asyncio.gather(*(_insist(api) for _ in range(1000)))
    assert Counter(answers) == {202: 500, 402: 500}
    assert await figures(api) == (0, 500)
    assert await broken(services) == []


async def _insist(api: httpx.AsyncClient) -> int:
    """Submit, and come back while there are more requests than connections to the database."""
    for _ in range(60):
        answer = await api.post("/v1/generations", json=SHAPE)
        if answer.status_code != 503:
            return answer.status_code
        await asyncio.sleep(float(answer.headers["retry-after"]))
    raise AssertionError("The database has no connection left for ever.")


async def test_an_estimate_says_what_would_be_held(api: httpx.AsyncClient) -> None:
    await grant(api, 2)
    answer = await api.post("/v1/generations:estimate", json=CHAIN)
    assert answer.status_code == 200, answer.text
    estimate = answer.json()
    assert [(step["id"], step["held"]) for step in estimate["steps"]] == [("still", 1), ("clip", 4), ("hd", 1)]
    assert estimate["cost"] == {"held": CHAIN_COST, "unit": "credit"}
    assert estimate["affordable"] is False
    assert await figures(api) == (2, 0)
    assert (await api.get("/v1/generations")).json()["data"] == []


async def test_a_grant_with_a_key_happens_once(api: httpx.AsyncClient) -> None:
    headers = {"Idempotency-Key": "invoice-1"}
    first = await api.post(BALANCE, json={"amount": 5}, headers=headers)
    again = await api.post(BALANCE, json={"amount": 5}, headers=headers)
    assert again.headers["idempotency-replayed"] == "true"
    assert again.json() == first.json()
    other = await api.post(BALANCE, json={"amount": 6}, headers=headers)
    assert_problem(other, 422, "idempotency_key_reused", "/Idempotency-Key")
    assert await figures(api) == (5, 0)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"amount": 0}, "amount"),
        ({"amount": -5}, "amount"),
        ({"amount": 5, "kind": "refund"}, "generation_id"),
        ({"amount": 5, "kind": "adjust", "expires_at": "2099-01-01T00:00:00Z"}, "expires_at"),
        ({"amount": 5, "expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"amount": 10**16}, "amount"),
        ({"amount": 1.5}, "amount"),
    ],
)
async def test_nonsense_is_refused_by_name(api: httpx.AsyncClient, body: dict[str, Any], says: str) -> None:
    answer = await api.post(BALANCE, json=body)
    assert answer.status_code == 422
    assert says in answer.json()["detail"]


async def test_an_unknown_tenant_is_not_found(api: httpx.AsyncClient) -> None:
    path = "/v1/admin/tenants/ten_00000000000000000000000000/credits"
    assert_problem(await api.get(path), 404, "not_found")
    assert_problem(await api.post(path, json={"amount": 1}), 404, "not_found")


async def test_the_ledger_is_paged_with_a_running_balance(api: httpx.AsyncClient) -> None:
    for amount in (1, 2, 3, 4):
        await grant(api, amount)
    first = (await api.get("/v1/credits/ledger", params={"limit": 3, "kind": "grant"})).json()
    of_operator = await api.get("/v1/admin/tenants/default/credits/ledger", params={"limit": 3, "kind": "grant"})
    assert of_operator.json() == first
    assert first["has_more"] is True
    assert [line["balance"]["available"] for line in first["data"]] == [10, 6, 3]
    after = {"limit": 3, "kind": "grant", "starting_after": first["data"][-1]["id"]}
    rest = (await api.get("/v1/credits/ledger", params=after)).json()
    assert [line["balance"]["available"] for line in rest["data"]] == [1]
    assert rest["has_more"] is False


async def test_usage_is_added_up_by_what_is_asked_for(api: httpx.AsyncClient, run: Callable[[str], Run]) -> None:
    for body in (SHAPE, CHAIN):
        await run((await submit(api, body))["id"]).succeed()
    usage = (await api.get("/v1/usage", params={"by": "model"})).json()
    assert usage["total"] == 1 + CHAIN_COST
    assert {row["model"]: (row["steps"], row["charged"]) for row in usage["data"]} == {
        "local/motion": (1, 4),
        "local/shapes": (2, 2),
        "local/upscale": (1, 1),
    }
    by_day = (await api.get("/v1/usage")).json()["data"]
    assert [(row["steps"], row["outputs"], row["charged"]) for row in by_day] == [(4, 4, 1 + CHAIN_COST)]
    everything = (await api.get("/v1/admin/usage", params={"by": "tenant,provider"})).json()
    assert [(row["tenant"], row["provider"], row["margin"]) for row in everything["data"]] == [("default", "local", 0)]
    later = {"since": "2099-01-01T00:00:00Z"}
    assert (await api.get("/v1/usage", params=later)).json()["data"] == []
    assert_problem(await api.get("/v1/usage", params={"by": "tenant"}), 422, "invalid_input", "/by")


async def test_more_groups_than_are_added_up_are_refused(
    api: httpx.AsyncClient, run: Callable[[str], Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage, "MOST_GROUPS", 1)
    for model in ("local/shapes", "local/fake"):
        await run((await submit(api, SHAPE | {"model": model}))["id"]).succeed()
    assert_problem(await api.get("/v1/usage", params={"by": "model"}), 422, "invalid_input", "/by")
    assert len((await api.get("/v1/usage", params={"by": "day"})).json()["data"]) == 1


async def test_usage_as_a_table(api: httpx.AsyncClient, run: Callable[[str], Run]) -> None:
    await run((await submit(api))["id"]).succeed()
    answer = await api.get("/v1/usage", params={"by": "provider,model"}, headers={"Accept": "text/csv"})
    assert answer.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert rows == [{"model": "local/shapes", "provider": "local", "steps": "1", "outputs": "1", "charged": "1"}]


# Places in flight -----------------------------------------------------------------------------------------------------


async def limit(services: Services, in_flight: int | None) -> None:
    async with services.database.transaction() as session:
        await session.execute(update(TenantRow).where(col(TenantRow.id) == "default").values(in_flight=in_flight))


async def admitted(services: Services, *ids: str) -> list[bool]:
    async with services.database.reading() as session:
        rows = [await generations.get(session, "default", one) for one in ids]
    return [row is not None and row.admitted_at is not None for row in rows]


async def test_only_so_many_are_under_way_and_the_others_follow_in_turn(
    api: httpx.AsyncClient, services: Services, run: Callable[[str], Run]
) -> None:
    await limit(services, 2)
    bodies = [SHAPE, SHAPE, SHAPE | {"priority": "low"}, SHAPE, SHAPE | {"priority": "high"}]
    made = [await submit(api, body) for body in bodies]
    assert [one["queue_position"] for one in made] == [None, None, 1, 1, 1]
    ids = [one["id"] for one in made]
    assert await admitted(services, *ids) == [True, True, False, False, False]
    positions = [(await api.get(f"/v1/generations/{one}")).json()["queue_position"] for one in ids]
    assert positions == [None, None, 3, 2, 1]
    await run(ids[0]).succeed()
    assert await admitted(services, *ids[2:]) == [False, False, True]
    await run(ids[1]).end("failed", FAULT)
    assert await admitted(services, *ids[2:]) == [False, True, True]
    await run(ids[3]).succeed()
    assert await admitted(services, *ids[2:]) == [True, True, True]


async def test_without_a_limit_all_that_waits_begins(
    api: httpx.AsyncClient, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "_BATCH", 2)
    await limit(services, 1)
    ids = [(await submit(api))["id"] for _ in range(6)]
    assert sum(await admitted(services, *ids)) == 1
    await api.patch("/v1/admin/tenants/default", json={"limits": {"in_flight": None}})
    assert all(await admitted(services, *ids))


async def test_a_limit_that_is_lifted_while_somebody_is_held_back_leaves_nobody_waiting(
    api: httpx.AsyncClient, services: Services
) -> None:
    await limit(services, 1)
    await submit(api)
    async with services.database.transaction() as session:
        await tenants.change(session, "default", in_flight=None)
        await balances.lock(session, "default")
        submitting = asyncio.create_task(submit(api))  # finds the limit as it was, and waits for the account
        await asyncio.sleep(0.5)
    assert (await submitting)["queue_position"] is None


async def test_those_that_begin_are_carried_to_temporal_in_turns(
    api: httpx.AsyncClient, app: FastAPI, services: Services
) -> None:
    many = [(await submit(api, body))["id"] for body in [SHAPE] * 5 + [SHAPE | {"priority": "high"}]]
    other = await made_tenant(api)
    async with calling(app, other.secret) as client:
        few = [(await submit(client))["id"] for _ in range(2)]
    async with services.database.reading() as session:
        due = [row.id for row in await generations.undispatched(session, before=utc_now(), limit=6)]
    assert due == [many[5], few[0], many[0], few[1], many[1], many[2]]


async def test_a_crowd_never_takes_more_places_than_there_are(api: httpx.AsyncClient, services: Services) -> None:
    await limit(services, 7)
    made = await asyncio.gather(*(submit(api) for _ in range(40)))
    assert sum(await admitted(services, *(one["id"] for one in made))) == 7


async def test_who_waits_can_be_cancelled(api: httpx.AsyncClient, services: Services) -> None:
    await limit(services, 1)
    _, waiting = [(await submit(api))["id"] for _ in range(2)]
    assert (await api.post(f"/v1/generations/{waiting}/cancel")).status_code == 202
    async with services.database.reading() as session:
        row = await generations.get(session, "default", waiting)
    assert row is not None
    assert row.status == "canceling"
