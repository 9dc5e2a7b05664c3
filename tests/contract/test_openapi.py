"""The OpenAPI document put to the test: what it says of every operation holds of the running product.

schemathesis makes requests from the document, right ones and wrong ones, and compares the answers with it: no server
error, no status, media type or header that is not documented, no body that breaks its schema, wrong data refused, right
data accepted, no way in without a key. A new route is met without anybody's doing; only when it needs something that
nothing in the document tells has it to be said below how a request for it looks that succeeds.
"""

from __future__ import annotations

import copy
import os
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from random import Random
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, reject, settings
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy
from schemathesis.checks import CheckFunction
from schemathesis.core.errors import InvalidSchema
from schemathesis.core.failures import FailureGroup
from schemathesis.core.transport import Response
from schemathesis.generation import GenerationMode
from schemathesis.hooks import HookContext
from schemathesis.specs.openapi.checks import (
    negative_data_rejection,
    positive_data_acceptance,
    response_schema_conformance,
)
from schemathesis.transport.serialization import Binary

from api.app import create_app
from genpulse.security import DEFAULT_TENANT
from genpulse.settings import Settings
from tests.contract.product import FAKE, RECEIVER, WAITS, Known, Product, running_product
from tests.integration.conftest import AUTH, png
from tests.servers.postgres import postgres_server

#: For each operation; `make openapi` asks for 200, and for both databases. PostgreSQL is the one that forgives less.
EXAMPLES = int(os.environ.get("GENPULSE_OPENAPI_EXAMPLES", "25"))
DATABASES = ["postgresql", "sqlite"] if "GENPULSE_OPENAPI_EXAMPLES" in os.environ else ["postgresql"]
#: Of the requests that the document allows, this part is made to succeed; the rest are left as they were drawn.
AIMED = 0.7

pytestmark = [pytest.mark.timeout(1800), pytest.mark.xdist_group("openapi")]  # one product for all of it

DOCUMENT: dict[str, Any] = create_app(Settings()).openapi()

schema = schemathesis.openapi.from_dict(DOCUMENT)
schema.config.generation.update(max_examples=EXAMPLES, deterministic=True)
# Every request carries the right key; what happens without it, or with a wrong one, has a check of its own.
schema.config.generation.with_security_parameters = False


@schema.hook
def before_generate_body(_context: HookContext, strategy: SearchStrategy[Any]) -> SearchStrategy[Any]:
    """Draw again where schemathesis finds no value for a body that breaks the schema of a list's entries."""

    @st.composite
    def drawn(draw: DrawFn) -> Any:
        try:
            return draw(strategy)
        except InvalidSchema:
            reject()

    return drawn()


# Requests that succeed ----------------------------------------------------------------------------------------------


def _generation(chance: Random, product: Product, drawn: dict[str, Any]) -> dict[str, Any]:
    """A call or a chain that runs, with whatever else was drawn."""
    picture = {"asset": product.known.picture}
    chain = {
        "steps": [
            {"id": "still", "model": "local/fake", "operation": "text-to-image", "input": {"prompt": "x"}},
            {"id": "clip", "model": "local/fake", "operation": "image-to-video"},
        ]
    }
    moving = {"model": "local/fake", "operation": "image-to-video", "input": {"image": picture}}
    kept = {name: drawn[name] for name in ("priority", "metadata", "deadline_seconds", "adapt") if name in drawn}
    return kept | chance.choice([FAKE, FAKE, WAITS, moving, chain])


def _batch(chance: Random, product: Product, drawn: dict[str, Any]) -> dict[str, Any]:
    some = [_generation(chance, product, {}) for _ in range(chance.randint(1, 3))]
    return {"generations": [*some, *drawn["generations"][:2]]}


def _upload(_chance: Random, _product: Product, _drawn: dict[str, Any]) -> dict[str, Any]:
    return {"file": Binary(png())}


