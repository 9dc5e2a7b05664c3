"""The doctor finds every fault that is planted, and none in sound data; on both engines."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, text

from genpulse.db import Database, utc_now
from genpulse.doctor import Finding, check_stored, examine
from genpulse.doctor.running import SENTENCES
from genpulse.migrations import upgrade
from genpulse.models import (
    AssetRow,
    AttemptRow,
    DeliveryRow,
    EventRow,
    GenerationRow,
    IdempotencyRow,
    StepRow,
    WebhookRow,
)
from genpulse.schemas.states import GenerationStatus, MediaKind, StepStatus
from genpulse.settings import DatabaseSettings, RedisSettings, Settings, TemporalSettings
from genpulse.storage import Storage
from tests.integration.conftest import database_url
from tests.servers.temporal import temporal_server
from tests.servers.valkey import valkey_server
from tests.tables import empty_tables, generation_row, step_row

DONE, WAITING, KEY = "gen_done", "gen_waiting", "order-42"
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
async def settings(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A migrated database and a storage for all tests of an engine."""
    folder = tmp_path_factory.mktemp("doctor")
    made = Settings(data_dir=folder, database=DatabaseSettings(url=await database_url(request, folder)))
    await upgrade(made.database_url)
    return made


@pytest.fixture
async def database(settings: Settings) -> AsyncIterator[Database]:
    """The database with a finished generation and one that waits, both sound."""
    made = Database(settings.database_url)
    async with made.transaction() as session:
        await empty_tables(session)
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
        _generation(
            DONE,
            "succeeded",
            progress=1.0,
            version=len(events),
            dispatched_at=now,
            finished_at=now,
            idempotency_key=KEY,
        ),
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
        key = {"tenant_id": "default", "key": KEY, "fingerprint": "", "generation_id": DONE, "created_at": now}
        await session.execute(insert(IdempotencyRow), [key])
        await session.execute(insert(WebhookRow), [_webhook()])
        await session.execute(insert(DeliveryRow), [_delivery()])
        for seq, (kind, data) in enumerate(events, start=1):
            row = {"generation_id": DONE, "seq": seq, "type": kind, "data": data, "created_at": now}
            await session.execute(insert(EventRow), [row])


def _generation(generation_id: str, status: str, **values: Any) -> dict[str, Any]:
    return generation_row(generation_id, status=GenerationStatus(status), **values).model_dump()


def _step(generation_id: str, status: str) -> dict[str, Any]:
    return step_row(generation_id, status=StepStatus(status)).model_dump()


def _attempt(generation_id: str, status: str, number: int) -> dict[str, Any]:
    row = AttemptRow(
        generation_id=generation_id,
        position=0,
        number=number,
        provider="local",
        model="fake",
        status=status,
        started_at=utc_now(),
        finished_at=None if status == "running" else utc_now(),
    )
    return row.model_dump()


def _webhook() -> dict[str, Any]:
    row = WebhookRow(id="whk_1", tenant_id="default", url="https://example.com/hook", events=[], created_at=utc_now())
    return row.model_dump()


def _delivery() -> dict[str, Any]:
    row = DeliveryRow(
        id="evt_1",
        tenant_id="default",
        webhook_id="whk_1",
        generation_id=DONE,
        type="generation.succeeded",
        payload="{}",
        status="pending",
        next_attempt_at=utc_now(),
        created_at=utc_now(),
        dispatched_at=utc_now(),
    )
    return row.model_dump()


async def _findings(settings: Settings) -> list[Finding]:
    return [finding async for finding in check_stored(settings, second_look=timedelta(0))]


async def _complaints(settings: Settings) -> list[Finding]:
    return [finding for finding in await _findings(settings) if not finding.ok]


