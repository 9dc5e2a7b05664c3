"""Keys over HTTP: made, shown once, rotated, revoked; and in the ring: what is asked of the database, and how often."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr
from sqlalchemy import event, select, update

from api.app import create_app
from api.services import Services
from genpulse import keyring
from genpulse.db import Database, utc_now
from genpulse.errors import DependencyDown, Forbidden, Unauthenticated
from genpulse.keyring import KeyRing
from genpulse.keys import new_key
from genpulse.models import metadata
from genpulse.repositories import keys as keys_repository
from genpulse.schemas.tenants import Scope
from genpulse.settings import SecuritySettings, Settings
from tests.integration.conftest import KEY, SHAPE, assert_problem, submit
from tests.integration.tenants import Made, calling, made_tenant, make_key, make_tenant

_KEY = metadata.tables["api_key"]
_TENANT = metadata.tables["tenant"]


@pytest.fixture
async def acme(api: httpx.AsyncClient) -> Made:
    return await made_tenant(api)


@pytest.fixture
async def own(app: FastAPI, acme: Made) -> AsyncIterator[httpx.AsyncClient]:
    """A caller with a key of acme."""
    async with calling(app, acme.secret) as client:
        yield client


async def create(api: httpx.AsyncClient, **values: Any) -> dict[str, Any]:
    answer = await api.post("/v1/keys", json=values)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def status_of(app: FastAPI, secret: str, path: str = "/v1/generations") -> int:
    async with calling(app, secret) as client:
        return (await client.get(path)).status_code


async def change(services: Services, key_id: str, **values: Any) -> None:
    """Behind the application's back, as another process does."""
    async with services.database.transaction() as session:
        await session.execute(update(_KEY).where(_KEY.c.id == key_id).values(**values))


# Made, shown once -----------------------------------------------------------------------------------------------------


async def test_a_key_shows_its_secret_once(api: httpx.AsyncClient, app: FastAPI, services: Services) -> None:
    answer = await api.post("/v1/keys", json={"name": "ours", "scopes": ["read", "generate"]})
    made = answer.json()
    assert answer.headers["location"].endswith(f"/v1/keys/{made['id']}")
    secret = made.pop("secret")
    assert secret.startswith(made["prefix"]) and secret.endswith(made["last_four"])
    assert (made["object"], made["name"], made["status"]) == ("api_key", "ours", "active")
    assert made["scopes"] == ["generate", "read"]
    assert (await api.get(f"/v1/keys/{made['id']}")).json() == made
    assert (await api.get("/v1/keys")).json() == {"data": [made], "has_more": False}
    assert await status_of(app, secret) == 200
    assert secret not in await everything_stored(services)


async def everything_stored(services: Services) -> str:
    async with services.database.reading() as session:
        rows = [row for table in metadata.sorted_tables for row in await session.execute(select(table))]
    return repr(rows)


async def test_the_list_goes_on_where_it_ended(api: httpx.AsyncClient) -> None:
    made = [(await create(api))["id"] for _ in range(3)][::-1]
    first = (await api.get("/v1/keys", params={"limit": 2})).json()
    assert ([one["id"] for one in first["data"]], first["has_more"]) == (made[:2], True)
    rest = (await api.get("/v1/keys", params={"starting_after": made[1]})).json()
    assert ([one["id"] for one in rest["data"]], rest["has_more"]) == (made[2:], False)


async def test_a_generation_knows_which_key_made_it(own: httpx.AsyncClient, acme: Made, services: Services) -> None:
    made = await submit(own)
    table = metadata.tables["generation"]
    async with services.database.reading() as session:
        row = (await session.execute(select(table).where(table.c.id == made["id"]))).one()
    assert (row.tenant_id, row.api_key_id) == (acme.tenant_id, acme.key_id)


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"scopes": []}, "/scopes"),
        ({"scopes": ["all"]}, "/scopes/0"),
        ({"models": []}, "/models"),
        ({"models": ["kling/[a-z]"]}, "/models/0"),
        ({"expires_at": "2001-01-01T00:00:00Z"}, "/expires_at"),
        ({"name": "x" * 121}, "/name"),
        ({"secret": "mine"}, "/secret"),
    ],
)
async def test_what_is_wrong_is_named(api: httpx.AsyncClient, body: dict[str, Any], pointer: str) -> None:
    assert_problem(await api.post("/v1/keys", json=body), 422, "invalid_input", pointer)


