"""Secrets never leave the settings: after a day of everything that can happen, each place where one could lie is read.

Every secret is a canary of its own. The clouds are the simulated ones, told these keys; one of them quotes, in its
errors, what it was sent.
"""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import quote

import asyncpg
import httpx
import pytest
import redis
import uvicorn
from google.protobuf.json_format import MessageToDict
from pydantic import SecretStr
from temporalio.api.common.v1 import Payload
from temporalio.client import Client as TemporalClient

from genpulse.client import Unreachable
from genpulse.models import metadata
from genpulse.schemas.states import GenerationStatus
from genpulse.settings import TemporalSettings
from genpulse.simulator.app import create_simulator
from genpulse.simulator.clouds import CLOUDS
from genpulse.simulator.core import Settings as SimulatorSettings
from genpulse.simulator.core import Simulator
from genpulse.simulator.credentials import Credentials
from genpulse.simulator.faults import FAULTS
from genpulse.stack import EmbeddedStack, Ports, embedded_stack, free_port
from genpulse.temporal import connect
from tests.faults.conftest import eventually, kill
from tests.matrix import FAMILIES
from tests.servers.postgres import PostgresServer, postgres_server
from tests.servers.s3 import S3Server, s3_server
from tests.servers.valkey import ValkeyServer, valkey_server

pytestmark = pytest.mark.timeout(600)

MARKER = "a-marker-that-must-be-found"
_AT_ONCE = 12
#: Refuses all (see `quoting`); and what is let in as another family of the same cloud is.
_NOTHING_NEW = {
    "vidu",
    "baidu at once",
    "dashscope at once",
    "google at once",
    "kling at once",
    "minimax at once",
    "stability",
    "tencent vclm",
    "tencent aiart",
    "tencent hub task",
    "tencent hub at once",
    "volcengine ark at once",
}
#: Of an account, what is no secret: without it nothing would be found, in the right region or at all.
_PLAIN_OPTIONS = {"project", "location", "region", "sub_app_id", "bucket"}


# Canaries -------------------------------------------------------------------------------------------------------------


def canary(name: str) -> str:
    return f"canary-{name}-{secrets.token_hex(12)}"


def traces_of(secret: str) -> dict[str, bytes]:
    """How a secret may be written down, whatever stands before and after it."""
    raw = secret.encode()
    shapes = {"plain": raw, "hex": raw.hex().encode(), "HEX": raw.hex().upper().encode(), "reversed": raw[::-1]}
    shapes["quoted"] = quote(secret, safe="").encode()
    for offset in range(3):
        # Without the characters that its neighbours have a share in.
        text = base64.b64encode(bytes(offset) + raw)
        first = (8 * offset + 5) // 6 if offset else 0
        shapes[f"base64+{offset}"] = text[first : len(text) - 4]
        shapes[f"url-safe base64+{offset}"] = shapes[f"base64+{offset}"].translate(bytes.maketrans(b"+/", b"-_"))
    return shapes


@dataclass
class Aviary:
    """All canaries, and every place that was searched for them."""

    secrets: dict[str, str] = field(default_factory=dict)
    searched: dict[str, int] = field(default_factory=dict)
    found: list[str] = field(default_factory=list)

    def hatch(self, name: str, secret: str = "") -> str:
        self.secrets[name] = secret or canary(name)
        return self.secrets[name]

    def search(self, where: str, content: bytes | str) -> None:
        content = content.encode() if isinstance(content, str) else content
        self.searched[where] = self.searched.get(where, 0) + len(content)
        for name, secret in self.secrets.items():
            for shape, trace in traces_of(secret).items():
                if trace in content:
                    at = content.index(trace)
                    around = content[max(0, at - 120) : at + len(trace) + 60]
                    self.found.append(f"{name} ({shape}) in {where}: …{around!r}…")


