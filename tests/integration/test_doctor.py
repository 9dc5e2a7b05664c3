"""The doctor finds every fault that is planted, and none in sound data; on both engines."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, insert, text

from genpulse.db import Database, utc_now
from genpulse.doctor import check_stored, examine
from genpulse.migrations import upgrade
from genpulse.models import AssetRow, AttemptRow, EventRow, GenerationRow, StepRow, metadata
from genpulse.schemas.states import GenerationStatus, MediaKind, Operation, Priority, StepStatus
from genpulse.settings import DatabaseSettings, RedisSettings, Settings, TemporalSettings
from genpulse.storage import Storage
from tests.servers.postgres import PostgresServer, postgres_server
from tests.servers.temporal import temporal_server
from tests.servers.valkey import valkey_server

DONE, WAITING = "gen_done", "gen_waiting"


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
async def settings(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A migrated database and a storage for all tests of an engine."""
    url = ""
    if request.param == "postgresql":
        server: PostgresServer = request.getfixturevalue("postgres")
        url = await server.create_database()
    made = Settings(data_dir=tmp_path_factory.mktemp("doctor"), database=DatabaseSettings(url=url))
    await upgrade(made.database_url)
    return made


@pytest.fixture
async def database(settings: Settings) -> AsyncIterator[Database]:
    """The database with a finished generation and one that waits, both sound."""
    made = Database(settings.database_url)
    async with made.transaction() as session:
        for table in reversed(metadata.sorted_tables):
            await session.execute(delete(table))
    await _plant_sound_data(made, await _stored_file(settings))
    yield made
    await made.dispose()


async def _stored_file(settings: Settings) -> tuple[str, int]:
    file = settings.data_dir / "output"
    file.write_bytes(b"a picture")
    return await Storage.from_settings(settings).put_file(file)


async def _plant_sound_data(database: Database, blob: tuple[str, int]) -> None:
    now = utc_now()
    events = [("status", {"status": "running"}), ("output", {"step": "main", "asset": {}}), ("done", {})]
    generations = [
        _generation(DONE, "succeeded", progress=1.0, version=len(events), dispatched_at=now, finished_at=now),
        _generation(WAITING, "queued"),
    ]
    sha256, size = blob
    asset = {
        "id": "ast_1",
        "tenant_id": "default",
        "sha256": sha256,
        "kind": MediaKind.IMAGE,
        "media_type": "image/png",
    }
    made_by = {"generation_id": DONE, "position": 0, "output_index": 0}
    async with database.transaction() as session:
        await session.execute(insert(GenerationRow), generations)
        await session.execute(insert(StepRow), [_step(DONE, "succeeded"), _step(WAITING, "queued")])
        await session.execute(insert(AttemptRow), [_attempt(DONE, "succeeded", 1)])
        await session.execute(insert(AssetRow), [asset | made_by | {"bytes": size, "created_at": now}])
        for seq, (kind, data) in enumerate(events, start=1):
            row = {"generation_id": DONE, "seq": seq, "type": kind, "data": data, "created_at": now}
            await session.execute(insert(EventRow), [row])


def _generation(generation_id: str, status: str, **values: Any) -> dict[str, Any]:
    row = GenerationRow(
        id=generation_id,
        tenant_id="default",
        status=GenerationStatus(status),
        operation=Operation.TEXT_TO_IMAGE,
        model="local/fake",
        priority=Priority.NORMAL,
        request={},
        adaptions=[],
        labels={},
        request_id="req_1",
        created_at=utc_now(),
        deadline_at=utc_now() + timedelta(hours=1),
    )
    return row.model_dump() | values


def _step(generation_id: str, status: str) -> dict[str, Any]:
    row = StepRow(
        generation_id=generation_id,
        position=0,
        step_id="main",
        operation=Operation.TEXT_TO_IMAGE,
        model="local/fake",
        queue="gp-fake",
        status=StepStatus(status),
        input={},
        provider_options={},
        fallbacks=[],
    )
    return row.model_dump()


def _attempt(generation_id: str, status: str, number: int) -> dict[str, Any]:
    row = AttemptRow(
        generation_id=generation_id,
        position=0,
        number=number,
        provider="local",
        model="fake",
        status=status,
        started_at=utc_now(),
    )
    return row.model_dump()


async def _complaints(settings: Settings) -> list[str]:
    return [finding.sentence async for finding in check_stored(settings) if not finding.ok]


@pytest.mark.usefixtures("database")
async def test_sound_data_has_no_faults(settings: Settings) -> None:
    findings = [finding async for finding in check_stored(settings)]
    assert [finding.sentence for finding in findings if not finding.ok] == []
    assert len(findings) > 10