# What a key may do ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scopes", "allowed"),
    [
        (["read"], {"read"}),
        (["generate"], {"generate"}),
        (["manage"], {"manage"}),
        (["admin"], {"admin"}),
        (["generate", "read", "manage", "admin"], {"read", "generate", "manage", "admin"}),
    ],
)
async def test_scopes(api: httpx.AsyncClient, app: FastAPI, scopes: list[str], allowed: set[str]) -> None:
    made = await made_tenant(api, key={"scopes": scopes})
    async with calling(app, made.secret) as client:
        answers = {
            "read": await client.get("/v1/generations"),
            "generate": await client.post("/v1/generations", json=SHAPE),
            "manage": await client.get("/v1/keys"),
            "admin": await client.get("/v1/admin/tenants"),
        }
    assert {name for name, answer in answers.items() if answer.status_code < 300} == allowed
    for name in answers.keys() - allowed:
        assert_problem(answers[name], 403, "forbidden")


async def test_a_key_gives_no_scope_that_it_does_not_have(own: httpx.AsyncClient) -> None:
    problem = assert_problem(await own.post("/v1/keys", json={"scopes": ["admin"]}), 403, "forbidden", "/scopes")
    assert "`admin`" in problem["detail"]
    assert (await create(own, scopes=["manage", "read"]))["scopes"] == ["read", "manage"]


async def test_a_key_gives_no_models_that_it_may_not_use(api: httpx.AsyncClient, app: FastAPI) -> None:
    made = await made_tenant(api, key={"models": ["local/*"]})
    async with calling(app, made.secret) as client:
        assert_problem(await client.post("/v1/keys", json={"models": ["*"]}), 403, "forbidden", "/models")
        assert (await create(client, models=["local/sh*"]))["models"] == ["local/sh*"]
        assert (await create(client))["models"] == ["local/*"]


async def test_who_may_only_manage_gets_no_more_by_rotating(
    own: httpx.AsyncClient, api: httpx.AsyncClient, acme: Made
) -> None:
    strong = await make_key(api, acme.tenant_id, scopes=["admin"])
    assert_problem(await own.post(f"/v1/keys/{strong['id']}/rotate"), 403, "forbidden", "/scopes")


# Typos, strangers -----------------------------------------------------------------------------------------------------


@contextmanager
def statements(database: Database) -> Iterator[list[str]]:
    """What is asked of the database meanwhile."""
    seen: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        seen.append(statement)

    event.listen(database.engine.sync_engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(database.engine.sync_engine, "before_cursor_execute", note)


@contextmanager
def key_reads(database: Database) -> Iterator[list[str]]:
    """The same, of keys alone: the dispatcher and others go on."""
    with statements(database) as seen:
        found: list[str] = []
        yield found
        found += [one for one in seen if "api_key" in one and one.startswith("SELECT")]


async def test_a_typo_costs_no_read(app: FastAPI, acme: Made, services: Services) -> None:
    wrong = acme.secret[:-1] + ("x" if acme.secret[-1] != "x" else "y")
    with key_reads(services.database) as asked:
        async with calling(app, wrong) as client:
            problem = assert_problem(await client.get("/v1/generations"), 401, "unauthenticated")
    assert "a character of it is wrong" in problem["detail"]
    assert asked == []


async def test_a_stranger_is_asked_for_once(services: Services) -> None:
    stranger = new_key()
    with key_reads(services.database) as asked:
        for _ in range(5):
            with pytest.raises(Unauthenticated, match="This key is not valid"):
                await services.keys.identify(stranger)
    assert len(asked) == 1


async def test_a_key_of_another_server_is_a_strangers(acme: Made, services: Services) -> None:
    other = KeyRing(SecuritySettings(admin_key=SecretStr("another admin key of 32 characters!!")), services.database)
    with pytest.raises(Unauthenticated):
        await other.identify(acme.secret)
    assert (await services.keys.identify(acme.secret)).tenant_id == acme.tenant_id


# The ring -------------------------------------------------------------------------------------------------------------


@pytest.fixture
async def ring(services: Services) -> AsyncIterator[tuple[KeyRing, Callable[[float], None]]]:
    """A ring of another process, and what sets its clock forward."""
    now = 0.0

    def forward(seconds: float) -> None:
        nonlocal now
        now += seconds

    made = KeyRing(services.settings.security, services.database, clock=lambda: now)
    yield made, forward
    await made.close()


Ring = tuple[KeyRing, Callable[[float], None]]


async def test_one_read_serves_all_who_come_at_once_and_for_three_seconds(
    ring: Ring, acme: Made, services: Services
) -> None:
    known, forward = ring
    with key_reads(services.database) as asked:
        callers = await asyncio.gather(*(known.identify(acme.secret) for _ in range(20)))
        forward(keyring.FRESH_SECONDS)
        await known.identify(acme.secret)
    assert {one.tenant_id for one in callers} == {acme.tenant_id}
    assert len(asked) == 1
    with key_reads(services.database) as asked:
        forward(0.1)
        await known.identify(acme.secret)
    assert len(asked) == 1


async def test_whoever_goes_away_takes_nothing_from_others(ring: Ring, acme: Made) -> None:
    known, _ = ring
    gone, stays = (asyncio.create_task(known.identify(acme.secret)) for _ in range(2))
    await asyncio.sleep(0)
    gone.cancel()
    assert (await stays).key_id == acme.key_id


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"revoked_at": utc_now()}, "revoked"),
        ({"expires_at": utc_now()}, "expired"),
        ({"scopes": ["read"]}, "no scope `generate`"),
    ],
)
async def test_what_another_process_changes_holds_when_the_memory_is_too_old(
    ring: Ring, acme: Made, services: Services, values: dict[str, Any], why: str
) -> None:
    known, forward = ring
    (await known.identify(acme.secret)).require(Scope.GENERATE)
    await change(services, acme.key_id, **values)
    (await known.identify(acme.secret)).require(Scope.GENERATE)  # for a moment
    forward(keyring.FRESH_SECONDS + 0.1)
    with pytest.raises((Unauthenticated, Forbidden), match=why):
        (await known.identify(acme.secret)).require(Scope.GENERATE)