def test_a_canary_is_found_in_every_form() -> None:
    aviary = Aviary()
    secret = aviary.hatch("x")
    for before in (b"", b"a", b"ab", b"abc"):
        for encode in (base64.b64encode, base64.urlsafe_b64encode, bytes.hex):
            aviary.found.clear()
            text = encode(before + secret.encode() + b"after")
            aviary.search("here", text if isinstance(text, bytes) else text.encode())
            assert aviary.found, (before, encode)
    aviary.found.clear()
    aviary.search("here", secret.replace("-", "_"))
    assert not aviary.found


# The world ------------------------------------------------------------------------------------------------------------


@contextmanager
def accounts(aviary: Aviary, address: str) -> Iterator[dict[str, str]]:
    """Accounts at all simulated clouds whose every secret is a canary; gives the settings that know them."""
    former = {
        cloud.name: {one.name: getattr(cloud.credentials, one.name) for one in fields(Credentials)} for cloud in CLOUDS
    }
    environment: dict[str, str] = {}
    try:
        for cloud in CLOUDS:
            told = {name: _replaced(aviary, cloud.name, name, value) for name, value in former[cloud.name].items()}
            for name, value in told.items():
                object.__setattr__(cloud.credentials, name, value)  # the simulator's own, wherever it looks at them
            environment |= _variables(cloud.name, f"{address}/{cloud.name}{cloud.base_path}", told)
        yield environment
    finally:
        for cloud in CLOUDS:
            for name, value in former[cloud.name].items():
                object.__setattr__(cloud.credentials, name, value)


def _replaced(aviary: Aviary, cloud: str, name: str, value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: one if key in _PLAIN_OPTIONS else aviary.hatch(f"{cloud}-{key}") for key, one in value.items()}
    if not value:
        return value
    if value.startswith("whsec_"):
        return aviary.hatch(f"{cloud}-{name}", f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}")
    return aviary.hatch(f"{cloud}-{name}")


def _variables(cloud: str, base_url: str, told: Mapping[str, Any]) -> dict[str, str]:
    given = {name.upper(): value for name, value in told.items() if value} | {"BASE_URL": base_url}
    return {
        f"GENPULSE_PROVIDERS__{cloud.upper()}__{name}": value if isinstance(value, str) else json.dumps(value)
        for name, value in given.items()
    }


@asynccontextmanager
async def listening(app: Any, port: int) -> AsyncIterator[None]:
    config = uvicorn.Config(
        app,
        host="127.0.0.1",
        port=port,
        log_config=None,
        timeout_graceful_shutdown=1,
        # On a busy machine a client would find its connection closed at the very moment at which it pays over it.
        timeout_keep_alive=300,
    )
    server = uvicorn.Server(config)
    running = asyncio.create_task(server.serve())
    try:
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.01)
        yield
    finally:
        server.should_exit = True
        await running


async def quoting(scope: Any, _receive: Any, send: Any) -> None:
    """A cloud that refuses everything, and says in detail what it was sent."""
    sent = " ".join(f"{name.decode()}: {value.decode()}" for name, value in scope.get("headers", ()))
    body = {"code": 401, "reason": "Unauthorized", "message": f"Unauthorized: {sent}", "metadata": {"sent": sent}}
    if scope["type"] == "http":
        head = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 401, "headers": head})
        await send({"type": "http.response.body", "body": json.dumps(body).encode()})


