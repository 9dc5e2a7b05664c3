"""Another tenant's objects are not there: every route is tried with ids of another tenant, of every kind.

Routes, query parameters and bodies are those of the application. A new one is met without anybody's doing; one whose
path has a parameter that is not known below, or whose body takes an id for which there is no request below, fails the
test until that is said. An answer to a foreign id has to be the one to an id that nobody has, and nothing of the other
tenant's may change. That the same requests do something when their owner sends them is tried, too: else nothing was put
to the test.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from sqlalchemy import ColumnElement, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from api.services import Services
from genpulse.db import utc_now
from genpulse.ids import _ALPHABET
from genpulse.models import metadata
from genpulse.repositories import assets, deliveries, generations, keys, webhooks
from genpulse.schemas.generations import GenerationFault
from genpulse.schemas.plans import Parking
from tests.integration.conftest import SHAPE, Run, png, submit
from tests.integration.tenants import Made, calling, made_tenant, make_key

#: What the parameters of paths stand for.
KINDS = {
    "generation_id": "gen",
    "asset_id": "ast",
    "webhook_id": "whk",
    "delivery_id": "evt",
    "key_id": "key",
    "tenant_id": "ten",
}
#: Those that are no ids of anything that a tenant has.
NAMES = {"provider": "local", "name": "shapes", "cloud": "fal"}

_ID = re.compile(r"\b(?:" + "|".join(KINDS.values()) + r")_[0-9a-z]{26}\b")
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+(?:Z|\+00:00)")
_FORM = re.compile(r"\^([a-z]{3})_")
_REFUSED = {401, 403, 404, 405, 415, 422, 429}

MOVING = {"model": "local/motion", "operation": "image-to-video"}
FAULT = GenerationFault(code="provider_unavailable", message="x", retryable=True, provider="local", details={})


def requests_with(operation: str, an_id: str) -> list[dict[str, Any]]:
    """Bodies that name it, in every place where the operation takes an id of its kind."""
    kind = an_id.partition("_")[0]
    started = {"input": {"image": {"asset": an_id}, "duration": 2}}
    single, chain = {**MOVING, **started}, {"steps": [{"id": "clip", **MOVING, **started}]}
    picked = {"filter": {"ids": [an_id]}}
    known: dict[tuple[str, str], list[dict[str, Any]]] = {
        ("create_generation", "ast"): [single, chain],
        ("create_batch", "ast"): [{"generations": [single, chain]}],
        ("estimate_generation", "ast"): [single, chain],
        ("change_tenant_credits", "gen"): [{"amount": 1, "kind": "refund", "generation_id": an_id}],
        ("retry_generations", "gen"): [picked, {"starting_after": an_id}],
        ("discard_generations", "gen"): [{**picked, "preview": True}, picked, {"starting_after": an_id}],
    }
    return known[operation, kind]


# Two tenants ----------------------------------------------------------------------------------------------------------


@dataclass
class World:
    """A tenant with something of everything, and another one that has the same."""

    owner: Made
    stranger: Made
    planted: dict[str, list[str]] = field(default_factory=dict)
    own: dict[str, str] = field(default_factory=dict)
    """One of each kind, of the stranger's."""


async def plant(client: httpx.AsyncClient, services: Services, of: Made) -> dict[str, list[str]]:
    """Something of every kind; of generations one that has ended, and one that waits."""
    ended, waiting = [(await submit(client))["id"] for _ in range(2)]
    await Run(services.database, ended, of.tenant_id).succeed()
    picture = (await client.post("/v1/assets", files={"file": ("a.png", png())})).json()["id"]
    hook = (await client.post("/v1/webhooks", json={"url": "https://receiver.test/hook"})).json()["id"]
    event = (await client.post(f"/v1/webhooks/{hook}/ping")).json()["id"]
    key = (await client.post("/v1/keys", json={})).json()["id"]
    return {
        "gen": [ended, waiting],
        "ast": [picture],
        "whk": [hook],
        "evt": [event],
        "key": [key],
        "ten": [of.tenant_id],
    }