FAULTS = {
    "Every generation that has ended, and no other, has the time": [
        f"UPDATE generation SET finished_at = NULL WHERE id = '{DONE}'",
        f"UPDATE generation SET finished_at = created_at WHERE id = '{WAITING}'",
    ],
    "Every failed generation says why": [
        f"UPDATE generation SET status = 'failed' WHERE id = '{DONE}'",
        f"UPDATE generation SET error = '{{}}' WHERE id = '{DONE}'",
    ],
    "Every succeeded generation is wholly done": [f"UPDATE generation SET progress = 0.5 WHERE id = '{DONE}'"],
    "No generation runs past its deadline": [
        f"UPDATE generation SET deadline_at = '2020-01-01 00:00:00+00:00' WHERE id = '{WAITING}'"
    ],
    "Temporal knows of every generation": [
        f"UPDATE generation SET created_at = '2020-01-01 00:00:00+00:00' WHERE id = '{WAITING}'"
    ],
    "Temporal knows of every cancellation": [
        f"UPDATE generation SET cancel_requested_at = '2020-01-01 00:00:00+00:00' WHERE id = '{WAITING}'"
    ],
    "Every generation has steps": [f"DELETE FROM generation_step WHERE generation_id = '{WAITING}'"],
    "No step is open": [f"UPDATE generation_step SET status = 'running' WHERE generation_id = '{DONE}'"],
    "Every step of a succeeded": [f"UPDATE generation_step SET status = 'failed' WHERE generation_id = '{DONE}'"],
    "No step of a queued": [f"UPDATE generation_step SET status = 'running' WHERE generation_id = '{WAITING}'"],
    "Every succeeded step has made something": [
        f"UPDATE event SET type = 'progress' WHERE generation_id = '{DONE}' AND seq = 2",
        f"UPDATE event SET data = '{{\"step\": \"other\"}}' WHERE generation_id = '{DONE}' AND seq = 2",
    ],
    "No attempt is open": [f"UPDATE attempt SET status = 'running' WHERE generation_id = '{DONE}'"],
    "numbered without gaps": [
        f"DELETE FROM event WHERE generation_id = '{DONE}' AND seq = 2",
        f"UPDATE generation SET version = 4 WHERE id = '{DONE}'",
        f"UPDATE generation SET version = 1 WHERE id = '{WAITING}'",
    ],
    "end with `done`": [f"UPDATE event SET type = 'status' WHERE generation_id = '{DONE}' AND seq = 3"],
    "The bytes of every asset": ["UPDATE asset SET bytes = 1", f"UPDATE asset SET poster_sha256 = '{'0' * 64}'"],
}


@pytest.mark.parametrize(
    ("sentence", "fault"), [(sentence, fault) for sentence, faults in FAULTS.items() for fault in faults]
)
async def test_a_planted_fault_is_found(settings: Settings, database: Database, sentence: str, fault: str) -> None:
    async with database.transaction() as session:
        await session.execute(text(fault))
    complaints = [complaint for complaint in await _complaints(settings) if sentence in complaint]
    assert len(complaints) == 1
    assert DONE in complaints[0] or WAITING in complaints[0] or "ast_1" in complaints[0]


async def test_two_open_attempts_are_found(settings: Settings, database: Database) -> None:
    async with database.transaction() as session:
        await session.execute(insert(AttemptRow), [_attempt(WAITING, "running", number) for number in (1, 2)])
    assert [f"No step has two open attempts: not so for {WAITING}."] == await _complaints(settings)


async def test_every_dependency_that_answers_is_fine(tmp_path: Path) -> None:
    with temporal_server() as temporal, valkey_server() as valkey:
        settings = Settings(
            data_dir=tmp_path,
            temporal=TemporalSettings(address=temporal.address),
            redis=RedisSettings(url=valkey.url),
        )
        await upgrade(settings.database_url)
        findings = {finding.subject: finding async for finding in examine(settings)}
    assert findings.keys() == {"database", "storage", "Temporal", "Redis", "engine", "stored"}
    assert [finding for finding in findings.values() if not finding.ok and finding.subject != "engine"] == []


async def test_every_dependency_that_is_down_is_named(tmp_path: Path) -> None:
    (tmp_path / "assets").write_text("a file where the folder should be")
    settings = Settings(
        data_dir=tmp_path,
        database=DatabaseSettings(url="postgresql+asyncpg://nobody@127.0.0.1:1/none"),
        temporal=TemporalSettings(address="127.0.0.1:1"),
        redis=RedisSettings(url="redis://127.0.0.1:1"),
    )
    findings = [finding async for finding in examine(settings) if finding.subject != "engine"]
    assert {finding.subject: finding.ok for finding in findings} == dict.fromkeys(
        ["database", "storage", "Temporal", "Redis"], False
    )


async def test_a_database_that_is_not_migrated_is_named(tmp_path: Path) -> None:
    sentences = [finding.sentence async for finding in examine(Settings(data_dir=tmp_path))]
    assert any("run `genpulse migrate`" in sentence for sentence in sentences)