def _retry(_chance: Random, _product: Product, _drawn: dict[str, Any]) -> dict[str, Any]:
    return {"model": "local/shapes"}


def _bulk(chance: Random, product: Product, _drawn: dict[str, Any]) -> dict[str, Any]:
    return {"filter": {"ids": chance.sample(product.known.dead, 2)}, "preview": chance.random() < 0.5}


def _webhook(_chance: Random, _product: Product, drawn: dict[str, Any]) -> dict[str, Any]:
    return {name: drawn[name] for name in ("events", "description") if name in drawn} | {"url": RECEIVER}


def _rotation(_chance: Random, _product: Product, _drawn: dict[str, Any]) -> dict[str, Any]:
    return {"overlap_seconds": 60}


def _payloads(_chance: Random, _product: Product, _drawn: dict[str, Any]) -> dict[str, Any]:
    return {"payloads": [{"metadata": {"encoding": "anNvbi9wbGFpbg=="}, "data": "InRleHQi"}]}


def _key(_chance: Random, _product: Product, drawn: dict[str, Any]) -> dict[str, Any]:
    return {"name": drawn.get("name", ""), "scopes": ["read"]}


def _tenant(chance: Random, _product: Product, drawn: dict[str, Any]) -> dict[str, Any]:
    return {"name": "acme", "weight": chance.uniform(0.1, 10)} | {k: v for k, v in drawn.items() if k == "limits"}


def _credits(chance: Random, _product: Product, drawn: dict[str, Any]) -> dict[str, Any]:
    return {"amount": chance.randint(1, 1000), "note": drawn.get("note", "")}


BODIES: dict[str, Callable[[Random, Product, dict[str, Any]], dict[str, Any]]] = {
    "create_generation": _generation,
    "create_batch": _batch,
    "estimate_generation": _generation,
    "create_key": _key,
    "rotate_key": _rotation,
    "add_tenant": _tenant,
    "update_tenant": _tenant,
    "create_tenant_key": _key,
    "change_tenant_credits": _credits,
    "upload_asset": _upload,
    "retry_generation": _retry,
    "retry_generations": _bulk,
    "discard_generations": _bulk,
    "create_webhook": _webhook,
    "update_webhook": _webhook,
    "rotate_webhook_secret": _rotation,
    "rotate_secret": _rotation,
    "decode_payloads": _payloads,
    "encode_payloads": _payloads,
}


def _aim(case: schemathesis.Case, product: Product, chance: Random) -> None:
    """Give the request ids of what is there, a body that the models take, and the signature of a link.

    In place, and frozen: what is changed otherwise schemathesis judges anew, and it does not know a file when it sees
    one.
    """
    case.freeze_metadata()
    operation = case.operation.definition.raw
    for parameter in operation.get("parameters", ()):
        if parameter["in"] == "path" and (value := _existing(parameter, case, product.known, chance)):
            case.path_parameters[parameter["name"]] = value
    if (make := BODIES.get(operation["operationId"])) and isinstance(case.body, dict):
        made = make(chance, product, dict(case.body))
        case.body.clear()
        case.body.update(made)
    if operation["operationId"] == "create_generation" and chance.random() < 0.2:
        case.headers["Prefer"] = "wait=1"
    if {"expires", "key", "signature"} <= {one["name"] for one in operation.get("parameters", ())}:
        case.query.update(product.signed(case.formatted_path))