async def plant_dead_letter(client: httpx.AsyncClient, services: Services, of: Made) -> str:
    """What everybody may hit with a filter that names nothing: so only one of the two has it."""
    dead: str = (await submit(client))["id"]
    run = Run(services.database, dead, of.tenant_id)
    await run.begin()
    kept_until = utc_now() + timedelta(days=1)
    await run.records.park(Parking(generation_id=dead, position=0, round=0, fault=FAULT, kept_until=kept_until))
    return dead


@pytest.fixture
async def world(api: httpx.AsyncClient, app: FastAPI, services: Services) -> World:
    made = World(await made_tenant(api), await made_tenant(api))
    async with calling(app, made.owner.secret) as client:
        made.planted = await plant(client, services, made.owner)
        made.planted["gen"].append(await plant_dead_letter(client, services, made.owner))
    async with calling(app, made.stranger.secret) as client:
        made.own = {kind: ids[0] for kind, ids in (await plant(client, services, made.stranger)).items()}
    return made


async def belongings(services: Services, tenant_id: str) -> dict[str, list[Any]]:
    """All rows of the tenant's."""
    async with services.database.reading() as session:
        return {table: await _rows(session, table, tenant_id) for table in metadata.tables}


async def _rows(session: AsyncSession, name: str, tenant_id: str) -> list[Any]:
    table = metadata.tables[name]
    owned: list[ColumnElement[bool]] = [table.c.id == tenant_id] if name == "tenant" else []
    if "tenant_id" in table.c:
        owned.append(table.c.tenant_id == tenant_id)
    for column, parent in (("generation_id", "generation"), ("delivery_id", "delivery")):
        if column in table.c and "tenant_id" not in table.c:
            of = metadata.tables[parent]
            owned.append(table.c[column].in_(select(of.c.id).where(of.c.tenant_id == tenant_id)))
    return sorted(map(repr, await session.execute(select(table).where(or_(*owned))))) if owned else []


# Every request that names an id ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Route:
    """An address with a method, and what the document says of it where it is in there."""

    method: str
    path: str
    document: Mapping[str, Any]
    schemas: Mapping[str, Any]

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def places(self) -> list[str]:
        """The parameters of its path that are ids."""
        return [name for name in re.findall(r"{(\w+)}", self.path) if name not in NAMES]

    @property
    def queries(self) -> Iterator[tuple[str, str]]:
        """Query parameters that are ids, with their kinds."""
        for parameter in self.document.get("parameters", ()):
            if parameter["in"] == "query" and (kinds := set(_kinds(parameter["schema"], self.schemas))):
                yield from ((parameter["name"], kind) for kind in kinds)

    @property
    def body_kinds(self) -> set[str]:
        """The kinds of ids that its body takes, wherever within it."""
        content = self.document.get("requestBody", {}).get("content", {}).get("application/json", {})
        return set(_kinds(content.get("schema", {}), self.schemas))

    def at(self, ids: Mapping[str, str]) -> str:
        return re.sub(r"{(\w+)}", lambda found: NAMES.get(found[1]) or ids[found[1]], self.path)


def _kinds(schema: Any, schemas: Mapping[str, Any], seen: frozenset[str] = frozenset()) -> Iterator[str]:
    """Kinds of ids within a schema, told by the patterns of its strings."""
    if isinstance(schema, list):
        for one in schema:
            yield from _kinds(one, schemas, seen)
    if not isinstance(schema, dict):
        return
    if (form := _FORM.match(str(schema.get("pattern", "")))) and form[1] in KINDS.values():
        yield form[1]
    reference = schema.get("$ref", "").rpartition("/")[2]
    if reference and reference not in seen:
        yield from _kinds(schemas[reference], schemas, seen | {reference})
    for name, one in schema.items():
        if name not in ("examples", "description"):
            yield from _kinds(one, schemas, seen)