@dataclass
class World:
    """The running product, its servers, and a caller whose every answer is searched."""

    aviary: Aviary
    stack: EmbeddedStack
    simulator: Simulator
    postgres: PostgresServer
    database: str
    s3: S3Server
    caller: httpx.AsyncClient

    async def submit(self, request: dict[str, Any]) -> str:
        answer = await self.caller.post("/v1/generations", json=request | {"metadata": {"note": MARKER}})
        assert answer.status_code == 202, answer.text
        generation_id: str = answer.json()["id"]
        return generation_id

    async def status(self, generation_id: str) -> GenerationStatus:
        try:
            answer = await self.caller.get(f"/v1/generations/{generation_id}")
        except httpx.TransportError as error:  # it has been killed, and is about to be back
            raise Unreachable(str(error)) from error
        return GenerationStatus(answer.json()["status"])

    async def settled(self, generation_id: str) -> GenerationStatus:
        """How it ended, or that it waits for somebody."""

        async def look() -> bool:
            status = await self.status(generation_id)
            return status.is_final or status is GenerationStatus.DEAD_LETTERED

        await eventually(look)
        return await self.status(generation_id)

    def fault(self, cloud: str, **values: Any) -> None:
        self.simulator.faults.put(cloud, FAULTS.validate_python([values]))


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    aviary, port, echo, api_port = Aviary(), free_port(), free_port(), free_port()
    async with AsyncExitStack() as stack:
        postgres, s3 = stack.enter_context(postgres_server()), stack.enter_context(s3_server())
        database = await postgres.create_database()
        valkey = stack.enter_context(valkey_server())
        redis_url = _with_password(valkey, aviary.hatch("redis-password"))
        environment = stack.enter_context(accounts(aviary, f"http://127.0.0.1:{port}"))
        environment["GENPULSE_PROVIDERS__VIDU__BASE_URL"] = f"http://127.0.0.1:{echo}"
        simulator = Simulator(SimulatorSettings(seconds_per_job=0.2))
        stack.push_async_callback(simulator.aclose)
        await stack.enter_async_context(listening(create_simulator(simulator), port))
        await stack.enter_async_context(listening(quoting, echo))
        environment |= {
            "GENPULSE_SECURITY__ADMIN_KEY": aviary.hatch("admin-key"),
            "GENPULSE_SECURITY__SIGNING_KEY": aviary.hatch("signing-key"),
            "GENPULSE_TEMPORAL__ENCRYPTION_KEY": aviary.hatch("encryption-key"),
            "GENPULSE_TEMPORAL__RETIRED_KEYS": json.dumps([aviary.hatch("retired-key")]),
            "GENPULSE_TEMPORAL__API_KEY": aviary.hatch("temporal-key"),
            "GENPULSE_DATABASE__URL": database.replace("postgres@", f"postgres:{aviary.hatch('database')}@"),
            "GENPULSE_REDIS__URL": redis_url,
            "GENPULSE_STORAGE__URL": f"s3://{s3.bucket}/all",
            "GENPULSE_STORAGE__ENDPOINT": s3.endpoint,
            "GENPULSE_STORAGE__ACCESS_KEY": s3.access_key,
            "GENPULSE_STORAGE__SECRET_KEY": aviary.hatch("s3-secret-key", s3.secret_key),
            "GENPULSE_SERVER__PUBLIC_URL": f"http://127.0.0.1:{api_port}",
            "GENPULSE_TELEMETRY__LOG_LEVEL": "debug",
            "GENPULSE_TELEMETRY__EXPORTER": "console",
        }
        running = await stack.enter_async_context(
            embedded_stack(tmp_path / "data", ports=Ports(api=api_port), environment=environment)
        )
        await running.stop("worker-gpu")

        async def search(answer: httpx.Response) -> None:
            await answer.aread()
            aviary.search("HTTP answers", f"{answer.status_code} {answer.headers!r} {answer.text}")

        caller = await stack.enter_async_context(
            httpx.AsyncClient(
                base_url=running.api_url,
                headers={"Authorization": f"Bearer {running.admin_key}"},
                event_hooks={"response": [search]},
                timeout=60,
            )
        )
        yield World(aviary, running, simulator, postgres, database, s3, caller)


def _with_password(valkey: ValkeyServer, password: str) -> str:
    with redis.Redis.from_url(valkey.url) as client:
        client.config_set("requirepass", password)
    return valkey.url.replace("redis://", f"redis://:{password}@")


# What happens ---------------------------------------------------------------------------------------------------------


