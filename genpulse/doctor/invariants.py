"""Everything that must be true of what is stored, as queries that find what breaks it.

Tests of faults and of load end with these.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import ColumnElement, Select, and_, exists, func, or_, select
from sqlmodel import col

from genpulse.db import Database, utc_now
from genpulse.doctor.findings import Ailment, Finding, find
from genpulse.errors import AssetUnavailable
from genpulse.models import AssetRow, AttemptRow, EventRow, GenerationRow, StepRow
from genpulse.schemas.states import FINAL, GenerationStatus, StepStatus
from genpulse.settings import Settings
from genpulse.storage import Storage

_PROMPTLY = timedelta(minutes=1)
_DEADLINE_SLACK = timedelta(minutes=5)
_OPEN_STEPS = (StepStatus.QUEUED, StepStatus.SUBMITTED, StepStatus.RUNNING)
_EXAMPLES = 3
_ASSETS_PER_PAGE = 500

_id, _status = col(GenerationRow.id), col(GenerationRow.status)
_is_final = _status.in_(FINAL)


@dataclass(frozen=True, kw_only=True)
class Invariant:
    """`sentence` is true unless `broken_by` finds something; it selects ids."""

    sentence: str
    broken_by: Select[str]


async def check_stored(settings: Settings) -> AsyncIterator[Finding]:
    """One finding for each invariant."""
    database = Database(settings.database_url, pool_size=1)
    try:
        for invariant in _invariants():
            yield await find("stored", lambda one=invariant: _check(database, one))  # type: ignore[misc]
        storage = Storage.from_settings(settings)
        yield await find("stored", lambda: _check_blobs(database, storage))
    finally:
        await database.dispose()


async def _check(database: Database, invariant: Invariant) -> str:
    async with database.reading() as session:
        broken = (await session.execute(invariant.broken_by.distinct())).scalars().all()
    if broken:
        raise Ailment(f"{invariant.sentence}: not so for {_examples(broken)}.")
    return invariant.sentence


async def _check_blobs(database: Database, storage: Storage) -> str:
    sentence = "The bytes of every asset and poster are in the storage"
    lost: list[str] = []
    last = ""
    while page := await _assets(database, col(AssetRow.id) > last):
        lost += [asset.id for asset in page if not await _is_whole(storage, asset)]
        last = page[-1].id
    # What was deleted while we looked is not lost.
    if lost and (still := await _assets(database, col(AssetRow.id).in_(lost))):
        raise Ailment(f"{sentence}: not so for {_examples([asset.id for asset in still])}.")
    return sentence


async def _assets(database: Database, condition: ColumnElement[bool]) -> Sequence[AssetRow]:
    query = select(AssetRow).where(condition).order_by(col(AssetRow.id)).limit(_ASSETS_PER_PAGE)
    async with database.reading() as session:
        return (await session.execute(query)).scalars().all()


async def _is_whole(storage: Storage, asset: AssetRow) -> bool:
    try:
        if asset.poster_sha256 is not None:
            await storage.size(asset.poster_sha256)
        return await storage.size(asset.sha256) == asset.bytes
    except AssetUnavailable:
        return False


def _examples(ids: Sequence[str]) -> str:
    shown = ", ".join(ids[:_EXAMPLES])
    return f"{shown} and {len(ids) - _EXAMPLES} more" if len(ids) > _EXAMPLES else shown


def _invariants() -> list[Invariant]:
    return [*_of_generations(), *_of_delivery(), *_of_steps(), *_of_events()]


def _of_generations() -> list[Invariant]:
    finished = col(GenerationRow.finished_at)
    has_error = col(GenerationRow.error).is_not(None)
    succeeded, failed = _status == GenerationStatus.SUCCEEDED, _status == GenerationStatus.FAILED
    return [
        Invariant(
            sentence="Every generation that has ended, and no other, has the time at which it did",
            broken_by=select(_id).where(
                or_(and_(_is_final, finished.is_(None)), and_(~_is_final, finished.is_not(None)))
            ),
        ),
        Invariant(
            sentence="Every failed generation says why, and no succeeded one has an error",
            broken_by=select(_id).where(or_(and_(failed, ~has_error), and_(succeeded, has_error))),
        ),
        Invariant(
            sentence="Every succeeded generation is wholly done",
            broken_by=select(_id).where(succeeded, col(GenerationRow.progress) != 1.0),
        ),
        Invariant(
            sentence="No generation runs past its deadline",
            broken_by=select(_id).where(
                _status.in_([GenerationStatus.QUEUED, GenerationStatus.RUNNING, GenerationStatus.CANCELING]),
                col(GenerationRow.deadline_at) < utc_now() - _DEADLINE_SLACK,
            ),
        ),
    ]


def _of_delivery() -> list[Invariant]:
    a_while_ago = utc_now() - _PROMPTLY
    return [
        Invariant(
            sentence="Temporal knows of every generation within a minute",
            broken_by=select(_id).where(
                ~_is_final, col(GenerationRow.dispatched_at).is_(None), col(GenerationRow.created_at) < a_while_ago
            ),
        ),
        Invariant(
            sentence="Temporal knows of every cancellation within a minute",
            broken_by=select(_id).where(
                ~_is_final,
                col(GenerationRow.cancel_requested_at) < a_while_ago,
                col(GenerationRow.cancel_sent_at).is_(None),
            ),
        ),
    ]


def _of_steps() -> list[Invariant]:
    status = col(StepRow.status)
    steps = select(col(StepRow.generation_id)).join(GenerationRow, _id == col(StepRow.generation_id))
    return [
        Invariant(
            sentence="Every generation has steps",
            broken_by=select(_id).where(~exists().where(col(StepRow.generation_id) == _id)),
        ),
        Invariant(
            sentence="No step is open in a generation that has ended",
            broken_by=steps.where(_is_final, status.in_(_OPEN_STEPS)),
        ),
        Invariant(
            sentence="Every step of a succeeded generation has succeeded",
            broken_by=steps.where(_status == GenerationStatus.SUCCEEDED, status != StepStatus.SUCCEEDED),
        ),
        Invariant(
            sentence="No step of a queued generation has begun",
            broken_by=steps.where(_status == GenerationStatus.QUEUED, status != StepStatus.QUEUED),
        ),
        Invariant(
            sentence="Every succeeded step has made something",
            broken_by=select(col(StepRow.generation_id)).where(status == StepStatus.SUCCEEDED, ~_announced_output()),
        ),
        Invariant(
            sentence="No attempt is open at a step that is not",
            broken_by=select(col(AttemptRow.generation_id))
            .join(StepRow, and_(*_same_step(AttemptRow)))
            .where(col(AttemptRow.status) == "running", status.not_in(_OPEN_STEPS)),
        ),
        Invariant(
            sentence="No step has two open attempts",
            broken_by=select(col(AttemptRow.generation_id))
            .where(col(AttemptRow.status) == "running")
            .group_by(col(AttemptRow.generation_id), col(AttemptRow.position))
            .having(func.count() > 1),
        ),
    ]


def _same_step(other: type[AttemptRow]) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return (
        col(other.generation_id) == col(StepRow.generation_id),
        col(other.position) == col(StepRow.position),
    )


def _announced_output() -> ColumnElement[bool]:
    # By its event and not by its asset, which the caller may have deleted since.
    return (
        exists()
        .where(col(EventRow.generation_id) == col(StepRow.generation_id), col(EventRow.type) == "output")
        .where(col(EventRow.data)["step"].as_string() == col(StepRow.step_id))
    )


def _of_events() -> list[Invariant]:
    version, seq = col(GenerationRow.version), col(EventRow.seq)
    generation = col(EventRow.generation_id)
    numbered = (
        select(_id)
        .outerjoin(EventRow, generation == _id)
        .group_by(_id, version)
        .having(or_(func.count(seq) != version, func.coalesce(func.max(seq), 0) != version))
    )
    last_is_done = exists().where(generation == _id, seq == version, col(EventRow.type) == "done")
    return [
        Invariant(sentence="The events of every generation are numbered without gaps", broken_by=numbered),
        Invariant(
            sentence="The events of every generation that has ended, and of no other, end with `done`",
            broken_by=select(_id).where(_is_final != last_is_done),
        ),
    ]