@pytest.mark.usefixtures("database")
async def test_sound_data_has_no_faults(settings: Settings) -> None:
    findings = await _findings(settings)
    assert [finding.line for finding in findings if not finding.ok] == []
    figures = {finding.id: (finding.checked, finding.broken) for finding in findings}
    assert (figures["I01"], figures["I12"], figures["I17"], figures["I27"]) == ((2, 0), (2, 0), (0, 0), (1, 0))


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
        f"UPDATE generation SET admitted_at = '2020-01-01 00:00:00+00:00' WHERE id = '{WAITING}'"
    ],
    "Temporal knows of every cancellation": [
        f"UPDATE generation SET cancel_requested_at = '2020-01-01 00:00:00+00:00' WHERE id = '{WAITING}'"
    ],
    "Every generation has steps": [f"DELETE FROM generation_step WHERE generation_id = '{WAITING}'"],
    "No step is open": [f"UPDATE generation_step SET status = 'running' WHERE generation_id = '{DONE}'"],
    "Every step of a succeeded": [f"UPDATE generation_step SET status = 'failed' WHERE generation_id = '{DONE}'"],
    "No step of a generation that has never run": [
        f"UPDATE generation_step SET status = 'running' WHERE generation_id = '{WAITING}'"
    ],
    "Every succeeded step has made something": [
        f"UPDATE event SET type = 'progress' WHERE generation_id = '{DONE}' AND seq = 2",
        f"UPDATE event SET data = '{{\"step\": \"other\"}}' WHERE generation_id = '{DONE}' AND seq = 2",
    ],
    "No attempt is open": [f"UPDATE attempt SET status = 'running' WHERE generation_id = '{DONE}'"],
    "The events of every generation are numbered without gaps": [
        f"DELETE FROM event WHERE generation_id = '{DONE}' AND seq = 2",
        f"DELETE FROM event WHERE generation_id = '{DONE}' AND seq = 3",
        f"UPDATE generation SET version = 4 WHERE id = '{DONE}'",
        f"UPDATE generation SET version = 1 WHERE id = '{WAITING}'",
    ],
    "Every dead letter says why": [
        f"UPDATE generation SET status = 'dead_lettered', error = '{{}}', parked_at = created_at WHERE id = '{WAITING}'"
    ],
    "No dead letter is kept past its time": [
        f"UPDATE generation SET status = 'dead_lettered', kept_until = '2020-01-01 00:00+00:00' WHERE id = '{WAITING}'"
    ],
    "Temporal knows of every decision": [
        f"UPDATE generation SET resolution = '{{}}', admitted_at = '2020-01-01 00:00:00+00:00' WHERE id = '{WAITING}'",
    ],
    "Every output belongs to a step that has succeeded": [
        f"UPDATE generation_step SET status = 'failed' WHERE generation_id = '{DONE}'",
        "UPDATE asset SET tenant_id = 'another'",
        "UPDATE asset SET position = 7",
    ],
    "What has become a job": [f"UPDATE attempt SET provider_job_id = 'job-1' WHERE generation_id = '{DONE}'"],
    "What was never sent is not billed": [f"UPDATE attempt SET billing = 'possible' WHERE generation_id = '{DONE}'"],
    "No attempt is of a round that has not begun": [f"UPDATE attempt SET round = 1 WHERE generation_id = '{DONE}'"],
    "Every attempt that has ended": [f"UPDATE attempt SET finished_at = NULL WHERE generation_id = '{DONE}'"],
    "Every idempotency key leads": [
        "UPDATE idempotency SET tenant_id = 'another'",
        f"UPDATE generation SET idempotency_key = NULL WHERE id = '{DONE}'",
    ],
    "The events of every generation that has ended": [
        f"UPDATE event SET type = 'status' WHERE generation_id = '{DONE}' AND seq = 3"
    ],
    "Every event that is to be told is due": [
        "UPDATE delivery SET next_attempt_at = NULL",
        "UPDATE delivery SET finished_at = created_at",
        "UPDATE delivery SET status = 'failed'",
    ],
    "Temporal knows of every event": [
        "UPDATE delivery SET dispatched_at = NULL, next_attempt_at = '2020-01-01 00:00:00+00:00'"
    ],
    "The bytes of every asset": ["UPDATE asset SET bytes = 1", f"UPDATE asset SET poster_sha256 = '{'0' * 64}'"],
}


@pytest.mark.parametrize(
    ("sentence", "fault"), [(sentence, fault) for sentence, faults in FAULTS.items() for fault in faults]
)
async def test_a_planted_fault_is_found(settings: Settings, database: Database, sentence: str, fault: str) -> None:
    async with database.transaction() as session:
        await session.execute(text(fault))
    [complaint] = [one for one in await _complaints(settings) if one.sentence.startswith(sentence)]
    assert complaint.broken == 1
    [example] = complaint.examples
    assert example in (DONE, WAITING, "ast_1", "evt_1", KEY)
    assert complaint.line.endswith(f"1 broken ({example})")


async def test_two_open_attempts_are_found(settings: Settings, database: Database) -> None:
    async with database.transaction() as session:
        await session.execute(insert(AttemptRow), [_attempt(WAITING, "running", number) for number in (1, 2)])
    assert [one.line for one in await _complaints(settings)] == [
        f"I17 No step has two open attempts: 2 checked, 1 broken ({WAITING})"
    ]


async def test_what_is_broken_only_for_a_moment_is_not_said(settings: Settings, database: Database) -> None:
    async with database.transaction() as session:
        await session.execute(text(f"UPDATE generation SET progress = 0.5 WHERE id = '{DONE}'"))

    async def repair() -> None:
        async with database.transaction() as session:
            await session.execute(text(f"UPDATE generation SET progress = 1 WHERE id = '{DONE}'"))

    repairing = asyncio.get_running_loop().call_later(0.5, lambda: asyncio.ensure_future(repair()))
    findings = [finding async for finding in check_stored(settings, second_look=timedelta(seconds=5))]
    assert not repairing.cancelled()
    assert [finding.line for finding in findings if not finding.ok] == []


async def test_events_that_retention_has_thinned_are_sound(settings: Settings, database: Database) -> None:
    async with database.transaction() as session:
        await session.execute(text(f"DELETE FROM event WHERE generation_id = '{DONE}' AND type = 'status'"))
    assert await _complaints(settings) == []


@pytest.mark.usefixtures("database")
async def test_every_invariant_is_documented_and_every_documented_one_is_looked_at(settings: Settings) -> None:
    listed = re.findall(r"^\| ([ICT]\d\d) \| (.+?) \|", (ROOT / "docs/invariants.md").read_text("utf-8"), re.MULTILINE)
    looked_at = [(finding.id, finding.sentence) for finding in await _findings(settings)]
    assert sorted(listed) == sorted([*looked_at, *SENTENCES.items()])


async def test_every_dependency_that_answers_is_fine(tmp_path: Path) -> None:
    with temporal_server() as temporal, valkey_server() as valkey:
        settings = Settings(
            data_dir=tmp_path,
            temporal=TemporalSettings(address=temporal.address),
            redis=RedisSettings(url=valkey.url),
        )
        await upgrade(settings.database_url)
        findings = {finding.subject: finding async for finding in examine(settings)}
    assert findings.keys() == {"database", "storage", "Temporal", "Redis", "engine", "stored", "running"}
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