async def test_no_secret_is_found_anywhere(world: World) -> None:
    outcomes = {
        "success": await _success(world),
        "failure": await _failure(world),
        "a refused key": await _refused(world),
        "a quoted key": await _quoted(world),
        "cancelled": await _cancelled(world),
        "a crash": await _crash(world),
    }
    await _look_around(world)
    _search_processes(world)
    temporal = await connect(_temporal_settings(world))
    ids = [one for ids in outcomes.values() for one in ids]
    await _search_histories(world, temporal, ids)
    await world.stack.stop("worker", "api", "temporal")  # what they hold back is written
    await _search_rows(world)
    _search_files(world)
    assert world.aviary.found == [], "\n".join(world.aviary.found[:20])
    assert world.aviary.searched.keys() >= {
        "HTTP answers",
        "command lines",
        "histories",
        "rows of generation",
        "rows of attempt",
        "rows of event",
        "logs/api.log",
        "logs/worker.log",
        "logs/temporal.log",
        "logs/migrate.log",
        "temporal.db",
        "the database's log",
        "the object store",
    }
    assert min(world.aviary.searched[place] for place in ("HTTP answers", "histories", "rows of attempt")) > 10_000


async def _success(world: World) -> list[str]:
    """At every cloud, in each way in which it is shown a secret."""
    requests = {family: request for family, request in FAMILIES.items() if family not in _NOTHING_NEW}
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(family: str, request: dict[str, Any]) -> str:
        async with gate:
            generation_id = await world.submit(request)
            assert await world.settled(generation_id) is GenerationStatus.SUCCEEDED, family
            return generation_id

    return list(await asyncio.gather(*(one(*item) for item in requests.items())))


async def _failure(world: World) -> list[str]:
    made = []
    for fault in ({"type": "fails"}, {"type": "server_error", "status": 400}, {"type": "malformed", "times": 1}):
        world.fault("replicate", **fault)
        made.append(await world.submit(FAMILIES["replicate"]))
        assert await world.settled(made[-1]) is not GenerationStatus.CANCELED
    world.simulator.faults.clear()
    return made


async def _refused(world: World) -> list[str]:
    """The clouds do not know these keys any more."""
    made = []
    for cloud in CLOUDS:
        if cloud.name in ("luma", "kling", "tencent", "google"):
            for name in ("api_key", "access_key", "secret_key"):
                if getattr(cloud.credentials, name):
                    object.__setattr__(cloud.credentials, name, "another")
            made.append(await world.submit(FAMILIES["tencent vod" if cloud.name == "tencent" else cloud.name]))
            assert await world.settled(made[-1]) is not GenerationStatus.SUCCEEDED
    return made


async def _quoted(world: World) -> list[str]:
    generation_id = await world.submit(FAMILIES["vidu"])
    assert await world.settled(generation_id) is not GenerationStatus.SUCCEEDED
    generation = (await world.caller.get(f"/v1/generations/{generation_id}")).json()
    assert "[hidden]" in json.dumps(generation), "it has been quoted, and was hidden"
    return [generation_id]


async def _cancelled(world: World) -> list[str]:
    world.fault("fal", type="stuck")
    generation_id = await world.submit(FAMILIES["fal"])

    async def accepted() -> bool:
        return len(world.simulator.find_jobs(cloud="fal")) > 1

    await eventually(accepted)
    await world.caller.post(f"/v1/generations/{generation_id}/cancel")
    assert await world.settled(generation_id) is GenerationStatus.CANCELED
    world.simulator.faults.clear()
    return [generation_id]


async def _crash(world: World) -> list[str]:
    """The worker dies while it sends a paid call, and comes back."""
    world.fault("openai", type="slow_answer", seconds=20, times=1)
    before = len(world.simulator.find_jobs(cloud="openai"))
    generation_id = await world.submit(FAMILIES["openai"])

    async def sent() -> bool:
        return len(world.simulator.find_jobs(cloud="openai")) > before

    await eventually(sent)
    kill(world.stack, "worker")
    kill(world.stack, "api")
    assert await world.settled(generation_id) is not GenerationStatus.SUCCEEDED
    return [generation_id]