def routes(app: FastAPI) -> list[Route]:
    document = app.openapi()
    return [
        Route(
            method,
            one.path,
            document["paths"].get(one.path, {}).get(method.lower(), {}),
            document["components"]["schemas"],
        )
        for one in iter_route_contexts(app.routes)
        if one.path and (one.path.startswith("/v1/") or "{" in one.path)
        for method in sorted(one.methods or ())
    ]


@dataclass(frozen=True)
class Attempt:
    """A request that names one id, of which there are two: somebody else's, and nobody's."""

    route: Route
    foreign: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: Any = None

    async def send(self, client: httpx.AsyncClient, an_id: str) -> httpx.Response:
        def swapped(value: Any) -> Any:
            return _map(value, lambda text: text.replace(self.foreign, an_id))

        return await client.request(
            self.route.method,
            swapped(self.path),
            params=swapped(dict(self.query)),
            json=swapped(self.body) if self.body is not None else None,
            timeout=10,
        )


def _map(value: Any, change: Any) -> Any:
    match value:
        case str():
            return change(value)
        case dict():
            return {name: _map(one, change) for name, one in value.items()}
        case list():
            return [_map(one, change) for one in value]
        case _:
            return value


def attempts(app: FastAPI, planted: Mapping[str, Sequence[str]], own: Mapping[str, str]) -> Iterator[Attempt]:
    """Every request that names one of these ids, in every place; in other places `own` ones."""
    everything = list(itertools.chain.from_iterable(planted.values()))
    for route in routes(app):
        body: dict[str, Any] | None = {} if "requestBody" in route.document else None
        for place in route.places:
            mine = {other: own[KINDS[other]] for other in route.places}
            theirs = {other: planted[KINDS[other]][0] for other in route.places}
            for foreign in everything:
                yield Attempt(route, foreign, route.at(mine | {place: foreign}), body=body)
                if len(route.places) > 1:  # such as a delivery of a webhook, both of them foreign
                    yield Attempt(route, foreign, route.at(theirs | {place: foreign}), body=body)
        path = route.at({place: own[KINDS[place]] for place in route.places})
        for name, kind in route.queries:
            for foreign in planted[kind]:
                yield Attempt(route, foreign, path, query={name: foreign}, body=body)
        for kind in sorted(route.body_kinds):
            for foreign in planted[kind]:
                for given in requests_with(route.document["operationId"], foreign):
                    yield Attempt(route, foreign, path, body=given)


def nobodys(an_id: str) -> str:
    """The id that would come right after this one, so that it has the same place in every list."""
    return an_id[:-1] + _ALPHABET[(_ALPHABET.index(an_id[-1]) + 1) % len(_ALPHABET)]


def plain(answer: httpx.Response) -> tuple[int, str, dict[str, str]]:
    """What an answer says, but for ids and instants."""
    told = {
        name: _ID.sub("<id>", value)
        for name, value in answer.headers.items()
        if name not in ("x-request-id", "content-length")
    }
    text = re.sub(r"req_[0-9a-z]{26}", "<request>", _INSTANT.sub("<instant>", _ID.sub("<id>", answer.text)))
    return answer.status_code, text, told


async def leaks(app: FastAPI, client: httpx.AsyncClient, world: World, *, but: str = "\0") -> AsyncIterator[str]:
    """Requests that tell or do something other for a foreign id than for one that nobody has; and their answers."""
    for attempt in attempts(app, world.planted, world.own):
        if attempt.route.path.startswith(but):
            continue
        theirs = await attempt.send(client, attempt.foreign)
        same = plain(theirs) == plain(await attempt.send(client, nobodys(attempt.foreign)))
        # A list may be asked for behind an id that nobody has; a path or a body is refused, or hits nothing.
        fine = theirs.status_code in _REFUSED or (attempt.query or attempt.body)
        if not same or not fine or theirs.status_code >= 500:
            yield f"{attempt.route.name} {attempt.foreign} {attempt.query or attempt.body}: {theirs.status_code}"