async def test_a_key_that_is_remembered_still_expires(ring: Ring, acme: Made, services: Services) -> None:
    known, _ = ring
    await change(services, acme.key_id, expires_at=utc_now() + timedelta(seconds=1))
    await known.identify(acme.secret)
    with pytest.raises(Unauthenticated, match="expired"):
        await until_refused(known, acme.secret)


async def until_refused(known: KeyRing, secret: str) -> None:
    async with asyncio.timeout(10):
        while True:
            await known.identify(secret)
            await asyncio.sleep(0.05)


async def test_no_more_are_remembered_than_may_be(
    ring: Ring, acme: Made, monkeypatch: pytest.MonkeyPatch, services: Services
) -> None:
    known, _ = ring
    monkeypatch.setattr(keyring, "MOST_KEYS", 3)
    for _ in range(5):
        await known.identify(acme.secret)
        with pytest.raises(Unauthenticated):
            await known.identify(new_key())
    assert len(known._known._reads) == 3
    with key_reads(services.database) as asked:
        await known.identify(acme.secret)  # which is shown again and again, and so is kept
    assert asked == []


async def test_without_the_database_a_key_cannot_be_checked_but_the_admin_key_can(
    acme: Made, services: Services
) -> None:
    away = Database("postgresql+asyncpg://nobody@127.0.0.1:1/none")
    known = KeyRing(services.settings.security, away)
    with pytest.raises(DependencyDown):
        await known.identify(acme.secret)
    with pytest.raises(DependencyDown):  # a failure is not remembered
        await known.identify(acme.secret)
    caller = await known.identify(KEY)
    assert (caller.tenant_id, caller.key_id, caller.limits.requests_per_minute) == ("default", None, None)
    await known.close()