async def _look_around(world: World) -> None:
    """Every kind of answer, the refusals above all; what is wrong about them are the canaries themselves."""
    for path in (
        "/v1/system",
        "/metrics",
        "/readyz",
        "/openapi.json",
        "/docs",
        "/v1/models",
        "/v1/assets",
        "/v1/generations",
    ):
        await world.caller.get(path)
    admin_key = world.aviary.secrets["admin-key"]
    wrong = {"Authorization": f"Bearer {admin_key[:-1]}"}
    for path in ("/v1/system", "/v1/generations", "/v1/codec/sign-in", "/nothing"):
        await world.caller.get(path, headers=wrong)
    await world.caller.post("/v1/codec/sign-in", data={"key": admin_key})
    encrypted = {"payloads": [{"metadata": {"encoding": "YmluYXJ5L2VuY3J5cHRlZA=="}, "data": "AAAA"}]}
    assert (await world.caller.post("/v1/codec/decode", json=encrypted)).status_code == 422


# Where it is looked for -----------------------------------------------------------------------------------------------


def _search_processes(world: World) -> None:
    """What `ps` shows to everybody; and of Temporal also what it was started with."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            world.aviary.search("command lines", (process / "cmdline").read_bytes())
        except OSError:
            continue  # it has ended, or is not ours to look at
    pid = world.stack.pid("temporal")
    command = Path(f"/proc/{pid}/cmdline").read_text()
    assert f"--ui-codec-endpoint\0{world.stack.api_url}/v1/codec\0" in command, "its Web UI knows who can decode"
    world.aviary.search("Temporal's environment", Path(f"/proc/{pid}/environ").read_bytes())


def _temporal_settings(world: World) -> TemporalSettings:
    kept = world.aviary.secrets
    return TemporalSettings(
        address=world.stack.temporal_address,
        encryption_key=SecretStr(kept["encryption-key"]),
        retired_keys=(SecretStr(kept["retired-key"]),),
    )


async def _search_histories(world: World, temporal: TemporalClient, ids: list[str]) -> None:
    """As Temporal keeps them, and as who has the key reads them."""
    codec = temporal.data_converter.payload_codec
    assert codec is not None
    readable = ""
    for generation_id in ids:
        history = await temporal.get_workflow_handle(generation_id).fetch_history()
        for event in history.events:
            world.aviary.search("histories", event.SerializeToString())
            for payload in _payloads(MessageToDict(event)):
                [opened] = await codec.decode([_payload(payload)])
                readable += opened.data.decode("utf-8", "replace")
    world.aviary.search("histories", readable)
    assert "Encoded failure" not in readable
    assert "[hidden]" in readable and ids[0] in readable, "the search would have seen something"


def _payloads(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        if "encryption-key-id" in value.get("metadata", {}):
            yield value
        else:
            for one in value.values():
                yield from _payloads(one)
    elif isinstance(value, list):
        for one in value:
            yield from _payloads(one)


def _payload(told: dict[str, Any]) -> Payload:
    metadata = {name: base64.b64decode(value) for name, value in told["metadata"].items()}
    return Payload(metadata=metadata, data=base64.b64decode(told["data"]))


async def _search_rows(world: World) -> None:
    connection = await asyncpg.connect(world.database.replace("+asyncpg", ""))
    try:
        for table in metadata.sorted_tables:
            rows = await connection.fetch(f'SELECT row_to_json(one)::text FROM "{table.name}" AS one')
            world.aviary.search(f"rows of {table.name}", "\n".join(row[0] for row in rows))
            if table.name == "generation":
                assert rows and all(MARKER in row[0] for row in rows)
    finally:
        await connection.close()


def _search_files(world: World) -> None:
    data = world.stack.data_dir.path
    for path in data.rglob("*"):
        if path.is_file():
            world.aviary.search(str(path.relative_to(data)), path.read_bytes())
    for path in world.s3.folder.parent.rglob("*"):
        if path.is_file():
            world.aviary.search("the object store", path.read_bytes())
    command = Path(f"/proc/{world.postgres.pid}/cmdline").read_text().split("\0")
    folder = Path(command[command.index("-D") + 1]).parent
    world.aviary.search("the database's log", (folder / "log").read_bytes())
    api, worker = ((data / "logs" / name).read_text() for name in ("api.log", "worker.log"))
    assert '"callback.received"' in api, "clouds have called back"
    assert '"trace_id"' in api and '"trace_id"' in worker, "there were spans"
    assert '"level": "debug"' in worker