# The test -------------------------------------------------------------------------------------------------------------


def test_every_place_for_an_id_is_known(app: FastAPI) -> None:
    planted = {kind: [f"{kind}_{'0' * 26}"] for kind in KINDS.values()}
    own = {kind: f"{kind}_{'1' * 26}" for kind in KINDS.values()}
    tried = {attempt.route.name for attempt in attempts(app, planted, own)}
    assert {"GET /v1/generations/{generation_id}", "POST /v1/generations:batch", "GET /v1/webhooks"} <= tried
    assert {"HEAD /v1/assets/{asset_id}/content", "PATCH /v1/admin/tenants/{tenant_id}"} <= tried
    assert len(tried) > 30


@pytest.mark.parametrize("scopes", [["generate", "read", "manage"], ["generate", "read", "manage", "admin"]])
async def test_what_is_another_tenants_is_not_there(
    app: FastAPI, api: httpx.AsyncClient, services: Services, world: World, scopes: list[str]
) -> None:
    """Nor for whoever may administer, but where tenants themselves are administered."""
    key = await make_key(api, world.stranger.tenant_id, scopes=scopes)
    before = await belongings(services, world.owner.tenant_id)
    assert all(before[table] for table in ("tenant", "api_key", "generation", "generation_step", "event", "attempt"))
    assert all(before[table] for table in ("asset", "webhook", "delivery"))
    async with calling(app, key["secret"]) as stranger:
        but = "/v1/admin/" if "admin" in scopes else "\0"
        found = [leak async for leak in leaks(app, stranger, world, but=but)]
    assert found == []
    assert await belongings(services, world.owner.tenant_id) == before


async def test_the_same_requests_do_something_for_their_owner(
    app: FastAPI, api: httpx.AsyncClient, world: World
) -> None:
    """Without this, a request that is refused for its form would pass for one that is refused for its id."""
    mine = {kind: ids[0] for kind, ids in world.planted.items()}
    worked: dict[str, bool] = {}
    async with calling(app, world.owner.secret) as owner:
        every = list(attempts(app, world.planted, mine))
        for attempt in sorted(every, key=lambda one: one.route.method == "DELETE"):
            name = attempt.route.name
            fits = any(KINDS[place] == attempt.foreign[:3] for place in attempt.route.places) or attempt.body
            if worked.get(name) or not fits or attempt.route.path.startswith("/v1/callbacks/"):  # which take no key
                continue
            client = api if attempt.route.path.startswith("/v1/admin/") else owner
            worked[name] = (await attempt.send(client, attempt.foreign)).status_code not in _REFUSED
    poster = {f"{method} /v1/assets/{{asset_id}}/poster" for method in ("GET", "HEAD")}  # only videos have one
    assert {name for name, did in worked.items() if not did} == poster


@pytest.mark.parametrize("repository", [assets, deliveries, generations, keys, webhooks], ids=lambda one: one.__name__)
async def test_a_query_that_forgets_the_tenant_is_seen(
    app: FastAPI, services: Services, world: World, monkeypatch: pytest.MonkeyPatch, repository: Any
) -> None:
    asked = repository.get

    async def forgetful(session: AsyncSession, _tenant_id: str, *ids: str) -> Any:
        found = [await asked(session, one.tenant_id, *ids) for one in (world.owner, world.stranger)]
        return found[0] or found[1]

    monkeypatch.setattr(repository, "get", forgetful)
    async with calling(app, world.stranger.secret) as stranger:
        assert await anext(leaks(app, stranger, world), None)


async def test_an_idempotency_key_is_its_tenants(app: FastAPI, world: World) -> None:
    made = []
    for one in (world.owner, world.stranger):
        async with calling(app, one.secret) as client:
            made.append(await submit(client, SHAPE, key="the-same"))
    assert made[0]["id"] != made[1]["id"]