async def test_what_is_remembered_serves_while_the_database_is_away(
    ring: Ring, acme: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    known, forward = ring
    await known.identify(acme.secret)

    async def down(*_given: object) -> None:
        raise DependencyDown("away")

    monkeypatch.setattr(keys_repository, "of_digest", down)
    await known.identify(acme.secret)
    forward(keyring.FRESH_SECONDS + 0.1)
    with pytest.raises(DependencyDown):
        await known.identify(acme.secret)


async def test_use_is_noted_once_a_minute(ring: Ring, acme: Made, services: Services, api: httpx.AsyncClient) -> None:
    known, forward = ring
    writes: Counter[str] = Counter()
    with statements(services.database) as asked:
        for _ in range(10):
            await known.identify(acme.secret)
            forward(2)
            await asyncio.gather(*known._notes)
    writes.update(one for one in asked if one.startswith("UPDATE api_key"))
    assert writes.total() == 1
    used_at = await last_used(services, acme.key_id)
    assert used_at is not None
    await change(services, acme.key_id, last_used_at=used_at - timedelta(seconds=61))
    forward(4)
    await known.identify(acme.secret)
    await asyncio.gather(*known._notes)
    assert await last_used(services, acme.key_id) >= used_at
    assert (await api.get(f"/v1/admin/tenants/{acme.tenant_id}/keys")).json()["data"][0]["last_used_at"]


async def last_used(services: Services, key_id: str) -> Any:
    async with services.database.reading() as session:
        return (await session.execute(select(_KEY.c.last_used_at).where(_KEY.c.id == key_id))).scalar_one()


async def test_use_that_cannot_be_noted_is_forgotten(
    ring: Ring, acme: Made, monkeypatch: pytest.MonkeyPatch, services: Services
) -> None:
    async def down(*_given: object, **_named: object) -> None:
        raise DependencyDown("away")

    monkeypatch.setattr(keys_repository, "note_use", down)
    await ring[0].identify(acme.secret)
    await asyncio.gather(*ring[0]._notes)
    assert await last_used(services, acme.key_id) is None


# Rotated, revoked -----------------------------------------------------------------------------------------------------


async def test_rotation_has_an_overlap(own: httpx.AsyncClient, acme: Made, app: FastAPI, services: Services) -> None:
    answer = await own.post(f"/v1/keys/{acme.key_id}/rotate", json={"overlap_seconds": 60})
    assert answer.status_code == 200
    new = answer.json()
    assert [await status_of(app, one) for one in (acme.secret, new["secret"])] == [200, 200]
    former = (await own.get(f"/v1/keys/{acme.key_id}")).json()
    assert (former["replaced_by"], former["status"]) == (new["id"], "active")
    assert former["scopes"] == new["scopes"] and new["expires_at"] is None
    await change(services, acme.key_id, expires_at=utc_now())
    services.keys.forget()
    assert [await status_of(app, one) for one in (acme.secret, new["secret"])] == [401, 200]


async def test_rotation_without_overlap_ends_the_former_key_at_once(
    own: httpx.AsyncClient, acme: Made, app: FastAPI
) -> None:
    new = (await own.post(f"/v1/keys/{acme.key_id}/rotate", json={"overlap_seconds": 0})).json()
    assert [await status_of(app, one) for one in (acme.secret, new["secret"])] == [401, 200]


async def test_rotation_makes_no_key_live_longer(own: httpx.AsyncClient) -> None:
    ends = (utc_now() + timedelta(hours=1)).isoformat().replace("+00:00", "Z")
    short = await create(own, expires_at=ends)
    new = (await own.post(f"/v1/keys/{short['id']}/rotate")).json()
    former = (await own.get(f"/v1/keys/{short['id']}")).json()
    assert new["expires_at"] == former["expires_at"] == short["expires_at"]


async def test_a_key_is_rotated_once(own: httpx.AsyncClient) -> None:
    key = await create(own)
    path = f"/v1/keys/{key['id']}/rotate"
    answers = await asyncio.gather(own.post(path), own.post(path))
    assert sorted(one.status_code for one in answers) == [200, 409]
    assert_problem(await own.post(path), 409, "key_inactive")
    assert len((await own.get("/v1/keys")).json()["data"]) == 3  # with acme's own


async def test_revocation_is_at_once_here_and_can_be_repeated(own: httpx.AsyncClient, app: FastAPI) -> None:
    key = await create(own)
    assert await status_of(app, key["secret"]) == 200
    path = f"/v1/keys/{key['id']}"
    assert [(await own.delete(path)).status_code for _ in range(2)] == [204, 204]
    async with calling(app, key["secret"]) as client:
        problem = assert_problem(await client.get("/v1/generations"), 401, "unauthenticated")
    assert problem["detail"] == "This key was revoked."
    shown = (await own.get(path)).json()
    await own.delete(path)
    assert (await own.get(path)).json() == shown
    assert shown["status"] == "revoked"
    assert_problem(await own.post(f"{path}/rotate"), 409, "key_inactive")


async def test_revocation_reaches_another_process_within_five_seconds(
    api: httpx.AsyncClient, own: httpx.AsyncClient, acme: Made, api_settings: Settings
) -> None:
    other = create_app(api_settings)
    async with other.router.lifespan_context(other):
        assert await status_of(other, acme.secret) == 200
        assert (await own.delete(f"/v1/keys/{acme.key_id}")).status_code == 204
        deadline = time.monotonic() + 5
        while await status_of(other, acme.secret) == 200:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)
        assert await status_of(other, acme.secret) == 401


async def test_keys_of_the_default_tenant_work_as_all_others(api: httpx.AsyncClient, app: FastAPI) -> None:
    made = await submit(api)
    key = await create(api, scopes=["read"])
    assert await status_of(app, key["secret"], f"/v1/generations/{made['id']}") == 200
    tenant = await make_tenant(api)
    other = await make_key(api, tenant)
    assert await status_of(app, other["secret"], f"/v1/generations/{made['id']}") == 404