def _existing(parameter: dict[str, Any], case: schemathesis.Case, known: Known, chance: Random) -> str | None:
    """A value like the parameter's example: an id of the same kind, or the example itself."""
    examples = parameter["schema"].get("examples", ())
    if not examples:
        return None
    prefix, _, body = examples[0].partition("_")
    if not body:
        return examples[0]
    if case.path.endswith("/poster"):
        return chance.choice(known.videos)
    if case.path.endswith(("/retry", "/discard")):
        return chance.choice(known.dead)
    if case.path.endswith("/cancel"):
        return chance.choice([*known.waiting, *known.planted[prefix]])
    if case.method == "DELETE" or (prefix == "key" and case.path.endswith("/rotate")):
        return DEFAULT_TENANT if prefix == "ten" else known.take(prefix)  # what may be deleted is of this tenant
    # A stream of what has ended ends too; a delivery is one of its own webhook; and webhooks that are there get events.
    if (
        _is_stream(case.operation.definition.raw)
        or case.path.endswith(("/ping", "/rotate"))
        or "/deliveries" in case.path
    ):
        return chance.choice(known.planted[prefix])
    return chance.choice([*known.planted.get(prefix, ()), *known.found.get(prefix, ())] or [None])


# The test -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session", params=DATABASES)
async def product(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Product]:
    with ExitStack() as stack:
        url = ""
        if request.param == "postgresql":
            url = await stack.enter_context(postgres_server()).create_database()
        yield stack.enter_context(running_product(tmp_path_factory.mktemp("product"), url))


@pytest.fixture(scope="session")
def session() -> Iterator[requests.Session]:
    with requests.Session() as kept:
        yield kept


@pytest.fixture
async def statuses(request: pytest.FixtureRequest, product: Product) -> AsyncIterator[Counter[int]]:
    """How often an operation answered with each status. It has to have worked, or nothing was put to the test."""
    if "retry" in request.node.name or "discard" in request.node.name:
        await product.plant_dead_letters(8)
    if "[DELETE" in request.node.name or "keys/{key_id}/rotate" in request.node.name:
        product.plant_expendable()
    seen: Counter[int] = Counter()
    yield seen
    print(dict(sorted(seen.items())))
    assert [status for status in seen if status < 300], f"no request succeeded, only {dict(seen)}"


@schema.parametrize()
@settings(suppress_health_check=list(HealthCheck))
def test_operation_is_as_documented(
    case: schemathesis.Case, product: Product, session: requests.Session, statuses: Counter[int]
) -> None:
    allowed = case.meta is not None and case.meta.generation.mode is GenerationMode.POSITIVE
    chance = Random(repr((case.path_parameters, case.query, case.body)))
    if allowed and chance.random() < AIMED:
        _aim(case, product, chance)
    answer = case.call(product.url, session, AUTH, timeout=20)
    statuses[answer.status_code] += 1
    if 200 <= answer.status_code < 300:
        product.known.learn(_json(answer))
    case.validate_response(
        answer, headers=AUTH, excluded_checks=_not_asked(case), transport_kwargs={"session": session}
    )


def test_a_document_that_is_wrong_is_noticed(product: Product, session: requests.Session) -> None:
    wrong = copy.deepcopy(DOCUMENT)
    wrong["components"]["schemas"]["Health"]["properties"]["status"]["const"] = "well"
    case = schemathesis.openapi.from_dict(wrong)["/healthz"]["GET"].Case()
    answer = case.call(product.url, session, AUTH, timeout=20)
    with pytest.raises(FailureGroup, match="well"):
        case.validate_response(answer)


def _not_asked(case: schemathesis.Case) -> list[CheckFunction]:
    """What cannot hold of an operation, for reasons that the document has no words for."""
    operation = case.operation.definition.raw
    excluded: list[CheckFunction] = []
    # Which values go together in a body, each model's entry of the catalogue says; and NUL is refused in any text.
    if "requestBody" in operation or r"\x00" in repr((case.query, case.path_parameters)):
        excluded.append(positive_data_acceptance)
    if operation["operationId"] == "create_batch":  # each entry is refused on its own, within a 200
        excluded.append(negative_data_rejection)
    if _is_stream(operation):  # documented as the text that it is, because generators know nothing of events
        excluded.append(response_schema_conformance)
    return excluded


def _is_stream(operation: dict[str, Any]) -> bool:
    return "text/event-stream" in operation["responses"].get("200", {}).get("content", {})


def _json(answer: Response) -> Any:
    try:
        return answer.json()
    except ValueError:
        return None
