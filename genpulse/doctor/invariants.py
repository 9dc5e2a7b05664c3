"""Everything that must be true of what is stored, as queries that find what breaks it.

docs/invariants.md has the same list; a test holds the two together. Tests of faults and of load end with these.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, exists, func, or_, select
from sqlmodel import col

from genpulse.db import Database, utc_now
from genpulse.doctor.invariant import Invariant
from genpulse.doctor.ledger import of_credits
from genpulse.models import AssetRow, AttemptRow, DeliveryRow, EventRow, GenerationRow, IdempotencyRow, StepRow
from genpulse.schemas.states import FINAL, Billing, GenerationStatus, StepStatus

_PROMPTLY = timedelta(minutes=1)
_DEADLINE_SLACK = timedelta(minutes=5)
_OPEN_STEPS = (StepStatus.QUEUED, StepStatus.SUBMITTED, StepStatus.RUNNING)
#: What retention may remove of the events of a generation that has ended.
_THINNED = ("output", "done")
_MOST = 1000  # of what breaks one: more are not counted

_id, _status = col(GenerationRow.id), col(GenerationRow.status)
_is_final = _status.in_(FINAL)


async def look(database: Database, invariant: Invariant) -> tuple[int, list[str]]:
    """How many there are to be looked at, and the ids of those that break it."""
    counting: Select[Any] = select(func.count()).select_from(invariant.among)
    if invariant.where is not None:
        counting = counting.where(invariant.where)
    async with database.reading() as session:
        checked: int = (await session.execute(counting)).scalar_one()
        broken = (await session.execute(invariant.broken_by.distinct().limit(_MOST))).scalars().all()
    return checked, list(broken)


def invariants() -> list[Invariant]:
    """All of them, as of now."""
    return [
        *_of_generations(),
        *_of_dispatch(),
        *_of_steps(),
        *_of_attempts(),
        *_of_events(),
        *_of_keys(),
        *_of_deliveries(),
        *of_credits(),
    ]


def _of_generations() -> list[Invariant]:
    finished = col(GenerationRow.finished_at)
    has_error = col(GenerationRow.error).is_not(None)
    succeeded, failed = _status == GenerationStatus.SUCCEEDED, _status == GenerationStatus.FAILED
    is_kept = _status == GenerationStatus.DEAD_LETTERED
    runs = _status.in_([GenerationStatus.QUEUED, GenerationStatus.RUNNING, GenerationStatus.CANCELING])
    kept_until = col(GenerationRow.kept_until)
    return [
        Invariant(
            id="I01",
            sentence="Every generation that has ended, and no other, has the time at which it did",
            among=GenerationRow,
            broken_by=select(_id).where(
                or_(and_(_is_final, finished.is_(None)), and_(~_is_final, finished.is_not(None)))
            ),
        ),
        Invariant(
            id="I02",
            sentence="Every failed generation says why, and no succeeded one has an error",
            among=GenerationRow,
            where=or_(failed, succeeded),
            broken_by=select(_id).where(or_(and_(failed, ~has_error), and_(succeeded, has_error))),
        ),
        Invariant(
            id="I03",
            sentence="Every succeeded generation is wholly done",
            among=GenerationRow,
            where=succeeded,
            broken_by=select(_id).where(succeeded, col(GenerationRow.progress) != 1.0),
        ),
        Invariant(
            id="I04",
            sentence="No generation runs past its deadline",
            among=GenerationRow,
            where=runs,
            broken_by=select(_id).where(runs, col(GenerationRow.deadline_at) < utc_now() - _DEADLINE_SLACK),
        ),
        Invariant(
            id="I05",
            sentence="Every dead letter says why, since when, and until when it is kept",
            among=GenerationRow,
            where=is_kept,
            broken_by=select(_id).where(
                is_kept, or_(~has_error, col(GenerationRow.parked_at).is_(None), kept_until.is_(None))
            ),
        ),
        Invariant(
            id="I06",
            sentence="No dead letter is kept past its time",
            among=GenerationRow,
            where=is_kept,
            broken_by=select(_id).where(is_kept, kept_until < utc_now() - _DEADLINE_SLACK),
        ),
    ]


def _of_dispatch() -> list[Invariant]:
    a_while_ago = utc_now() - _PROMPTLY
    admitted_at = col(GenerationRow.admitted_at)
    cancelled_at, resolution = col(GenerationRow.cancel_requested_at), col(GenerationRow.resolution)
    heard_lately = exists().where(
        col(EventRow.generation_id) == _id,
        col(EventRow.seq) == col(GenerationRow.version),
        col(EventRow.created_at) >= a_while_ago,
    )
    return [
        Invariant(
            id="I07",
            sentence="Temporal knows of every generation that may begin within a minute",
            among=GenerationRow,
            where=~_is_final,
            broken_by=select(_id).where(
                ~_is_final, col(GenerationRow.dispatched_at).is_(None), admitted_at < a_while_ago
            ),
        ),
        Invariant(
            id="I08",
            sentence="Temporal knows of every cancellation within a minute",
            among=GenerationRow,
            where=cancelled_at.is_not(None),
            broken_by=select(_id).where(cancelled_at < a_while_ago, col(GenerationRow.cancel_sent_at).is_(None)),
        ),
        Invariant(
            id="I09",
            sentence="Temporal knows of every decision about a dead letter within a minute",
            among=GenerationRow,
            where=resolution.is_not(None),
            broken_by=select(_id).where(
                resolution.is_not(None),
                col(GenerationRow.resolution_sent_at).is_(None),
                admitted_at < a_while_ago,
                ~heard_lately,
            ),
        ),
    ]


def _of_steps() -> list[Invariant]:
    status = col(StepRow.status)
    steps = select(col(StepRow.generation_id)).join(GenerationRow, _id == col(StepRow.generation_id))
    return [
        Invariant(
            id="I10",
            sentence="Every generation has steps, at places without gaps",
            among=GenerationRow,
            broken_by=select(_id)
            .outerjoin(StepRow, col(StepRow.generation_id) == _id)
            .group_by(_id)
            .having(func.count(col(StepRow.position)) != func.coalesce(func.max(col(StepRow.position)) + 1, -1)),
        ),
        Invariant(
            id="I11",
            sentence="No step is open in a generation that has ended",
            among=StepRow,
            broken_by=steps.where(_is_final, status.in_(_OPEN_STEPS)),
        ),
        Invariant(
            id="I12",
            sentence="Every step of a succeeded generation has succeeded",
            among=StepRow,
            broken_by=steps.where(_status == GenerationStatus.SUCCEEDED, status != StepStatus.SUCCEEDED),
        ),
        Invariant(
            id="I13",
            sentence="No step of a generation that has never run has begun",
            among=StepRow,
            broken_by=steps.where(
                _status == GenerationStatus.QUEUED, col(GenerationRow.round) == 0, status != StepStatus.QUEUED
            ),
        ),
        Invariant(
            id="I14",
            sentence="Every succeeded step has made something",
            among=StepRow,
            where=status == StepStatus.SUCCEEDED,
            broken_by=select(col(StepRow.generation_id)).where(status == StepStatus.SUCCEEDED, ~_announced_output()),
        ),
        Invariant(
            id="I15",
            sentence="Every output belongs to a step that has succeeded, and to the same tenant",
            among=AssetRow,
            where=col(AssetRow.generation_id).is_not(None),
            broken_by=select(col(AssetRow.id))
            .join(GenerationRow, _id == col(AssetRow.generation_id))
            .outerjoin(StepRow, and_(*_same_step(AssetRow)))
            .where(
                or_(
                    status.is_(None),
                    status != StepStatus.SUCCEEDED,
                    col(AssetRow.tenant_id) != col(GenerationRow.tenant_id),
                )
            ),
        ),
    ]


def _of_attempts() -> list[Invariant]:
    generation, status = col(AttemptRow.generation_id), col(AttemptRow.status)
    sent_at, billing = col(AttemptRow.sent_at), col(AttemptRow.billing)
    attempts = select(generation)
    return [
        Invariant(
            id="I16",
            sentence="No attempt is open at a step that is not",
            among=AttemptRow,
            where=status == "running",
            broken_by=attempts.join(StepRow, and_(*_same_step(AttemptRow))).where(
                status == "running", col(StepRow.status).not_in(_OPEN_STEPS)
            ),
        ),
        Invariant(
            id="I17",
            sentence="No step has two open attempts",
            among=AttemptRow,
            where=status == "running",
            broken_by=attempts.where(status == "running")
            .group_by(generation, col(AttemptRow.position))
            .having(func.count() > 1),
        ),
        Invariant(
            id="I18",
            sentence="What has become a job, or was answered, was sent before",
            among=AttemptRow,
            where=or_(col(AttemptRow.provider_job_id).is_not(None), col(AttemptRow.answer).is_not(None)),
            broken_by=attempts.where(
                sent_at.is_(None),
                or_(col(AttemptRow.provider_job_id).is_not(None), col(AttemptRow.answer).is_not(None)),
            ),
        ),
        Invariant(
            id="I19",
            sentence="What was never sent is not billed",
            among=AttemptRow,
            where=billing.is_not(None),
            broken_by=attempts.where(sent_at.is_(None), billing.in_([Billing.POSSIBLE.value, Billing.FULL.value])),
        ),
        Invariant(
            id="I20",
            sentence="No attempt is of a round that has not begun",
            among=AttemptRow,
            broken_by=attempts.join(GenerationRow, _id == generation).where(
                col(AttemptRow.round) > col(GenerationRow.round)
            ),
        ),
        Invariant(
            id="I21",
            sentence="Every attempt that has ended, and no other, has the time at which it did",
            among=AttemptRow,
            broken_by=attempts.where((status == "running") != col(AttemptRow.finished_at).is_(None)),
        ),
    ]


def _same_step(other: type[AttemptRow | AssetRow]) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
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
    is_thinned = and_(
        _is_final, ~exists().where(generation == _id, col(EventRow.type).not_in(_THINNED)).correlate(GenerationRow)
    )
    numbered = (
        select(_id)
        .outerjoin(EventRow, generation == _id)
        .group_by(_id, version, _status)
        .having(
            or_(
                func.coalesce(func.max(seq), 0) != version,
                and_(func.count(seq) != version, ~is_thinned),
            )
        )
    )
    last_is_done = exists().where(generation == _id, seq == version, col(EventRow.type) == "done")
    return [
        Invariant(
            id="I22",
            sentence="The events of every generation are numbered without gaps, until retention thins them",
            among=GenerationRow,
            broken_by=numbered,
        ),
        Invariant(
            id="I23",
            sentence="The events of every generation that has ended, and of no other, end with `done`",
            among=GenerationRow,
            broken_by=select(_id).where(_is_final != last_is_done),
        ),
    ]


def _of_keys() -> list[Invariant]:
    key = col(IdempotencyRow.key)
    return [
        Invariant(
            id="I24",
            sentence="Every idempotency key leads to its tenant's generation that was made with it",
            among=IdempotencyRow,
            broken_by=select(key)
            .join(GenerationRow, _id == col(IdempotencyRow.generation_id))
            .where(
                or_(
                    col(GenerationRow.tenant_id) != col(IdempotencyRow.tenant_id),
                    func.coalesce(col(GenerationRow.idempotency_key), "") != key,
                )
            ),
        ),
    ]


def _of_deliveries() -> list[Invariant]:
    is_pending = col(DeliveryRow.status) == "pending"
    due, finished = col(DeliveryRow.next_attempt_at), col(DeliveryRow.finished_at)
    return [
        Invariant(
            id="I25",
            sentence="Every event that is to be told is due, and every other one has the time at which that ended",
            among=DeliveryRow,
            broken_by=select(col(DeliveryRow.id)).where(
                or_(is_pending != due.is_not(None), is_pending != finished.is_(None))
            ),
        ),
        Invariant(
            id="I26",
            sentence="Temporal knows of every event that is to be told within a minute",
            among=DeliveryRow,
            where=is_pending,
            broken_by=select(col(DeliveryRow.id)).where(
                is_pending, col(DeliveryRow.dispatched_at).is_(None), due < utc_now() - _PROMPTLY
            ),
        ),
    ]
